"""Whatever happens to the two servers, in whatever order: one of them serves as soon as one can."""

from hypothesis import given
from hypothesis import strategies as st

from voicestack.engines.warm_pair import Happened, Order, Pair, Phase, decide

BUSY = (Phase.FALLING, Phase.WAKING)


def possible(pair: Pair) -> list[tuple[Happened, int]]:
    """What can happen to real servers as they are."""
    found = []
    for which, phase in enumerate(pair.phases):
        if phase is Phase.DOWN:
            found.append((Happened.UP, which))
            continue
        found.append((Happened.DIED, which))
        if phase in BUSY:
            done = Happened.SLEPT if phase is Phase.FALLING else Happened.WOKE
            found += [(done, which), (Happened.FAILED, which)]
    return found


@given(st.data())
def test_the_invariants(data: st.DataObject) -> None:
    pair = Pair()
    for _ in range(data.draw(st.integers(0, 40))):
        happened, which = data.draw(st.sampled_from(possible(pair)))
        before = pair
        pair, orders = decide(before, happened, which)
        assert pair.phases.count(Phase.SERVING) <= 1
        # Who is asleep is not left asleep when nobody serves and nobody is about to.
        if Phase.ASLEEP in pair.phases:
            assert {Phase.SERVING, Phase.WAKING} & set(pair.phases)
        # Every order belongs to a phase that has just begun, so that none is given twice or forgotten.
        begun = {
            which: now
            for which, (was, now) in enumerate(zip(before.phases, pair.phases, strict=True))
            if was is not now
        }
        wanted = {Phase.SERVING: Order.SERVE, Phase.FALLING: Order.SLEEP, Phase.WAKING: Order.WAKE}
        expected = {(wanted[phase], whom) for whom, phase in begun.items() if phase in wanted}
        if happened is Happened.FAILED:
            expected = {(Order.KILL, which)}
        assert set(orders) == expected


@given(st.data())
def test_left_alone_they_become_one_that_serves_and_one_that_sleeps(data: st.DataObject) -> None:
    pair = Pair()
    for _ in range(data.draw(st.integers(0, 30))):
        pair, _ = decide(pair, *data.draw(st.sampled_from(possible(pair))))
    for _ in range(8):  # nothing fails any more
        good = [one for one in possible(pair) if one[0] in (Happened.UP, Happened.SLEPT, Happened.WOKE)]
        if not good:
            break
        pair, _ = decide(pair, *data.draw(st.sampled_from(good)))
    assert set(pair.phases) == {Phase.SERVING, Phase.ASLEEP}


@given(
    st.tuples(st.sampled_from(Phase), st.sampled_from(Phase)),
    st.sampled_from(Happened),
    st.integers(0, 1),
)
def test_it_is_total(phases: tuple[Phase, Phase], happened: Happened, which: int) -> None:
    decide(Pair(phases), happened, which)
