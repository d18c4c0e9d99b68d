"""Who is told what happens in turns? Seams as those of `ports`, of which engines need nothing else."""

from typing import Protocol

from voicestack.core.marks import TurnMarks
from voicestack.core.rungs import Rung
from voicestack.core.turn_record import TurnRecord, Use


class Trail(Protocol):
    """Is told what was done for a turn, beyond its marks. Never waits."""

    def used(self, use: Use) -> None:
        """A stage was asked; told when it is known how that went."""
        ...

    def took(self, rung: Rung, reason: str, forecast_ms: float | None = None) -> None:
        """A rung was taken by whoever makes the answer. `reason`: see `core.rungs.REASONS`."""
        ...

    def wasted(self, n_tokens: int) -> None:
        """Tokens were written that nobody uses."""
        ...


class Observer(Protocol):
    """Is told the figures that operators look at."""

    def turn_measured(self, marks: TurnMarks) -> None:
        """A turn's ledger was closed."""
        ...

    def turn_recorded(self, record: TurnRecord) -> None:
        """The same turn with all that is known of it. Comes right after `turn_measured`."""
        ...

    def answer_heard(self, turn_id: str, marks: TurnMarks) -> None:
        """The peer has said when a reply was heard first. Comes before or after its `turn_measured`.

        Args:
            turn_id: The `id` of its record.
            marks: All of its marks up to now.
        """
        ...

    def heard_disbelieved(self) -> None:
        """The peer has said so of a reply, and it cannot be."""
        ...

    def playout_sent(self, late_ns: int) -> None:
        """A frame left for the peer, so much after it was due."""
        ...

    def barge_in(self, decision_to_flush_ns: int) -> None:
        """The user interrupted; the time from the machine's decision to silence."""
        ...

    def draft_ended(self, *, won: bool) -> None:
        """A draft was committed (won) or thrown away."""
        ...

    def stage_failed(self, stage: str, code: str) -> None:
        """An engine raised."""
        ...


class Unobserved:
    """Satisfies `Observer`, and keeps nothing: synthetic turns are not the users' figures."""

    def turn_measured(self, marks: TurnMarks) -> None:
        """See `Observer`."""

    def turn_recorded(self, record: TurnRecord) -> None:
        """See `Observer`."""

    def answer_heard(self, turn_id: str, marks: TurnMarks) -> None:
        """See `Observer`."""

    def heard_disbelieved(self) -> None:
        """See `Observer`."""

    def playout_sent(self, late_ns: int) -> None:
        """See `Observer`."""

    def barge_in(self, decision_to_flush_ns: int) -> None:
        """See `Observer`."""

    def draft_ended(self, *, won: bool) -> None:
        """See `Observer`."""

    def stage_failed(self, stage: str, code: str) -> None:
        """See `Observer`."""
