"""How is a queue, seen from outside?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

Refusal = Literal["load", "late", "full"]
"""Why work was turned away: `load` it was spare and the queue was overloaded, `late` it was not, and would
have been late; `full` there was no room for it to wait."""
REFUSALS: tuple[Refusal, ...] = ("load", "late", "full")


@dataclass(frozen=True, slots=True)
class QueueReading:
    """A queue at one instant.

    Attributes:
        name: Of what is waited for.
        n_waiting: Pieces of work that have not begun.
        oldest_wait_ms: For how long the first of them has been there; None if there is none.
        refused: What was turned away since the start, by `Refusal`.
        n_places: Pieces of work at the same time at most; None where nobody knows.
        n_busy: Those under way.
        busy_ms: For how long places have been taken, all together since the start.
        n_served: Pieces of work that are over since the start.
        service_cv2: Squared coefficient of variation of what a piece of work takes; 1 where nobody knows.
        is_hidden: A place is held while the user speaks: a wait that is no longer than that costs nothing.
    """

    name: str
    n_waiting: int = 0
    oldest_wait_ms: float | None = None
    refused: Mapping[str, int] = field(default_factory=dict)
    n_places: int | None = None
    n_busy: int = 0
    busy_ms: float = 0.0
    n_served: int = 0
    service_cv2: float = 1.0
    is_hidden: bool = False


@runtime_checkable
class Queued(Protocol):
    """An engine in front of which work waits."""

    def queues(self) -> Sequence[QueueReading]:
        """How its queues are now. Cheap: asked every second."""
        ...
