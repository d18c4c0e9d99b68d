"""How is work that is under way told to go about it differently?"""

import asyncio
from collections import deque

from voicestack.core.rungs import Rung


class Orders:
    """What is decided about a reply while it is being made: rungs to take, in order.

    One decides (the session) and never waits; one obeys (the LLM's pool), if it can.
    """

    def __init__(self) -> None:
        self._given: deque[Rung] = deque()
        self._wake: asyncio.Event = asyncio.Event()

    def give(self, rung: Rung) -> None:
        """Take this rung. Nobody may be there to obey."""
        self._given.append(rung)
        self._wake.set()

    async def next(self) -> Rung:
        """The next order; waits for ever if there is none."""
        while not self._given:
            self._wake.clear()
            await self._wake.wait()
        return self._given.popleft()
