"""What does a run of the gate say to a person? Each figure with its verdict, and what to do."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voicestack.cli.gate_equality import Difference
from voicestack.cli.gate_record import Record
from voicestack.cli.gate_verdict import Finding, Verdict

TITLES = {
    "asr.word_errors": "words heard wrongly",
    "llm.wrong_answers": "answers without what they must say",
    "llm.texts": "greedy answers that are not word for word the same",
    "llm.first_text_ms": "first text",
    "llm.first_clause_ms": "first clause",
    "llm.word_ms": "each word after that",
    "tts.word_errors": "words not understood when spoken",
    "tts.first_audio_ms": "first audio",
    "wrong_function": "wrong function, or none",
    "wrong_call": "wrong function or arguments",
    "invalid": "arguments against the schema",
    "false_calls": "called in small talk",
    "wait_ms": "voice to voice",
    "missing": "never answered",
    "late": "answered too late",
    "cut_off": "cut off before the user had finished",
    "refused": "refused for lack of room",
}
ADVICE = {
    "asr": "--verbose prints what was heard, `voicestack bench wer` how it is heard in calls",
    "llm": "--verbose prints the answers: look at them before you accept fewer right ones",
    "tools": "`voicestack bench tools --verbose` shows each call",
    "tts": "listen to it (`voicestack talk --out DIR`); --ear takes another recogniser",
    "v2v": "`voicestack bench v2v` shows which stage takes longer; measure again on a quiet machine",
}
STYLES = {
    Verdict.REGRESSED: "bold red",
    Verdict.TOO_BAD: "bold red",
    Verdict.GONE: "bold red",
    Verdict.BETTER: "green",
    Verdict.CHANGED: "yellow",
    Verdict.TOLERATED: "yellow",
    Verdict.ELSEWHERE: "yellow",
}
_SHOWN_CHARS = 60
_WIDE = 130
"""Columns from which there is room for the figures' own names, which limits are set by."""


def title_of(name: str) -> str:
    """A figure's name in words."""
    parts = name.split(".")
    share = f", {parts.pop()}" if parts[-1] in ("p50", "p95") else ""
    words = TITLES.get(".".join(parts)) or TITLES.get(parts[-1], parts[-1])
    where = {"tools": f"{parts[1]} offered: ", "v2v": _callers(parts[1])}.get(parts[0], "")
    return f"{where}{words}{share}"


def _callers(level: str) -> str:
    return "1 caller: " if level == "c1" else f"{level.removeprefix('c')} callers: "


