"""Who is let in: less with more load, not back and forth, and a few always."""

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.fleet.admit import (
    Door,
    Limits,
    Situation,
    StageLoad,
    decide,
    headroom_sessions,
    predicted_p95_ms,
)
from voicestack.fleet.queueing import p_wait, wait_ms

LIMITS = Limits(budget_ms=800, hysteresis_ratio=0.1, floor_sessions=2, start_sessions=4, min_turns=5)

stages = st.builds(
    StageLoad,
    st.just("llm"),
    st.integers(1, 16),
    st.floats(0, 0.99),
    st.floats(1, 3_000),
    st.floats(0, 3),
    st.floats(0, 2_000),
)
situations = st.builds(
    Situation,
    n_sessions=st.integers(0, 200),
    n_sessions_mean=st.floats(0.5, 200),
    n_new=st.integers(0, 50),
    n_turns=st.integers(0, 100),
    p95_ms=st.none() | st.floats(50, 3_000),
    stages=st.lists(stages, max_size=3).map(tuple),
    lag_ms=st.floats(0, 50),
    kv_used_ratio=st.floats(0, 1),
).map(lambda s: replace(s, n_new=min(s.n_new, s.n_sessions)))
doors = st.sampled_from([Door(), Door("predicted_p95", True), Door("loop_lag"), Door("kv_cache")])


@given(situations, st.integers(0, 50), st.floats(0, 500), st.floats(1, 1.5))
@settings(max_examples=300, deadline=None)
def test_more_load_is_never_predicted_to_be_faster(
    now: Situation, n_more: int, slower_ms: float, busier: float
) -> None:
    before = predicted_p95_ms(now, LIMITS, now.n_sessions + 1)
    if before is None or now.p95_ms is None:
        return
    if now.n_sessions + 1 >= now.n_sessions_mean:
        assert before >= now.p95_ms
    worse = replace(now, n_sessions=now.n_sessions + n_more, p95_ms=now.p95_ms + slower_ms)
    after = predicted_p95_ms(worse, LIMITS, worse.n_sessions + 1)
    assert after is not None
    assert after >= before


@given(situations, doors, st.integers(0, 50), st.floats(0, 500), st.floats(0, 20))
@settings(max_examples=300, deadline=None)
def test_who_is_refused_would_be_refused_with_more_load_too(
    now: Situation, door: Door, n_more: int, slower_ms: float, later_ms: float
) -> None:
    if decide(door, now, LIMITS)[1].is_admitted:
        return
    p95_ms = None if now.p95_ms is None else now.p95_ms + slower_ms
    worse = replace(
        now,
        n_sessions=now.n_sessions + n_more,
        n_new=now.n_new + n_more,
        p95_ms=p95_ms,
        lag_ms=now.lag_ms + later_ms,
    )
    assert not decide(door, worse, LIMITS)[1].is_admitted


@given(situations)
@settings(max_examples=300, deadline=None)
def test_a_closed_door_stays_closed_where_an_open_one_would_close(now: Situation) -> None:
    opened, closed = decide(Door(), now, LIMITS), decide(Door("predicted_p95"), now, LIMITS)
    if opened[0].reason == "predicted_p95":
        assert closed[0].reason == "predicted_p95"


def test_between_the_two_thresholds_the_door_stays_as_it_is() -> None:
    now = Situation(n_sessions=10, n_sessions_mean=11, n_turns=50, p95_ms=760)
    assert decide(Door(), now, LIMITS)[1].is_admitted
    assert decide(Door("predicted_p95"), now, LIMITS)[1].reason == "predicted_p95"
    eased = replace(now, p95_ms=719)
    assert decide(Door("predicted_p95"), eased, LIMITS)[1].is_admitted


@given(situations, doors)
@settings(max_examples=300, deadline=None)
def test_the_first_few_are_never_refused(now: Situation, door: Door) -> None:
    few = replace(now, n_sessions=LIMITS.floor_sessions - 1, n_new=0)
    assert decide(door, few, LIMITS)[1].is_admitted


