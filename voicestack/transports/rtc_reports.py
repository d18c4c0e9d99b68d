"""What do the two ends tell each other about their streams? RTCP reports (RFC 3550, section 6)."""

from collections.abc import Callable

from voicestack.aio.clock import Clock, Timer
from voicestack.transports.opus_packet import TICKS_HZ
from voicestack.transports.rtc_voice import VoiceOut
from voicestack.transports.rtp_packets import (
    ReceptionReport,
    Reports,
    RtpHead,
    read_reports,
    write_goodbye,
    write_reports,
)

INTERVAL_NS = 2_500_000_000
"""Half of what RFC 3550 begins with: browsers' figures follow sooner, and it is 40 bytes."""


class Reporter:
    """Counts the user's stream, and exchanges reports.

    Args:
        clock: For the pace, and for round trips.
        voice: The agent's stream.
        send: Puts RTCP on the network.
        cname: Of this end.
    """

    def __init__(self, clock: Clock, voice: VoiceOut, send: Callable[[bytes], None], *, cname: str) -> None:
        self.rtt_ms: float | None = None
        self.p_lost_out = 0.0
        self._clock, self._voice, self._send, self._cname = clock, voice, send, cname
        self._stream: _Stream | None = None
        self._timer: Timer | None = None

    def start(self) -> None:
        """Report from now on."""
        self._timer = self._clock.call_at(self._clock.now_ns() + INTERVAL_NS // 5, self._report)

    def close(self) -> None:
        """Say that the agent's stream ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._send(write_goodbye(self._voice.ssrc))

    def count(self, head: RtpHead, arrived_ns: int) -> None:
        """A packet of the user's came."""
        if self._stream is None or self._stream.ssrc != head.ssrc:
            self._stream = _Stream(head.ssrc, head.sequence)
        self._stream.count(head, arrived_ns)

    def receive(self, packet: bytes) -> None:
        """The peer's RTCP came."""
        reports = read_reports(packet)
        now_ns = self._clock.now_ns()
        for sender in reports.senders:
            if self._stream is not None and sender.ssrc == self._stream.ssrc:
                self._stream.last_report = (sender.ntp >> 16) & 0xFFFFFFFF, now_ns
        self._take(reports)

    def _take(self, reports: Reports) -> None:
        for report in reports.receptions:
            info = self._voice.report()
            if report.ssrc != self._voice.ssrc or info is None:
                continue
            self.p_lost_out = report.p_lost
            if report.last_report:
                # RFC 3550, section 6.4.1: now - when it was sent - what it lay there, in 1/65536 s.
                elapsed = ((info.ntp >> 16) - report.last_report - report.held) & 0xFFFFFFFF
                if elapsed < 1 << 31:
                    self.rtt_ms = elapsed * 1000 / 65536

    def _report(self) -> None:
        now_ns = self._clock.now_ns()
        self._timer = self._clock.call_at(now_ns + INTERVAL_NS, self._report)
        receptions = () if self._stream is None else (self._stream.report(now_ns),)
        self._send(write_reports(self._voice.ssrc, self._cname, self._voice.report(), receptions))


class _Stream:
    """RFC 3550, appendices A.1, A.3 and A.8, for one SSRC."""

    def __init__(self, ssrc: int, sequence: int) -> None:
        self.ssrc = ssrc
        self.last_report = (0, 0)  # its sender's: middle of its NTP time, and when it came
        self._first = self._highest = sequence
        self._n_received = 0
        self._expected_before = self._received_before = 0
        self._transit: int | None = None
        self._jitter = 0.0

    def count(self, head: RtpHead, arrived_ns: int) -> None:
        self._n_received += 1
        ahead = (head.sequence - self._highest) & 0xFFFF
        if ahead < 0x8000:
            self._highest += ahead
        transit = arrived_ns * TICKS_HZ // 1_000_000_000 - head.timestamp
        if self._transit is not None:
            off = (transit - self._transit + (1 << 31)) % (1 << 32) - (1 << 31)
            self._jitter += (min(abs(off), TICKS_HZ) - self._jitter) / 16
        self._transit = transit

    def report(self, now_ns: int) -> ReceptionReport:
        n_expected = self._highest - self._first + 1
        n_due, n_came = n_expected - self._expected_before, self._n_received - self._received_before
        self._expected_before, self._received_before = n_expected, self._n_received
        middle, came_ns = self.last_report
        return ReceptionReport(
            ssrc=self.ssrc,
            p_lost=max(0.0, (n_due - n_came) / n_due) if n_due > 0 else 0.0,
            n_lost=n_expected - self._n_received,
            highest=self._highest & 0xFFFFFFFF,
            jitter=int(self._jitter),
            last_report=middle,
            held=((now_ns - came_ns) * 65536 // 1_000_000_000) & 0xFFFFFFFF if middle else 0,
        )
