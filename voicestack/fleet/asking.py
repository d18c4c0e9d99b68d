"""An LLM has been asked, and until its first token is there something else may turn out to be better."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from types import TracebackType

from voicestack.aio.scope import Scope
from voicestack.core.errors import StageError
from voicestack.ports import LlmDelta


class Asking:
    """One answer on its way. Leaving the block hangs up.

    Args:
        deltas: The answer.
        scope: Where its first token is waited for.
        on_news: Called when that is there, or will not come.

    Attributes:
        first: The first delta.
        error: Why there is none.
    """

    def __init__(
        self, deltas: AsyncGenerator[LlmDelta, None], scope: Scope, on_news: Callable[[], None]
    ) -> None:
        self._deltas, self._on_news = deltas, on_news
        self.first: LlmDelta | None = None
        self.error: StageError | None = None
        self._task = scope.start(self._begin(), name="llm-first")

    async def __aenter__(self) -> "Asking":
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        # A generator that runs cannot be closed; it ends with the task that runs it, whoever waits for that.
        # One that does not is closed at once: whoever is cancelled a second time would never come to it.
        if self._task.done():
            await self._deltas.aclose()
        else:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def answer(self) -> AsyncGenerator[LlmDelta, None]:
        """All of it, once `first` or `error` is there. Raises StageError."""
        if self.error is not None:
            raise self.error
        assert self.first is not None
        yield self.first
        async for delta in self._deltas:
            yield delta

    async def _begin(self) -> None:
        try:
            self.first = await anext(self._deltas, LlmDelta())
        except StageError as error:
            self.error = error
        self._on_news()
