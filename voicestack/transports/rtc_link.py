"""One peer connection of a browser: SDP in and out, then audio and events both ways until one end leaves.

aiortc's parts that fit are used (ICE, SCTP); what lies in the way of every packet of audio is our own, without
a task, a thread or a queue: datagram, SRTP, order, Opus, `on_audio`; and back. Only ICE and the wait for the
end have tasks, and all of them are the scope's.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from aioice import Candidate

from voicestack.aio.clock import Clock, Timer, WallAnchor
from voicestack.aio.scope import Scope
from voicestack.core.audio import Pcm
from voicestack.core.errors import Overloaded, PeerProtocolError, TransportLost
from voicestack.transports.rtc_answer import Answer, write_answer
from voicestack.transports.rtc_channel import EventChannel
from voicestack.transports.rtc_dtls import Dtls, Fingerprint
from voicestack.transports.rtc_offer import Offer, read_offer
from voicestack.transports.rtc_path import PathLostError, RtcPath, is_usable
from voicestack.transports.rtc_reports import Reporter
from voicestack.transports.rtc_settings import LinkFigures, RtcSettings
from voicestack.transports.rtc_voice import PLAY_RATE_HZ, VoiceOut
from voicestack.transports.rtp_listening import HeardPcm, RtpEar
from voicestack.transports.rtp_packets import is_rtcp, read_rtp

__all__ = ["PLAY_RATE_HZ", "RtcLink"]

log = logging.getLogger(__name__)


class RtcLink:
    """The server's end of one peer connection.

    `on_open` comes when events can be sent (or, for an offer without a data channel, audio); `on_audio` may
    come before. `on_closed` comes once, whoever closes. The link lives in the scope and ends with it.

    Attributes:
        client: The peer's address, for logs; empty before there is one.
        on_open: See above.
        on_message: Given each event of the peer, in order, synchronously.
        on_audio: Given int16 mono at EAR_RATE_HZ, in order and without holes, and when its packet came.
        on_closed: Given the reason, for logs.
        on_sent: Given how late each packet of the agent's voice left, in ns.
    """

    def __init__(self, settings: RtcSettings, clock: Clock, scope: Scope) -> None:
        self.client = ""
        self.on_open: Callable[[], None] = _ignore
        self.on_message: Callable[[str | bytes], None] = _ignore_message
        self.on_audio: Callable[[Pcm, int], None] = _ignore_audio
        self.on_closed: Callable[[str], None] = _ignore_closed
        self.on_sent: Callable[[int], None] = _ignore_sent
        self._settings, self._scope = settings, scope
        self._clock: Clock = scope.clock(clock)
        self._figures = LinkFigures()
        self._is_closed = False
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._life: asyncio.Task[None] | None = None
        self._deadline: Timer | None = None
        self._ear_timer: Timer | None = None
        self._path: RtcPath | None = None  # carries everything
        self._next: RtcPath | None = None  # will, when it has connected
        self._is_lost = False  # the one that carries everything has no consent any more
        self._offer: Offer | None = None
        self._session, self._version = secrets.randbits(62), 1
        self._cname = secrets.token_hex(8)
        self._dtls: Dtls
        self._channel: EventChannel | None = None
        self._voice: VoiceOut
        self._ear: RtpEar
        self._reporter: Reporter

    # --- signalling -----------------------------------------------------------------------------------

    async def answer(self, offer: str) -> str:
        """Answer the peer's first offer, with all candidates. The peer may call from then on.

        Raises:
            PeerProtocolError: `invalid_offer`.
            Overloaded: no UDP port is free.
            TransportLost: the scope ended meanwhile.
        """
        read = read_offer(offer)
        self._life = self._scope.start(self._live(), name="rtc-link")
        path = await self._gather()
        self._offer, self._path = read, path
        self._build(read)
        limit_ns = self._settings.connect_timeout_ms * 1_000_000
        self._deadline = self._clock.call_at(self._clock.now_ns() + limit_ns, self._on_deadline)
        self._scope.start(self._connect(path, read), name="rtc-ice")
        return self._written(read, path)

    async def restart(self, offer: str) -> str:
        """Answer an offer with another ICE ufrag: the peer has other addresses. All the rest goes on.

        An offer with the same ufrag changes nothing and is answered as before.

        Raises:
            PeerProtocolError: `invalid_offer`: also if it is not for this connection.
            Overloaded: no UDP port is free.
            TransportLost: the link is closed.
        """
        read, known = read_offer(offer), self._offer
        if self._is_closed or known is None or self._path is None:
            raise TransportLost("the peer connection is closed")
        if not _continues(read, known):
            raise PeerProtocolError(
                "The SDP offer is for another connection: its certificate or its sections are not the same.",
                code="invalid_offer",
                param="sdp",
            )
        self._version += 1
        if (read.ufrag, read.password) == (known.ufrag, known.password):
            return self._written(read, self._next or self._path)
        path = await self._gather()
        outdated, self._next, self._offer = self._next, path, read
        if outdated is not None:
            await outdated.close()
        self._scope.start(self._reconnect(path, read), name="rtc-ice-restart")
        return self._written(read, path)

    # --- sending --------------------------------------------------------------------------------------

    def send(self, frames: Sequence[bytes]) -> None:
        """Send events (UTF-8 JSON) as text. Closes a peer that does not read them."""
        if self._channel is not None and not self._is_closed:
            self._channel.send(frames)
            self._figures.n_events_dropped = self._channel.n_dropped

    def play(self, pcm: Pcm) -> None:
        """Send audio that is due now: int16 mono at PLAY_RATE_HZ, any length."""
        if not self._is_closed and self._may_speak and len(pcm):
            self._voice.play(pcm)

    def rest(self) -> None:
        """The reply is complete: what does not fill a packet is sent with silence behind it."""
        if not self._is_closed and self._may_speak:
            self._voice.rest()

    def flush(self) -> None:
        """Drop what is queued."""
        if not self._is_closed and self._may_speak:
            self._voice.flush()

    def close(self, reason: str) -> None:
        """Hang up: the peer is told, and everything is freed."""
        self._end(reason)

    @property
    def figures(self) -> LinkFigures:
        """What happened so far."""
        known = self._figures
        if self._offer is None:
            return replace(known)
        jitter, heard = self._ear.jitter, self._ear.figures
        return replace(
            known,
            n_lost=jitter.n_lost,
            n_late=jitter.n_late + jitter.n_duplicate,
            n_refused=known.n_refused + heard.n_bad,
            n_recovered_samples=heard.n_recovered_samples,
            n_concealed_samples=heard.n_concealed_samples,
            jitter_ms=jitter.jitter_ns / 1e6,
            n_packets_out=self._voice.n_packets,
            out_bytes=self._voice.n_bytes,
            p_lost_out=self._reporter.p_lost_out,
            rtt_ms=self._reporter.rtt_ms,
        )

    # --- life -----------------------------------------------------------------------------------------

    async def _live(self) -> None:
        """Wait for the end, then free what needs waiting for."""
        try:
            await self._ended
        finally:
            self._end("the session is over")
            for path in (self._path, self._next):
                if path is not None:
                    await path.close()

    def _build(self, offer: Offer) -> None:
        clock, settings = self._clock, self._settings
        self._dtls = Dtls(
            settings.identity,
            tuple(Fingerprint(digest, value) for digest, value in offer.fingerprints),
            is_client=offer.setup != "active",
            clock=clock,
            send=self._put,
        )
        self._dtls.on_ready = self._on_ready
        self._dtls.on_closed = self._end
        if offer.events is not None:
            self._channel = EventChannel(
                self._dtls,
                max_unsent_bytes=settings.max_unsent_bytes,
                max_peer_bytes=offer.max_message_bytes,
            )
            self._channel.on_open = self._scope.guarded(self._on_open)
            self._channel.on_message = self._scope.guarded(self._on_message)
            self._channel.on_closed = self._scope.guarded(self._end)
            self._dtls.on_data = self._channel.receive
        anchor = WallAnchor.now(clock)
        self._voice = VoiceOut(
            clock,
            self._put_rtp,
            payload_type=offer.payload_type,
            bitrate_bps=settings.bitrate_bps,
            wall_offset_ns=anchor.wall_ns - anchor.mono_ns,
        )
        self._voice.on_sent = self._on_sent
        self._reporter = Reporter(clock, self._voice, self._put_rtcp, cname=self._cname)
        self._ear = RtpEar()

    def _end(self, reason: str) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        for timer in (self._deadline, self._ear_timer):
            if timer is not None:
                timer.cancel()
        if self._offer is not None:
            self._voice.close()
            self._reporter.close()
            if self._channel is not None:
                self._channel.close()
            self._dtls.close()
            self._ear.close()
        if not self._ended.done():
            self._ended.set_result(None)
        log.info("%s: %s", self.client or "peer", reason)
        self.on_closed(reason)

    @property
    def _may_speak(self) -> bool:
        """Whether the peer wants to hear anything."""
        offer = self._offer
        if offer is None or offer.audio is None or not self._dtls.is_ready:
            return False
        return offer.sections[offer.audio].direction in ("sendrecv", "recvonly")

    def _written(self, offer: Offer, path: RtcPath) -> str:
        fingerprint = self._settings.identity.fingerprint
        return write_answer(
            offer,
            Answer(
                session=self._session,
                version=self._version,
                ufrag=path.local_username,
                password=path.local_password,
                candidates=tuple(path.announced()),
                fingerprint=(fingerprint.digest, fingerprint.value),
                is_client=self._dtls.is_client,
                ssrc=self._voice.ssrc,
                cname=self._cname,
            ),
        )

    # --- the network ----------------------------------------------------------------------------------

    async def _gather(self) -> RtcPath:
        path = RtcPath(
            self._settings,
            self._clock,
            self._scope.guarded(self._on_datagram),
            self._scope.guarded(self._on_lost),
        )
        try:
            await path.gather_candidates()
            if self._is_closed or (self._life is not None and self._life.done()):
                raise TransportLost("the session is over")
            if not path.local_candidates:
                raise Overloaded("No UDP port is free for another call.", retry_after_ms=1000)
        except BaseException:
            await path.close()
            if self._path is None:  # the first one: without it there is no link
                self._end("it could not be answered")
            raise
        return path

    async def _connect(self, path: RtcPath, offer: Offer) -> None:
        try:
            await path.establish(offer.ufrag, offer.password, lite=offer.lite, candidates=_usable(offer))
        except PathLostError:
            self._end("no way to the peer was found")
            return
        self.client = path.peer_address
        self._dtls.start()

    async def _reconnect(self, path: RtcPath, offer: Offer) -> None:
        try:
            async with asyncio.timeout(self._settings.connect_timeout_ms / 1000):
                await path.establish(offer.ufrag, offer.password, lite=offer.lite, candidates=_usable(offer))
        except (PathLostError, TimeoutError):
            if self._next is path:
                self._next = None
                if self._is_lost:
                    self._end("the peer is gone")
            await path.close()
            return
        if self._next is not path:  # there was yet another restart; or the end
            await path.close()
            return
        left, self._path, self._next, self._is_lost = self._path, path, None, False
        self._figures.n_restarts += 1
        log.info("%s goes on as %s", self.client, path.peer_address)
        self.client = path.peer_address
        if left is not None:
            await left.close()

    def _on_lost(self, path: RtcPath) -> None:
        if path is self._path:
            self._is_lost = True
            if self._next is None:
                self._end("the peer is gone")

    def _on_deadline(self) -> None:
        if not self._dtls.is_ready:
            self._end("the peer did not connect in time")

    def _put(self, datagram: bytes) -> None:
        if self._path is not None:
            self._path.put(datagram)

    def _put_rtp(self, packet: bytes) -> None:
        sealed = self._dtls.protect_rtp(packet)
        if sealed is not None:
            self._put(sealed)

    def _put_rtcp(self, packet: bytes) -> None:
        sealed = self._dtls.protect_rtcp(packet)
        if sealed is not None:
            self._put(sealed)

    # --- receiving ------------------------------------------------------------------------------------

    def _on_datagram(self, datagram: bytes) -> None:
        """Tell DTLS from SRTP by the first byte (RFC 7983)."""
        if self._is_closed or self._offer is None or not datagram:
            return
        if 128 <= datagram[0] <= 191:
            self._on_media(datagram)
        elif 20 <= datagram[0] <= 63:
            self._dtls.receive(datagram)

    def _on_media(self, datagram: bytes) -> None:
        rtcp = is_rtcp(datagram)
        packet = self._dtls.unprotect(datagram, rtcp=rtcp)
        if packet is None:
            self._figures.n_refused += 1
            return
        if rtcp:
            self._reporter.receive(packet)
            return
        head = read_rtp(packet)
        if head is None or self._offer is None or self._offer.audio is None:
            self._figures.n_refused += 1
        elif head.payload_type == self._offer.payload_type:  # others, such as DTMF, are not asked for
            now_ns = self._clock.now_ns()
            self._figures.n_packets_in += 1
            self._figures.in_bytes += len(head.payload)
            self._reporter.count(head, now_ns)
            heard = self._ear.push(head.sequence, head.timestamp, head.payload, now_ns, ssrc=head.ssrc)
            self._hear(heard)

    def _hear(self, heard: list[HeardPcm]) -> None:
        for pcm, arrived_ns in heard:
            self.on_audio(pcm, arrived_ns)
        wake_at_ns = self._ear.wake_at_ns
        if wake_at_ns is not None and self._ear_timer is None and not self._is_closed:
            self._ear_timer = self._clock.call_at(wake_at_ns, self._on_ear_timer)

    def _on_ear_timer(self) -> None:
        """The ear may have changed its mind since; then this is early, and it is set again."""
        self._ear_timer = None
        self._hear(self._ear.expire(self._clock.now_ns()))

    def _on_ready(self) -> None:
        offer = self._offer
        assert offer is not None
        if offer.audio is not None:
            self._reporter.start()
        if self._channel is not None:
            self._channel.start(offer.sctp_port)
        else:
            self._on_open()

    def _on_open(self) -> None:
        self.on_open()

    def _on_message(self, message: str | bytes) -> None:
        self.on_message(message)

    def _on_sent(self, late_ns: int) -> None:
        self._figures.late_max_ms = max(self._figures.late_max_ms, late_ns / 1e6)
        self.on_sent(late_ns)


def _usable(offer: Offer) -> list[Candidate]:
    return [
        Candidate(each.foundation, 1, "udp", each.priority, each.host, each.port, each.kind)
        for each in offer.candidates
        if is_usable(each.host)
    ]


def _continues(offer: Offer, known: Offer) -> bool:
    """Whether the offer is for the same DTLS association and the same media."""
    return (offer.audio, offer.events, offer.payload_type, offer.fingerprints) == (
        known.audio,
        known.events,
        known.payload_type,
        known.fingerprints,
    )


def _ignore() -> None:
    """Nobody listens."""


def _ignore_message(message: str | bytes) -> None:
    """Nobody listens."""


def _ignore_audio(pcm: Pcm, arrived_ns: int) -> None:
    """Nobody listens."""


def _ignore_closed(reason: str) -> None:
    """Nobody misses them."""


def _ignore_sent(late_ns: int) -> None:
    """Nobody counts."""
