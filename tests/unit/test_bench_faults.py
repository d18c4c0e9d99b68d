"""What does the bench of faults make of a turn, as it was heard and as the ledger has it?"""

import io
import math
from typing import Any

import pytest
from rich.console import Console

from voicestack.cli.fault_cells import Cell
from voicestack.cli.fault_report import figures_of, found_of, line_of, show
from voicestack.cli.fault_run import CellRun, FaultTurn, is_promise


def ledger(outcome: str = "answered", *rungs: str, **marks_ms: float) -> dict[str, Any]:
    taken = [{"rung": rung, "reason": "late", "at_ms": 1.0} for rung in rungs]
    return {"outcome": outcome, "verdict": "met", "budget_ms": 800, "rungs": taken, "marks_ms": marks_ms}


def turn(heard_ms: float | None, *ledgers: dict[str, Any], early: bool = False) -> FaultTurn:
    return FaultTurn("lasts", "a.wav", heard_ms=heard_ms, early=early, ledgers=list(ledgers))


ANSWERED = turn(600, ledger(first_sent=550))
FILLED = turn(1_400, ledger("answered", "filler", filler_sent=1_350, first_sent=2_850))
REFUSED = turn(700, ledger("refused", "refusal", filler_sent=650))
APOLOGY = turn(600, ledger("failed", first_sent=550))
LATE = turn(1_501, ledger(first_sent=1_450))
SILENT = turn(None)
EARLY = turn(None, ledger(first_sent=5), early=True)


@pytest.mark.parametrize(
    ("one", "result", "answer_ms", "is_dead_air"),
    [
        (ANSWERED, "answered", 600, False),
        (FILLED, "answered", 2_900, False),
        (REFUSED, "declared", None, False),
        (APOLOGY, "missed", None, False),
        (LATE, "answered", 1_501, True),
        (SILENT, "missed", None, True),
        (EARLY, "missed", None, False),
        (
            turn(600, ledger("interrupted", first_sent=5), ledger("refused", "refusal")),
            "answered",
            600,
            False,
        ),
    ],
)
def test_what_became_of_a_turn(
    one: FaultTurn, result: str, answer_ms: float | None, is_dead_air: bool
) -> None:
    assert (one.result, one.answer_ms, one.is_dead_air) == (result, answer_ms, is_dead_air)


def test_only_a_filler_is_a_promise() -> None:
    assert is_promise(ledger("refused", "draft", "filler"))
    assert is_promise(ledger("silent", "filler"))
    assert not is_promise(ledger("refused", "filler", "refusal"))
    assert not is_promise(ledger("answered", "filler"))
    assert not is_promise({})


def test_what_was_not_heard_is_later_than_all_that_was() -> None:
    found = figures_of([ANSWERED, FILLED, REFUSED, SILENT, EARLY])
    assert (found["n"], found["n_early"], found["n_dead_air"], found["n_missed"]) == (5, 1, 1, 2)
    assert found["first_sound_ms"].n == 4
    assert found["first_sound_ms"].p50 == 700
    assert math.isinf(found["first_sound_ms"].max)
    assert (found["answer_ms"].n, found["answer_ms"].n_censored) == (4, 2)
    assert dict(found["rungs"]) == {"filler": 1, "refusal": 1}
    assert found["n_without_record"] == 1


def test_a_cell_counts_the_turns_in_which_the_stage_failed() -> None:
    before, after = FaultTurn("before", "a.wav", heard_ms=500.0), FaultTurn("after", "a.wav", heard_ms=500.0)
    failing = CellRun(Cell("llm", "stuck"), [before, REFUSED, after])
    assert failing.during() == [REFUSED]
    assert not failing.is_recovered
    after.ledgers.append(ledger(first_sent=450))
    assert failing.is_recovered
    assert len(CellRun(Cell("llm", "none"), [before, REFUSED, after]).during()) == 3


def test_the_table_has_every_cell_every_stage_and_the_whole() -> None:
    matrix = {
        "off": [CellRun(Cell("llm", "stuck"), [SILENT], failure="hung up"), CellRun(Cell("llm", "none"))],
        "on": [CellRun(Cell("llm", "stuck"), [REFUSED]), CellRun(Cell("tts", "cut"), [FILLED])],
    }
    out = io.StringIO()
    show(Console(file=out, width=80), matrix, 8_000)
    said = out.getvalue()
    for wanted in (
        "llm.stuck",
        "tts.cut",
        "llm.none",
        "all faults",
        "> 8000",
        "refusal 1",
        "off llm.stuck: hung up",
    ):
        assert wanted in said
    assert "NOT RECOVERED" in line_of(matrix["on"][0], "on")
    found = found_of(matrix)
    assert found["off"]["all"]["n_dead_air"] == 1
    assert found["on"]["all"]["n_dead_air"] == 0
    assert found["on"]["cells"]["tts.cut"]["turns"][0]["answer_ms"] == 2_900
    assert found["on"]["stages"]["tts"]["n_answered"] == 1
