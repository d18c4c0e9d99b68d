"""The planner by example: what is done about a turn, when it is asked again, and when something is said."""

import math

import pytest

from voicestack.core.budget import Budget
from voicestack.core.rungs import REASONS, Forecast, Rung
from voicestack.turn.plan import (
    MARGIN_MS,
    MIN_LOOK_MS,
    Choice,
    filler_due_in_ms,
    look_again_in_ms,
    plan,
)

BUDGET = Budget(turn_ms=800, say_by_ms=1_500, give_up_ms=10_000, hysteresis_ratio=0.1)
FULL = Forecast(Rung.FULL, 200, 300)
HEDGE = Forecast(Rung.HEDGE, 150, 220, "b")
SHED = Forecast(Rung.SHED, 90, 120, "eu")
ALL = (FULL, HEDGE, SHED)


def test_nothing_is_given_up_while_there_is_time() -> None:
    assert plan(300, ALL, BUDGET) == Choice(Rung.FULL, FULL)


@pytest.mark.parametrize(("remaining_ms", "rung"), [(299, Rung.HEDGE), (219, Rung.SHED), (120, Rung.SHED)])
def test_the_first_rung_that_is_in_time(remaining_ms: float, rung: Rung) -> None:
    choice = plan(remaining_ms, ALL, BUDGET)
    assert (choice.rung, choice.reason, choice.in_time, choice.say) == (rung, "forecast", True, None)


def test_it_is_taken_when_it_would_be_lost() -> None:
    """Half of the answers are there after 200 ms: worth waiting for, until a hedge would be late."""
    choice = plan(290, ALL, BUDGET, Rung.FULL)
    assert (choice.rung, choice.take_in_ms) == (Rung.HEDGE, 70 - MARGIN_MS)
    assert look_again_in_ms(290, ALL, BUDGET, choice) == 70 - MARGIN_MS
    waited = Forecast(Rung.FULL, 140, 240)
    later = plan(230, (waited, HEDGE, SHED), BUDGET, Rung.FULL)
    assert (later.rung, later.take_in_ms) == (Rung.HEDGE, 0)


def test_it_is_taken_at_once_when_what_is_under_way_is_hopeless() -> None:
    assert plan(190, ALL, BUDGET, Rung.FULL).take_in_ms == 0
    assert plan(290, ALL, BUDGET).take_in_ms == 0  # nothing is under way


def test_a_better_rung_comes_back_with_time_to_spare() -> None:
    assert plan(379, ALL, BUDGET, Rung.SHED).rung is Rung.HEDGE
    assert plan(299, ALL, BUDGET, Rung.SHED).rung is Rung.SHED
    assert plan(380, ALL, BUDGET, Rung.SHED).rung is Rung.FULL


def test_a_better_rung_that_is_quicker_comes_back_at_once() -> None:
    quick = Forecast(Rung.FULL, 50, 100)
    assert plan(130, (quick, SHED), BUDGET, Rung.SHED).rung is Rung.FULL


def test_if_none_is_in_time_something_is_said_meanwhile() -> None:
    choice = plan(100, ALL, BUDGET)
    assert (choice.rung, choice.say, choice.in_time) == (Rung.SHED, Rung.FILLER, False)
    assert plan(-50, ALL, BUDGET).reason == "late"


def test_if_none_is_safe_the_one_that_is_quick_in_most_cases_is_taken() -> None:
    slow, wide = Forecast(Rung.FULL, 850, 900), Forecast(Rung.HEDGE, 100, 910)
    assert plan(800, (slow, wide), BUDGET).rung is Rung.HEDGE
    assert plan(800, (Forecast(Rung.FULL, 170, 900), wide), BUDGET).rung is Rung.FULL


def test_nothing_is_refused_on_a_forecast() -> None:
    """It may be what an outage has left behind: whoever is never asked again is never known to be well."""
    stuck = (Forecast(Rung.FULL, 19_200, 40_000),)
    assert plan(300, stuck, BUDGET).say is Rung.FILLER
    assert plan(300, stuck, Budget(rungs=frozenset({Rung.REFUSAL}))).say is None


def test_if_nothing_is_in_time_nothing_can_be_lost() -> None:
    slow = (Forecast(Rung.FULL, 5_000, 9_000),)
    assert look_again_in_ms(300, slow, BUDGET, plan(300, slow, BUDGET)) == math.inf


def test_it_is_asked_again_before_any_rung_is_lost() -> None:
    assert look_again_in_ms(500, ALL, BUDGET, plan(500, ALL, BUDGET)) == 200 - MARGIN_MS
    late = (FULL, Forecast(Rung.SHED, 400, 450))
    assert look_again_in_ms(500, late, BUDGET, plan(500, late, BUDGET)) == 50 - MARGIN_MS
    assert look_again_in_ms(301, ALL, BUDGET, plan(301, ALL, BUDGET)) == MIN_LOOK_MS


def test_nothing_is_done_about_turns_that_are_only_measured() -> None:
    choice = plan(100, ALL, Budget(enforced=False))
    assert (choice.rung, choice.say, choice.reason) == (Rung.FULL, None, "")


def test_nobody_knows() -> None:
    assert plan(100, (), BUDGET, Rung.HEDGE) == Choice(Rung.HEDGE)
    assert plan(100, (), BUDGET, Rung.FILLER) == Choice(Rung.FULL)
    assert look_again_in_ms(100, (), BUDGET, Choice(Rung.FULL)) == math.inf


def test_a_filler_is_said_at_the_last_instant() -> None:
    assert filler_due_in_ms(800, BUDGET, 40) == 1_500 - 40
    assert filler_due_in_ms(-690, BUDGET, 40) == 0
    assert filler_due_in_ms(300, BUDGET, 40, plan(300, ALL, BUDGET)) == 1_000 - 40


def test_a_filler_is_said_in_time_when_the_answer_will_come_too_late_for_anything_else() -> None:
    slow = plan(300, (Forecast(Rung.FULL, 1_100, 2_000),), BUDGET)
    assert filler_due_in_ms(300, BUDGET, 40, slow) == 300 - 40
    assert filler_due_in_ms(-20, BUDGET, 40, slow) == 0


def test_reasons_are_those_that_programs_know() -> None:
    assert {plan(ms, ALL, BUDGET).reason for ms in (-10, 100, 250)} <= set(REASONS)
