"""How does a call over WebRTC begin, move to another connection, and end?"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from voicestack.access.guard import Visitor
from voicestack.access.principal import Denied
from voicestack.core.errors import PeerProtocolError, VoiceStackError
from voicestack.realtime.checks import SHOWN_CHARS, JsonObject
from voicestack.realtime.protocol import RealtimeProtocol
from voicestack.server.directory import Live
from voicestack.server.sessions import Line, Sessions, new_id
from voicestack.transports.webrtc import CallState, CallWaits, Link, WebRtcTransport

log = logging.getLogger(__name__)

CLOSED_NORMALLY = 1000
"""The close code for those calls that are WebSockets (RFC 6455)."""

NOT_CONNECTED = Denied(
    409,
    "call_not_connected",
    "The call has no connection that could be restarted. Make a new one: POST /v1/realtime/calls?resume=ID.",
)
NOT_RINGING = Denied(409, "call_not_ringing", "The call is not waiting to be answered.")


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
        new_link: Makes a peer connection; or says why there are no calls.
    """

    def __init__(self, sessions: Sessions, new_link: Callable[[], Link] | Denied) -> None:
        self._sessions, self._new_link = sessions, new_link

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
        link, call_id = self._new_link(), new_id("rtc")
        link.client = visitor.address
        call = self._transport(link, protocol)
        self._sessions.begin(_line(call, call_id, visitor), protocol, visitor)
        is_answered = False
        try:
            answer = await link.answer(offer.sdp)
            is_answered = True
        finally:
            if not is_answered:
                call.hang_up()
        return Answered(call_id, answer)

    async def resume(self, visitor: Visitor, name: str, offer: Offer) -> Answered | Denied:
        """Go on with a call over a new connection, whether or not the old one is still there.

        Raises:
            PeerProtocolError: the offer cannot be used; the old connection stays.
        """
        if isinstance(self._new_link, Denied):
            return self._new_link
        live = self._find(visitor, name)
        if live is None or live.call is None or live.call.is_over:
            return _not_found(name)
        link = self._new_link()
        link.client = visitor.address
        answer = await link.answer(offer.sdp)
        if live.call.is_over:
            link.close("the call is over")
            return _not_found(name)
        live.call.attach(link, lambda: live.session.history)
        log.info("%s comes back to %s", visitor.address, live.id)
        return Answered(live.call_id, answer)

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
        return Answered(live.call_id, await live.call.link.restart(offer.sdp))

    def hang_up(self, visitor: Visitor, name: str) -> Denied | None:
        """End a conversation, whatever carries it."""
        live = self._find(visitor, name)
        if live is None:
            return _not_found(name)
        if live.call is not None:
            live.call.hang_up()
        else:
            error = PeerProtocolError("The session was ended over HTTP.", code="session_expired")
            live.end(error, CLOSED_NORMALLY)
        return None

    def ringing(self, visitor: Visitor, name: str) -> Denied:
        """The call that waits to be accepted, rejected or referred. No kind of call that there is waits."""
        return _not_found(name) if self._find(visitor, name) is None else NOT_RINGING

    def states(self) -> Mapping[CallState, int]:
        """How many calls are in which state."""
        counted = Counter(live.call.state for live in self._sessions.directory if live.call is not None)
        return {state: counted[state] for state in CallState}

    def _find(self, visitor: Visitor, name: str) -> Live | None:
        return self._sessions.directory.find(visitor.principal.tenant, name)

    def _transport(self, link: Link, protocol: RealtimeProtocol) -> WebRtcTransport:
        section = self._sessions.config.webrtc
        return WebRtcTransport(
            link,
            protocol,
            tts_rate_hz=self._sessions.engines.tts.rate_hz,
            clock=self._sessions.clock,
            # A client that does not know our events does not know how to come back either.
            waits=CallWaits(section.connect_timeout_ms, section.grace_ms if protocol.extensions else 0),
        )


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
