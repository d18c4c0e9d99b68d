"""What nobody wants any more is not waited for, and not begun: where that is found out, and counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from voicestack.aio.clock import Clock
from voicestack.core.deadline import Deadline, is_expired
from voicestack.core.errors import Stage, StageExpired


class Expiry:
    """Drops the expired work of one queue, or one engine.

    Args:
        stage: Whose work it is.
        clock: Tells when it has expired.

    Attributes:
        n_expired: Pieces of work that were dropped.
    """

    def __init__(self, stage: Stage, clock: Clock) -> None:
        self._stage: Stage = stage
        self._clock = clock
        self.n_expired = 0

    def check(self, deadline: Deadline | None) -> None:
        """To be called where work leaves a queue.

        Raises:
            StageExpired: nobody wants it any more.
        """
        if is_expired(deadline, self._clock.now_ns()):
            raise self.dropped()

    def dropped(self) -> StageExpired:
        """Count a piece of work as expired; what to raise for it."""
        self.n_expired += 1
        return StageExpired("nobody wants it any more", stage=self._stage)

    def left_s(self, longest_s: float, deadline: Deadline | None) -> float:
        """How long may be waited, seconds: as long as usual, or until the limit if that is sooner."""
        if deadline is None:
            return longest_s
        return min(longest_s, deadline.left_ms(self._clock.now_ns()) / 1e3)

    def headers(self, deadline: Deadline | None) -> dict[str, str]:
        """What a request to another process carries."""
        return {} if deadline is None else deadline.headers(self._clock.now_ns())

    @asynccontextmanager
    async def within(self, deadline: Deadline | None) -> AsyncIterator[asyncio.Timeout]:
        """Do what is in the `with` for as long as somebody wants it. Do not yield from within it.

        The timeout may be put off, once the work has come to something.

        Raises:
            StageExpired: nobody does any more; what was in the `with` was cancelled, or not begun.
        """
        self.check(deadline)
        left_s = None if deadline is None else deadline.left_ms(self._clock.now_ns()) / 1e3
        limit = asyncio.timeout(left_s)
        try:
            async with limit:
                yield limit
        except TimeoutError:
            if not limit.expired():
                raise
            raise self.dropped() from None
