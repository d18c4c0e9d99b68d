"""Do the two ends of a stream agree on what was lost, and on how far apart they are? On virtual time."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.transports.link import PLAY_RATE_HZ
from voicestack.transports.rtc_reports import Reporter
from voicestack.transports.rtc_voice import VoiceOut
from voicestack.transports.rtp_packets import is_rtcp, read_reports, read_rtp

WAY_MS = 40


class End:
    """One end: its stream, its reports, and what it gets from the other."""

    def __init__(self, loses: Callable[[int], bool]) -> None:
        self.clock = LoopClock()
        self.other: End
        self._loses = loses
        self.n_packets = 0
        self.rtcp: list[bytes] = []
        self.voice = VoiceOut(
            self.clock, self._send, payload_type=111, bitrate_bps=32_000, wall_offset_ns=10**18
        )
        self.reporter = Reporter(self.clock, self.voice, self._send, cname="end")

    def _send(self, packet: bytes) -> None:
        if is_rtcp(packet):
            self.rtcp.append(packet)
        else:
            self.n_packets += 1
            if self._loses(self.n_packets):
                return
        at_ns = self.clock.now_ns() + WAY_MS * 1_000_000
        self.clock.call_at(at_ns, lambda: self.other.receive(packet))

    def receive(self, packet: bytes) -> None:
        if is_rtcp(packet):
            self.reporter.receive(packet)
        else:
            head = read_rtp(packet)
            assert head is not None
            self.reporter.count(head, self.clock.now_ns())


async def talk(loses: Callable[[int], bool], duration_s: float) -> tuple[End, End]:
    """The left end talks, the right one listens."""
    left, right = End(loses), End(lambda _: False)
    left.other, right.other = right, left
    for end in (left, right):
        end.reporter.start()
    left.voice.play(np.full(int(PLAY_RATE_HZ * duration_s), 500, dtype=np.int16))
    await asyncio.sleep(duration_s + 0.1)
    for end in (left, right):
        end.reporter.close()
    await asyncio.sleep(1)
    return left, right


def test_round_trip_and_loss() -> None:
    left, right = run_virtual(talk(lambda n: n % 10 == 5, 9.0))
    assert left.reporter.rtt_ms == pytest.approx(2 * WAY_MS, abs=1)
    assert left.reporter.p_lost_out == pytest.approx(0.1, abs=0.02)
    assert right.reporter.rtt_ms is None  # it sends nothing
    said = [report for packet in right.rtcp for report in read_reports(packet).receptions]
    assert said[-1].ssrc == left.voice.ssrc
    assert said[-1].n_lost == pytest.approx(0.1 * 8.2 * 50, abs=8)
    assert said[-1].jitter <= 1
    assert all(not read_reports(packet).senders for packet in right.rtcp)
    counts = [report.n_packets for packet in left.rtcp for report in read_reports(packet).senders]
    assert counts == pytest.approx([25.5, 150.5, 275.5, 400.5], abs=1)


def test_without_loss_nothing_is_lost_even_when_numbers_wrap() -> None:
    async def run() -> tuple[End, End]:
        left, right = End(lambda _: False), End(lambda _: False)
        left.other, right.other = right, left
        left.voice._sequence = 65_500
        for end in (left, right):
            end.reporter.start()
        left.voice.play(np.full(PLAY_RATE_HZ * 6, 500, dtype=np.int16))
        await asyncio.sleep(6.5)
        for end in (left, right):
            end.reporter.close()
        await asyncio.sleep(1)
        return left, right

    left, right = run_virtual(run())
    said = [report for packet in right.rtcp for report in read_reports(packet).receptions]
    assert {report.n_lost for report in said} == {0}
    assert {report.p_lost for report in said} == {0.0}
    assert said[-1].highest > 65_536
    assert left.reporter.p_lost_out == 0.0


def test_reports_come_at_their_pace_and_end_with_a_goodbye() -> None:
    left, right = run_virtual(talk(lambda _: False, 6.0))
    # After half a second, then every 2.5 s, then the goodbye.
    assert len(left.rtcp) == len(right.rtcp) == 4
    assert left.rtcp[-1][8:12][1] == 203