def show_findings(console: Console, findings: Iterable[Finding]) -> None:
    """Print the table."""
    is_wide = console.width >= _WIDE
    table = Table(box=None, pad_edge=False)
    if is_wide:
        table.add_column("", no_wrap=True)
    table.add_column("")
    for name in ("accepted", "now", "change", "between"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    above = ""
    for one in findings:
        if (part := one.name.split(".")[0]) != above and above:
            table.add_row()
        above = part
        table.add_row(
            *([Text(one.name, "dim")] if is_wide else []),
            title_of(one.name),
            *(_value(one.accepted, one.unit), _value(one.now, one.unit)),
            *(_change(one), _between(one)),
            Text(one.verdict.value, STYLES.get(one.verdict, "")),
        )
    console.print(table)


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "ms":
        return "not in time" if math.isinf(value) else f"{value:.0f} ms"
    return f"{value:.0f}" if unit == "texts" else f"{value:.1%}"


def _signed(value: float, unit: str) -> str:
    if math.isinf(value):
        return "+inf" if value > 0 else "-inf"
    shown = round(value) if unit == "ms" else round(value * 100, 1)
    return f"{shown + 0.0:+.0f}" if unit == "ms" else f"{shown + 0.0:+.1f}"  # -0.0 + 0.0 is 0.0


def _change(one: Finding) -> str:
    if one.accepted is None or one.now is None or one.unit == "texts":
        return ""
    if math.isinf(one.accepted) and math.isinf(one.now):
        return "+0"
    return _signed(one.now - one.accepted, one.unit)


def _between(one: Finding) -> str:
    if one.low is None or one.high is None or one.unit == "texts":
        return ""
    return f"{_signed(one.low, one.unit)} .. {_signed(one.high, one.unit)}"


def show_advice(console: Console, findings: Sequence[Finding], record: Path, out: Path | None) -> None:
    """Print what to do about what fails."""
    failing = [one for one in findings if one.fails]
    for one in failing:
        console.print(f"[bold red]{one.verdict.value}[/] {title_of(one.name)}", highlight=False)
        if one.limit is not None:
            console.print(f"    the labelled set allows {one.limit:.1%}", highlight=False)
        for key in one.worst:
            console.print(Text(f"    worse: {key}"), soft_wrap=True)
        if one.verdict is Verdict.GONE:
            console.print("    the accepted record has it: measure it too, or accept a new record")
    for part in dict.fromkeys(one.name.split(".")[0] for one in failing):
        console.print(Text(f"  {part}: {ADVICE[part]}"), soft_wrap=True)
    if failing:
        again = f"voicestack gate --accept {out or ''}".rstrip()
        advice = f"  Undo the change, or, if this is what you want: {again} --record {record}"
        console.print(Text(advice), soft_wrap=True)


def show_changes(console: Console, accepted: Record, now: Record) -> None:
    """Print what is not as it was when the record was accepted: the configuration, the machine, the code."""
    commit = accepted.commit or f"version {accepted.version}"
    console.print(f"Accepted {accepted.day}, {commit}, set '{accepted.labelled}'", highlight=False)
    for line in changed_values(accepted.config, now.config):
        console.print(Text(f"  {line}"), soft_wrap=True)
    if not accepted.machine.is_like(now.machine):
        console.print(
            f"[yellow]  another machine: {_machine(accepted)}, now {_machine(now)}. Times and what happens "
            "under load are not compared (--strict lets them fail)[/]",
            highlight=False,
            soft_wrap=True,
        )
    for when, record in (("then", accepted), ("now", now)):
        busy = record.details.get("load_average_before", 0.0)
        if busy > record.machine.n_cores / 2:
            console.print(
                f"[yellow]  the machine was busy {when}: load average {busy:.1f}[/]", highlight=False
            )
    if accepted.quick or now.quick:
        console.print("  a quick run: only what both runs have is compared")


def show_changed_texts(console: Console, accepted: Record, now: Record, n_most: int | None) -> None:
    """Print greedy answers that are not word for word what they were, `n_most` of them; None for all."""
    both = [key for key in now.texts if key in accepted.texts]
    changed = [key for key in both if now.texts[key] != accepted.texts[key]]
    for key in changed[:n_most]:
        console.print(Text(f"  {key}", "yellow"), soft_wrap=True)
        console.print(Text(f"    {accepted.texts[key]!r} -> {now.texts[key]!r}"), soft_wrap=True)
    if n_most is not None and len(changed) > n_most:
        console.print(f"  ... and {len(changed) - n_most} more (--verbose)", highlight=False)


def changed_values(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One line for each key that has another value."""
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return [f"{key}: {_short(before.get(key))} -> {_short(now.get(key))}" for key in keys]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."


def _machine(record: Record) -> str:
    machine = record.machine
    gpus = f", {', '.join(machine.gpus)}" if machine.gpus else ""
    return f"{machine.n_cores} x {machine.processor}{gpus}"


def show_differences(console: Console, differences: Sequence[Difference], n_compared: int, what: str) -> None:
    """Print where greedy answers part."""
    if not differences:
        console.print(f"[green]{n_compared} greedy answers are the same with {what}[/]", highlight=False)
        return
    console.print(
        f"[bold red]{len(differences)} of {n_compared} greedy answers differ with {what}[/]", highlight=False
    )
    for one in differences:
        console.print(Text(f"  {one.key}"), soft_wrap=True)
        console.print(
            Text(f"    from token {one.at_token}: {one.here!r}, there {one.there!r}; after {one.before!r}"),
            soft_wrap=True,
        )
