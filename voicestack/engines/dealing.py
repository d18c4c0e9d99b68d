"""Who is served next when more phrases want to be spoken than there are workers? Pure.

The first clause of a reply is waited for by somebody who hears nothing; the clauses after it have what is
being played meanwhile. So each has a time at which it is due, and the earliest goes first: nobody starves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

SLACK_NS = 400_000_000
"""How much later than a first clause a following one is due: what a playout's queue holds by default."""


class Waiter(Protocol):
    """A phrase that waits."""

    @property
    def due_ns(self) -> int:
        """When it should begin."""
        ...

    @property
    def follows(self) -> bool:
        """Whether something of its reply is heard meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class Due:
    """When a phrase should begin, and whether it follows others of its reply."""

    due_ns: int
    follows: bool


def due(now_ns: int, *, follows: bool) -> Due:
    """For a phrase that is wanted now."""
    return Due(now_ns + (SLACK_NS if follows else 0), follows)


def next_of(waiting: Sequence[Waiter], n_idle: int, n_workers: int) -> int | None:
    """Which of those that wait begins now: its index, None for nobody.

    The last idle worker of several is kept for a first clause, however long the others are busy.
    """
    if n_idle == 0:
        return None
    is_kept = n_idle == 1 and n_workers > 1
    allowed = [n for n, one in enumerate(waiting) if not (is_kept and one.follows)]
    return min(allowed, key=lambda n: (waiting[n].due_ns, n), default=None)
