"""How long does a smaller LLM take for an opener? It is asked for one now and then, for nobody."""

import asyncio
from collections.abc import Sequence

from voicestack.aio.clock import Clock
from voicestack.core.errors import StageError
from voicestack.core.history import Message
from voicestack.core.ids import TurnId, own_session
from voicestack.fleet.opened_reply import Small, opener_of
from voicestack.ports import LlmRequest

SOON_S = 0.5
"""Between the first rehearsals ..."""
N_SOON = 10
"""... of which there are enough for a forecast."""


class Rehearsal:
    """Run `run` in a task of its own.

    Args:
        small: Who rehearses.
        messages: A conversation like a user's.
        clock: Measures.
        every_s: Between two rehearsals.

    Attributes:
        n_done: Openers that came.
        n_failed: Those that did not.
    """

    def __init__(self, small: Small, messages: Sequence[Message], *, clock: Clock, every_s: float) -> None:
        self._small, self._clock, self._every_s = small, clock, every_s
        self._request = LlmRequest(own_session("opener"), TurnId(0), tuple(messages), draft=True)
        self.n_done = self.n_failed = 0

    @property
    def is_ready(self) -> bool:
        """Nobody waits for it."""
        return True

    @property
    def n_restarts(self) -> int:
        """There is no process."""
        return 0

    async def run(self) -> None:
        """Rehearse until cancelled."""
        while True:
            began_ns = self._clock.now_ns()
            try:
                await opener_of(self._small, self._request, lambda: None)
            except StageError:
                self.n_failed += 1
                self._small.times.failed()
            else:
                self.n_done += 1
                self._small.times.took((self._clock.now_ns() - began_ns) / 1e6)
            await asyncio.sleep(SOON_S if self.n_done < N_SOON else self._every_s)
