"""A whole server on the test's own event loop and a real port, with scripted or real engines."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from voicestack.aio.scope import Scope
from voicestack.config.load import load
from voicestack.server.lifecycle import Running, serve

SCRIPTED = ("vad.engine=energy", "turn.silence_duration_ms=200", "ledger.store=")


def with_server(
    script: Callable[[int], Awaitable[None]],
    *,
    profile: str = "scripted",
    sets: Sequence[str] = SCRIPTED,
    timeout_s: float = 30,
) -> None:
    """Start a server on a free port, give the script its port, and stop the server. Fails on leaked tasks."""
    asyncio.run(_with_server(script, profile, sets, timeout_s))


async def _with_server(
    script: Callable[[int], Awaitable[None]], profile: str, sets: Sequence[str], timeout_s: float
) -> None:
    config = load(profile, env={}, sets=["server.port=0", *sets]).config
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()

    def on_ready(running: Running) -> None:
        if not ready.done():
            ready.set_result(running)

    async with asyncio.timeout(timeout_s), Scope() as scope:
        served = scope.start(serve(config, on_ready), name="server")
        running = await ready
        try:
            await script(running.port)
        finally:
            running.stop()
            await asyncio.wait([served])
        served.result()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"left behind: {left}"
