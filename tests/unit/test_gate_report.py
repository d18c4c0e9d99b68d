"""What a person reads of a run of the gate: every figure by name, its verdict, and what to do."""

import io
import math
from pathlib import Path

import pytest
from rich.console import Console

from voicestack.cli.gate_equality import Difference
from voicestack.cli.gate_report import (
    changed_values,
    show_advice,
    show_differences,
    show_findings,
    title_of,
)
from voicestack.cli.gate_verdict import Finding, Verdict

FINDINGS = [
    Finding("asr.word_errors", Verdict.REGRESSED, 0.06, 0.16, 0.04, 0.16, worst=("b.wav #1",)),
    Finding("llm.first_text_ms.p50", Verdict.NOISE, 120.4, 119.6, -9.6, 8.4, "ms"),
    Finding("v2v.c16.wait_ms.p95", Verdict.REGRESSED, 900.0, math.inf, math.inf, math.inf, "ms"),
    Finding("v2v.c16.wait_ms.p50", Verdict.SAME, math.inf, math.inf, 0.0, 0.0, "ms"),
    Finding("v2v.c20.missing", Verdict.GONE),
    Finding("tools.one.false_calls", Verdict.TOO_BAD, 0.0, 0.05, 0.0, 0.1, limit=0.0),
    Finding("llm.texts", Verdict.CHANGED, 0.0, 3.0, unit="texts", worst=("a", "b", "c")),
    Finding("tts.word_errors", Verdict.NEW, now=0.5),
]


def console(width: int = 160) -> Console:
    return Console(file=io.StringIO(), width=width)


def text(of: Console) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


def rows(width: int) -> list[str]:
    out = console(width)
    show_findings(out, FINDINGS)
    return [" ".join(line.split()) for line in text(out).splitlines()]


def test_the_table_has_every_figure() -> None:
    found = rows(160)
    assert "accepted now change between verdict" in found[0]
    for row in (
        "asr.word_errors words heard wrongly 6.0% 16.0% +10.0 +4.0 .. +16.0 REGRESSED",
        "llm.first_text_ms.p50 first text, p50 120 ms 120 ms -1 -10 .. +8 within chance",
        "v2v.c16.wait_ms.p95 16 callers: voice to voice, p95 900 ms not in time +inf +inf .. +inf REGRESSED",
        "v2v.c16.wait_ms.p50 16 callers: voice to voice, p50 not in time not in time +0 +0 .. +0 same",
        "v2v.c20.missing 20 callers: never answered - - NOT MEASURED",
        "tools.one.false_calls one offered: called in small talk 0.0% 5.0% +5.0 +0.0 .. +10.0 TOO BAD",
        "tts.word_errors words not understood when spoken - 50.0% new",
    ):
        assert row in found


def test_a_narrow_terminal_has_no_room_for_names() -> None:
    assert any(row.startswith("words heard wrongly 6.0%") for row in rows(110))


def test_every_failure_comes_with_what_to_do() -> None:
    out = console()
    show_advice(out, FINDINGS, Path("gate.json"), Path("run.json"))
    found = text(out)
    assert "REGRESSED words heard wrongly\n    worse: b.wav #1" in found
    assert "the labelled set allows 0.0%" in found
    assert "NOT MEASURED 20 callers: never answered\n    the accepted record has it" in found
    assert found.count("asr: ") == found.count("v2v: ") == found.count("tools: ") == 1
    assert "llm: " not in found
    assert "voicestack gate --accept run.json --record gate.json" in found
    quiet = console()
    show_advice(quiet, FINDINGS[1:2], Path("gate.json"), None)
    assert text(quiet) == ""


@pytest.mark.parametrize(
    ("name", "title"), [("v2v.c1.late", "1 caller: answered too late"), ("x.new", "new")]
)
def test_figures_have_titles(name: str, title: str) -> None:
    assert title_of(name) == title


def test_changed_keys_are_listed() -> None:
    before = {"a": 1, "b": "x", "gone": 1}
    assert changed_values(before, {"a": 1, "b": "y", "new": "z" * 99}) == [
        "b: 'x' -> 'y'",
        "gone: 1 -> None",
        f"new: None -> '{'z' * 56}...",
    ]


def test_answers_that_part_are_shown_where_they_do() -> None:
    out = console()
    show_differences(out, [Difference("what is it #1", 3, "It is a", " dog", " cat")], 20, "llm.slots=1")
    assert "1 of 20 greedy answers differ with llm.slots=1" in text(out)
    assert "what is it #1\n    from token 3: ' dog', there ' cat'; after 'It is a'" in text(out)
