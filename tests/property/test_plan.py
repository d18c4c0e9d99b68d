"""Whatever is forecast: does the planner take a rung that is in time if there is one, and keep to it?"""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.core.budget import Budget
from voicestack.core.rungs import Forecast, Rung
from voicestack.turn.plan import MIN_LOOK_MS, Choice, filler_due_in_ms, look_again_in_ms, plan

ms = st.integers(0, 20).map(lambda n: 50.0 * n)  # few values, so that much is equal and much is close
remaining = st.integers(-5, 41).map(lambda n: 25.0 * n)
rungs = st.sampled_from(list(Rung))
answers = st.sampled_from([rung for rung in Rung if rung.is_answer])
currents = st.none() | rungs


@st.composite
def forecast(draw: st.DrawFn) -> Forecast:
    """The 50th percentile is not above the 95th."""
    p50_ms, p95_ms = sorted((draw(ms), draw(ms)))
    return Forecast(draw(rungs), p50_ms, p95_ms, draw(st.sampled_from(["", "a", "b"])))


forecasts = st.lists(forecast(), max_size=5).map(tuple)
budgets = st.builds(
    Budget,
    turn_ms=st.sampled_from([200.0, 800.0, 1_500.0]),
    rungs=st.just(frozenset(Rung)) | st.frozensets(rungs),
    enforced=st.booleans(),
    hysteresis_ratio=st.sampled_from([0.0, 0.1, 0.25, 1.0]),
)


thorough = settings(max_examples=400)


def usable(offered: tuple[Forecast, ...], budget: Budget) -> list[Forecast]:
    return [one for one in offered if one.rung.is_answer and budget.allows(one.rung)]


@thorough
@given(remaining, forecasts, budgets, currents)
def test_a_rung_that_is_in_time_is_taken_if_there_is_one(
    left_ms: float, offered: tuple[Forecast, ...], budget: Budget, current: Rung | None
) -> None:
    choice = plan(left_ms, offered, budget, current)
    if any(one.p95_ms <= left_ms for one in usable(offered, budget)):
        assert choice.forecast is not None
        assert choice.forecast.p95_ms <= left_ms
        assert choice.in_time
        assert choice.say is None


@given(remaining, forecasts, budgets)
def test_it_is_the_first_that_is_in_time(
    left_ms: float, offered: tuple[Forecast, ...], budget: Budget
) -> None:
    in_time = [one.rung.place for one in usable(offered, budget) if one.p95_ms <= left_ms]
    if in_time:
        assert plan(left_ms, offered, budget).rung.place == min(in_time)


@given(remaining, forecasts, budgets, currents)
def test_if_none_is_in_time_none_is_safer_but_for_much_more_speed(
    left_ms: float, offered: tuple[Forecast, ...], budget: Budget, current: Rung | None
) -> None:
    choice, ways = plan(left_ms, offered, budget), usable(offered, budget)
    if ways and all(one.p95_ms > left_ms for one in ways):
        assert choice.forecast is not None
        assert not choice.in_time
        assert choice.say is not None or not budget.allows(Rung.FILLER)
        safest = min(ways, key=lambda one: (one.p95_ms, one.rung.place))
        spare_ms = budget.hysteresis_ratio * budget.turn_ms
        is_safest = choice.forecast.p95_ms == safest.p95_ms
        assert is_safest or choice.forecast.p50_ms + spare_ms < safest.p50_ms


@thorough
@given(remaining, forecasts, budgets, currents)
def test_what_is_put_off_is_in_time_all_the_same(
    left_ms: float, offered: tuple[Forecast, ...], budget: Budget, current: Rung | None
) -> None:
    choice = plan(left_ms, offered, budget, current)
    assert choice.take_in_ms >= 0
    if choice.take_in_ms:
        assert choice.in_time
        assert choice.forecast is not None
        assert choice.forecast.p95_ms <= left_ms - choice.take_in_ms
        assert look_again_in_ms(left_ms, offered, budget, choice) <= max(MIN_LOOK_MS, choice.take_in_ms)
        assert current is not None
        assert current is not choice.rung
        under_way = [one for one in usable(offered, budget) if one.rung is current]
        assert min(one.p50_ms for one in under_way) <= left_ms


