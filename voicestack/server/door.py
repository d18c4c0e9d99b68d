"""Who comes in over WebSocket?"""

from functools import partial
from urllib.parse import parse_qs, urlsplit

from websockets.frames import CloseCode
from websockets.http11 import Request

from voicestack.access.asked import read_request, subprotocols
from voicestack.access.guard import Visitor
from voicestack.access.principal import Denied
from voicestack.core.errors import PeerProtocolError, VoiceStackError
from voicestack.core.notes import Problem
from voicestack.realtime.checks import SHOWN_CHARS
from voicestack.realtime.protocol import RealtimeProtocol
from voicestack.server.sessions import Line, Sessions
from voicestack.transports.websocket import RealtimeTransport
from voicestack.transports.ws_peer import Entry, Refusal, WebSocketPeer

PATHS = ("/v1/realtime", "/openai/v1/realtime")
"""OpenAI's, and Azure's."""

BETA_CLOSE = 4000
"""What OpenAI closes beta clients with since May 2026, after error code `beta_api_shape_disabled`."""


class RealtimeDoor:
    """Opens one session per connection to `/v1/realtime`. Satisfies `transports.ws_peer.Door`.

    Args:
        sessions: Makes them.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def knock(self, request: Request, client: str) -> Refusal | Entry:
        """See `Door`."""
        path, query = _target(request)
        if path.rstrip("/") not in PATHS:
            shown = path[:SHOWN_CHARS]
            return _refusal(Denied(404, "not_found", f"There is no WebSocket at {shown}."))
        visitor = self._sessions.guard.admit(read_request(request.headers.get_all, client))
        if isinstance(visitor, Denied):
            return _refusal(visitor)
        if call_ids := parse_qs(query).get("call_id"):
            return self._sideband(visitor, call_ids[0])
        full = self._sessions.guard.full(visitor)
        if full is not None:
            return _refusal(full)
        offered = subprotocols(request.headers.get_all)
        return Entry(partial(self._enter, visitor=visitor), "realtime" if "realtime" in offered else None)

    def _sideband(self, visitor: Visitor, call_id: str) -> Refusal | Entry:
        """A further connection to a call: for whoever has a key of the tenant's, not for its browsers."""
        if visitor.principal.ephemeral:
            message = "A client secret opens sessions of its own; use an API key to join a call."
            return _refusal(Denied(403, "ephemeral_key_not_allowed", message))
        live = self._sessions.directory.find(visitor.principal.tenant, call_id)
        if live is None:
            return _refusal(Denied(404, "not_found", f"There is no call {call_id[:SHOWN_CHARS]}."))
        return Entry(live.join)

    def _enter(self, peer: WebSocketPeer, visitor: Visitor) -> None:
        assert peer.request is not None
        peer.client = visitor.address
        query = _target(peer.request)[1]
        try:
            protocol = self._sessions.protocol(query, visitor.claims)
        except PeerProtocolError as error:  # a secret that an older server made
            _turn_away(peer, self._sessions.protocol(query, None), error, CloseCode.POLICY_VIOLATION)
            return
        if _is_beta(peer.request):
            message = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
            _turn_away(peer, protocol, PeerProtocolError(message, code="beta_api_shape_disabled"), BETA_CLOSE)
        elif (overloaded := self._sessions.admits()) is not None:
            _turn_away(peer, protocol, overloaded, CloseCode.TRY_AGAIN_LATER)
        else:
            self._sessions.begin(self._line(peer, protocol), protocol, visitor)

    def _line(self, peer: WebSocketPeer, protocol: RealtimeProtocol) -> Line:
        rate_hz = self._sessions.engines.tts.rate_hz
        transport = RealtimeTransport(peer, protocol, tts_rate_hz=rate_hz, clock=self._sessions.clock)
        return Line(
            client=peer.client,
            transport=transport,
            join=transport.sidebands.join,
            end=partial(_turn_away, peer, protocol),
            crash=partial(peer.close, CloseCode.INTERNAL_ERROR, "internal error"),
            has_received=lambda: peer.has_sent,
        )


def _turn_away(peer: WebSocketPeer, protocol: RealtimeProtocol, error: VoiceStackError, code: int) -> None:
    peer.send(protocol.tell(Problem(error)))
    peer.close(code, str(error))


def _target(request: Request) -> tuple[str, str]:
    """Path and query. The target may be a whole address (RFC 9112, 3.2.2), or no address at all."""
    try:
        url = urlsplit(request.path)
    except ValueError:
        return request.path, ""
    return url.path, url.query


def _is_beta(request: Request) -> bool:
    wanted = request.headers.get("OpenAI-Beta", "") + request.headers.get("Sec-WebSocket-Protocol", "")
    return "realtime=v1" in wanted or "openai-beta.realtime-v1" in wanted


def _refusal(denied: Denied) -> Refusal:
    return Refusal(denied.status, denied.body, headers=tuple(denied.headers.items()))
