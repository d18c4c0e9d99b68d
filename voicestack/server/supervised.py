"""What the lifecycle keeps running, and readiness and metrics look at."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


class Process(Protocol):
    """A supervised process, as far as readiness and metrics are concerned."""

    @property
    def is_ready(self) -> bool:
        """Whether it can be used now."""
        ...

    @property
    def n_restarts(self) -> int:
        """How often it had to be started again."""
        ...


@runtime_checkable
class Phased(Protocol):
    """A process that knows where the time of its last start went."""

    def phases_s(self) -> Mapping[str, float]:
        """Seconds by the name of the phase, as far as it has come."""
        ...


@dataclass(frozen=True, slots=True)
class Supervised:
    """An engine with processes of its own.

    Attributes:
        name: For people and metrics.
        run: Keeps it running until cancelled, then cleans up.
        processes: They; a pool grows.
    """

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    processes: Callable[[], Sequence[Process]]

    @property
    def is_ready(self) -> bool:
        """Whether at least one of the processes can be used now."""
        return any(process.is_ready for process in self.processes())

    @property
    def n_restarts(self) -> int:
        """How often one of them had to be started again."""
        return sum(process.n_restarts for process in self.processes())
