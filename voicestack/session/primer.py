"""Keeping the LLM's KV cache one step behind the user: the prompt is read while it is being spoken.

Only the part of the words is read that is steady: of which the recogniser is sure, or on which its last two
guesses agree. The words after it would be computed over and over.
"""

import asyncio
import logging

from voicestack.aio.scope import Scope
from voicestack.core.errors import StageError
from voicestack.core.ids import UtteranceId
from voicestack.core.sure import agreed
from voicestack.ports import Llm, LlmRequest

log = logging.getLogger(__name__)


class Primer:
    """Primes one prompt at a time; while it does, only the newest of the prompts that come is kept."""

    def __init__(self, llm: Llm, scope: Scope) -> None:
        self._llm = llm
        self._scope = scope
        self._task: asyncio.Task[None] | None = None
        self._next: LlmRequest | None = None
        self._guess: tuple[UtteranceId | None, str] = (None, "")
        self._steady = ""

    def steady(self, utterance: UtteranceId, text: str, sure: str) -> str | None:
        """Take another guess at the words of an utterance.

        Returns:
            The beginning of them that is worth to be read; None if it is the same as before.
        """
        known, earlier = self._guess
        self._guess = (utterance, text)
        if known != utterance:
            self._steady = earlier = ""
        steady = max(sure, agreed(earlier, text), key=len)
        is_new, self._steady = steady != self._steady, steady
        return steady if is_new else None

    def prime(self, request: LlmRequest) -> None:
        """Arrange for the prompt to be read. Never waits."""
        if not request.messages:
            return
        self._next = request
        if self._task is None or self._task.done():
            self._task = self._scope.start(self._run(), name="prime")

    def cancel(self) -> None:
        """A reply begins: whatever is being primed makes room."""
        self._next = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while self._next is not None:
            request, self._next = self._next, None
            try:
                await self._llm.prime(request)
            except StageError as error:
                log.debug("priming failed: %s", error)
                return
