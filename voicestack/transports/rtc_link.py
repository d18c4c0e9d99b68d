"""One peer connection of a browser: SDP in and out, then audio and events both ways until one end leaves.

aioice's ICE and aiortc's SCTP are used; what lies in the way of every packet of audio is our own, without
a task, a thread or a queue: datagram, SRTP, order, Opus, `on_audio`; and back. Only ICE and the wait for the
end have tasks.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence

from voicestack.aio.clock import Clock, Timer
from voicestack.aio.scope import Scope
from voicestack.core.audio import Pcm
from voicestack.core.errors import PeerProtocolError, TransportLost
from voicestack.transports.rtc_answer import Answer, write_answer
from voicestack.transports.rtc_channel import LABEL, EventChannel
from voicestack.transports.rtc_dtls import Dtls, Fingerprint
from voicestack.transports.rtc_media import Media
from voicestack.transports.rtc_offer import Offer, read_offer
from voicestack.transports.rtc_paths import RtcPaths
from voicestack.transports.rtc_settings import LinkFigures, RtcSettings

log = logging.getLogger(__name__)


class RtcLink:
    """The server's end of one peer connection.

    `on_open` comes when events can be sent (or, for an offer without a data channel, audio); `on_audio` may
    come before. `on_closed` comes once, whoever closes. From within a call to the link nothing is called back
    but `on_sent`. The link lives in the scope and ends with it.

    Attributes:
        on_open: See above.
        on_message: Given each event of the peer, in order, synchronously.
        on_audio: Given int16 mono at EAR_RATE_HZ, in order and without holes, and when its packet came.
        on_closed: Given the reason, for logs.
        on_sent: Given how late each packet of the agent's voice left, in ns.
    """

    def __init__(self, settings: RtcSettings, clock: Clock, scope: Scope) -> None:
        self.on_open: Callable[[], None] = _ignore
        self.on_message: Callable[[str | bytes], None] = _ignore_message
        self.on_audio: Callable[[Pcm, int], None] = _ignore_audio
        self.on_closed: Callable[[str], None] = _ignore_closed
        self.on_sent: Callable[[int], None] = _ignore_sent
        self._settings, self._scope = settings, scope
        self._clock: Clock = scope.clock(clock)
        self._is_open = self._is_closed = False
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deadline: Timer | None = None
        self._paths = RtcPaths(settings, self._clock, scope, self._on_datagram, self._end)
        self._offer: Offer | None = None
        self._session, self._version = secrets.randbits(62), 1
        self._cname = secrets.token_hex(8)
        self._dtls: Dtls
        self._channel: EventChannel | None = None
        self._media: Media

    @property
    def client(self) -> str:
        """The peer's address, for logs; empty before there is one."""
        return self._paths.client

    # --- signalling -----------------------------------------------------------------------------------

    async def answer(self, offer: str) -> str:
        """Answer the peer's first offer, with all candidates. The peer may call from then on.

        Raises:
            PeerProtocolError: `invalid_offer`.
            Overloaded: no UDP port is free.
            TransportLost: the scope ended meanwhile.
        """
        read = read_offer(offer)
        life = self._scope.start(self._live(), name="rtc-link")
        try:
            await self._paths.prepare()
            if life.done() or self._is_closed:
                await self._paths.close()  # in a scope that was ending already, nobody else does
                raise TransportLost("the session is over")
        except BaseException:
            self._end("it could not be answered")
            raise
        self._offer = read
        self._build(read)
        limit_ns = self._settings.connect_timeout_ms * 1_000_000
        self._deadline = self._clock.call_at(self._clock.now_ns() + limit_ns, self._on_deadline)
        self._paths.seek(read, self._dtls.start)
        return self._written(read)

    async def restart(self, offer: str) -> str:
        """Answer an offer with another ICE ufrag: the peer has other addresses. All the rest goes on.

        An offer with the same ufrag changes nothing and is answered as before.

        Raises:
            PeerProtocolError: `invalid_offer`: also if it is not for this connection.
            Overloaded: no UDP port is free.
            TransportLost: the link is closed.
        """
        read, known = read_offer(offer), self._offer
        if self._is_closed or known is None:
            raise TransportLost("the peer connection is closed")
        if not _continues(read, known):
            raise PeerProtocolError(
                "The SDP offer is for another connection: its certificate or its sections are not the same.",
                code="invalid_offer",
                param="sdp",
            )
        self._version += 1
        if (read.ufrag, read.password) != (known.ufrag, known.password):
            await self._paths.prepare()
            self._offer = read
            self._paths.seek(read, _ignore)
        return self._written(read)

    # --- sending --------------------------------------------------------------------------------------

    def send(self, frames: Sequence[bytes]) -> None:
        """Send events (UTF-8 JSON) as text. Closes a peer that does not read them."""
        if self._channel is not None and not self._is_closed and not self._channel.send(frames):
            self._end_later("the peer does not read its events")

    def play(self, pcm: Pcm) -> None:
        """Send audio that is due now: int16 mono at PLAY_RATE_HZ, any length. Nothing before `on_open`."""
        if self._offer is not None:
            self._media.play(pcm)

    def rest(self) -> None:
        """The reply is complete: what does not fill a packet is sent with silence behind it."""
        if self._offer is not None:
            self._media.rest()

    def flush(self) -> None:
        """Drop what is queued."""
        if self._offer is not None:
            self._media.flush()

    def close(self, reason: str) -> None:
        """Hang up: the peer is told, and everything is freed. `on_closed` follows."""
        self._end_later(reason)

    @property
    def figures(self) -> LinkFigures:
        """What happened so far."""
        counted = LinkFigures() if self._offer is None else self._media.figures
        counted.n_events_dropped = 0 if self._channel is None else self._channel.n_dropped
        counted.n_restarts = self._paths.n_restarts
        return counted

    # --- life -----------------------------------------------------------------------------------------

    async def _live(self) -> None:
        """Wait for the end, then free what needs waiting for."""
        try:
            await self._ended
        finally:
            self._end("the session is over")
            await self._paths.close()

    def _build(self, offer: Offer) -> None:
        clock, settings = self._clock, self._settings
        self._dtls = Dtls(
            settings.identity,
            tuple(Fingerprint(digest, value) for digest, value in offer.fingerprints),
            is_client=offer.setup != "active",
            clock=clock,
            send=self._paths.put,
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
        self._media = Media(
            clock, offer, self._dtls, self._paths.put, cname=self._cname, bitrate_bps=settings.bitrate_bps
        )
        self._media.on_audio = self._on_audio
        self._media.on_sent = self._on_sent

    def _end_later(self, reason: str) -> None:
        """Close now, and say so when the caller is done with what it is doing."""
        if self._hang_up(reason):
            self._clock.call_at(self._clock.now_ns(), lambda: self.on_closed(reason))

    def _end(self, reason: str) -> None:
        if self._hang_up(reason):
            self.on_closed(reason)

    def _hang_up(self, reason: str) -> bool:
        """Free what does not need waiting for. False if that was done before."""
        if self._is_closed:
            return False
        self._is_closed = True
        if self._deadline is not None:
            self._deadline.cancel()
        if self._offer is not None:
            self._media.close()
            if self._channel is not None:
                self._channel.close()
            self._dtls.close()
        if not self._ended.done():
            self._ended.set_result(None)
        log.info("%s: %s", self.client or "peer", reason)
        return True

    def _written(self, offer: Offer) -> str:
        path = self._paths.latest
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
                ssrc=self._media.ssrc,
                cname=self._cname,
            ),
        )

    # --- the network ----------------------------------------------------------------------------------

    def _on_deadline(self) -> None:
        if not self._dtls.is_ready:
            self._end("the peer did not connect in time")
        elif not self._is_open:
            self._end(f"the peer opened no data channel {LABEL}")

    # --- receiving ------------------------------------------------------------------------------------

    def _on_datagram(self, datagram: bytes) -> None:
        """Tell DTLS from SRTP by the first byte (RFC 7983)."""
        if self._is_closed or self._offer is None or not datagram:
            return
        if 128 <= datagram[0] <= 191:
            self._media.receive(datagram)
        elif 20 <= datagram[0] <= 63:
            self._dtls.receive(datagram)

    def _on_ready(self) -> None:
        offer = self._offer
        assert offer is not None
        self._media.start()
        if self._channel is not None:
            self._channel.start(offer.sctp_port)
        else:
            self._on_open()

    def _on_open(self) -> None:
        self._is_open = True
        self.on_open()

    def _on_message(self, message: str | bytes) -> None:
        self.on_message(message)

    def _on_audio(self, pcm: Pcm, arrived_ns: int) -> None:
        self.on_audio(pcm, arrived_ns)

    def _on_sent(self, late_ns: int) -> None:
        self.on_sent(late_ns)


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
