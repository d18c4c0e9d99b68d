"""Does the agent's voice leave on time, in packets that a browser understands? On virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import numpy as np

from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock, Timer
from voicestack.transports.link import PLAY_RATE_HZ
from voicestack.transports.opus import OpusDecoder
from voicestack.transports.rtc_voice import VoiceOut
from voicestack.transports.rtp_packets import RtpHead, read_rtp

MS = 1_000_000
PACKET = PLAY_RATE_HZ // 50


class Wire:
    """What left, and when."""

    def __init__(self, clock: LoopClock | None = None) -> None:
        self.clock = clock or LoopClock()
        self.heads: list[RtpHead] = []
        self.sent_ms: list[float] = []
        self.late_ns: list[int] = []
        self.began_ns = self.clock.now_ns()
        self.voice = VoiceOut(
            self.clock, self._send, payload_type=111, bitrate_bps=32_000, wall_offset_ns=5_000_000_000
        )
        self.voice.on_sent = self.late_ns.append

    def _send(self, packet: bytes) -> None:
        head = read_rtp(packet)
        assert head is not None
        self.heads.append(head)
        self.sent_ms.append((self.clock.now_ns() - self.began_ns) / MS)

    @property
    def steps(self) -> list[int]:
        """From timestamp to timestamp."""
        stamps = [head.timestamp for head in self.heads]
        return [(b - a) % 2**32 for a, b in pairwise(stamps)]


def sound(n_packets: float) -> Any:
    return np.full(round(n_packets * PACKET), 1000, dtype=np.int16)


def virtual(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        run_virtual(test())

    run.__name__ = test.__name__
    return run


@virtual
async def test_a_packet_every_20_ms_however_it_comes() -> None:
    wire = Wire()
    wire.voice.play(sound(2.5))
    wire.voice.play(sound(0.25))
    wire.voice.play(sound(2.25))
    await asyncio.sleep(1)
    assert wire.sent_ms == [0, 20, 40, 60, 80]
    assert wire.steps == [960] * 4
    assert [head.marker for head in wire.heads] == [True] + 4 * [False]
    sequences = [head.sequence for head in wire.heads]
    assert sequences == list(range(sequences[0], sequences[0] + 5))
    assert {(head.ssrc, head.payload_type) for head in wire.heads} == {(wire.voice.ssrc, 111)}
    assert wire.late_ns == [0] * 5


@virtual
async def test_nothing_is_sent_between_replies_and_time_goes_on() -> None:
    wire = Wire()
    wire.voice.play(sound(1))
    await asyncio.sleep(2.0)
    wire.voice.play(sound(2))
    await asyncio.sleep(1)
    assert wire.sent_ms == [0, 2000, 2020]
    assert wire.steps == [96_000, 960]
    assert [head.marker for head in wire.heads] == [True, True, False]


@virtual
async def test_a_little_late_is_not_a_new_spurt_and_not_our_lateness() -> None:
    wire = Wire()
    for pause_s in (0.035, 0.02, 0.02):
        wire.voice.play(sound(1))
        await asyncio.sleep(pause_s)
    wire.voice.play(sound(1))
    await asyncio.sleep(1)
    assert wire.sent_ms == [0, 35, 55, 75]
    assert wire.steps == [960] * 3
    assert wire.late_ns == [0] * 4


@virtual
async def test_the_rest_is_padded() -> None:
    wire = Wire()
    wire.voice.play(sound(1.3))
    wire.voice.rest()
    wire.voice.rest()
    await asyncio.sleep(1)
    assert wire.sent_ms == [0, 20]
    decoder = OpusDecoder(PLAY_RATE_HZ)
    assert all(len(decoder.decode(head.payload)) == PACKET for head in wire.heads)


@virtual
async def test_what_is_flushed_is_never_sent_and_the_next_reply_leaves_at_once() -> None:
    wire = Wire()
    wire.voice.play(sound(10))
    await asyncio.sleep(0.05)
    wire.voice.flush()
    assert wire.voice.queued_ms == 0
    await asyncio.sleep(0.2)
    wire.voice.play(sound(1))
    await asyncio.sleep(1)
    assert wire.sent_ms == [0, 20, 40, 250]


class Slow(LoopClock):
    """Every timer is 7 ms late."""

    def call_at(self, at_ns: int, callback: Callable[[], None]) -> Timer:
        return super().call_at(at_ns + 7 * MS, callback)


@virtual
async def test_late_timers_do_not_add_up_and_are_told() -> None:
    wire = Wire(Slow())
    wire.voice.play(sound(5))
    await asyncio.sleep(1)
    assert wire.sent_ms == [0, 27, 47, 67, 87]
    assert wire.late_ns == [0] + 4 * [7 * MS]


@virtual
async def test_a_report_says_where_media_time_is() -> None:
    wire = Wire()
    assert wire.voice.report() is None
    wire.voice.play(sound(2))
    await asyncio.sleep(0.5)
    report = wire.voice.report()
    assert report is not None
    assert (report.timestamp - wire.heads[0].timestamp) % 2**32 == 24_000
    assert report.n_packets == 2
    unix_ns = wire.clock.now_ns() + 5_000_000_000
    assert abs((report.ntp >> 32) - 2_208_988_800 - unix_ns // 10**9) <= 1
