"""What did callers get at one load? Every turn that was asked counts, whatever became of it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from voicestack.cli.bench_report import DISTURBED_MS, format_ms
from voicestack.cli.bench_stats import Summary, summarise
from voicestack.cli.bench_v2v import Outcome, Plan, Turn
from voicestack.core.turn_record import DEAD_AIR_MS

ON_THE_WAY_MS = 40
"""What a caller hears later than the server sends: a frame on its way in, and one on its way out."""
COLUMNS = (
    *("", "calls/s", "admitted", "refused", "turns", "in time", "declared", "late", "missing"),
    *("early", "in time/s", "of capacity", "p50", "p95", "p99"),
)


@dataclass(slots=True)
class Level:
    """What was seen at one rate of calls.

    Attributes:
        name: For people.
        rate_per_s: Calls a second.
        n_admitted: Calls that were taken, in the whole run.
        n_refused: Calls that were not, likewise.
        n_turns: Questions in the window of those who were admitted.
        n_in_time: Answered within the budget, as heard.
        n_declared: Not, but a filler or a refusal was heard before it was dead air.
        n_late: Neither, but answered in the end.
        n_missing: Not answered.
        n_early: The agent was heard before the user had finished.
        goodput_per_s: Turns in time a second.
        heard_ms: From the user's last sample to the agent's first, on the waveform; a filler counts.
        answered_ms: To the first of the answer, by the server's ledger.
        n_shed: Pieces of work that queues turned away.
        harness_late_ms: How late the callers themselves were.
        of_capacity: Of the goodput at capacity.
        failures: Calls that ended otherwise than planned.
    """

    name: str
    rate_per_s: float
    n_admitted: int
    n_refused: int
    n_turns: int
    n_in_time: int
    n_declared: int
    n_late: int
    n_missing: int
    n_early: int
    goodput_per_s: float
    heard_ms: Summary | None
    answered_ms: Summary | None
    n_shed: int
    harness_late_ms: Summary | None
    of_capacity: float = 0.0
    failures: tuple[str, ...] = ()

    @property
    def is_in_time(self) -> bool:
        """Whether nineteen turns of twenty were."""
        return self.n_turns > 0 and self.n_in_time >= 0.95 * self.n_turns

    @property
    def is_disturbed(self) -> bool:
        """Whether the callers themselves were so late that this does not speak of the server alone."""
        return self.harness_late_ms is not None and self.harness_late_ms.p95 > DISTURBED_MS


def verdict_of(turn: Turn, budget_ms: float) -> str:
    """`in_time`, `declared`, `late`, `missing` or `early`: as it was heard, and as the ledger explains it."""
    if turn.early:
        return "early"
    heard_ms = turn.wait_ms if turn.wait_ms is not None else turn.late_ms
    if heard_ms is None:
        return "missing"
    if says_so(turn.ledgers):
        return "declared" if heard_ms <= DEAD_AIR_MS + ON_THE_WAY_MS else "late"
    return "in_time" if heard_ms <= budget_ms + ON_THE_WAY_MS else "late"


def says_so(ledgers: Sequence[dict[str, Any]]) -> bool:
    """Whether what was heard first was no answer, by the server's ledger."""
    for ledger in ledgers:
        marks = ledger.get("marks_ms") or {}
        if "filler_sent" in marks or ledger.get("verdict") == "declared":
            return True
        if any(taken.get("rung") in ("filler", "refusal") for taken in ledger.get("rungs") or ()):
            return True
    return False


def level_of(
    name: str,
    plan: Plan,
    outcome: Outcome,
    window_ns: tuple[int, int],
    *,
    budget_ms: float,
    n_shed: int,
) -> Level:
    """Sum up the turns that were asked in a window of time; calls are counted over the whole run."""
    refused = {turn.caller for turn in outcome.turns if turn.refused}
    turns = [t for t in outcome.turns if not t.refused and window_ns[0] <= t.asked_ns < window_ns[1]]
    verdicts = [verdict_of(turn, budget_ms) for turn in turns]
    heard = [ms for t in turns if (ms := t.wait_ms if t.wait_ms is not None else t.late_ms) is not None]
    answered = [ms for t in turns for one in t.ledgers[:1] if (ms := one.get("response_ms")) is not None]
    n_missing, n_in_time = verdicts.count("missing"), verdicts.count("in_time")
    return Level(
        name=name,
        rate_per_s=plan.rate_per_s,
        n_admitted=plan.n_callers - len(refused),
        n_refused=len(refused),
        n_turns=len(turns),
        n_in_time=n_in_time,
        n_declared=verdicts.count("declared"),
        n_late=verdicts.count("late"),
        n_missing=n_missing,
        n_early=verdicts.count("early"),
        goodput_per_s=n_in_time / ((window_ns[1] - window_ns[0]) / 1e9),
        heard_ms=summarise(heard, n_censored=n_missing),
        answered_ms=summarise(answered),
        n_shed=n_shed,
        harness_late_ms=summarise(outcome.late_ms),
        failures=tuple(_failures(outcome, refused))[:10],
    )


def _failures(outcome: Outcome, refused: set[int]) -> Iterator[str]:
    """Of those who were not refused."""
    told = {f"caller {number}" for number in refused}
    yield from (one for one in outcome.failures if one.partition(":")[0] not in told)


def line_of(level: Level) -> str:
    """One line while the bench runs."""
    p95_ms = level.heard_ms.p95 if level.heard_ms else math.nan
    return (
        f"{level.name:<18} {level.rate_per_s:5.2f} calls/s: {level.n_admitted} admitted, "
        f"{level.n_refused} refused; {level.n_turns} turns, {level.n_in_time} in time, "
        f"p95 {format_ms(p95_ms, 5000)} ms"
    )


def show(console: Console, levels: Sequence[Level], capacity: Level) -> None:
    """Print all of them."""
    title = "\nTurns of those who were admitted; milliseconds as heard"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name else "left")
    for one in levels:
        percentiles = ["-"] * 3
        if one.heard_ms is not None:
            percentiles = [
                format_ms(ms, 5000) for ms in (one.heard_ms.p50, one.heard_ms.p95, one.heard_ms.p99)
            ]
        counts = (one.n_admitted, one.n_refused, one.n_turns, one.n_in_time, one.n_declared)
        table.add_row(
            f"[bold]{one.name}[/]" if one is capacity else one.name,
            f"{one.rate_per_s:.2f}",
            *(str(n) for n in (*counts, one.n_late, one.n_missing, one.n_early)),
            *(f"{one.goodput_per_s:.2f}", f"{one.of_capacity:.0%}", *percentiles),
        )
    console.print(table)
    console.print(
        f"\ncapacity: [bold]{capacity.goodput_per_s:.2f}[/] turns in time a second "
        f"(the highest of those levels at which 95 % were)",
        highlight=False,
    )
    for one in levels:
        if one.is_disturbed and one.harness_late_ms is not None:
            late = f"the callers themselves were {one.harness_late_ms.p95:.0f} ms late (p95)"
            console.print(f"[yellow]{one.name}: {late}: the machine was too busy for that row[/]")
        for failure in one.failures:
            console.print(f"[red]{one.name}: {failure}[/]", soft_wrap=True)
