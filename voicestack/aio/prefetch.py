"""The only queue: bounded, named, one reader."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Full(Exception):
    """A channel's reader is too far behind."""


class Channel(Generic[T]):
    """A bounded queue from callbacks to one reader.

    Iterating ends after `close`, when everything put before it has been read.

    Args:
        limit: Items held at most.
        name: For errors and gauges.
    """

    def __init__(self, limit: int, *, name: str) -> None:
        self._items: deque[T] = deque()
        self._limit = limit
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None
        self.name = name
        self.peak = 0

    def __len__(self) -> int:
        return len(self._items)

    def waiting(self) -> tuple[T, ...]:
        """What has been put and not been read, oldest first."""
        return tuple(self._items)

    def put(self, item: T) -> None:
        """Add an item without waiting. After `close` it is dropped.

        Raises:
            Full: `limit` items are waiting already.
        """
        if self._closed:
            return
        if len(self._items) >= self._limit:
            raise Full(f"{self.name}: {self._limit} items are waiting")
        self._items.append(item)
        self.peak = max(self.peak, len(self._items))
        self._wake()

    def close(self) -> None:
        """Nothing more will come."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._items.popleft()
