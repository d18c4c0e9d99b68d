"""What does a voice-to-voice run come to, for a person and for a program?

`figures` is the JSON: milliseconds throughout, `null` for a percentile that lies among the missing answers.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from voicestack.cli.bench_stats import Summary, WordErrors, summarise
from voicestack.cli.bench_v2v import Outcome, Plan
from voicestack.cli.waterfall import Ledger, read_ledger

DISTURBED_MS = 20.0
"""A turn in which the bench itself was a frame late, or more, does not speak of the server alone."""

_COLUMNS = ("n", "p50", "p90", "p95", "p99", "max")


def figures(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """Everything that is worth keeping of a run."""
    turns = outcome.turns
    n_missing = sum(turn.missing for turn in turns)
    waits = [turn.wait_ms for turn in turns if turn.wait_ms is not None]
    errors = sum((turn.errors for turn in turns), start=WordErrors())
    stops = [cut.stop_ms for cut in outcome.interruptions if cut.stop_ms is not None]
    return {
        "plan": asdict(plan),
        "n_turns": len(turns),
        "voice_to_voice_ms": summarise(waits, n_censored=n_missing),
        "n_missing": n_missing,
        "n_refused": sum(turn.refused for turn in turns),
        "n_early": sum(turn.early for turn in turns),
        "n_split": sum(turn.n_utterances > 1 for turn in turns),
        "n_turns_with_gaps": sum(turn.gap_ms > 0 for turn in turns),
        "gap_ms": sum(turn.gap_ms for turn in turns),
        "word_error_rate": errors.rate,
        "n_word_errors": errors.n_errors,
        "n_words": errors.n_words,
        "barge_in_stop_ms": summarise(stops),
        "barge_in_decision_ms": None,
        "n_interruptions": len(outcome.interruptions),
        "n_interruptions_not_counted": len(outcome.interruptions) - len(stops),
        "server": _server_side(read_ledger(one) for turn in turns for one in turn.ledgers),
        "harness_late_ms": summarise(outcome.late_ms),
        "n_disturbed": sum(turn.harness_late_ms > DISTURBED_MS for turn in turns),
        "connect_ms": summarise(outcome.connect_ms),
        "failures": outcome.failures,
        "server_errors": outcome.server_errors,
        "turns": turns,
        "interruptions": outcome.interruptions,
    }


def _server_side(ledgers: Iterable[Ledger]) -> dict[str, Any]:
    """What the server's own ledgers add up to."""
    every = list(ledgers)
    answered = [one for one in every if one.response_ms is not None]
    work_ms = sum(one.work_ms for one in answered)
    stages: dict[str, list[float]] = {}
    for one in answered:
        for stage in one.stages:
            stages.setdefault(stage.stage, []).append(stage.duration_ms)
    return {
        "n_ledgers": len(every),
        "n_drafted": sum(one.drafted for one in answered),
        "n_interrupted": sum(one.interrupted for one in every),
        "response_ms": summarise(one.response_ms for one in answered if one.response_ms is not None),
        "work_ms": summarise(one.work_ms for one in answered),
        "hidden_share": sum(one.hidden_ms for one in answered) / work_ms if work_ms else None,
        "stages_ms": {name: summarise(durations) for name, durations in stages.items()},
    }


def show(console: Console, run: Mapping[str, Any]) -> None:
    """Print a run's figures as tables."""
    limit_ms = run["plan"]["timeout_ms"]
    table = Table(title="Milliseconds", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    _row(table, "[bold]voice to voice, on the waveform[/]", run["voice_to_voice_ms"], limit_ms)
    _row(table, "barge-in until silence", run["barge_in_stop_ms"], limit_ms)
    server = run["server"]
    _row(table, "server: last speech to first sent", server["response_ms"], limit_ms)
    for name, summary in server["stages_ms"].items():
        _row(table, f"  {name}", summary, limit_ms)
    _row(table, "server: work on the answer", server["work_ms"], limit_ms)
    _row(table, "[dim]harness: frames sent late[/]", run["harness_late_ms"], limit_ms)
    console.print(table)
    console.print()
    for line in _sentences(run):
        console.print(line, highlight=False, soft_wrap=True)


def _row(table: Table, name: str, summary: Summary | None, limit_ms: int) -> None:
    if summary is None:
        return
    cells = [getattr(summary, column) for column in _COLUMNS[1:]]
    table.add_row(name, str(summary.n), *(format_ms(cell, limit_ms) for cell in cells))


def format_ms(value: float, limit_ms: int) -> str:
    """A figure of a table; what lies among the missing is "> limit"."""
    if math.isinf(value):
        return f"> {limit_ms}"
    return f"{value:.1f}" if abs(value) < 10 else f"{value:.0f}"


def _sentences(run: Mapping[str, Any]) -> list[str]:
    n_turns = run["n_turns"]
    server = run["server"]
    lines = [
        f"{n_turns} turns: [bold]{run['n_missing']}[/] missing answers, "
        f"[bold]{run['n_early']}[/] false cut-offs (the agent was heard before the user had finished), "
        f"{run['n_split']} taken for more than one utterance, "
        f"{run['n_turns_with_gaps']} answers with gaps ({run['gap_ms']:.0f} ms in all)"
    ]
    if run["n_refused"]:
        lines.append(f"{run['n_refused']} of the missing answers: the server had no room for the call")
    if run["word_error_rate"] is not None:
        lines.append(
            f"words: {run['n_word_errors']} errors in {run['n_words']}, "
            f"word error rate {run['word_error_rate']:.1%}"
        )
    if run["n_interruptions"]:
        lines.append(
            f"interruptions: {run['n_interruptions']}, of which {run['n_interruptions_not_counted']} "
            "found nothing to interrupt"
        )
    if server["hidden_share"] is not None:
        lines.append(
            f"server: {server['hidden_share']:.0%} of the work was hidden under the endpoint decision, "
            f"{server['n_drafted']} of {server['n_ledgers']} answers drafted ahead"
        )
    if run["n_disturbed"]:
        lines.append(
            f"[yellow]{run['n_disturbed']} turns are worse than the server: this machine was so busy that "
            f"the bench itself was more than {DISTURBED_MS:.0f} ms late[/]"
        )
    if (flush := run["barge_in_decision_ms"]) is not None:
        lines.append(
            f"server: from the decision to interrupt to silence p50 {flush['p50']:.2f} ms, "
            f"p95 {flush['p95']:.2f} ms"
        )
    lines += [f"[red]{failure}[/]" for failure in run["failures"]]
    lines += [f"[red]the server reports: {error}[/]" for error in run["server_errors"]]
    return lines
