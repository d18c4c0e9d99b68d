"""Who goes next and who is turned away, whatever waits: importance first, and nobody for nothing."""

from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.core.codel import (
    INTERVAL_NS,
    TARGET_NS,
    Above,
    Discipline,
    Sojourn,
    Waiting,
    discipline_of,
    in_order,
    is_overloaded,
    seen,
    turned_away,
)

MS = 1_000_000
NOW_NS = 10_000 * MS
PLAIN = Discipline()
DRAFT = 2


def works() -> st.SearchStrategy[Waiting]:
    def made(rank: int, waited_ms: int, due_ms: int | None) -> Waiting:
        due_ns = None if due_ms is None else NOW_NS + due_ms * MS
        spare_at = DRAFT if rank >= DRAFT else None
        return Waiting(rank, NOW_NS - waited_ms * MS, due_ns, spare_at)

    return st.builds(made, st.integers(0, 3), st.integers(0, 2_000), st.none() | st.integers(-500, 1_000))


queues = st.lists(works(), max_size=12)
histories = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3_000)), max_size=4).map(
    lambda some: Above(tuple((rank, NOW_NS - ago * MS) for rank, ago in some))
)


@given(histories, queues)
@settings(max_examples=300, deadline=None)
def test_everybody_has_a_turn_and_no_rank_waits_for_a_lower_one(above: Above, waiting: list[Waiting]) -> None:
    order = in_order(above, waiting, NOW_NS, PLAIN)
    assert sorted(order) == list(range(len(waiting)))
    ranks = [waiting[n].rank for n in order]
    assert ranks == sorted(ranks)


@given(histories, queues)
@settings(max_examples=300, deadline=None)
def test_while_something_promised_is_turned_away_nothing_spare_stays(
    above: Above, waiting: list[Waiting]
) -> None:
    above = seen(above, waiting, NOW_NS, PLAIN)
    gone = [waiting[n] for n in turned_away(above, waiting, NOW_NS, PLAIN)]
    if any(one.spare_at is None for one in gone):
        n_spare = sum(one.spare_at is not None for one in waiting)
        assert sum(one.spare_at is not None for one in gone) == n_spare
        first = [one.spare_at is None for one in gone]
        assert first == sorted(first)


@given(histories, queues)
@settings(max_examples=300, deadline=None)
def test_what_is_promised_is_turned_away_only_if_it_would_be_late(
    above: Above, waiting: list[Waiting]
) -> None:
    for n in turned_away(above, waiting, NOW_NS, PLAIN):
        one = waiting[n]
        if one.spare_at is None and one.due_ns is not None:
            assert one.due_ns <= NOW_NS


@given(queues, queues)
@settings(max_examples=300, deadline=None)
def test_lower_ranks_never_make_a_higher_one_overloaded(few: list[Waiting], more: list[Waiting]) -> None:
    """The highest rank is served, and judged, as if nobody else were there."""
    best = [one for one in few if one.rank == 0]
    alone = seen(Above(), best, NOW_NS, PLAIN)
    together = seen(Above(), [*best, *(one for one in more if one.rank > 0)], NOW_NS, PLAIN)
    assert is_overloaded(alone, 0, NOW_NS, PLAIN) == is_overloaded(together, 0, NOW_NS, PLAIN)


@given(queues, st.lists(st.integers(0, 40), max_size=30))
@settings(max_examples=200, deadline=None)
def test_an_overload_at_a_rank_is_one_at_every_rank_below(waiting: list[Waiting], steps: list[int]) -> None:
    above, now_ns = Above(), NOW_NS
    for step in steps:
        now_ns += step * MS
        above = seen(above, waiting, now_ns, PLAIN)
        found = [is_overloaded(above, rank, now_ns, PLAIN) for rank in range(4)]
        assert found == sorted(found)


@given(st.lists(st.tuples(st.integers(1, 200), st.booleans()), min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_queue_that_empties_within_every_interval_is_never_overloaded(
    steps: list[tuple[int, bool]],
) -> None:
    """Whatever comes, if nobody waits for longer than the target, nobody is turned away."""
    above, now_ns = Above(), NOW_NS
    for step_ms, spare in steps:
        now_ns += step_ms * MS
        waiting = [Waiting(DRAFT if spare else 0, now_ns - TARGET_NS, now_ns, DRAFT if spare else None)]
        above = seen(above, waiting, now_ns, PLAIN)
        assert not turned_away(above, waiting, now_ns, PLAIN)


def test_within_a_rank_the_first_due_goes_first_and_in_an_overload_the_newest() -> None:
    waiting = [
        Waiting(0, NOW_NS - 3 * MS, NOW_NS + 900 * MS),
        Waiting(0, NOW_NS - 2 * MS, NOW_NS + 100 * MS),
        Waiting(0, NOW_NS - 1 * MS, NOW_NS + 500 * MS),
    ]
    assert in_order(Above(), waiting, NOW_NS, PLAIN) == (1, 2, 0)
    assert in_order(Above(((0, NOW_NS - INTERVAL_NS),)), waiting, NOW_NS, PLAIN) == (2, 1, 0)


def test_a_burst_is_no_overload_and_what_stays_for_an_interval_is_one() -> None:
    waiting = [Waiting(0, NOW_NS)]
    above = seen(Above(), waiting, NOW_NS + TARGET_NS + 1, PLAIN)
    until_ns = NOW_NS + TARGET_NS + INTERVAL_NS
    assert not is_overloaded(above, 0, until_ns - 1, PLAIN)
    assert is_overloaded(above, 0, until_ns, PLAIN)
    assert not is_overloaded(seen(above, [], until_ns, PLAIN), 0, until_ns, PLAIN)


def test_where_work_takes_long_the_target_is_what_it_takes() -> None:
    assert discipline_of(0, 4) == Discipline(TARGET_NS, INTERVAL_NS)
    assert discipline_of(800 * MS, 4) == Discipline(200 * MS, 400 * MS)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60)), max_size=40))
@settings(max_examples=200, deadline=None)
def test_one_short_wait_ends_an_overload_that_is_known_by_its_waits(waits: list[tuple[int, int]]) -> None:
    sojourn, now_ns, long_since_ns = Sojourn(), NOW_NS, None
    for wait_ms, step_ms in waits:
        now_ns += step_ms * MS
        sojourn = sojourn.waited(wait_ms * MS, now_ns, PLAIN)
        if wait_ms * MS <= TARGET_NS:
            long_since_ns = None
        elif long_since_ns is None:
            long_since_ns = now_ns
        expected = long_since_ns is not None and now_ns - long_since_ns >= INTERVAL_NS
        assert sojourn.is_overloaded(now_ns, PLAIN) is expected
