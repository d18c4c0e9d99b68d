"""Who is told of every turn that is over?"""

from typing import Protocol

from voicestack.core.marks import TurnMarks
from voicestack.core.turn_record import TurnRecord


class TurnListener(Protocol):
    """Is told by `Metrics`, in the event loop's thread. Neither method may take long."""

    def turn_recorded(self, record: TurnRecord) -> None:
        """See `ports.Observer`."""
        ...

    def answer_heard(self, turn_id: str, marks: TurnMarks) -> None:
        """See `ports.Observer`."""
        ...
