"""What does one way of calling add to the waiting, compared with another one at the same server?

Both callers are connected all the time, and every question is asked over the one and then over the other. So
the machine's mood, which changes by a factor of two from hour to hour, is the same for both.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_echo import Calibration
from voicestack.cli.bench_report import format_ms
from voicestack.cli.bench_speech import Line
from voicestack.cli.bench_stats import Summary, percentile, summarise
from voicestack.cli.bench_v2v import Dial, Outcome, Plan, Turn, measure

TARGET_MS = 70.0
"""What WebRTC may add to the median without loss: a packet, Opus's look-ahead and a jitter buffer of two."""


@dataclass(slots=True)
class Lane:
    """One way of calling, and what was seen on it."""

    dial: Dial
    outcome: Outcome


async def measure_lanes(plan: Plan, lines: list[Line], clock: Clock, lanes: Sequence[Lane]) -> None:
    """Run the plan once on every lane, question by question."""
    floor = asyncio.Lock()

    async def run(lane: Lane) -> None:
        await measure(plan, lines, clock, outcome=lane.outcome, dial=lane.dial, floor=floor)

    async with Scope() as scope:
        await asyncio.wait([scope.start(run(lane), name="lane") for lane in lanes])


@dataclass(frozen=True, slots=True)
class Added:
    """What the second lane adds to the first, in milliseconds; None where there is nothing to compare.

    `p50_ms` and `p95_ms` are differences of percentiles, with missing answers counted as longer than all
    others. `pairs_ms` are the differences between the two answers to the same question.
    """

    n_pairs: int
    p50_ms: float | None
    p95_ms: float | None
    pairs_ms: Summary | None


def compare(first: Outcome, second: Outcome) -> Added:
    """Compare two lanes that were asked the same questions in the same order."""
    pairs = [
        (one.wait_ms, other.wait_ms)
        for one, other in zip(_in_order(first), _in_order(second), strict=False)
        if one.file == other.file
    ]
    differences = [other - one for one, other in pairs if one is not None and other is not None]
    return Added(
        n_pairs=len(differences),
        p50_ms=_difference(first.turns, second.turns, 0.50),
        p95_ms=_difference(first.turns, second.turns, 0.95),
        pairs_ms=summarise(differences),
    )


def _in_order(outcome: Outcome) -> list[Turn]:
    """Turn by turn of each caller: the order in which they ended does not matter."""
    return sorted(outcome.turns, key=lambda turn: turn.caller)


def _difference(first: list[Turn], second: list[Turn], share: float) -> float | None:
    found = []
    for turns in (first, second):
        waits = [turn.wait_ms for turn in turns if turn.wait_ms is not None]
        waits += [float("inf")] * sum(turn.missing for turn in turns)
        found.append(percentile(waits, share) if waits else float("inf"))
    return found[1] - found[0] if float("inf") not in found else None


def show_added(console: Console, added: Added) -> None:
    """Print the comparison."""
    if added.p50_ms is None or added.pairs_ms is None:
        console.print("[red]There is nothing to compare: on one transport most answers are missing.[/]")
        return
    verdict = f"target {TARGET_MS:.0f}: " + (
        "[green]met[/]" if added.p50_ms <= TARGET_MS else "[red]missed[/]"
    )
    p95 = "-" if added.p95_ms is None else f"{added.p95_ms:+.0f}"
    console.print(
        f"WebRTC adds [bold]{added.p50_ms:+.0f} ms[/] to the WebSocket's p50 ({verdict})"
        f" and {p95} ms to its p95. Over {added.n_pairs} questions asked on both, the difference is "
        f"p50 {format_ms(added.pairs_ms.p50, 0)}, p90 {format_ms(added.pairs_ms.p90, 0)} ms.",
        highlight=False,
        soft_wrap=True,
    )


def show_calibration(console: Console, transport: str, found: Calibration) -> None:
    """Print how exact the harness is."""
    if found.error_ms is None or found.framing_ms is None or found.total_ms is None:
        console.print("[red]the calibration got no answers; do not trust what follows[/]")
        return
    total, error = found.total_ms, found.error_ms
    coding = "" if found.codec_ms is None else f" and {format_ms(found.codec_ms.p50, 0)} ms are Opus's"
    console.print(
        f"calibration ({transport}): {error.n} echoes after {found.delay_ms:.0f} ms were measured "
        f"{format_ms(total.p50, 0)} ms too long (p50; p95 {format_ms(total.p95, 0)}, max "
        f"{format_ms(total.max, 0)}). {format_ms(found.framing_ms.p50, 0)} ms of it is the last sample's "
        f"20 ms frame, as in any client{coding}; the harness's own error is p50 {format_ms(error.p50, 0)}, "
        f"p95 {format_ms(error.p95, 0)}, max {format_ms(error.max, 0)} ms.",
        highlight=False,
        soft_wrap=True,
    )
    if found.n_missing:
        console.print(f"[red]{found.n_missing} echoes were not heard[/]")
