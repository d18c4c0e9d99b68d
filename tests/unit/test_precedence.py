from contextlib import ExitStack

import pytest

from tests.support.hand_clock import HandClock
from voicestack.aio.orders import Promise
from voicestack.core.deadline import Deadline
from voicestack.core.errors import StageOverloaded
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.rungs import Rung
from voicestack.engines.openai_llm import rank_of
from voicestack.engines.precedence import Precedence, Rank, Work
from voicestack.ports import LlmRequest

MS = 1_000_000


class Queue:
    """Requests that come and go in any order."""

    def __init__(self, n_places: int | None) -> None:
        self.clock = HandClock()
        self.precedence = Precedence(n_places, self.clock)
        self._open: dict[int, ExitStack] = {}

    def enter(self, rank: Rank, target_ms: int | None = None, promise: Promise | None = None) -> Work:
        """`target_ms`: of its deadline, from now."""
        now_ns, ms = self.clock.now_ns(), target_ms
        deadline = None if ms is None else Deadline(now_ns + ms * MS, now_ns + 10_000 * MS)
        stack = ExitStack()
        work = stack.enter_context(self.precedence.work(rank, deadline, promise))
        self._open[id(work)] = stack
        return work

    def leave(self, work: Work) -> None:
        self._open.pop(id(work)).close()


def test_committed_replies_wait_only_for_each_other() -> None:
    queue = Queue(2)
    queue.enter(Rank.DRAFT)
    queue.enter(Rank.DRAFT)
    first, second, third = (queue.enter(Rank.COMMITTED) for _ in range(3))
    assert first.admitted.is_set()
    assert second.admitted.is_set()
    assert not third.admitted.is_set()
    queue.leave(first)
    assert third.admitted.is_set()


def test_the_one_that_is_due_first_goes_first() -> None:
    queue = Queue(1)
    now = queue.enter(Rank.COMMITTED)
    late, soon = queue.enter(Rank.COMMITTED, 800), queue.enter(Rank.COMMITTED, 400)
    queue.leave(now)
    assert soon.admitted.is_set()
    assert not late.admitted.is_set()


def overloaded(queue: Queue) -> list[Work]:
    """All places are taken and somebody has waited for 150 ms: what is under way, and what waits."""
    works = [queue.enter(Rank.COMMITTED), queue.enter(Rank.COMMITTED, 5_000)]
    queue.clock.pass_ms(150)
    return works


def test_in_an_overload_drafts_are_turned_away_and_replies_are_not() -> None:
    queue = Queue(1)
    overloaded(queue)
    for rank in (Rank.DRAFT, Rank.PRIME):
        with pytest.raises(StageOverloaded):
            queue.enter(rank)
    queue.enter(Rank.COMMITTED)
    reading = queue.precedence.reading()
    assert reading is not None
    assert (reading.n_waiting, reading.oldest_wait_ms, reading.refused["load"]) == (2, 150.0, 2)


def test_drafts_that_wait_are_turned_away_when_the_overload_is_noticed() -> None:
    queue = Queue(1)
    queue.enter(Rank.COMMITTED)
    queue.enter(Rank.COMMITTED, 5_000)
    draft = queue.enter(Rank.DRAFT)
    queue.clock.pass_ms(150)
    queue.enter(Rank.COMMITTED)
    assert draft.admitted.is_set()
    assert draft.ticket.refused == "load"


def test_in_an_overload_the_newest_reply_goes_first_and_one_that_would_be_late_is_turned_away() -> None:
    queue = Queue(1)
    under_way, old = overloaded(queue)
    hopeless = queue.enter(Rank.COMMITTED, 50)
    queue.clock.pass_ms(60)
    new = queue.enter(Rank.COMMITTED, 800)
    assert hopeless.ticket.refused == "late"
    queue.leave(under_way)
    assert new.admitted.is_set()
    assert not old.admitted.is_set()


def test_a_draft_that_is_committed_is_a_reply_wherever_it_waits() -> None:
    queue, promise = Queue(1), Promise()
    queue.enter(Rank.COMMITTED)
    queue.enter(Rank.COMMITTED, 5_000)
    draft, other = queue.enter(Rank.DRAFT, 5_000, promise), queue.enter(Rank.DRAFT)
    promise.give()
    queue.clock.pass_ms(150)
    queue.enter(Rank.COMMITTED)
    assert draft.rank is Rank.COMMITTED
    assert draft.ticket.refused is None
    assert other.ticket.refused == "load"


def test_a_committed_draft_does_not_wait_for_a_prompt_any_more() -> None:
    queue, promise = Queue(4), Promise()
    queue.enter(Rank.COMMITTED)
    draft = queue.enter(Rank.DRAFT, promise=promise)
    assert not draft.admitted.is_set()
    promise.give()
    assert draft.admitted.is_set()


def test_primes_that_wait_for_each_other_are_no_overload() -> None:
    queue = Queue(4)
    queue.enter(Rank.PRIME)
    waiting = queue.enter(Rank.PRIME)
    queue.clock.pass_ms(5_000)
    queue.enter(Rank.PRIME)
    assert waiting.ticket.refused is None


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


@pytest.mark.parametrize(
    ("rung", "draft", "rank"),
    [
        (Rung.FULL, False, Rank.COMMITTED),
        (Rung.SPECULATION, False, Rank.COMMITTED),
        (Rung.HEDGE, False, Rank.HEDGE),
        (Rung.SHED, False, Rank.HEDGE),
        (Rung.SHED, True, Rank.DRAFT),
    ],
)
def test_what_is_at_home_elsewhere_gives_way(rung: Rung, draft: bool, rank: Rank) -> None:
    request = LlmRequest(SessionId("s"), TurnId(1), (), draft=draft, rung=rung)
    assert rank_of(request) is rank
