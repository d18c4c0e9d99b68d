"""How does audio get from the network to the session and back? SRTP, order and Opus, for one connection."""

from collections.abc import Callable
from dataclasses import replace

from voicestack.aio.clock import Clock, Timer, WallAnchor
from voicestack.core.audio import Pcm
from voicestack.transports.rtc_dtls import Dtls
from voicestack.transports.rtc_offer import Offer
from voicestack.transports.rtc_reports import Reporter
from voicestack.transports.rtc_settings import LinkFigures
from voicestack.transports.rtc_voice import VoiceOut
from voicestack.transports.rtp_listening import HeardPcm, RtpEar
from voicestack.transports.rtp_packets import is_rtcp, read_rtp


class Media:
    """The audio of one peer connection, both ways.

    Args:
        clock: For the pace.
        offer: What the peer wants.
        dtls: Has the keys.
        put: Puts a datagram on the network. Must not wait or raise.
        cname: Of this end.
        bitrate_bps: Of Opus.
    """

    def __init__(
        self,
        clock: Clock,
        offer: Offer,
        dtls: Dtls,
        put: Callable[[bytes], None],
        *,
        cname: str,
        bitrate_bps: int,
    ) -> None:
        self.on_audio: Callable[[Pcm, int], None] = _ignore_audio
        self.on_sent: Callable[[int], None] = _ignore_sent
        self._clock, self._dtls, self._put = clock, dtls, put
        self._payload_type = offer.payload_type
        direction = "inactive" if offer.audio is None else offer.sections[offer.audio].direction
        self._hears = direction in ("sendrecv", "sendonly")
        self._speaks = direction in ("sendrecv", "recvonly")
        self._counted = LinkFigures()
        self._timer: Timer | None = None
        self._is_closed = False
        anchor = WallAnchor.now(clock)
        self._voice = VoiceOut(
            clock,
            self._put_rtp,
            payload_type=offer.payload_type,
            bitrate_bps=bitrate_bps,
            wall_offset_ns=anchor.wall_ns - anchor.mono_ns,
        )
        self._voice.on_sent = self._on_sent
        self._reporter = Reporter(clock, self._voice, self._put_rtcp, cname=cname)
        self._ear = RtpEar()

    @property
    def ssrc(self) -> int:
        """Of the agent's voice."""
        return self._voice.ssrc

    @property
    def figures(self) -> LinkFigures:
        """What happened so far."""
        jitter, heard = self._ear.jitter, self._ear.figures
        return replace(
            self._counted,
            n_lost=jitter.n_lost,
            n_late=jitter.n_late + jitter.n_duplicate,
            n_refused=self._counted.n_refused + heard.n_bad,
            n_recovered_samples=heard.n_recovered_samples,
            n_concealed_samples=heard.n_concealed_samples,
            jitter_ms=jitter.jitter_ns / 1e6,
            n_packets_out=self._voice.n_packets,
            out_bytes=self._voice.n_bytes,
            p_lost_out=self._reporter.p_lost_out,
            rtt_ms=self._reporter.rtt_ms,
        )

    def start(self) -> None:
        """There are keys."""
        if self._hears or self._speaks:
            self._reporter.start()

    def play(self, pcm: Pcm) -> None:
        """See `RtcLink`."""
        if self._is_audible and len(pcm):
            self._voice.play(pcm)

    def rest(self) -> None:
        """See `RtcLink`."""
        if self._is_audible:
            self._voice.rest()

    def flush(self) -> None:
        """See `RtcLink`."""
        self._voice.flush()

    def close(self) -> None:
        """Say goodbye, and free the codecs."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._voice.close()
        self._reporter.close()
        self._ear.close()

    def receive(self, datagram: bytes) -> None:
        """Deal with a datagram of SRTP or SRTCP."""
        rtcp = is_rtcp(datagram)
        packet = self._dtls.unprotect(datagram, rtcp=rtcp)
        if packet is None:
            self._counted.n_refused += 1
        elif rtcp:
            self._reporter.receive(packet)
        else:
            self._receive_rtp(packet)

    def _receive_rtp(self, packet: bytes) -> None:
        head = read_rtp(packet)
        if head is None or not self._hears:
            self._counted.n_refused += 1
        elif head.payload_type == self._payload_type:  # others, such as DTMF, are not asked for
            now_ns = self._clock.now_ns()
            self._counted.n_packets_in += 1
            self._counted.in_bytes += len(head.payload)
            self._reporter.count(head, now_ns)
            heard = self._ear.push(head.sequence, head.timestamp, head.payload, now_ns, ssrc=head.ssrc)
            self._hear(heard)

    def _hear(self, heard: list[HeardPcm]) -> None:
        for pcm, arrived_ns in heard:
            if not self._is_closed:
                self.on_audio(pcm, arrived_ns)
        wake_at_ns = self._ear.wake_at_ns
        if wake_at_ns is not None and self._timer is None and not self._is_closed:
            self._timer = self._clock.call_at(wake_at_ns, self._on_timer)

    def _on_timer(self) -> None:
        """What the ear waited for may have come since, and it waits for something later."""
        self._timer = None
        self._hear(self._ear.expire(self._clock.now_ns()))

    @property
    def _is_audible(self) -> bool:
        return self._speaks and self._dtls.is_ready and not self._is_closed

    def _on_sent(self, late_ns: int) -> None:
        self._counted.late_max_ms = max(self._counted.late_max_ms, late_ns / 1e6)
        self.on_sent(late_ns)

    def _put_rtp(self, packet: bytes) -> None:
        sealed = self._dtls.protect_rtp(packet)
        if sealed is not None:
            self._put(sealed)

    def _put_rtcp(self, packet: bytes) -> None:
        sealed = self._dtls.protect_rtcp(packet)
        if sealed is not None:
            self._put(sealed)


def _ignore_audio(pcm: Pcm, arrived_ns: int) -> None:
    """Nobody listens."""


def _ignore_sent(late_ns: int) -> None:
    """Nobody counts."""
