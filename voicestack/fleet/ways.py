"""How could an answer be made now? Whoever makes it, the LLM's side, tells the forecaster."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from voicestack.core.rungs import Rung
from voicestack.ports import LlmRequest

LLM_STAGES = ("llm", "clause")
STAGES = (*LLM_STAGES, "tts")
"""From the request to the first sound, as `ports.Forecaster.observe` has them."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to make an answer.

    Attributes:
        rung: The rung that it is.
        replica: Who would do it, as named in `core.turn_record.Use.replica`: its measured times count.
            Empty for whoever.
        extra_ms: What comes on top of those times: the way to another region, the prompt to be read there.
        stages: What has to be gone through: without `llm` and `clause` the text is there already, without
            any its sound is.
    """

    rung: Rung
    replica: str = ""
    extra_ms: float = 0.0
    stages: tuple[str, ...] = STAGES


class Ways(Protocol):
    """The LLM's side."""

    def ways(self, request: LlmRequest) -> Iterable[Way]:
        """What could be done about this request now; at most one per rung and replica.

        The way that is under way is that of `request.rung`, or FULL. What cannot be done is left out: a rung
        without a second replica, a replica whose breaker is open, an answer that is not in the cache.
        """
        ...

    def n_in_flight(self, replica: str) -> int:
        """Replies that the replica writes now; empty for all of them together."""
        ...


class OneWay:
    """A single engine: there is no choice.

    Args:
        replica: Its name.
    """

    def __init__(self, replica: str = "") -> None:
        self._way = Way(Rung.FULL, replica)

    def ways(self, request: LlmRequest) -> Sequence[Way]:
        """See `Ways`."""
        return (self._way,)

    def n_in_flight(self, replica: str) -> int:
        """See `Ways`. Unknown, so all is measured as one load."""
        return 0
