"""How does a call over WebRTC begin, move to another connection, and end?"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from websockets.frames import CloseCode

from voicestack.access.guard import Visitor
from voicestack.access.principal import Denied
from voicestack.aio.scope import Scope
from voicestack.core.errors import PeerProtocolError, TransportLost, VoiceStackError
from voicestack.realtime.checks import SHOWN_CHARS, JsonObject
from voicestack.realtime.protocol import RealtimeProtocol
from voicestack.server.call_figures import CallFigures
from voicestack.server.directory import Live
from voicestack.server.sessions import Line, Sessions, new_id
from voicestack.transports.link import Link
from voicestack.transports.webrtc import CallWaits, WebRtcTransport

log = logging.getLogger(__name__)

NOT_CONNECTED = Denied(
    409,
    "call_not_connected",
    "The call has no connection that could be restarted. Make a new one: POST /v1/realtime/calls?resume=ID.",
)
NOT_RINGING = Denied(409, "call_not_ringing", "The call is not waiting to be answered.")


NewLink = Callable[[Scope], Link]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a client that calls sends.

    Attributes:
        sdp: What it can do, and where it is.
        session: The session object that it wants, if it says so.
    """

    sdp: str
    session: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A call was taken.

    Attributes:
        call_id: Its name.
        sdp: The answer.
    """

    call_id: str
    sdp: str


class Calls:
    """The calls of one server. Whatever a visitor names is looked for among the calls of its own tenant.

    Args:
        sessions: Makes and keeps the conversations.
        new_link: Makes a peer connection that lives in that scope; or says why there are no calls.
        on_sent: Told how late each packet of the agent's voice left, in nanoseconds after it was due.

    Attributes:
        figures: What they count.
    """

    def __init__(
        self, sessions: Sessions, new_link: NewLink | Denied, *, on_sent: Callable[[int], None]
    ) -> None:
        self._sessions, self._new_link, self._on_sent = sessions, new_link, on_sent
        self.figures = CallFigures(self._in_progress)

    async def open(self, visitor: Visitor, query: str, offer: Offer) -> Answered | Denied:
        """Take a new call.

        Args:
            visitor: Who calls.
            query: Of the request.
            offer: See `Offer`.

        Raises:
            Overloaded: not now.
            PeerProtocolError: the offer cannot be used.
        """
        if isinstance(self._new_link, Denied):
            return self._new_link
        if (full := self._sessions.guard.full(visitor)) is not None:
            return full
        if (overloaded := self._sessions.admits()) is not None:
            raise overloaded
        protocol = self._sessions.protocol(query, visitor.claims, session=offer.session, owns_playout=True)
        call = self._transport(protocol)
        live = self._sessions.begin(_line(call, new_id("rtc"), visitor), protocol, visitor)
        try:
            return await self._connect(live, call, offer, self._new_link)
        finally:
            if call.link is None:  # without an answer there is no call
                call.hang_up()

    async def resume(self, visitor: Visitor, name: str, offer: Offer) -> Answered | Denied:
        """Go on with a call over a new connection, whether or not the old one is still there.

        Raises:
            Overloaded: not now.
            PeerProtocolError: the offer cannot be used; the old connection stays.
        """
        if isinstance(self._new_link, Denied):
            return self._new_link
        live = self._find(visitor, name)
        if live is None or live.call is None or live.call.is_over:
            return _not_found(name)
        log.info("%s comes back to %s", visitor.address, live.id)
        answered = await self._connect(live, live.call, offer, self._new_link)
        self.figures.n_resumed += isinstance(answered, Answered)
        return answered

    async def _connect(
        self, live: Live, call: WebRtcTransport, offer: Offer, new_link: NewLink
    ) -> Answered | Denied:
        """Answer the offer; the connection belongs to the session, and a bug in it ends that and no other."""
        await call.listening()
        link = new_link(live.session.scope)
        link.on_sent = self._on_sent
        try:
            answer = await link.answer(offer.sdp)
        except TransportLost:
            return _not_found(live.call_id)
        call.attach(link, lambda: live.session.history)
        return _not_found(live.call_id) if call.is_over else Answered(live.call_id, answer)

    async def restart(self, visitor: Visitor, name: str, offer: Offer) -> Answered | Denied:
        """The client has other addresses, the connection stays (ICE restart).

        Raises:
            PeerProtocolError: the offer cannot be used; nothing has changed.
        """
        live = self._find(visitor, name)
        if live is None or live.call is None:
            return _not_found(name)
        if live.call.link is None:
            return NOT_CONNECTED
        try:
            return Answered(live.call_id, await live.call.link.restart(offer.sdp))
        except TransportLost:
            return NOT_CONNECTED

    def hang_up(self, visitor: Visitor, name: str) -> Denied | None:
        """End a conversation, whatever carries it."""
        live = self._find(visitor, name)
        if live is None:
            return _not_found(name)
        if live.call is not None:
            live.call.hang_up()
        else:
            error = PeerProtocolError("The session was ended over HTTP.", code="session_expired")
            live.end(error, CloseCode.NORMAL_CLOSURE)
        return None

    def ringing(self, visitor: Visitor, name: str) -> Denied:
        """The call that waits to be accepted, rejected or referred. No kind of call that there is waits."""
        return _not_found(name) if self._find(visitor, name) is None else NOT_RINGING

    def _in_progress(self) -> list[WebRtcTransport]:
        return [live.call for live in self._sessions.directory if live.call is not None]

    def _find(self, visitor: Visitor, name: str) -> Live | None:
        return self._sessions.directory.find(visitor.principal.tenant, name)

    def _transport(self, protocol: RealtimeProtocol) -> WebRtcTransport:
        section = self._sessions.config.webrtc
        call = WebRtcTransport(
            protocol,
            tts_rate_hz=self._sessions.engines.tts.rate_hz,
            clock=self._sessions.clock,
            # A client that does not know our events does not know how to come back either.
            waits=CallWaits(section.connect_timeout_ms, section.grace_ms if protocol.extensions else 0),
        )
        call.on_dropped = self.figures.left
        return call


def _line(call: WebRtcTransport, call_id: str, visitor: Visitor) -> Line:
    def end(error: VoiceStackError, code: int) -> None:
        call.end(error)

    return Line(
        client=visitor.address,
        transport=call,
        join=call.sidebands.join,
        end=end,
        crash=call.hang_up,
        has_received=lambda: call.has_received,
        call_id=call_id,
        call=call,
    )


def _not_found(name: str) -> Denied:
    return Denied(404, "call_not_found", f"There is no call {name[:SHOWN_CHARS]}.")
