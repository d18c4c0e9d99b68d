"""What does the matrix of faults look like, for a person and for a program?"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from voicestack.cli.bench_report import DISTURBED_MS, format_ms
from voicestack.cli.bench_stats import Summary, summarise
from voicestack.cli.fault_cells import STAGES
from voicestack.cli.fault_run import CellRun, FaultTurn, turns_of

_COLUMNS = (
    *("fault", "ladder", "turns", "sound p50", "p95", "p99", "answer p50", "p95", "p99"),
    *("dead air", "missed", "answered", "gaps ms", "recovered", "rungs"),
)
_WIDTH = 180
"""A table that is cut off to fit into a narrow terminal says nothing."""
Matrix = Mapping[str, Sequence[CellRun]]
"""The cells' runs, by the state of the ladder: `off`, `on`, `spare`."""


def figures_of(turns: Sequence[FaultTurn]) -> dict[str, Any]:
    """What some turns come to. What was never heard counts as later than all that was."""
    heard = [turn.heard_ms for turn in turns if turn.heard_ms is not None and not turn.early]
    answers = [turn.answer_ms for turn in turns if turn.answer_ms is not None]
    n_early = sum(turn.early for turn in turns)
    budgets = [turn.budget_ms for turn in turns if turn.budget_ms is not None]
    return {
        "n": len(turns),
        "first_sound_ms": summarise(heard, n_censored=len(turns) - n_early - len(heard)),
        "answer_ms": summarise(answers, n_censored=len(turns) - n_early - len(answers)),
        "n_early": n_early,
        "n_dead_air": sum(turn.is_dead_air for turn in turns),
        "n_missed": sum(turn.result == "missed" for turn in turns),
        "n_answered": sum(turn.is_answered for turn in turns),
        "n_without_record": sum(not turn.ledgers for turn in turns),
        "gap_ms": sum(turn.gap_ms for turn in turns),
        "verdicts": Counter(str(ledger.get("verdict")) for turn in turns for ledger in turn.ledgers),
        "outcomes": Counter(str(ledger.get("outcome")) for turn in turns for ledger in turn.ledgers),
        "rungs": Counter(rung for turn in turns for rung in turn.rungs),
        "budget_ms": max(budgets, default=None),
        "n_disturbed": sum(turn.harness_late_ms > DISTURBED_MS for turn in turns),
    }


def found_of(matrix: Matrix) -> dict[str, Any]:
    """Everything that is worth keeping."""
    return {
        ladder: {
            "cells": {
                run.cell.name: {
                    **figures_of(run.during()),
                    "recovered": run.is_recovered,
                    "failure": run.failure,
                    "turns": [_told(turn) for turn in run.turns],
                }
                for run in runs
            },
            "stages": {stage: figures_of(turns_of(_of(runs, stage))) for stage in STAGES},
            "all": figures_of(turns_of(run for run in runs if run.cell.kind != "none")),
        }
        for ladder, runs in matrix.items()
    }


def show(console: Console, matrix: Matrix, timeout_ms: int) -> None:
    """Print a row per cell and state of the ladder, a row per stage, and the whole."""
    table = Table(title="Milliseconds as heard on the waveform", title_justify="left", box=MARKDOWN)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in ("fault", "ladder", "rungs") else "right")
    names = list(dict.fromkeys(run.cell.name for runs in matrix.values() for run in runs))
    for name in names:
        for ladder, runs in matrix.items():
            for run in (one for one in runs if one.cell.name == name):
                table.add_row(name, ladder, *_cells(run.during(), timeout_ms, [run]))
    for stage in (*STAGES, ""):
        for ladder, runs in matrix.items():
            chosen = _of(runs, stage)
            if chosen:
                table.add_row(
                    f"[bold]{stage or 'all faults'}[/]", ladder, *_cells(turns_of(chosen), timeout_ms, chosen)
                )
    Console(file=console.file, width=max(console.width, _WIDTH)).print(table)
    for ladder, runs in matrix.items():
        for run in runs:
            if run.failure:
                console.print(f"[red]{ladder} {run.cell.name}: {run.failure}[/]", soft_wrap=True)


def line_of(run: CellRun, ladder: str) -> str:
    """One cell, as soon as it is over."""
    turns = "; ".join(
        f"{'-' if turn.heard_ms is None else round(turn.heard_ms)} {turn.result}"
        + (f" ({'+'.join(turn.rungs)})" if turn.rungs else "")
        for turn in run.during()
    )
    return f"{ladder:<6}{run.cell.name:<15}{turns}{'' if run.is_recovered else '; NOT RECOVERED'}"


def _of(runs: Sequence[CellRun], stage: str) -> list[CellRun]:
    """The faults of a stage; empty: of all."""
    return [run for run in runs if run.cell.kind != "none" and stage in ("", run.cell.stage)]


def _cells(turns: Sequence[FaultTurn], timeout_ms: int, runs: Sequence[CellRun]) -> list[str]:
    found = figures_of(turns)
    sound, answer = found["first_sound_ms"], found["answer_ms"]
    rungs = ", ".join(f"{name} {n}" for name, n in found["rungs"].most_common())
    return [
        str(found["n"]),
        *(_ms(sound, share, timeout_ms) for share in ("p50", "p95", "p99")),
        *(_ms(answer, share, timeout_ms) for share in ("p50", "p95", "p99")),
        *(str(found[key]) for key in ("n_dead_air", "n_missed", "n_answered")),
        f"{found['gap_ms']:.0f}",
        f"{sum(run.is_recovered for run in runs)}/{len(runs)}",
        rungs or "-",
    ]


def _ms(summary: Summary | None, share: str, timeout_ms: int) -> str:
    return "-" if summary is None else format_ms(getattr(summary, share), timeout_ms)


def _told(turn: FaultTurn) -> dict[str, Any]:
    return {**asdict(turn), "answer_ms": turn.answer_ms, "result": turn.result, "dead_air": turn.is_dead_air}
