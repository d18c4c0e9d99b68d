"""A connection of a caller's without a network, for virtual time."""

import asyncio
from collections.abc import AsyncIterator

from voicestack.aio.prefetch import Channel


class Pipe:
    """Both ends of a connection without a network."""

    def __init__(self) -> None:
        self.to_server: Channel[str] = Channel(10_000, name="to server")
        self.to_client: Channel[str] = Channel(10_000, name="to client")

    async def send(self, message: str) -> None:
        self.to_server.put(message)

    async def recv(self) -> str | bytes:
        try:
            return await anext(self.to_client)
        except StopAsyncIteration:
            await asyncio.get_running_loop().create_future()
            raise

    async def close(self) -> None:
        self.to_server.close()


class ServerEnd:
    """What a server sees of it."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    async def send(self, message: str) -> None:
        self._pipe.to_client.put(message)

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        async for message in self._pipe.to_server:
            yield message
