"""How long do callers wait when one calls, when four do, sixteen, and a fifth more than the server can take?

The callers are those of `bench v2v`: they arrive open loop, hold conversations, and measure on the waveform.
"""

import math
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from voicestack.aio.clock import Clock
from voicestack.cli.bench_report import DISTURBED_MS, figures
from voicestack.cli.bench_speech import Line
from voicestack.cli.bench_stats import summarise
from voicestack.cli.bench_v2v import Outcome, Plan, Turn, measure
from voicestack.cli.gate_figures import Events, Figure, Times

LEVELS = (1, 4, 16)
OVERLOAD_RATIO = 1.2
"""Of capacity: how the server behaves when too many come is part of how good it is."""
ARRIVAL_S = 2.0
"""All callers of a level arrive within about so long, so that they talk at the same time."""

Measure = Callable[[Plan, list[Line], Clock, Outcome], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """How much is measured.

    Attributes:
        url: The server.
        silence_ms: Silence that ends a turn.
        n_repeats: Repetitions of all levels.
        n_turns_each: Questions of each caller.
        n_turns_least: Questions of a level at least, in each repetition.
        timeout_ms: An answer that is not heard by then is missing.
    """

    url: str
    silence_ms: int
    n_repeats: int = 3
    n_turns_each: int = 3
    n_turns_least: int = 20
    timeout_ms: int = 5000


@dataclass(slots=True)
class Load:
    """What was found: figures by name, and what else is worth keeping of each level."""

    figures: dict[str, Figure] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


async def measured_by_callers(plan: Plan, lines: list[Line], clock: Clock, outcome: Outcome) -> None:
    """See `bench_v2v.measure`."""
    await measure(plan, lines, clock, outcome=outcome)


def plan_of(load: LoadPlan, n_callers: int, seed: int) -> Plan:
    """One level, once."""
    return Plan(
        url=load.url,
        n_turns=max(load.n_turns_each * n_callers, load.n_turns_least),
        n_callers=n_callers,
        silence_ms=load.silence_ms,
        rate_per_s=n_callers / ARRIVAL_S,
        timeout_ms=load.timeout_ms,
        seed=seed,
    )


def levels_of(n_capacity: int) -> list[int]:
    """The numbers of callers: 1, 4, 16, and 1.2 times the capacity."""
    return sorted({*LEVELS, math.ceil(OVERLOAD_RATIO * n_capacity)})


async def measure_levels(
    load: LoadPlan,
    levels: Sequence[int],
    lines: list[Line],
    clock: Clock,
    *,
    by: Measure = measured_by_callers,
    tell: Callable[[str], None] = lambda _line: None,
) -> Load:
    """Every level in every repetition, in turn: what the machine does meanwhile hits all levels alike."""
    runs: dict[int, list[Outcome]] = {n_callers: [] for n_callers in levels}
    for repeat in range(load.n_repeats):
        for n_callers in levels:
            outcome = Outcome()
            await by(plan_of(load, n_callers, repeat + 1), lines, clock, outcome)
            runs[n_callers].append(outcome)
            tell(_line(n_callers, outcome))
    found = Load()
    for n_callers, outcomes in runs.items():
        found.figures |= level_figures(f"v2v.c{n_callers}", outcomes)
        found.details[f"c{n_callers}"] = [
            level_details(plan_of(load, n_callers, repeat + 1), outcome)
            for repeat, outcome in enumerate(outcomes)
        ]
    return found


def level_figures(name: str, outcomes: Iterable[Outcome]) -> dict[str, Figure]:
    """One level. Whoever was refused has not waited; who waited and was not answered in time is missing.

    A false cut-off has no wait: the agent spoke before the user had finished.
    """
    every = [outcome.turns for outcome in outcomes]
    turns = [turn for of in every for turn in of]
    asked = [turn for turn in turns if not turn.refused]
    return {
        f"{name}.wait_ms": Times(tuple(_waits(of) for of in every)),
        f"{name}.missing": Events(sum(turn.missing and turn.late_ms is None for turn in asked), len(asked)),
        f"{name}.late": Events(sum(turn.late_ms is not None for turn in asked), len(asked)),
        f"{name}.cut_off": Events(sum(turn.early for turn in asked), len(asked)),
        f"{name}.refused": Events(len(turns) - len(asked), len(turns)),
    }


def _waits(turns: Iterable[Turn]) -> tuple[float | None, ...]:
    return tuple(turn.wait_ms for turn in turns if not turn.refused and not turn.early)


def level_details(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """What a run of a level says besides: the server's stages, and how late the callers themselves were."""
    every = figures(plan, outcome)
    kept = (
        *("n_turns", "voice_to_voice_ms", "n_missing", "n_refused", "n_early", "n_split", "gap_ms"),
        *("word_error_rate", "server", "harness_late_ms", "n_disturbed", "failures", "server_errors"),
    )
    return {name: every[name] for name in kept}


def n_disturbed(details: dict[str, Any]) -> int:
    """Turns in which the callers themselves were late, of all levels."""
    levels = [runs for name, runs in details.items() if name.startswith("c")]
    return sum(run["n_disturbed"] for runs in levels for run in runs)


_SAMPLE = re.compile(r"^(voicestack_\w+)(\{[^}]*\})?\s+(\S+)$")


def read_totals(exposition: str) -> dict[str, float]:
    """A server's counters and gauges by name and labels, from its Prometheus page; no buckets, no zeros."""
    found = [_SAMPLE.match(line) for line in exposition.splitlines()]
    values = {
        f"{sample[1]}{sample[2] or ''}": float(sample[3])
        for sample in found
        if sample and not sample[1].endswith(("_bucket", "_created"))
    }
    return {name: value for name, value in values.items() if value}


def _line(n_callers: int, outcome: Outcome) -> str:
    asked = [turn for turn in outcome.turns if not turn.refused]
    waits = [turn.wait_ms for turn in asked if turn.wait_ms is not None]
    n_missing = sum(turn.missing for turn in asked)
    found = summarise(waits, n_censored=n_missing)
    p50, p95 = ("-", "-") if found is None else (f"{found.p50:.0f}", f"{found.p95:.0f}")
    n_late = sum(turn.harness_late_ms > DISTURBED_MS for turn in asked)
    return (
        f"{n_callers:>4} callers  p50 {p50}  p95 {p95} ms, {len(asked)} turns, {n_missing} missing or late, "
        f"{len(outcome.turns) - len(asked)} refused, {sum(turn.early for turn in asked)} cut off, "
        f"{n_late} with late callers"
    )


# --- capacity ---------------------------------------------------------------------------------------------


def next_level(tried: dict[int, bool], most: int) -> int | None:
    """How many callers to try next: twice as many while all goes well, then between; None when it is known.

    Args:
        tried: Whether the server kept up with so many callers.
        most: More are not tried.
    """
    good = max((n for n, is_good in tried.items() if is_good), default=0)
    bad = min((n for n, is_good in tried.items() if not is_good and n > good), default=None)
    if bad is None:
        return None if good >= most else min(most, max(1, good * 2))
    middle = (good + bad) // 2
    return middle if good and middle - good >= max(1, good // 4) else None


def keeps_up(outcome: Outcome, limit_ms: float) -> bool:
    """Whether everybody was answered, and 95 of 100 within the limit."""
    if any(turn.missing for turn in outcome.turns):
        return False
    waits = summarise([turn.wait_ms for turn in outcome.turns if turn.wait_ms is not None])
    return waits is not None and waits.p95 <= limit_ms


async def measure_capacity(
    load: LoadPlan,
    limit_ms: float,
    most: int,
    lines: list[Line],
    clock: Clock,
    *,
    by: Measure = measured_by_callers,
    tell: Callable[[str], None] = lambda _line: None,
) -> int:
    """The most callers, up to `most`, that are all answered with a p95 within the limit; at least 1."""
    tried: dict[int, bool] = {}
    while (n_callers := next_level(tried, most)) is not None:
        outcome = Outcome()
        await by(plan_of(load, n_callers, 1), lines, clock, outcome)
        tried[n_callers] = keeps_up(outcome, limit_ms)
        tell(_line(n_callers, outcome))
    return max((n for n, is_good in tried.items() if is_good), default=1)
