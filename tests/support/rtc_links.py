"""A link under test, and what it said; with a peer or without. Real time, real sockets."""

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import uvloop

from tests.support.rtc_peer import RtcPeer
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.core.audio import NO_AUDIO, Pcm
from voicestack.transports.rtc_link import RtcLink
from voicestack.transports.rtc_settings import RtcSettings

LOOP = None if os.environ.get("VOICESTACK_TEST_LOOP") == "asyncio" else uvloop.new_event_loop
"""What the server runs on."""

ON_LOOPBACK = RtcSettings(addresses=("127.0.0.1",))


def in_real_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a coroutine as a test, on sockets. What a task or a callback raises and nobody sees fails it."""

    @functools.wraps(test)
    def run() -> None:
        failures: list[dict[str, Any]] = []

        async def watched() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, details: failures.append(details))
            await asyncio.wait_for(test(), 60)

        with asyncio.Runner(loop_factory=LOOP) as runner:
            runner.run(watched())
        assert failures == []

    return run


class LinkLog:
    """What a link said."""

    def __init__(self, link: RtcLink) -> None:
        self.link = link
        self.n_opened = 0
        self.messages: list[str | bytes] = []
        self.parts: list[Pcm] = []
        self.arrivals_ns: list[int] = []
        self.reasons: list[str] = []
        self.late_ns: list[int] = []
        link.on_open = self._opened
        link.on_message = self.messages.append
        link.on_audio = self._heard
        link.on_closed = self.reasons.append
        link.on_sent = self.late_ns.append

    def _opened(self) -> None:
        self.n_opened += 1

    def _heard(self, pcm: Pcm, arrived_ns: int) -> None:
        self.parts.append(pcm)
        self.arrivals_ns.append(arrived_ns)

    @property
    def heard(self) -> Pcm:
        return np.concatenate(self.parts) if self.parts else NO_AUDIO


@asynccontextmanager
async def linked(
    settings: RtcSettings = ON_LOOPBACK, caller: RtcPeer | None = None
) -> AsyncIterator[tuple[RtcPeer, LinkLog]]:
    """A peer and a link that are connected; nothing is left of either."""
    before = asyncio.all_tasks()
    async with caller or RtcPeer() as peer:
        async with Scope() as scope:
            log = LinkLog(RtcLink(settings, SystemClock(), scope))
            await peer.call(log.link.answer)
            await peer.opened()
            await peer.wait_until(lambda: log.n_opened == 1)
            yield peer, log
        assert log.reasons != []
        assert len(log.reasons) == 1
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() - before == set()