@given(situations, doors, st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_a_refusal_says_when_to_come_back(now: Situation, door: Door, jitter: float) -> None:
    decision = decide(door, now, LIMITS, jitter)[1]
    if decision.is_admitted:
        assert decision.retry_after_ms == 0
    else:
        assert LIMITS.retry_after_ms * 0.5 <= decision.retry_after_ms <= LIMITS.retry_after_ms * 1.5


@given(situations, doors)
@settings(max_examples=300, deadline=None)
def test_drafts_are_off_before_anybody_is_refused_for_load(now: Situation, door: Door) -> None:
    after, decision = decide(door, now, LIMITS)
    if decision.reason not in ("", "slow_start"):
        assert after.sheds_drafts


def test_drafts_are_switched_off_by_the_busiest_stage_and_on_again_below_it() -> None:
    def sheds(door: Door, busy_ratio: float) -> bool:
        load = (StageLoad("asr", 8, 0.1, 100), StageLoad("llm", 4, busy_ratio, 800))
        return decide(door, Situation(n_sessions=5, stages=load), LIMITS)[0].sheds_drafts

    assert not sheds(Door(), 0.59)
    assert sheds(Door(), 0.61)
    assert sheds(Door("", True), 0.55)
    assert not sheds(Door("", True), 0.49)


def test_a_burst_is_let_in_only_in_part() -> None:
    now = Situation()
    for _ in range(100):
        if not decide(Door(), now, LIMITS)[1].is_admitted:
            break
        now = replace(now, n_sessions=now.n_sessions + 1, n_new=now.n_new + 1)
    assert now.n_sessions == LIMITS.start_sessions
    assert decide(Door(), now, LIMITS)[1].reason == "slow_start"
    old = replace(now, n_new=0, n_sessions=20)
    assert decide(Door(), replace(old, n_sessions=39, n_new=19), LIMITS)[1].is_admitted
    assert decide(Door(), replace(old, n_sessions=40, n_new=20), LIMITS)[1].reason == "slow_start"


def test_after_half_a_burst_they_come_one_by_one() -> None:
    """Four may be new in ten seconds: two at once, then one every second and a quarter."""
    now = Situation(n_sessions=2, n_new=2, since_last_ms=0)
    assert decide(Door(), now, LIMITS)[1].reason == "slow_start"
    assert decide(Door(), replace(now, since_last_ms=1_249), LIMITS)[1].reason == "slow_start"
    assert decide(Door(), replace(now, since_last_ms=1_250), LIMITS)[1].is_admitted
    crowd = Situation(n_sessions=102, n_new=2, since_last_ms=49)
    assert decide(Door(), crowd, LIMITS)[1].reason == "slow_start"
    assert decide(Door(), replace(crowd, since_last_ms=50), LIMITS)[1].is_admitted


@given(situations)
@settings(max_examples=200, deadline=None)
def test_the_headroom_is_what_fits_and_one_more_does_not(now: Situation) -> None:
    n = headroom_sessions(now, LIMITS, 300)
    if n is None:
        return
    target_ms = LIMITS.budget_ms * LIMITS.target_ratio
    if n > 0:
        fits = predicted_p95_ms(now, LIMITS, now.n_sessions + n)
        assert fits is not None
        assert fits <= target_ms
    if now.n_sessions + n < 300:
        more = predicted_p95_ms(now, LIMITS, now.n_sessions + n + 1)
        assert more is not None
        assert more > target_ms


def test_the_wait_is_that_of_the_textbook() -> None:
    """Erlang C for 4 places at 80 % is 0.5964; a single place waits with its own utilisation."""
    assert abs(p_wait(0.8, 4) - 0.5964) < 1e-4
    assert abs(p_wait(0.3, 1) - 0.3) < 1e-12
    assert math.isinf(wait_ms(1.0, 4, 100, 0.95))
    assert wait_ms(0.04, 1, 100, 0.95) == 0.0
    assert abs(wait_ms(0.5, 1, 100, 0.95) - 200 * math.log(10)) < 1e-9


@given(st.floats(0, 0.98), st.floats(0, 0.01), st.integers(1, 32), st.floats(1, 2_000))
@settings(max_examples=300, deadline=None)
def test_the_wait_grows_with_the_load(busy: float, more: float, n_places: int, service_ms: float) -> None:
    least = wait_ms(busy, n_places, service_ms, 0.95)
    assert wait_ms(busy + more, n_places, service_ms, 0.95) >= least - 1e-9
