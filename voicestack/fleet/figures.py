"""How long does a replica take now? From its last requests, and from those that still wait."""

from collections import deque
from dataclasses import dataclass

KEPT = 64
"""First results that are looked at: more do not move a median."""
AGE_NS = 120_000_000_000
"""Older ones say nothing: the replica is thought to be as fast as a new one, and so is asked again."""
NEWEST_RATIO = 0.2
"""Weight of the newest request in the mean time for a whole one."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What is expected of a replica of which nothing has been measured.

    Attributes:
        first_ms: Until the first result, without the way there and back.
        busy_ms: For a whole request.
    """

    first_ms: float = 100.0
    busy_ms: float = 1_000.0


class ReplicaFigures:
    """Times of one replica, without the way there and back. For one event loop.

    Args:
        pace: What is expected until something has been measured.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._first_ms: deque[tuple[int, float]] = deque(maxlen=KEPT)
        self._sorted: list[float] | None = []
        self.busy_ms = pace.busy_ms

    def first(self, now_ns: int, took_ms: float) -> None:
        """A request had its first result."""
        self._first_ms.append((now_ns, max(0.0, took_ms)))
        self._sorted = None

    def whole(self, took_ms: float) -> None:
        """A request was answered to its end."""
        self.busy_ms += NEWEST_RATIO * (took_ms - self.busy_ms)

    def measured_ms(self, now_ns: int, quantile: float) -> float | None:
        """First results: that part of them came sooner. None if there are none of late."""
        while self._first_ms and now_ns - self._first_ms[0][0] > AGE_NS:
            self._first_ms.popleft()
            self._sorted = None
        if self._sorted is None:
            self._sorted = sorted(took_ms for _, took_ms in self._first_ms)
        if not self._sorted:
            return None
        return self._sorted[min(len(self._sorted) - 1, int(quantile * len(self._sorted)))]

    def expected_ms(self, now_ns: int, quantile: float) -> float:
        """The same; what is expected of any replica if nothing was measured of late."""
        measured_ms = self.measured_ms(now_ns, quantile)
        return self._pace.first_ms if measured_ms is None else measured_ms
