from contextlib import ExitStack

from voicestack.engines.precedence import Precedence, Rank, Work


class Queue:
    """Requests that come and go in any order."""

    def __init__(self, n_places: int | None) -> None:
        self.precedence = Precedence(n_places)
        self._open: dict[int, ExitStack] = {}

    def enter(self, rank: Rank) -> Work:
        stack = ExitStack()
        work = stack.enter_context(self.precedence.work(rank))
        self._open[id(work)] = stack
        return work

    def leave(self, work: Work) -> None:
        self._open.pop(id(work)).close()


def test_committed_replies_never_wait() -> None:
    queue = Queue(1)
    assert all(queue.enter(Rank.COMMITTED).admitted.is_set() for _ in range(3))


def test_a_draft_waits_for_the_first_token_of_a_committed_reply() -> None:
    queue = Queue(4)
    reply = queue.enter(Rank.COMMITTED)
    draft = queue.enter(Rank.DRAFT)
    assert not draft.admitted.is_set()
    queue.precedence.first_token(reply)
    assert draft.admitted.is_set()


def test_drafts_do_not_wait_for_each_other() -> None:
    queue = Queue(4)
    assert queue.enter(Rank.DRAFT).admitted.is_set()
    assert queue.enter(Rank.DRAFT).admitted.is_set()


def test_a_draft_waits_for_a_place() -> None:
    queue = Queue(2)
    replies = [queue.enter(Rank.COMMITTED) for _ in range(2)]
    for reply in replies:
        queue.precedence.first_token(reply)
    draft = queue.enter(Rank.DRAFT)
    assert not draft.admitted.is_set()
    queue.leave(replies[0])
    assert draft.admitted.is_set()


def test_primes_wait_for_prompts_of_all_others_and_go_one_by_one() -> None:
    queue = Queue(4)
    draft = queue.enter(Rank.DRAFT)
    first, second = queue.enter(Rank.PRIME), queue.enter(Rank.PRIME)
    assert not first.admitted.is_set()
    queue.precedence.first_token(draft)
    assert first.admitted.is_set()
    assert not second.admitted.is_set()
    queue.leave(first)
    assert second.admitted.is_set()


def test_the_more_important_goes_first_when_a_place_is_free() -> None:
    queue = Queue(1)
    reply = queue.enter(Rank.COMMITTED)
    queue.precedence.first_token(reply)
    prime, draft = queue.enter(Rank.PRIME), queue.enter(Rank.DRAFT)
    queue.leave(reply)
    assert draft.admitted.is_set()
    assert not prime.admitted.is_set()


def test_one_that_gives_up_while_waiting_blocks_nobody() -> None:
    queue = Queue(1)
    reply = queue.enter(Rank.COMMITTED)
    given_up, draft = queue.enter(Rank.DRAFT), queue.enter(Rank.DRAFT)
    queue.leave(given_up)
    queue.leave(reply)
    assert draft.admitted.is_set()


def test_other_servers_order_their_work_themselves() -> None:
    queue = Queue(None)
    queue.enter(Rank.COMMITTED)
    assert queue.enter(Rank.PRIME).admitted.is_set()
    assert queue.enter(Rank.PRIME).admitted.is_set()
