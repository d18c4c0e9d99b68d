"""How much more can this server carry, and whom does it refuse? What an operator, or a balancer, is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from voicestack.core.queues import QueueReading
from voicestack.fleet.admit import finite


@dataclass(frozen=True, slots=True)
class CapacityView:
    """How full the server is now.

    Attributes:
        n_sessions: Sessions in progress.
        max_sessions: Sessions at most, whatever the load.
        is_admitting: Whether another one would be let in.
        reason: Why not: `not_ready`, `full`, or a reason of `admit`; empty if it would.
        predicted_p95_ms: Of a turn, with another session; None if nobody can tell.
        budget_ms: Of a turn.
        headroom_sessions: How many more could come in; None if nobody can tell.
        refused: Sessions that were refused since the start, by reason.
        queues: What waits in front of the stages.
        sheds_drafts: Whether drafts are switched off.
    """

    n_sessions: int
    max_sessions: int
    is_admitting: bool
    reason: str
    predicted_p95_ms: float | None
    budget_ms: float
    headroom_sessions: int | None
    refused: Mapping[str, int] = field(default_factory=dict)
    queues: tuple[QueueReading, ...] = ()
    sheds_drafts: bool = False

    def json(self) -> dict[str, Any]:
        """For the dashboard."""
        return {
            "sessions": self.n_sessions,
            "max_sessions": self.max_sessions,
            "admitting": self.is_admitting,
            "reason": self.reason or None,
            "predicted_p95_ms": finite(self.predicted_p95_ms),
            "budget_ms": self.budget_ms,
            "headroom_sessions": self.headroom_sessions,
            "refused": dict(self.refused),
            "queues": [
                {"name": one.name, "waiting": one.n_waiting, "wait_ms": one.oldest_wait_ms}
                for one in self.queues
            ],
        }
