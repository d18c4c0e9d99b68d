"""What is known of those that wait for a place, and of those that have one? The books of a queue.

The rules are `core.codel`'s; whoever keeps the places asks here whom to let in and whom to turn away.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from voicestack.aio.clock import Clock
from voicestack.core.codel import (
    Above,
    Discipline,
    Waiting,
    discipline_of,
    in_order,
    is_overloaded,
    seen,
    turned_away,
)
from voicestack.core.deadline import Deadline
from voicestack.core.errors import Stage, StageOverloaded
from voicestack.core.queues import REFUSALS, QueueReading, Refusal

WEIGHT = 0.1
"""Of the newest in a moving mean: the last twenty or so count."""
N_KNOWN = 20


@dataclass(slots=True, eq=False)
class Ticket:
    """A piece of work, from its arrival to its end.

    Attributes:
        rank: The lowest number is the most important.
        since_ns: When it came.
        target_ns: Until when its result is wanted; None for whenever.
        spare_at: See `Waiting`.
        began_ns: When it got a place; None while it waits.
        refused: Why it was turned away; None if it was not.
    """

    rank: int
    since_ns: int
    target_ns: int | None = None
    spare_at: int | None = None
    began_ns: int | None = None
    refused: Refusal | None = None


class Line:
    """The books of one queue.

    Args:
        name: Of what is waited for.
        stage: For errors.
        clock: Times everything.
        n_places: Pieces of work at the same time.
        n_waiting_max: Pieces of work that may wait.
    """

    def __init__(
        self, name: str, *, stage: Stage, clock: Clock, n_places: int, n_waiting_max: int = 256
    ) -> None:
        self.name, self._stage, self._clock = name, stage, clock
        self._n_places, self._n_waiting_max = n_places, n_waiting_max
        self._waiting: list[Ticket] = []
        self._above = Above()
        self._refused = Counter[str](dict.fromkeys(REFUSALS, 0))
        self._n_busy = self._n_served = 0
        self._busy_ns = 0
        self._busy_since_ns = clock.now_ns()
        self._service_ns = self._service_ns2 = self._lead_ns = 0.0

    @property
    def discipline(self) -> Discipline:
        """How patient it is, by what a piece of work has taken lately."""
        return discipline_of(self._service_ns, self._n_places)

    def arrive(self, rank: int, deadline: Deadline | None = None, *, spare_at: int | None = None) -> Ticket:
        """Somebody comes and waits.

        Raises:
            StageOverloaded: there is no room to wait, or the work is spare and there is an overload.
        """
        now_ns = self._clock.now_ns()
        ticket = Ticket(rank, now_ns, deadline.target_ns if deadline else None, spare_at)
        self._look(now_ns)
        if spare_at is not None and is_overloaded(self._above, spare_at, now_ns, self.discipline):
            self._refuse(ticket, "load")
        elif len(self._waiting) >= self._n_waiting_max:
            self._refuse(ticket, "full")
        else:
            self._waiting.append(ticket)
        self.check(ticket)
        return ticket

    @contextmanager
    def held(self, rank: int = 0, deadline: Deadline | None = None) -> Iterator[Ticket]:
        """A ticket for the length of the `with`. Raises StageOverloaded as `arrive`."""
        ticket = self.arrive(rank, deadline)
        try:
            yield ticket
        finally:
            self.leave(ticket)

    def check(self, ticket: Ticket) -> None:
        """Raises StageOverloaded: it was turned away."""
        if ticket.refused is not None:
            raise self.refusal()

    def refusal(self) -> StageOverloaded:
        """What those are told that are turned away."""
        message = f"too much waits for {self.name}: {len(self._waiting)}"
        return StageOverloaded(message, stage=self._stage)

    def next(self) -> tuple[Sequence[Ticket], Sequence[Ticket]]:
        """Who should begin, in order, as far as there are places; and who has just been turned away."""
        now_ns = self._clock.now_ns()
        self._look(now_ns)
        gone = [self._waiting[n] for n in turned_away(self._above, self._shown(), now_ns, self.discipline)]
        for ticket in gone:
            self._waiting.remove(ticket)
            self._refuse(ticket, "late" if ticket.spare_at is None else "load")
        order = in_order(self._above, self._shown(), now_ns, self.discipline)
        return [self._waiting[n] for n in order], gone

    def begin(self, ticket: Ticket) -> None:
        """It has got a place."""
        self._waiting.remove(ticket)
        self._count_busy()
        self._n_busy += 1
        ticket.began_ns = self._clock.now_ns()

    def has_result(self, ticket: Ticket) -> None:
        """Its first result is there: from now on nobody waits for it."""
        if ticket.began_ns is not None:
            self._lead_ns = _mean(self._lead_ns, self._clock.now_ns() - ticket.began_ns)

    def leave(self, ticket: Ticket) -> None:
        """It is over, or not wanted any more."""
        if ticket.began_ns is None:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            return
        self._count_busy()
        self._n_busy -= 1
        self._n_served += 1
        took_ns = self._clock.now_ns() - ticket.began_ns
        self._service_ns = _mean(self._service_ns, took_ns)
        self._service_ns2 = _mean(self._service_ns2, took_ns**2)

    def reading(self) -> QueueReading:
        """How it is now."""
        self._count_busy()
        oldest_ns = min((one.since_ns for one in self._waiting), default=None)
        wait_ms = None if oldest_ns is None else (self._clock.now_ns() - oldest_ns) / 1e6
        return QueueReading(
            self.name,
            len(self._waiting),
            wait_ms,
            dict(self._refused),
            self._n_places,
            self._n_busy,
            self._busy_ns / 1e6,
            self._n_served,
            self._cv2(),
        )

    def _cv2(self) -> float:
        """As for exponential times until some are known."""
        if self._n_served < N_KNOWN:
            return 1.0
        return max(0.0, self._service_ns2 / max(1.0, self._service_ns**2) - 1.0)

    def _refuse(self, ticket: Ticket, why: Refusal) -> None:
        ticket.refused = why
        self._refused[why] += 1

    def _look(self, now_ns: int) -> None:
        self._above = seen(self._above, self._shown(), now_ns, self.discipline)

    def _shown(self) -> list[Waiting]:
        lead_ns = round(self._lead_ns)
        return [
            Waiting(
                one.rank,
                one.since_ns,
                None if one.target_ns is None else one.target_ns - lead_ns,
                one.spare_at,
            )
            for one in self._waiting
        ]

    def _count_busy(self) -> None:
        now_ns = self._clock.now_ns()
        self._busy_ns += self._n_busy * (now_ns - self._busy_since_ns)
        self._busy_since_ns = now_ns


def _mean(before_ns: float, newest_ns: int) -> float:
    """A moving one; `before_ns` is 0 at first."""
    return before_ns + WEIGHT * (newest_ns - before_ns) if before_ns else float(newest_ns)
