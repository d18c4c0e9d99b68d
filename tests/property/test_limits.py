"""Token buckets and seats: never more than is allowed, never less, and bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from voicestack.access.limits import Buckets, Charge, Rate, Seat, Seats, next_free_ns

MINUTE_NS = 60_000_000_000

rates = st.integers(1, 100_000).map(Rate)
gaps_ns = st.lists(st.integers(0, 5 * MINUTE_NS), min_size=1, max_size=80)


@given(rates, gaps_ns)
def test_no_stretch_of_time_has_more_than_burst_and_rate(rate: Rate, gaps: list[int]) -> None:
    now_ns, free_at_ns, taken_ns = 10**18, 0, []
    for gap in gaps:
        now_ns += gap % (3 * rate.interval_ns)
        free_at_ns, wait_ns = next_free_ns(free_at_ns, now_ns, rate)
        assert wait_ns >= 0
        if not wait_ns:
            taken_ns.append(now_ns)
    for i, start_ns in enumerate(taken_ns):
        for j, end_ns in enumerate(taken_ns[i:], start=1):
            assert j <= rate.burst + (end_ns - start_ns) // rate.interval_ns


@given(rates, gaps_ns)
def test_whoever_waits_as_told_is_served_and_not_a_moment_sooner(rate: Rate, gaps: list[int]) -> None:
    now_ns, free_at_ns = 0, 0
    for gap in gaps:
        now_ns += gap % rate.interval_ns
        before_ns = free_at_ns
        free_at_ns, wait_ns = next_free_ns(free_at_ns, now_ns, rate)
        if wait_ns:
            assert free_at_ns == before_ns
            assert next_free_ns(free_at_ns, now_ns + wait_ns, rate)[1] == 0
            assert next_free_ns(free_at_ns, now_ns + wait_ns - 1, rate)[1] == 1


@given(rates)
def test_a_burst_then_one_at_a_time(rate: Rate) -> None:
    buckets, charge = Buckets(), Charge("somebody", rate)
    for _ in range(min(rate.burst, 1000)):
        assert buckets.take([charge], 0) == 0
    if rate.burst <= 1000:
        assert 0 < buckets.take([charge], 0) <= rate.interval_ns
        assert buckets.take([charge], rate.interval_ns) == 0
        assert buckets.take([charge], rate.interval_ns) > 0


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, MINUTE_NS)), max_size=200))
def test_memory_is_bounded_and_the_quietest_is_forgotten(steps: list[tuple[int, int]]) -> None:
    seen: list[int] = []
    buckets, now_ns = Buckets(capacity=8), 0
    for who, gap in steps:
        now_ns += gap
        buckets.take([Charge(str(who), Rate(3))], now_ns)
        seen = [other for other in seen if other != who] + [who]
        assert len(buckets) == min(8, len(seen))
    if seen:  # the last one is still known: its burst of one is used up
        assert buckets.take([Charge(str(seen[-1]), Rate(3))], now_ns) > 0


def test_all_accounts_are_charged_or_none() -> None:
    buckets, poor, rich = Buckets(), Charge("poor", Rate(3)), Charge("rich", Rate(6))
    assert buckets.take([rich, poor], 0) == 0
    assert buckets.take([rich, poor], 0) == MINUTE_NS // 3
    assert buckets.take([rich], 0) == 0  # it was not charged when the other could not pay
    assert buckets.take([rich], 0) > 0
    assert buckets.take([Charge("free", Rate(0))] * 1000, 0) == 0
    assert len(buckets) == 2


names = st.sampled_from(["a", "b", "c"])


@given(st.lists(st.tuples(st.booleans(), st.frozensets(names, min_size=1)), max_size=100), st.integers(1, 5))
def test_seats_are_what_is_taken_and_not_left(steps: list[tuple[bool, frozenset[str]]], cap: int) -> None:
    sitting: list[tuple[Seat, ...]] = []
    seats = Seats()
    for comes, accounts in steps:
        wanted = tuple(Seat(account, cap) for account in sorted(accounts))
        if comes:
            taken = {one: sum(seat.account == one for each in sitting for seat in each) for one in accounts}
            full = seats.full(wanted)
            assert (full is not None) == any(taken[one] >= cap for one in accounts)
            if full is None:
                seats.take(wanted)
                sitting.append(wanted)
        elif sitting:
            seats.leave(sitting.pop(0))
    for each in sitting:
        seats.leave(each)
    assert len(seats) == 0
    unlimited = (Seat("a", 0),)
    for _ in range(100):
        assert seats.full(unlimited) is None
        seats.take(unlimited)
