"""Who comes in over WebSocket, and the session that they get."""

import logging
import secrets
from collections.abc import Callable
from functools import partial
from urllib.parse import parse_qs, urlsplit

from websockets.frames import CloseCode
from websockets.http11 import Request

from voicestack.access.asked import read_request, subprotocols
from voicestack.access.guard import Guard, Visitor
from voicestack.access.principal import Denied
from voicestack.access.secret import Claims
from voicestack.aio.clock import Clock, Timer, unix_s
from voicestack.aio.scope import Scope
from voicestack.config.derived import settings_of
from voicestack.config.schema import Config
from voicestack.core.errors import Overloaded, PeerProtocolError, TransportLost, VoiceStackError
from voicestack.core.ids import SessionId
from voicestack.core.notes import Problem
from voicestack.realtime.checks import SHOWN_CHARS
from voicestack.realtime.protocol import RealtimeProtocol
from voicestack.server.assembly import tuning_of
from voicestack.server.directory import Directory, Live
from voicestack.session.recorder import Recorder
from voicestack.session.session import Session
from voicestack.session.tuning import Engines
from voicestack.telemetry.logs import logged_as
from voicestack.telemetry.metrics import Metrics
from voicestack.transports.websocket import RealtimeTransport
from voicestack.transports.ws_peer import Entry, Refusal, WebSocketPeer

log = logging.getLogger(__name__)

PATHS = ("/v1/realtime", "/openai/v1/realtime")
"""OpenAI's, and Azure's."""

BETA_CLOSE = 4000
"""What OpenAI closes beta clients with since May 2026, after error code `beta_api_shape_disabled`."""


def new_id(prefix: str) -> str:
    """A name that nobody can guess, at most 32 characters long (the Realtime API's limit)."""
    return f"{prefix}_{secrets.token_hex(11)}"[:32]


