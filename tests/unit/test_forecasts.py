"""When is the first sound of an answer forecast, by each way in which it could be made?"""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.support.hand_clock import HandClock
from voicestack.core.budget import Budget
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.rungs import Forecast, Rung
from voicestack.fleet.forecasts import MAX_TIMES, SketchForecaster
from voicestack.fleet.ways import OneWay, Way, Ways
from voicestack.ports import LlmRequest, Measured

REQUEST = LlmRequest(SessionId("sess_1"), TurnId(1), (Message("user", "hi"),))
BUDGET = Budget(shares_ms={"asr": 50, "llm": 100, "tts": 80})


class Choices:
    """Satisfies `Ways`: what a test says."""

    def __init__(self, *ways: Way) -> None:
        self.now, self.n = ways, 0

    def ways(self, request: LlmRequest) -> Sequence[Way]:
        return self.now

    def n_in_flight(self, replica: str) -> int:
        return self.n


def forecaster(ways: Ways | None = None) -> SketchForecaster:
    return SketchForecaster(HandClock(), ways or OneWay(), BUDGET)


def measured(*ways: Way, n: int = 40) -> SketchForecaster:
    """Stages took 100 (replica `a`), 300 (`b`), 40 and 20 ms so far, always."""
    made = forecaster(Choices(*ways))
    for _ in range(n):
        made.observe("llm", "a", 100)
        made.observe("llm", "b", 300)
        made.observe("clause", "a", 40)
        made.observe("clause", "b", 40)
        made.observe("tts", "voice", 20)
    return made


def by_rung(forecasts: Sequence[Forecast]) -> dict[Rung, tuple[float, float]]:
    return {one.rung: (one.p50_ms, one.p95_ms) for one in forecasts}


def test_before_anything_was_measured_the_budget_is_supposed_to_be_right() -> None:
    full, short = forecaster().forecasts(REQUEST, None)
    assert (full.rung, short.rung) == (Rung.FULL, Rung.SHORT_CLAUSE)
    assert full.p50_ms == 100 + 40 + 40
    assert full.p50_ms < full.p95_ms <= 2 * full.p50_ms
    assert short.p95_ms < full.p95_ms


def test_stages_add_up_and_a_short_clause_takes_half_of_its_time() -> None:
    of = by_rung(measured(Way(Rung.FULL, "a")).forecasts(REQUEST, None))
    assert of == {Rung.FULL: (160, 160), Rung.SHORT_CLAUSE: (140, 140)}


def test_each_way_has_the_times_of_its_replica_and_what_comes_on_top() -> None:
    ways = (
        Way(Rung.FULL, "a"),
        Way(Rung.SHED, "b", extra_ms=70),
        Way(Rung.CACHED, "cache", extra_ms=1, stages=("tts",)),
        Way(Rung.SMALL_OPENER, "never seen"),
    )
    of = by_rung(measured(*ways).forecasts(REQUEST, None))
    assert of[Rung.SHED] == (430, 430)
    assert of[Rung.CACHED] == (21, 21)
    assert 160 <= of[Rung.SMALL_OPENER][0] <= of[Rung.SMALL_OPENER][1] <= 360  # as all replicas together


def test_spreads_add_up_in_squares() -> None:
    made = forecaster(Choices(Way(Rung.FULL)))
    for value in range(1, 101):
        for stage in ("llm", "clause", "tts"):
            made.observe(stage, "", value)
    full = made.forecasts(REQUEST, None)[0]
    assert full.p50_ms == pytest.approx(150, abs=5)
    assert full.p95_ms == pytest.approx(150 + 3**0.5 * 46, abs=5)


