"""Who owns a task: the scope that started it. The only place that starts one."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any


class Scope:
    """A task group whose children end with its body.

    `asyncio.TaskGroup` waits for its children when the body ends; here the body is the listener, and when
    the peer hangs up there is nothing left to do. (TaskGroup.cancel, which would do, is new in Python 3.15.)
    An exception in a child cancels the body and comes out of the `async with` as it is when it is alone.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Scope":
        await self._group.__aenter__()
        return self

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Run `work` in a task of its own, until it or the scope ends."""
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in list(self._tasks):
            task.cancel()
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise
