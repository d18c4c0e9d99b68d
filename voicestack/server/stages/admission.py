"""How much may the stages be used beside the conversations? So much that nobody in a call notices."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from voicestack.aio.clock import Clock
from voicestack.core.errors import Overloaded
from voicestack.core.queues import QueueReading

RETRY_AFTER_MS = 1000
BURST_NS = 500_000_000
"""What a request that paused may catch up with: a second request must not wait for the first's past."""


class Turnstile:
    """Lets so many requests in at a time. There is no queue: who is refused knows at once, and when to retry.

    Args:
        limit: Requests inside at most.
        name: For people.
        admits: Why nothing at all can be taken now; None if it can.

    Attributes:
        n_inside: Requests inside now.
    """

    def __init__(self, limit: int, *, name: str, admits: Callable[[], Overloaded | None]) -> None:
        self._limit, self._name, self._admits = limit, name, admits
        self.n_inside = 0
        self._n_refused = 0

    def reading(self) -> QueueReading:
        """How full it is. Nobody waits in it."""
        return QueueReading(
            self._name,
            refused={"full": self._n_refused},
            n_places=self._limit,
            n_busy=self.n_inside,
        )

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Be inside for the length of the `with`.

        Raises:
            Overloaded: it is full, or the server takes nothing now.
        """
        if (overloaded := self._admits()) is not None:
            raise overloaded
        if self.n_inside >= self._limit:
            self._n_refused += 1
            message = f"all {self._limit} places for {self._name} are taken"
            raise Overloaded(message, retry_after_ms=RETRY_AFTER_MS)
        self.n_inside += 1
        try:
            yield
        finally:
            self.n_inside -= 1


class Pace:
    """One allowance of audio for all requests, while there are calls.

    Args:
        clock: Measures the pace.
        ratio: Seconds of audio a second.
        in_calls: Whether anybody is in a call now.
    """

    def __init__(self, clock: Clock, *, ratio: float, in_calls: Callable[[], bool]) -> None:
        self._clock, self._ratio, self._in_calls = clock, ratio, in_calls
        self._paid_to_ns = 0

    async def spend(self, audio_s: float) -> None:
        """Wait until so much more audio may be worked on. Always lets others run."""
        now_ns = self._clock.now_ns()
        if not self._in_calls():
            self._paid_to_ns = 0
            await asyncio.sleep(0)
            return
        cost_ns = int(audio_s / self._ratio * 1e9)
        self._paid_to_ns = max(self._paid_to_ns, now_ns - BURST_NS) + cost_ns
        await asyncio.sleep(max(0, self._paid_to_ns - now_ns) / 1e9)
