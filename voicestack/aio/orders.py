"""How is work that is under way told to go about it differently?"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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


class Promise:
    """Whether somebody waits for work that was begun in case somebody would."""

    def __init__(self) -> None:
        self.is_given = False
        self._told: list[Callable[[], None]] = []

    def give(self) -> None:
        """Somebody does, from now on. Whoever wanted to know is told at once."""
        if not self.is_given:
            self.is_given = True
            for tell in list(self._told):
                tell()

    @contextmanager
    def telling(self, tell: Callable[[], None]) -> Iterator[None]:
        """Call `tell` when it is given within the `with`; at once if it has been."""
        if self.is_given:
            tell()
        self._told.append(tell)
        try:
            yield
        finally:
            self._told.remove(tell)
