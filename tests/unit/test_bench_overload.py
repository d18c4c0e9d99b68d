"""What does the overload bench count, and as what? Nothing is left out."""

from typing import Any

import pytest

from voicestack.cli.bench_overload_report import level_of, verdict_of
from voicestack.cli.bench_v2v import Outcome, Plan, Turn

SECOND = 1_000_000_000


def turn(wait_ms: float | None = None, *, caller: int = 0, at_s: float = 1.0, **about: Any) -> Turn:
    one = Turn(caller, "a.wav", None, wait_ms=wait_ms, asked_ns=round(at_s * SECOND))
    for name, value in about.items():
        setattr(one, name, value)
    return one


FILLED = [
    {"marks_ms": {"speech_end": 0.0, "filler_sent": 900.0, "first_sent": 1_900.0}, "response_ms": 1_900.0}
]
REFUSED = [{"marks_ms": {"speech_end": 0.0}, "rungs": [{"rung": "refusal"}], "response_ms": None}]


@pytest.mark.parametrize(
    ("asked", "verdict"),
    [
        (turn(840.0), "in_time"),
        (turn(841.0), "late"),
        (turn(None), "missing"),
        (turn(None, late_ms=6_000.0), "late"),
        (turn(920.0, ledgers=FILLED), "declared"),
        (turn(1_600.0, ledgers=FILLED), "late"),
        (turn(700.0, ledgers=REFUSED), "declared"),
        (turn(700.0, ledgers=[{"marks_ms": {"first_sent": 680.0}, "verdict": "met"}]), "in_time"),
        (turn(None, early=True), "early"),
    ],
)
def test_a_turn_is_judged_as_it_was_heard(asked: Turn, verdict: str) -> None:
    assert verdict_of(asked, 800) == verdict


def test_every_turn_of_the_window_counts_and_those_of_the_refused_are_apart() -> None:
    turns = [
        turn(500.0),
        turn(600.0, at_s=2.9),
        turn(None, at_s=2.0),
        turn(950.0, at_s=2.0, ledgers=FILLED),
        turn(500.0, at_s=0.5),  # before the window
        turn(500.0, at_s=3.0),  # after it
        turn(None, caller=1, refused=True),
        turn(None, caller=1, refused=True),
    ]
    plan = Plan(url="", n_callers=2, rate_per_s=1.0)
    level = level_of("1x", plan, Outcome(turns=turns), (SECOND, 3 * SECOND), budget_ms=800, n_shed=3)
    assert (level.n_admitted, level.n_refused, level.n_turns) == (1, 1, 4)
    assert (level.n_in_time, level.n_declared, level.n_late, level.n_missing) == (2, 1, 0, 1)
    assert level.goodput_per_s == 1.0
    assert level.heard_ms is not None
    assert (level.heard_ms.n, level.heard_ms.n_censored) == (4, 1)
    assert level.answered_ms is not None
    assert level.answered_ms.max == 1_900.0
    assert not level.is_in_time