def test_only_what_is_under_way_has_been_waited_for() -> None:
    made = measured(Way(Rung.FULL, "a"), Way(Rung.SHED, "b"))
    of = by_rung(made.forecasts(REQUEST, 60))
    assert of[Rung.FULL] == (100, 100)
    assert of[Rung.SHORT_CLAUSE] == (80, 80)
    assert of[Rung.SHED] == (360, 360)
    of = by_rung(made.forecasts(replace(REQUEST, rung=Rung.SHORT_CLAUSE), 60))
    assert of == {Rung.SHORT_CLAUSE: (80, 80), Rung.SHED: (360, 360)}
    of = by_rung(made.forecasts(replace(REQUEST, rung=Rung.DRAFT), 60))
    assert of[Rung.DRAFT] == (100, 100)


def test_what_was_given_up_is_not_taken_back() -> None:
    made = measured(Way(Rung.FULL, "a"), Way(Rung.SHED, "b"))
    assert by_rung(made.forecasts(replace(REQUEST, rung=Rung.SHED), 60)) == {Rung.SHED: (300, 300)}


def test_the_longer_nothing_comes_the_later_it_is_forecast() -> None:
    made = measured(Way(Rung.FULL, "a"), Way(Rung.SHED, "b"))
    of = by_rung(made.forecasts(REQUEST, 500))
    assert of[Rung.FULL] == (560, 560)
    assert of[Rung.SHED] == (360, 360)


def test_of_a_hedge_whoever_is_first_counts() -> None:
    made = measured(Way(Rung.FULL, "b"), Way(Rung.HEDGE, "a"))
    of = by_rung(made.forecasts(REQUEST, 50))
    assert of[Rung.FULL] == (310, 310)
    assert of[Rung.HEDGE][1] == pytest.approx(160, abs=1)
    of = by_rung(made.forecasts(REQUEST, 290))
    assert of[Rung.HEDGE][1] == pytest.approx(70, abs=1)  # the one that was asked is nearly there
    of = by_rung(made.forecasts(replace(REQUEST, rung=Rung.HEDGE), 40))
    assert of == {Rung.HEDGE: (120, 120)}


def test_a_short_clause_tells_what_a_whole_one_takes() -> None:
    made = measured(Way(Rung.FULL, "a"), n=1)
    for _ in range(20):
        made.observe("short_clause", "a", 60)
    assert by_rung(made.forecasts(REQUEST, None))[Rung.FULL][0] == pytest.approx(100 + 120 + 20, abs=30)


def test_load_makes_a_difference() -> None:
    ways = Choices(Way(Rung.FULL, "a"))
    made = forecaster(ways)
    for n, took_ms in ((1, 100.0), (4, 300.0), (8, 500.0)):
        ways.n = n
        for _ in range(20):
            made.observe("llm", "a", took_ms)
    ways.n = 0
    calm = made.forecasts(REQUEST, None)[0].p50_ms
    ways.n = 7
    assert made.forecasts(REQUEST, None)[0].p50_ms == calm + 400


def test_a_filler_takes_as_long_as_the_voice() -> None:
    assert measured(Way(Rung.FULL)).expect_filler_ms() == 20


def test_people_see_every_stage_and_replica() -> None:
    made = measured(Way(Rung.FULL, "a"))
    of = {(times.stage, times.replica): times for times in made.times()}
    assert set(of) == {
        *(("llm", replica) for replica in ("", "a", "b")),
        *(("clause", replica) for replica in ("", "a", "b")),
        *(("tts", replica) for replica in ("", "voice")),
    }
    assert (of["llm", "b"].n, of["llm", "b"].p50_ms, of["llm", "b"].p99_ms) == (40, 300, 300)
    assert isinstance(made, Measured)
    assert made.figures()["llm_samples"] == 80
    assert made.figures()["llm_p95_ms"] == 300


def test_no_number_of_names_fills_the_memory() -> None:
    made = forecaster()
    for number in range(2 * MAX_TIMES):
        made.observe("llm", f"replica {number}", 100)
    assert len(made.times()) < MAX_TIMES
    assert made.times()[0].n == 2 * MAX_TIMES
