"""Who is served next? First clauses before the others, everybody in the end, one worker always left."""

from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.engines.dealing import SLACK_NS, Due, due, next_of

MS = 1_000_000


def test_the_oldest_goes_first() -> None:
    assert next_of([due(5, follows=False), due(3, follows=False)], 1, 1) == 1
    assert next_of([due(3, follows=False), due(3, follows=False)], 1, 1) == 0


def test_a_first_clause_overtakes_what_follows_another() -> None:
    waiting = [due(0, follows=True), due(300 * MS, follows=False)]
    assert next_of(waiting, 1, 1) == 1
    assert next_of(waiting, 2, 2) == 1


def test_but_not_for_ever() -> None:
    assert next_of([due(0, follows=True), due(SLACK_NS + 1, follows=False)], 1, 1) == 0


def test_the_last_idle_worker_of_several_is_kept_for_first_clauses() -> None:
    late = [due(0, follows=True), due(0, follows=True)]
    assert next_of(late, 1, 2) is None
    assert next_of(late, 2, 2) == 0
    assert next_of([*late, due(9 * SLACK_NS, follows=False)], 1, 2) == 2
    assert next_of(late, 1, 1) == 0


def test_nobody_without_workers_or_phrases() -> None:
    assert next_of([due(0, follows=False)], 0, 2) is None
    assert next_of([], 2, 2) is None


@given(st.lists(st.tuples(st.integers(0, 2_000), st.booleans()), min_size=1, max_size=40), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_everybody_is_served(arrivals: list[tuple[int, bool]], n_workers: int) -> None:
    """With all workers idle after each phrase, whoever waits is served, the first clauses in their order."""
    waiting: list[Due] = [due(at * MS, follows=follows) for at, follows in arrivals]
    served = []
    while waiting:
        n = next_of(waiting, n_workers, n_workers)
        assert n is not None
        served.append(waiting.pop(n))
    firsts = [one.due_ns for one in served if not one.follows]
    assert firsts == sorted(firsts)
    assert [one.due_ns for one in served] == sorted(one.due_ns for one in served)
