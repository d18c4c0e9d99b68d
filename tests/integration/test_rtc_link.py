"""Does a peer connection carry what it should, both ways, and end as it should? Against plain aiortc."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.rtc_peer import RtcPeer, pitch_hz, tone
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.core.audio import EAR_RATE_HZ, NO_AUDIO, Pcm
from voicestack.core.errors import PeerProtocolError
from voicestack.transports.rtc_link import PLAY_RATE_HZ, RtcLink
from voicestack.transports.rtc_settings import RtcSettings

SETTINGS = RtcSettings(addresses=("127.0.0.1",))


def in_real_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a coroutine as a test, on sockets. What a task or a callback raises and nobody sees fails it."""

    @functools.wraps(test)
    def run() -> None:
        failures: list[dict[str, Any]] = []

        async def watched() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, details: failures.append(details))
            await asyncio.wait_for(test(), 60)

        asyncio.run(watched())
        assert failures == []

    return run


class Log:
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
async def linked(settings: RtcSettings = SETTINGS) -> AsyncIterator[tuple[RtcPeer, Log]]:
    """A peer and a link that are connected; nothing is left of either."""
    before = asyncio.all_tasks()
    async with RtcPeer() as peer:
        async with Scope() as scope:
            log = Log(RtcLink(settings, SystemClock(), scope))
            await peer.call(log.link.answer)
            await peer.opened()
            await peer.wait_until(lambda: log.n_opened == 1)
            yield peer, log
        assert log.reasons != []
        assert len(log.reasons) == 1
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() - before == set()


@in_real_time
async def test_audio_in() -> None:
    async with linked() as (peer, log):
        peer.microphone.say(tone(440, 2.0))
        await peer.wait_until(lambda: len(log.heard) > 1.2 * EAR_RATE_HZ)
        assert abs(pitch_hz(log.heard[-EAR_RATE_HZ // 2 :], EAR_RATE_HZ) - 440) < 5
        assert log.arrivals_ns == sorted(log.arrivals_ns)
        assert log.link.figures.n_packets_in > 50


@in_real_time
async def test_audio_out() -> None:
    async with linked() as (peer, log):
        speech = tone(600, 1.0, PLAY_RATE_HZ)
        for at in range(0, len(speech), 960):
            log.link.play(speech[at : at + 960])
            await asyncio.sleep(0.035)
        log.link.rest()
        await peer.wait_until(lambda: log.link.figures.n_packets_out == 50)
        await peer.wait_until(lambda: peer.n_frames >= 45)
        assert abs(pitch_hz(peer.heard[9600:-9600], 48_000) - 600) < 5
        assert len(log.late_ns) == 50


@in_real_time
async def test_events_both_ways_in_order() -> None:
    async with linked() as (peer, log):
        sent = [f'{{"n":{n}}}' for n in range(50)]
        for message in sent:
            peer.channel.send(message)
        peer.channel.send(b"\x00\x01")
        log.link.send([message.encode() for message in sent])
        log.link.send(["\u00e4\u4e16".encode()])
        await peer.wait_until(lambda: len(log.messages) == 51 and len(peer.messages) == 51)
        assert log.messages == [*sent, b"\x00\x01"]
        assert peer.messages == [*sent, "\u00e4\u4e16"]


@in_real_time
async def test_flush_drops_at_once() -> None:
    async with linked() as (peer, log):
        log.link.play(tone(600, 2.0, PLAY_RATE_HZ))
        log.link.flush()
        await asyncio.sleep(0.1)
        assert log.link.figures.n_packets_out == 1


@in_real_time
async def test_the_peer_hangs_up() -> None:
    async with linked() as (peer, log):
        await peer.pc.close()
        await peer.wait_until(lambda: log.reasons != [])
        assert log.reasons[0].startswith("the peer ")


@in_real_time
async def test_we_hang_up() -> None:
    async with linked() as (peer, log):
        log.link.close("enough")
        assert log.reasons == ["enough"]
        await peer.wait_until(lambda: peer.pc.connectionState == "closed")
        log.link.close("again")
        log.link.send([b"{}"])
        log.link.play(tone(600, 0.1, PLAY_RATE_HZ))


@in_real_time
async def test_an_offer_that_is_none() -> None:
    async with Scope() as scope:
        link = RtcLink(SETTINGS, SystemClock(), scope)
        with pytest.raises(PeerProtocolError) as caught:
            await link.answer("v=0\r\n")
        assert caught.value.wire_code == "invalid_offer"


@in_real_time
async def test_nobody_calls() -> None:
    settings = replace(SETTINGS, connect_timeout_ms=100)
    async with Scope() as scope, RtcPeer() as peer:
        log = Log(RtcLink(settings, SystemClock(), scope))
        await peer.pc.setLocalDescription(await peer.pc.createOffer())
        await log.link.answer(peer.pc.localDescription.sdp)
        await peer.wait_until(lambda: log.reasons != [])
        assert log.reasons == ["the peer did not connect in time"]
