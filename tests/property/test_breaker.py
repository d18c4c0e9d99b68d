"""Does a breaker keep a sick replica out, let one request through to see, and believe a good one?"""

from hypothesis import given
from hypothesis import strategies as st

from voicestack.fleet.breaker import Breaker, BreakerPolicy, BreakerState, Result, began, ended, healed

POLICY = BreakerPolicy(failures=3, failure_ratio=0.5, slow_ratio=0.8, window=10, least=4, open_ms=1_000)
RESULTS: tuple[Result, ...] = ("good", "slow", "failed", "rejected", "dropped")
MS = 1_000_000
GOOD_TWICE: tuple[Result, ...] = ("good", "failed", "good")

steps = st.lists(st.tuples(st.sampled_from(RESULTS), st.integers(0, 3_000)), max_size=60)


def after(*results: Result, policy: BreakerPolicy = POLICY) -> Breaker:
    breaker = Breaker()
    for result in results:
        breaker = ended(began(breaker, 0), result, 0, policy)
    return breaker


@given(steps)
def test_whatever_happens_it_is_in_one_of_three_states_and_opens_for_a_reason(
    steps: list[tuple[Result, int]],
) -> None:
    breaker, now_ns = Breaker(), 0
    for result, wait_ms in steps:
        now_ns += wait_ms * MS
        before = breaker.state(now_ns)
        if not breaker.allows(now_ns):
            assert before is not BreakerState.CLOSED
            continue
        begun = began(breaker, now_ns)
        if before is BreakerState.HALF_OPEN:
            assert not begun.allows(now_ns), "a second probe"
        breaker = ended(begun, result, now_ns, POLICY)
        if before is BreakerState.CLOSED and breaker.state(now_ns) is not BreakerState.CLOSED:
            assert result in ("failed", "slow", "rejected")
        if before is BreakerState.HALF_OPEN:
            expected = {"good": BreakerState.CLOSED, "dropped": BreakerState.HALF_OPEN}
            assert breaker.state(now_ns) is expected.get(result, BreakerState.OPEN)
        assert len(breaker.recent) <= POLICY.window


@given(st.lists(st.sampled_from(["good", "dropped"]), max_size=50))
def test_it_never_opens_without_a_failure(results: list[Result]) -> None:
    assert after(*results).state(0) is BreakerState.CLOSED


@given(st.lists(st.sampled_from(RESULTS[:3]), max_size=40))
def test_three_failures_in_a_row_open_it(results: list[Result]) -> None:
    breaker = after(*results, "failed", "failed", "failed")
    assert breaker.state(0) is BreakerState.OPEN


def test_half_of_them_failing_opens_it_and_a_third_does_not() -> None:
    assert after("good", "failed", "good", "failed").state(0) is BreakerState.OPEN
    assert after(*GOOD_TWICE * 3).state(0) is BreakerState.CLOSED


def test_slow_answers_open_it_later_than_failures() -> None:
    assert after("good", "slow", "good", "slow").state(0) is BreakerState.CLOSED
    assert after("slow", "slow", "slow").state(0) is BreakerState.CLOSED  # too few to tell
    assert after("slow", "slow", "slow", "slow").state(0) is BreakerState.OPEN


def test_it_stays_open_twice_as_long_after_every_probe_that_fails() -> None:
    breaker, now_ns = after("failed", "failed", "failed"), 0
    for open_ms in (1_000, 2_000, 4_000):
        assert breaker.state(now_ns + (open_ms - 1) * MS) is BreakerState.OPEN
        now_ns += open_ms * MS
        assert breaker.state(now_ns) is BreakerState.HALF_OPEN
        breaker = ended(began(breaker, now_ns), "failed", now_ns, POLICY)
    for _ in range(100):
        now_ns += round(POLICY.max_open_ms) * MS
        assert breaker.state(now_ns) is BreakerState.HALF_OPEN
        breaker = ended(began(breaker, now_ns), "slow", now_ns, POLICY)
    now_ns += round(POLICY.max_open_ms) * MS
    closed = ended(began(breaker, now_ns), "good", now_ns, POLICY)
    assert closed == Breaker(("good",))


def test_who_said_never_is_out_until_a_health_probe_went_well() -> None:
    breaker = after("rejected")
    assert breaker.state(10**18) is BreakerState.OPEN
    breaker = healed(breaker, 5)
    assert breaker.state(5) is BreakerState.HALF_OPEN
    assert ended(began(breaker, 5), "rejected", 5, POLICY).state(10**18) is BreakerState.OPEN
    assert healed(Breaker(), 5) == Breaker()


def test_a_result_from_before_it_opened_changes_nothing() -> None:
    breaker = after("failed", "failed", "failed")
    assert ended(breaker, "failed", 500 * MS, POLICY) == ended(breaker, "good", 500 * MS, POLICY) == breaker