@thorough
@given(remaining, remaining, forecasts, budgets, currents)
def test_more_time_never_gives_a_worse_rung(
    one_ms: float, other_ms: float, offered: tuple[Forecast, ...], budget: Budget, current: Rung | None
) -> None:
    less = plan(min(one_ms, other_ms), offered, budget, current)
    more = plan(max(one_ms, other_ms), offered, budget, current)
    assert more.rung.place <= less.rung.place


@given(remaining, forecasts, budgets, currents)
def test_what_is_chosen_gives_an_answer_and_may_be_taken(
    left_ms: float, offered: tuple[Forecast, ...], budget: Budget, current: Rung | None
) -> None:
    choice = plan(left_ms, offered, budget, current)
    assert choice.rung.is_answer
    if choice.forecast is not None:
        assert budget.allows(choice.rung)
        assert choice.forecast in offered
        assert choice.in_time == (choice.forecast.p95_ms <= left_ms)
    if choice.say is not None:
        assert not choice.in_time
        assert budget.allows(choice.say)
        assert not choice.say.is_answer


@thorough
@given(remaining, forecasts, budgets, currents)
def test_the_same_again_changes_nothing(
    left_ms: float, offered: tuple[Forecast, ...], budget: Budget, current: Rung | None
) -> None:
    choice = plan(left_ms, offered, budget, current)
    assert plan(left_ms, offered, budget, choice.rung) == replace(choice, take_in_ms=0.0)


@given(
    st.lists(st.floats(0, 0.999), min_size=2, max_size=30),
    remaining,
    forecasts,
    budgets.filter(lambda budget: budget.hysteresis_ratio > 0.01),
)
def test_small_changes_of_what_is_left_bring_no_rung_back(
    jitter: list[float], least_ms: float, offered: tuple[Forecast, ...], budget: Budget
) -> None:
    """What is left wanders by less than the hysteresis: a rung that was left for a worse one stays left."""
    spare_ms = budget.hysteresis_ratio * budget.turn_ms
    current, chosen = None, list[Rung]()
    for part in jitter:
        current = plan(least_ms + part * spare_ms, offered, budget, current).rung
        chosen.append(current)
    left = set[Rung]()
    for before, after in pairwise(chosen):
        assert after not in left
        if after is not before:
            left.add(before)


@given(remaining, forecasts, budgets, currents, st.floats(0.01, 0.99))
def test_nothing_is_lost_before_it_is_asked_again(
    left_ms: float, offered: tuple[Forecast, ...], budget: Budget, current: Rung | None, part: float
) -> None:
    """Until then the choice is in time even if nothing came of it, and so is each worse rung that was."""
    choice = plan(left_ms, offered, budget, current)
    look_ms = look_again_in_ms(left_ms, offered, budget, choice)
    assert look_ms >= MIN_LOOK_MS
    if look_ms == MIN_LOOK_MS:
        return
    later_ms = left_ms - min(part * look_ms, 10_000)
    for one in usable(offered, budget):
        if one.rung.place >= choice.rung.place and one.p95_ms <= left_ms:
            quickest_ms = min(each.p95_ms for each in usable(offered, budget) if each.rung is one.rung)
            assert quickest_ms <= later_ms
    if choice.in_time:
        assert plan(later_ms, offered, budget, choice.rung).rung is choice.rung


@given(remaining, budgets, ms, st.none() | st.builds(Choice, answers, forecast()))
def test_a_filler_that_is_begun_when_it_is_due_is_audible_in_time(
    left_ms: float, budget: Budget, filler_ms: float, choice: Choice | None
) -> None:
    due_ms = filler_due_in_ms(left_ms, budget, filler_ms, choice)
    say_in_ms = left_ms + budget.say_by_ms - budget.turn_ms
    assert due_ms >= 0
    assert due_ms == 0 or due_ms + filler_ms <= say_in_ms + 1e-6
