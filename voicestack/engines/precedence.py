"""Which request may load the model now?

For a server that computes prompts first come, first served, and that nobody else uses: llama-server. One
rule: **work waits while more important work waits for its first token.** Committed replies wait only for each
other, when all places have one; drafts wait for committed replies, primes wait for both and for each other;
drafts and primes also leave committed replies a place: they start only when one is free. When too much waits
it is turned away, drafts and primes first: see `line` and `core.codel`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import IntEnum

from voicestack.aio.clock import Clock
from voicestack.aio.orders import Promise
from voicestack.core.deadline import Deadline
from voicestack.core.queues import QueueReading
from voicestack.engines.line import Line, Ticket


class Rank(IntEnum):
    """Importance, the lowest number first."""

    COMMITTED = 0
    HEDGE = 1
    """A second request for a reply that another replica is late with."""
    DRAFT = 2
    PRIME = 3


class Work:
    """One request on its way."""

    def __init__(self, rank: Rank, ticket: Ticket) -> None:
        self.rank = rank
        self.ticket = ticket
        self.admitted = asyncio.Event()
        self.in_prompt = True


class Precedence:
    """Lets requests through by rank.

    Args:
        n_places: Requests that the server works on at once; None if it needs no help.
        clock: Times the waits.
    """

    def __init__(self, n_places: int | None, clock: Clock) -> None:
        self._n_places = n_places
        self._working: list[Work] = []
        self._line = Line("llm", stage="llm", clock=clock, n_places=n_places or 1)

    @contextmanager
    def work(
        self, rank: Rank, deadline: Deadline | None = None, promise: Promise | None = None
    ) -> Iterator[Work]:
        """Announce a request. Await `admission` before sending it; say `first_token` when it comes.

        With a `promise` that is given it is a committed reply, wherever it waits by then.

        Raises:
            StageOverloaded: there is too much to do.
        """
        spare_at = Rank.DRAFT if rank >= Rank.DRAFT else None  # primes may hold up each other
        work = Work(rank, self._line.arrive(rank, deadline, spare_at=spare_at))
        self._working.append(work)
        self._admit()
        try:
            with nullcontext() if promise is None else promise.telling(lambda: self._commit(work)):
                yield work
        finally:
            self._working.remove(work)
            self._line.leave(work.ticket)
            self._admit()

    async def admission(self, work: Work) -> None:
        """Wait until it may be sent.

        Raises:
            StageOverloaded: it was turned away.
        """
        await work.admitted.wait()
        self._line.check(work.ticket)

    def first_token(self, work: Work) -> None:
        """The prompt of this work is done; others may have the processor."""
        if work.in_prompt:
            work.in_prompt = False
            self._line.has_result(work.ticket)
            self._admit()

    def _commit(self, work: Work) -> None:
        work.rank = work.ticket.rank = Rank.COMMITTED
        work.ticket.spare_at = None
        self._admit()

    def reading(self) -> QueueReading | None:
        """How the queue is; None where there is none, because the server keeps its own."""
        return self._line.reading() if self._n_places is not None else None

    def _admit(self) -> None:
        order, gone = self._line.next()
        by_ticket = {id(work.ticket): work for work in self._working}
        for ticket in gone:
            by_ticket[id(ticket)].admitted.set()
        for ticket in order:
            work = by_ticket[id(ticket)]
            if self._may_start(work):
                self._line.begin(ticket)
                work.admitted.set()

    def _may_start(self, work: Work) -> bool:
        if self._n_places is None:
            return True
        others = [other for other in self._working if other is not work]
        admitted = [other for other in others if other.ticket.began_ns is not None]
        if work.rank is Rank.COMMITTED:
            return sum(other.rank is Rank.COMMITTED for other in admitted) < self._n_places
        if len(admitted) >= self._n_places:
            return False
        if any(other.in_prompt and other.rank < work.rank for other in self._promised(others)):
            return False
        return work.rank is not Rank.PRIME or not any(other.rank is Rank.PRIME for other in admitted)

    @staticmethod
    def _promised(others: list[Work]) -> list[Work]:
        """Without those that were turned away and have not noticed yet."""
        return [other for other in others if other.ticket.refused is None]
