"""Who owns a task: the scope that started it. The only place that starts one."""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, NoReturn, ParamSpec

from voicestack.aio.clock import Clock, Timer

P = ParamSpec("P")


class Scope:
    """A task group whose children end with its body.

    `asyncio.TaskGroup` waits for its children when the body ends; here the body is the listener, and when
    the peer hangs up there is nothing left to do. (TaskGroup.cancel, which would do, is new in Python 3.15.)
    An exception in a child cancels the body and comes out of the `async with` as it is when it is alone.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = False

    async def __aenter__(self) -> "Scope":
        await self._group.__aenter__()
        return self

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Run `work` in a task of its own, until it or the scope ends."""
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._ending:
            task.cancel()
        return task

    def guarded(self, callback: Callable[P, None]) -> Callable[P, None]:
        """A callback whose exceptions end this scope, as if a child had raised them, and nothing else."""

        def call(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                callback(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 (it is not swallowed: the scope raises it)
                self.start(_raise(error), name="bug")

        return call

    def clock(self, clock: Clock) -> "ScopedClock":
        """The clock, with callbacks that are guarded by this scope."""
        return ScopedClock(clock, self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        for task in list(self._tasks):
            task.cancel()
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise


class ScopedClock:
    """A clock whose timers can only harm their own scope."""

    def __init__(self, clock: Clock, scope: Scope) -> None:
        self._clock = clock
        self._scope = scope

    def now_ns(self) -> int:
        """See `Clock`."""
        return self._clock.now_ns()

    def call_at(self, at_ns: int, callback: Callable[[], None]) -> Timer:
        """See `Clock`."""
        return self._clock.call_at(at_ns, self._scope.guarded(callback))


async def _raise(error: Exception) -> NoReturn:
    raise error