class RealtimeDoor:
    """Opens one session per connection to `/v1/realtime`. Satisfies `transports.ws_peer.Door`.

    Args:
        config: The configuration.
        engines: What sessions run on.
        guard: Says who comes in.
        clock: Their clock.
        scope: Owns their tasks.
        metrics: Is told their figures.
        admits: Why a new session cannot be taken now; None if it can.
    """

    def __init__(
        self,
        config: Config,
        engines: Engines,
        *,
        guard: Guard,
        clock: Clock,
        scope: Scope,
        metrics: Metrics,
        admits: Callable[[], Overloaded | None],
    ) -> None:
        self._config, self._engines, self._clock = config, engines, clock
        self._guard, self._scope, self._metrics, self._admits = guard, scope, metrics, admits
        self._settings = settings_of(config)
        self._tuning = tuning_of(config)
        self.directory = Directory()

    @property
    def n_sessions(self) -> int:
        """Conversations in progress."""
        return len(self.directory)

    def queued_ms(self) -> list[dict[str, float]]:
        """What waits in the queues of every session."""
        return [live.session.queued_ms() for live in self.directory]

    def end_unwelcome(self) -> None:
        """End the sessions whose key has been revoked."""
        for live in list(self.directory):
            if not self._guard.is_welcome_still(live.principal):
                log.info("%s ends: its key %s was revoked", live.id, live.principal.key_id)
                message = "The API key of this session has been revoked."
                error = PeerProtocolError(message, code="invalid_api_key")
                live.end(error, CloseCode.POLICY_VIOLATION)

    def knock(self, request: Request, client: str) -> Refusal | Entry:
        """See `Door`."""
        path, query = _target(request)
        if path.rstrip("/") not in PATHS:
            shown = path[:SHOWN_CHARS]
            return _refusal(Denied(404, "not_found", f"There is no WebSocket at {shown}."))
        visitor = self._guard.admit(read_request(request.headers.get_all, client))
        if isinstance(visitor, Denied):
            return _refusal(visitor)
        if call_ids := parse_qs(query).get("call_id"):
            return self._sideband(visitor, call_ids[0])
        full = self._guard.full(visitor)
        if full is not None:
            return _refusal(full)
        offered = subprotocols(request.headers.get_all)
        return Entry(partial(self._enter, visitor=visitor), "realtime" if "realtime" in offered else None)

    def _sideband(self, visitor: Visitor, call_id: str) -> Refusal | Entry:
        """A further connection to a call: for whoever has a key of the tenant's, not for its browsers."""
        if visitor.principal.ephemeral:
            message = "A client secret opens sessions of its own; use an API key to join a call."
            return _refusal(Denied(403, "ephemeral_key_not_allowed", message))
        live = self.directory.find(visitor.principal.tenant, call_id)
        if live is None:
            return _refusal(Denied(404, "not_found", f"There is no call {call_id[:SHOWN_CHARS]}."))
        return Entry(live.join)

    def _enter(self, peer: WebSocketPeer, visitor: Visitor) -> None:
        assert peer.request is not None
        peer.client = visitor.address
        session_id = SessionId(new_id("sess"))
        claims = visitor.claims
        try:
            protocol = self._protocol(peer.request, session_id, claims)
        except PeerProtocolError as error:  # a secret that an older server made
            self._turn_away(
                peer, self._protocol(peer.request, session_id, None), error, CloseCode.POLICY_VIOLATION
            )
            return
        if _is_beta(peer.request):
            message = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
            self._turn_away(
                peer, protocol, PeerProtocolError(message, code="beta_api_shape_disabled"), BETA_CLOSE
            )
        elif (overloaded := self._admits()) is not None:
            self._turn_away(peer, protocol, overloaded, CloseCode.TRY_AGAIN_LATER)
        else:
            self._guard.sit(visitor)
            self._scope.start(self._converse(peer, protocol, session_id, visitor), name=session_id)

    def _protocol(self, request: Request, session_id: SessionId, claims: Claims | None) -> RealtimeProtocol:
        query = parse_qs(_target(request)[1])
        fixed = (claims.model if claims else None) or self._config.llm.model or "voicestack"
        return RealtimeProtocol(
            session_id=session_id,
            model=query.get("model", [fixed])[0],
            defaults=self._settings,
            now_ns=self._clock.now_ns,
            new_id=new_id,
            expires_at_s=unix_s() + self._config.server.session_limit_s,
            extensions=query.get("voicestack_events", ["0"])[0] == "1",
            opening=[claims.session] if claims else [],
        )

    def _turn_away(
        self, peer: WebSocketPeer, protocol: RealtimeProtocol, error: VoiceStackError, code: int
    ) -> None:
        peer.send(protocol.tell(Problem(error)))
        peer.close(code, str(error))

    async def _converse(
        self, peer: WebSocketPeer, protocol: RealtimeProtocol, session_id: SessionId, visitor: Visitor
    ) -> None:
        """Run one session to its end. The one place where a bug in a session is caught."""
        transport = RealtimeTransport(
            peer, protocol, tts_rate_hz=self._engines.tts.rate_hz, clock=self._clock
        )
        session = self._session(transport, protocol, session_id)
        end = partial(self._turn_away, peer, protocol)
        live = Live(session_id, visitor.principal, session, end, transport.join)
        limits = self._time_limits(peer, end)
        self.directory.add(live)
        self._metrics.session_opened()
        with logged_as(session_id):
            who = visitor.principal
            log.info("%s is here (tenant %s, key %s)", peer.client, who.tenant, who.key_id or "none")
            try:
                await session.run()
            except TransportLost as lost:
                log.info("%s", lost)
            except Exception:
                log.exception("a bug ended this session")
                peer.close(CloseCode.INTERNAL_ERROR, "internal error")
            else:
                log.info("over")
            finally:
                for limit in limits:
                    limit.cancel()
                self._guard.leave(visitor)
                self.directory.remove(live)
                self._metrics.session_closed()

    def _session(
        self, transport: RealtimeTransport, protocol: RealtimeProtocol, session_id: SessionId
    ) -> Session:
        recording = self._config.telemetry
        return Session(
            session_id,
            transport,
            self._engines,
            settings=protocol.settings,
            tuning=self._tuning,
            clock=self._clock,
            observer=self._metrics,
            recorder=Recorder(recording.record_dir, session_id, with_words=recording.record_words)
            if recording.record_dir
            else None,
            new_id=new_id,
        )

    def _time_limits(self, peer: WebSocketPeer, end: Callable[[VoiceStackError, int], None]) -> list[Timer]:
        """A session ends after an hour, and soon when nobody ever says anything."""
        limit_s, speechless_ms = self._config.server.session_limit_s, self._config.limits.speechless_ms

        def over(message: str) -> None:
            end(PeerProtocolError(message, code="session_expired"), CloseCode.NORMAL_CLOSURE)

        def check_sent() -> None:
            if not peer.has_sent:
                over(f"Nothing was sent for {speechless_ms / 1000:g} seconds after connecting.")

        now_ns = self._clock.now_ns()
        message = f"Your session hit the maximum duration of {round(limit_s / 60)} minutes."
        return [
            self._clock.call_at(now_ns + limit_s * 1_000_000_000, lambda: over(message)),
            self._clock.call_at(now_ns + speechless_ms * 1_000_000, check_sent),
        ]


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
