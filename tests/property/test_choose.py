"""Is the right replica asked, whatever they are like?"""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from voicestack.fleet.breaker import BreakerState
from voicestack.fleet.choose import ChoosePolicy, Wish, choose, score_ms, sheds
from voicestack.fleet.hedges import BURST, HedgeAllowance
from voicestack.fleet.replica import Replica

POLICY = ChoosePolicy(region="here", cold_ms=1_000, margin_ms=50, stay_ms=30, stay_ratio=0.25)
ms = st.floats(0, 3_000)

replicas_of = st.builds(
    Replica,
    st.just(""),
    st.sampled_from(["here", "here", "there"]),
    rtt_ms=st.floats(0, 300),
    in_flight=st.integers(0, 12),
    places=st.integers(1, 8),
    cap=st.sampled_from([None, 4, 8]),
    state=st.sampled_from(["warm", "warm", "cold", "down"]),
    breaker=st.sampled_from([BreakerState.CLOSED, BreakerState.CLOSED, *BreakerState]),
    may_probe=st.booleans(),
    first_ms=ms,
    late_ms=ms,
    busy_ms=ms,
    waited_ms=ms,
    is_full=st.booleans(),
)


@st.composite
def fleets(draw: st.DrawFn) -> list[Replica]:
    found = draw(st.lists(replicas_of, min_size=1, max_size=6))
    return [replace(one, name=f"r{n}") for n, one in enumerate(found)]


draws = st.tuples(st.floats(0, 0.999), st.floats(0, 0.999))
wishes = st.builds(
    Wish,
    st.sampled_from(["", "r0", "r1", "r2"]),
    st.sets(st.sampled_from(["r0", "r1", "r2", "r3"])),
    st.none() | st.floats(-500, 2_000),
    elsewhere=st.booleans(),
    only_good=st.booleans(),
    only_near=st.booleans(),
    most_ratio=st.sampled_from([1.0, 0.7]),
)


@given(fleets(), wishes, draws)
def test_who_is_chosen_is_allowed_has_room_and_none_that_is_well_is_passed_over(
    fleet: list[Replica], wish: Wish, drawn: tuple[float, float]
) -> None:
    choice = choose(fleet, wish, POLICY, drawn)
    may = [one for one in fleet if one.name not in wish.without]
    if wish.elsewhere:
        may = [one for one in may if one.name != wish.stays_at]
    if choice is None:
        assert (
            wish.only_good
            or wish.only_near
            or wish.most_ratio < 1
            or all(one.cap is not None and one.in_flight >= one.cap for one in may)
        )
        return
    found = next(one for one in fleet if one.name == choice.name)
    assert found in may
    assert found.cap is None or found.in_flight < found.cap
    assert choice.forecast_ms == score_ms(found, POLICY)
    assert choice.is_away == (found.region != "here")
    if wish.only_good:
        assert found.is_good
    if wish.only_near:
        assert found.region == "here"
    if wish.most_ratio < 1.0 and found.in_flight:
        assert found.in_flight + 1 <= 0.7 * (found.cap or found.places)
    if not found.is_good:  # never a cold, failing or full one while another is well
        others = [one for one in may if one.is_good and (one.region == "here" or not wish.only_near)]
        assert all(_is_out_of_room(one, wish) for one in others)


def _is_out_of_room(one: Replica, wish: Wish) -> bool:
    if wish.most_ratio < 1.0:
        return one.in_flight > 0 and one.in_flight + 1 > 0.7 * (one.cap or one.places)
    return one.cap is not None and one.in_flight >= one.cap


def good(name: str, first_ms: float, region: str = "here", rtt_ms: float = 0.0) -> Replica:
    return Replica(name, region, rtt_ms=rtt_ms, first_ms=first_ms, late_ms=first_ms, places=4)


@given(ms, st.floats(0, 300), ms, st.none() | st.floats(-500, 3_000))
def test_it_is_shed_to_another_region_if_and_only_if_that_is_sooner_and_fits(
    here_ms: float, rtt_ms: float, there_ms: float, remaining_ms: float | None
) -> None:
    fleet = [good("a", here_ms), good("b", there_ms, "there", rtt_ms)]
    choice = choose(fleet, Wish(remaining_ms=remaining_ms), POLICY)
    away_ms = rtt_ms + there_ms + 50
    expected = here_ms > away_ms and (remaining_ms is None or away_ms <= remaining_ms)
    assert choice is not None
    assert choice.is_away == expected == sheds(here_ms, rtt_ms, there_ms, remaining_ms, 50)
    assert choose(fleet, Wish(remaining_ms=remaining_ms), replace(POLICY, may_shed=False)) != choice or not (
        expected
    )


def test_another_region_answers_when_nobody_here_can() -> None:
    sick = replace(good("a", 10), breaker=BreakerState.OPEN)
    far = good("b", 500, "there", 200)
    for mode in (sick, replace(sick, breaker=BreakerState.CLOSED, state="cold"), replace(far, name="a")):
        choice = choose([mode, far], Wish("a", remaining_ms=0), replace(POLICY, may_shed=False))
        assert choice is not None
        assert choice.is_away
    last = choose([sick], Wish(), POLICY)
    assert last is not None, "rather one that fails than nobody"


@given(st.floats(1, 1_000), st.floats(1, 1_000), draws)
def test_a_session_moves_only_for_a_gain(home_ms: float, other_ms: float, drawn: tuple[float, float]) -> None:
    fleet = [good("a", home_ms), good("b", other_ms)]
    choice = choose(fleet, Wish("a"), POLICY, drawn)
    assert choice is not None
    assert (choice.name == "b") == (home_ms - other_ms > max(30, 0.25 * home_ms))


def test_of_two_that_are_drawn_the_better_one_is_asked() -> None:
    rng = random.Random(7)
    fleet = [good(f"r{n}", 100 * (n + 1)) for n in range(5)]
    counts = dict.fromkeys((one.name for one in fleet), 0)
    for _ in range(2_000):
        choice = choose(fleet, Wish(), POLICY, (rng.random(), rng.random()))
        assert choice is not None
        counts[choice.name] += 1
    assert counts["r4"] == 0, "the worst is never the better of two"
    shares = [counts[f"r{n}"] / 2_000 for n in range(4)]
    for share, expected in zip(shares, (0.4, 0.3, 0.2, 0.1), strict=True):
        assert abs(share - expected) < 0.04


def test_who_waits_says_more_than_who_has_been_served() -> None:
    stuck = replace(good("a", 50), waited_ms=900, in_flight=1)
    assert score_ms(stuck, POLICY) == 900
    queued = replace(good("a", 50), in_flight=6, busy_ms=400)
    assert score_ms(queued, POLICY) == 50 + 3 * 400 / 4


@given(st.lists(st.booleans(), max_size=300), st.sampled_from([0.0, 0.05, 0.5]))
def test_hedges_stay_within_their_share(wanted: list[bool], ratio: float) -> None:
    allowance = HedgeAllowance(ratio)
    n_hedges = 0
    for n_replies, wants in enumerate(wanted, start=1):
        allowance.reply_began()
        n_hedges += wants and allowance.take()
        assert n_hedges <= 1 + ratio * n_replies
        assert allowance.left <= BURST
    assert ratio > 0 or n_hedges == 0
