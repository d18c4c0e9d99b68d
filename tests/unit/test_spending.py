"""A minute's worth of replies and tokens, and what is left of it."""

from hypothesis import given
from hypothesis import strategies as st

from voicestack.access.limits import MINUTE_NS
from voicestack.access.spending import Spender, Spending, remaining
from voicestack.aio.clock import Clock
from voicestack.core.standing import Standing


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at_ns = 7 * MINUTE_NS

    def now_ns(self) -> int:
        return self.at_ns


def spending(clock: Hand, capacity: int = 100) -> Spending:
    as_clock: Clock = clock  # type: ignore[assignment]  # only the time is asked for
    return Spending(as_clock, capacity)


def test_a_minutes_worth_at_once_and_then_at_that_pace() -> None:
    clock = Hand()
    meter = spending(clock).meter(Spender("key 1", responses_per_minute=6, tokens_per_minute=100))
    assert meter.standings() == (Standing("requests", 6, 6, 0.0), Standing("tokens", 100, 100, 0.0))
    for n in range(6):
        assert meter.refusal() is None
        meter.begin()
        assert meter.standings()[0] == Standing("requests", 6, 5 - n, 10.0 * (n + 1))
    refusal = meter.refusal()
    assert refusal is not None
    assert refusal.wire_code == "rate_limit_exceeded"
    assert str(refusal) == "Rate limit reached for requests: 6 a minute. Please try again in 10 s."
    clock.at_ns += 10_000_000_000
    assert meter.refusal() is None
    assert meter.standings()[0] == Standing("requests", 6, 1, 50.0)


def test_what_a_reply_cost_is_owed_when_it_is_over() -> None:
    clock = Hand()
    meter = spending(clock).meter(Spender("key 1", tokens_per_minute=100))
    meter.begin()
    meter.spend(250)
    assert meter.standings() == (Standing("tokens", 100, 0, 150.0),)
    assert "tokens: 100 a minute. Please try again in 91 s." in str(meter.refusal())
    clock.at_ns += 91_000_000_000
    assert meter.refusal() is None


def test_the_sessions_of_an_account_share_it_and_others_do_not() -> None:
    all_ = spending(Hand())
    mine, too, other = (all_.meter(Spender(who, responses_per_minute=1)) for who in ("a", "a", "b"))
    mine.begin()
    assert too.refusal() is not None
    assert other.refusal() is None


def test_without_limits_nothing_is_counted_and_what_is_counted_is_bounded() -> None:
    all_ = spending(Hand(), capacity=3)
    free = all_.meter(Spender("a"))
    free.begin()
    free.spend(1_000_000)
    assert (free.refusal(), free.standings(), len(all_)) == (None, (), 0)
    for n in range(10):
        all_.meter(Spender(f"key {n}", responses_per_minute=1)).begin()
    assert len(all_) == 3
    assert all_.meter(Spender("key 9", responses_per_minute=1)).refusal() is not None
    assert all_.meter(Spender("key 0", responses_per_minute=1)).refusal() is None, "forgotten is full"


@given(
    st.integers(1, 1_000_000),
    st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 90_000_000_000)), max_size=8),
)
def test_whoever_waits_as_told_gets_in(per_minute: int, uses: list[tuple[int, int]]) -> None:
    clock = Hand()
    meter = spending(clock).meter(Spender("a", tokens_per_minute=per_minute))
    for n_tokens, wait_ns in uses:
        meter.spend(n_tokens)
        clock.at_ns += wait_ns
        (standing,) = meter.standings()
        assert 0 <= standing.remaining <= per_minute
        assert (standing.remaining == per_minute) == (standing.reset_s == 0)
    refusal = meter.refusal()
    if refusal is not None:
        clock.at_ns += int(str(refusal).split()[-2]) * 1_000_000_000
        assert meter.refusal() is None


def test_remaining_is_whole() -> None:
    assert [remaining(at, 0, 60) for at in (-5, 0, 1, MINUTE_NS // 60, MINUTE_NS // 60 + 1)] == [
        60,
        60,
        59,
        59,
        58,
    ]
    assert remaining(10 * MINUTE_NS, 0, 60) == 0
