"""How is a server with the OpenAI API? It is asked what it has: `/readyz`, `/health`, or its models."""

import asyncio
from dataclasses import dataclass
from typing import Literal

import httpx

from voicestack.aio.clock import Clock
from voicestack.engines.api_client import api_client

LIMIT_S = 2.0
"""A server that does not say so for longer than a turn may take is of no use to one."""
PATHS = ("/readyz", "/health", "/v1/models")
"""A voicestack's: warm, measured by a turn. vLLM's and llama.cpp's: the model is loaded. The API's."""


@dataclass(frozen=True, slots=True)
class Pong:
    """What it said.

    Attributes:
        state: `cold` it is there and not ready; `down` it is not there.
        rtt_ms: How long the answer took; None without one.
        is_sure: It is gone, and not only late.
    """

    state: Literal["warm", "cold", "down"]
    rtt_ms: float | None = None
    is_sure: bool = True


class ReplicaPing:
    """Asks one server.

    Args:
        url: See `api_client`.
        clock: Measures.
        api_key: Bearer token.
    """

    def __init__(self, url: str, *, clock: Clock, api_key: str | None = None) -> None:
        self._clock = clock
        self._client = api_client(url, api_key=api_key, kept_s=60.0)
        self._paths = list(PATHS)

    async def ping(self) -> Pong:
        """Ask once. What a server does not have is not asked for again while it answers."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while True:
                    begun_ns = self._clock.now_ns()
                    answer = await self._client.get(self._address(self._paths[0]))
                    rtt_ms = (self._clock.now_ns() - begun_ns) / 1e6
                    if answer.is_success:
                        return Pong("warm", rtt_ms)
                    is_there = answer.status_code >= 500 or len(self._paths) == 1
                    if is_there:
                        return Pong("cold", rtt_ms)
                    self._paths.pop(0)
        except httpx.ConnectError:
            self._paths = list(PATHS)  # another program may come up there
            return Pong("down")
        except (httpx.TransportError, TimeoutError):
            return Pong("down", is_sure=False)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    def _address(self, path: str) -> httpx.URL:
        base = self._client.base_url
        root = base.path.rstrip("/").removesuffix("/v1")
        return base.copy_with(path=root + path)
