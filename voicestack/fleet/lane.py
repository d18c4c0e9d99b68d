"""One replica that was asked for a reply, until it is known whether its answer is the one that counts."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from types import TracebackType

from voicestack.aio.scope import Scope
from voicestack.core.errors import StageError
from voicestack.core.rungs import Rung
from voicestack.fleet.roster import Pick
from voicestack.fleet.wording import tell_use
from voicestack.ports import Llm, LlmDelta, LlmRequest


class Lane:
    """A request to one replica.

    Args:
        pick: Who is asked.
        request: As it goes there; its trail is told how it went.
        on_news: Called when the first delta is there, or none will come.

    Attributes:
        is_hedge: Another one had been asked before, and may still answer.
        first: The first delta.
        error: Why there is none.
        deltas: What comes after it.
    """

    def __init__(self, pick: Pick[Llm], request: LlmRequest, on_news: Callable[[], None]) -> None:
        self.pick, self._request, self._on_news = pick, request, on_news
        self.is_hedge = request.rung is Rung.HEDGE
        self.first: LlmDelta | None = None
        self.error: StageError | None = None
        self.deltas: AsyncGenerator[LlmDelta, None] = pick.member.engine.reply(request)
        self._call = pick.member.call()
        self._task: asyncio.Task[None] | None = None
        self._is_over = False

    @property
    def name(self) -> str:
        """The replica's."""
        return self.pick.member.name

    def start(self, scope: Scope) -> None:
        """Ask."""
        self._call.__enter__()
        self._task = scope.start(self.begin(), name=f"llm-{self.name}")

    async def begin(self) -> None:
        """Wait for the first delta."""
        try:
            self.first = await anext(self.deltas, LlmDelta())
            self._call.first()
        except StageError as error:
            self.error = error
            self._end(error)
            self._tell(won=False)
        finally:
            self._on_news()

    def lose(self, scope: Scope) -> int:
        """Another one's answer counts: stop at once. Returns how many tokens it is known to have written."""
        assert self._task is not None
        if self._is_over:
            return 0
        self._end(asyncio.CancelledError())
        self._tell(won=False)
        if self._task.done():
            scope.start(self._close(), name=f"llm-{self.name}-close")
        else:
            self._task.cancel()
        return int(self.first is not None and bool(self.first.text or self.first.call))

    def __enter__(self) -> "Lane":
        """Its answer counts: it is read within the block."""
        self._tell(won=True)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._end(error)

    def abandon(self) -> None:
        """Nobody wants any answer any more; its task is ended by the scope."""
        if not self._is_over:
            self._end(asyncio.CancelledError())
            self._tell(won=False)

    async def _close(self) -> None:
        await self.deltas.aclose()

    def _end(self, error: BaseException | None) -> None:
        if not self._is_over:
            self._is_over = True
            self._call.__exit__(type(error) if error else None, error, None)

    def _tell(self, *, won: bool) -> None:
        tell_use(self._request, self.pick, self._call, won=won)
