"""Who goes next of those that wait, and who is turned away because too many do? Pure.

Two rules from K. Nichols' and V. Jacobson's CoDel (RFC 8289) and B. Maurer's "Fail at Scale" (ACM Queue
13(8), 2015): a queue that has not been short for a whole interval is overloaded, however long it is; and in
an overloaded queue the newest goes first, because whoever has waited for long is about to give up anyway.

What waits here has ranks, as packets have not. Each rank has a queue of its own in front of the ranks below
it, so less important work is turned away sooner, and never because of it work that is more important.
"""

from collections.abc import Sequence
from dataclasses import dataclass

TARGET_NS = 5_000_000
"""A wait that needs no explanation (RFC 8289, 4.4; "Fail at Scale")."""
INTERVAL_NS = 100_000_000
"""A longer wait than the target, for so long, is no burst any more (RFC 8289, 4.3; "Fail at Scale")."""


@dataclass(frozen=True, slots=True)
class Discipline:
    """How patient a queue is.

    Attributes:
        target_ns: A wait up to this is nothing. Never less than what one piece of work takes from start to
            end, divided by the places: RFC 8290, 5.2.2, says so of slow links.
        interval_ns: What a burst may take to drain.
    """

    target_ns: int = TARGET_NS
    interval_ns: int = INTERVAL_NS


def discipline_of(service_ns: float, n_places: int) -> Discipline:
    """For work of which a piece takes so long on one of so many places.

    RFC 8289 makes the target a twentieth of the interval, because senders need a round trip to slow down.
    Here who is turned away is gone at once: two targets tell a burst from an overload.
    """
    target_ns = max(TARGET_NS, round(service_ns / max(1, n_places)))
    return Discipline(target_ns, max(INTERVAL_NS, 2 * target_ns))


@dataclass(frozen=True, slots=True)
class Waiting:
    """A piece of work in the queue.

    Attributes:
        rank: The lowest number is the most important.
        since_ns: When it came.
        due_ns: When it should begin at the latest, so that its result is in time; None for work without a
            deadline, which is never late.
        spare_at: Nobody has been promised it: it is turned away as soon as the queue of this rank is
            overloaded. None for work that somebody waits for.
    """

    rank: int
    since_ns: int
    due_ns: int | None = None
    spare_at: int | None = None


@dataclass(frozen=True, slots=True)
class Above:
    """What is remembered of a queue: since when the longest wait has been over the target, by rank."""

    since_ns: tuple[tuple[int, int], ...] = ()


def seen(above: Above, waiting: Sequence[Waiting], now_ns: int, discipline: Discipline) -> Above:
    """Look at the queue again, after somebody came or went.

    What a rank waits behind, and so what is counted for it, is everybody of its rank or a better one: what is
    overloaded for a rank is so for all below it.
    """
    known: list[tuple[int, int]] = []
    for rank in sorted({one.rank for one in waiting}):
        oldest_ns = min(one.since_ns for one in waiting if one.rank <= rank)
        if now_ns - oldest_ns > discipline.target_ns:
            before = [since for one, since in (*above.since_ns, *known) if one <= rank]
            known.append((rank, min([oldest_ns + discipline.target_ns, *before])))
    return Above(tuple(known))


def is_overloaded(above: Above, rank: int, now_ns: int, discipline: Discipline) -> bool:
    """Whether the wait of this rank has been over the target for a whole interval."""
    since_ns = min((since for one, since in above.since_ns if one <= rank), default=None)
    return since_ns is not None and now_ns - since_ns >= discipline.interval_ns


def turned_away(
    above: Above, waiting: Sequence[Waiting], now_ns: int, discipline: Discipline
) -> tuple[int, ...]:
    """Who is told now that nothing will come of it: indexes into `waiting`, the least important first.

    Nobody without an overload. Spare work goes at once in one. Work that somebody waits for goes only when
    its result would be late even if it began now: it would take the place of one that can be in time.
    """

    def goes(one: Waiting) -> bool:
        if one.spare_at is not None:
            return is_overloaded(above, one.spare_at, now_ns, discipline)
        has_waited = now_ns - one.since_ns > discipline.target_ns
        is_late = one.due_ns is not None and now_ns >= one.due_ns
        return has_waited and is_late and is_overloaded(above, one.rank, now_ns, discipline)

    gone = [n for n, one in enumerate(waiting) if goes(one)]
    return tuple(sorted(gone, key=lambda n: (waiting[n].spare_at is None, -waiting[n].rank, n)))


def in_order(
    above: Above, waiting: Sequence[Waiting], now_ns: int, discipline: Discipline
) -> tuple[int, ...]:
    """All of them, in the order in which they should begin: indexes into `waiting`.

    By rank; within a rank by when they are due, so that nobody is late who need not be. In an overload the
    newest first: by then those that are due first are late, or will be.
    """

    def place(n: int) -> tuple[int, int, int]:
        one = waiting[n]
        if is_overloaded(above, one.rank, now_ns, discipline):
            return one.rank, -one.since_ns, -n
        due_ns = one.since_ns + discipline.interval_ns if one.due_ns is None else one.due_ns
        return one.rank, due_ns, n

    return tuple(sorted(range(len(waiting)), key=place))


@dataclass(frozen=True, slots=True)
class Sojourn:
    """The same for a queue that is out of reach, and of which only the waits are known when they are over.

    Attributes:
        above_ns: Since when every wait has been over the target; None if the last one was not.
    """

    above_ns: int | None = None

    def waited(self, wait_ns: int, now_ns: int, discipline: Discipline) -> "Sojourn":
        """Another piece of work was begun, after so long (RFC 8289, 5.4: `ok_to_drop`)."""
        if wait_ns <= discipline.target_ns:
            return Sojourn()
        return self if self.above_ns is not None else Sojourn(now_ns)

    def is_overloaded(self, now_ns: int, discipline: Discipline) -> bool:
        """Whether no wait was short for a whole interval."""
        return self.above_ns is not None and now_ns - self.above_ns >= discipline.interval_ns
