"""When does each packet of the agent's voice leave? Opus in RTP, every 20 ms while there is something."""

import secrets
from collections.abc import Callable

import numpy as np

from voicestack.aio.clock import Clock, Timer
from voicestack.core.audio import NO_AUDIO, Pcm
from voicestack.transports.link import PLAY_RATE_HZ
from voicestack.transports.opus import PACKET_MS, OpusEncoder
from voicestack.transports.opus_packet import TICKS_HZ
from voicestack.transports.rtp_packets import RtpHead, SenderInfo, write_rtp

PACKET_NS = PACKET_MS * 1_000_000
PACKET_TICKS = TICKS_HZ * PACKET_MS // 1000

NEW_SPURT_NS = 3 * PACKET_NS
"""A pause from this on is told to the peer by timestamps that leave it out, and a marker. A shorter one is
the lateness of somebody here, and the peer's own jitter buffer deals with it."""

_NTP_EPOCH_S = 2_208_988_800
"""From 1900 to 1970 (RFC 5905)."""


class VoiceOut:
    """The agent's RTP stream.

    Args:
        clock: For the pace.
        send: Puts an RTP packet on the network.
        payload_type: Of Opus.
        bitrate_bps: Of Opus.
        wall_offset_ns: What to add to the clock for Unix time: reports want it.

    Attributes:
        on_sent: Told how late each packet left, in ns after it was due *and* here.
    """

    def __init__(
        self,
        clock: Clock,
        send: Callable[[bytes], None],
        *,
        payload_type: int,
        bitrate_bps: int,
        wall_offset_ns: int,
    ) -> None:
        self.ssrc = secrets.randbits(32)
        self.on_sent: Callable[[int], None] = _ignore
        self.n_packets = 0
        self.n_bytes = 0
        self._clock = clock
        self._send = send
        self._payload_type = payload_type
        self._encoder = OpusEncoder(PLAY_RATE_HZ, bitrate_bps=bitrate_bps)
        self._packet_samples = self._encoder.packet_samples
        self._wall_offset_ns = wall_offset_ns
        self._sequence = secrets.randbits(15)  # in the lower half, so that an early loss is not a wrap
        self._timestamp = secrets.randbits(32)
        self._sent_ns: int | None = None  # when the last packet was due
        self._due_ns = 0  # when the next one is
        self._here_ns = 0  # when the packet at the front of the queue was whole
        self._queue = NO_AUDIO
        self._timer: Timer | None = None

    @property
    def queued_ms(self) -> float:
        """Audio that waits for its time."""
        return len(self._queue) * 1000 / PLAY_RATE_HZ

    def play(self, pcm: Pcm) -> None:
        """Queue audio; the first packet of a spurt leaves at once."""
        if len(self._queue) < self._packet_samples:
            self._here_ns = self._clock.now_ns()
        self._queue = np.concatenate((self._queue, pcm)) if len(self._queue) else pcm
        if self._timer is None:
            self._pump()

    def rest(self) -> None:
        """Nothing follows: fill the last packet up."""
        n_over = len(self._queue) % self._packet_samples
        if n_over:
            self.play(np.zeros(self._packet_samples - n_over, dtype=np.int16))

    def flush(self) -> None:
        """Drop what has not left."""
        self._queue = NO_AUDIO
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """No more."""
        self.flush()
        self._encoder.close()

    def report(self) -> SenderInfo | None:
        """What a sender report says now; None while nothing was sent."""
        if self._sent_ns is None:
            return None
        now_ns = self._clock.now_ns()
        ntp = ((now_ns + self._wall_offset_ns + _NTP_EPOCH_S * 1_000_000_000) << 32) // 1_000_000_000
        timestamp = self._timestamp + _ticks(now_ns - self._sent_ns)
        return SenderInfo(
            self.ssrc,
            ntp & 0xFFFFFFFF_FFFFFFFF,
            timestamp & 0xFFFFFFFF,
            self.n_packets & 0xFFFFFFFF,
            self.n_bytes & 0xFFFFFFFF,
        )

    def _on_timer(self) -> None:
        self._timer = None
        self._pump()

    def _pump(self) -> None:
        """Send what is due, then set the timer for the next packet."""
        while len(self._queue) >= self._packet_samples:
            now_ns = self._clock.now_ns()
            is_new = self._sent_ns is None or now_ns - self._due_ns >= NEW_SPURT_NS - PACKET_NS
            if is_new:
                self._begin(now_ns)
            elif self._due_ns > now_ns:
                self._timer = self._clock.call_at(self._due_ns, self._on_timer)
                return
            pcm, self._queue = self._queue[: self._packet_samples], self._queue[self._packet_samples :]
            self._packet(pcm, marker=is_new)
            self.on_sent(now_ns - max(self._due_ns, self._here_ns))
            self._sent_ns = self._due_ns
            self._due_ns += PACKET_NS

    def _begin(self, now_ns: int) -> None:
        """A new spurt: media time has gone on without packets."""
        if self._sent_ns is not None:
            self._timestamp += max(PACKET_TICKS, _ticks(now_ns - self._sent_ns)) - PACKET_TICKS
            self._encoder.reset()
        self._due_ns = now_ns

    def _packet(self, pcm: Pcm, *, marker: bool) -> None:
        self._timestamp = (self._timestamp + PACKET_TICKS) & 0xFFFFFFFF
        self._sequence = (self._sequence + 1) & 0xFFFF
        payload = self._encoder.encode(pcm)
        head = RtpHead(self._payload_type, marker, self._sequence, self._timestamp, self.ssrc, payload)
        self.n_packets += 1
        self.n_bytes += len(payload)
        self._send(write_rtp(head))


def _ticks(ns: int) -> int:
    return ns * TICKS_HZ // 1_000_000_000


def _ignore(late_ns: int) -> None:
    """Nobody counts."""
