"""What can an LLM behind another one do? What it says itself, or only what every LLM can."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from voicestack.fleet.ways import OneWay, Way, Ways
from voicestack.ports import Llm, LlmRequest


@runtime_checkable
class _Telling(Protocol):
    """An LLM that satisfies `Ways`."""

    def ways(self, request: LlmRequest) -> Iterable[Way]:
        """See `Ways`."""
        ...

    def n_in_flight(self, replica: str) -> int:
        """See `Ways`."""
        ...


def ways_of(llm: Llm) -> Ways:
    """Its ways."""
    return llm if isinstance(llm, _Telling) else OneWay()
