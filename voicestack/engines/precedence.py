"""Which request may load the model now?

For a server that computes prompts first come, first served, and that nobody else uses: llama-server. One
rule: **work waits while more important work waits for its first token.** Committed replies never wait,
drafts wait for committed replies, primes wait for both and for each other; drafts and primes also leave
committed replies a place: they start only when one is free.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class Rank(IntEnum):
    """Importance, the lowest number first."""

    COMMITTED = 0
    HEDGE = 1
    """A second request for a reply that another replica is late with."""
    DRAFT = 2
    PRIME = 3


class Work:
    """One request on its way."""

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self.admitted = asyncio.Event()
        self.in_prompt = True


class Precedence:
    """Lets requests through by rank.

    Args:
        n_places: Requests that the server works on at once; None if it needs no help.
    """

    def __init__(self, n_places: int | None) -> None:
        self._n_places = n_places
        self._working: list[Work] = []

    @contextmanager
    def work(self, rank: Rank) -> Iterator[Work]:
        """Announce a request. Await `admitted` before sending it; say `first_token` when it comes."""
        work = Work(rank)
        self._working.append(work)
        self._admit()
        try:
            yield work
        finally:
            self._working.remove(work)
            self._admit()

    def first_token(self, work: Work) -> None:
        """The prompt of this work is done; others may have the processor."""
        if work.in_prompt:
            work.in_prompt = False
            self._admit()

    def _admit(self) -> None:
        for work in sorted(self._working, key=lambda work: work.rank):
            if not work.admitted.is_set() and self._may_start(work):
                work.admitted.set()

    def _may_start(self, work: Work) -> bool:
        if self._n_places is None or work.rank is Rank.COMMITTED:
            return True
        others = [other for other in self._working if other is not work]
        if sum(other.admitted.is_set() for other in others) >= self._n_places:
            return False
        if any(other.in_prompt and other.rank < work.rank for other in others):
            return False
        return work.rank is not Rank.PRIME or not any(
            other.rank is Rank.PRIME and other.admitted.is_set() for other in others
        )
