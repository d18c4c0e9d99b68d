"""Who comes in over WebSocket, and the session that they get."""

import logging
import secrets
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import orjson
from websockets.frames import CloseCode
from websockets.http11 import Request

from voicestack.aio.clock import Clock, unix_s
from voicestack.aio.scope import Scope
from voicestack.config.derived import settings_of
from voicestack.config.schema import Config
from voicestack.core.errors import Overloaded, PeerProtocolError, TransportLost, VoiceStackError
from voicestack.core.ids import SessionId
from voicestack.core.notes import Problem
from voicestack.realtime.protocol import RealtimeProtocol
from voicestack.server.assembly import tuning_of
from voicestack.session.recorder import Recorder
from voicestack.session.session import Session
from voicestack.session.tuning import Engines
from voicestack.telemetry.logs import logged_as
from voicestack.telemetry.metrics import Metrics
from voicestack.transports.websocket import RealtimeTransport
from voicestack.transports.ws_peer import Refusal, WebSocketPeer

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
        clock: Clock,
        scope: Scope,
        metrics: Metrics,
        admits: Callable[[], Overloaded | None],
    ) -> None:
        self._config, self._engines, self._clock = config, engines, clock
        self._scope, self._metrics, self._admits = scope, metrics, admits
        self._settings = settings_of(config)
        self._tuning = tuning_of(config)
        self._sessions: set[Session] = set()

    @property
    def n_sessions(self) -> int:
        """Conversations in progress."""
        return len(self._sessions)

    def queued_ms(self) -> list[dict[str, float]]:
        """What waits in the queues of every session."""
        return [session.queued_ms() for session in self._sessions]

    def knock(self, request: Request, client: str) -> Refusal | str | None:
        """See `Door`."""
        path = urlsplit(request.path).path.rstrip("/")
        if path not in PATHS:
            return Refusal(404, _error_body("not_found", f"There is no WebSocket at {path}."))
        offered = [
            name.strip()
            for header in request.headers.get_all("Sec-WebSocket-Protocol")
            for name in header.split(",")
        ]
        return "realtime" if "realtime" in offered else None

    def enter(self, peer: WebSocketPeer) -> None:
        """See `Door`."""
        assert peer.request is not None
        query = parse_qs(urlsplit(peer.request.path).query)
        model = query.get("model", [self._config.llm.model or "voicestack"])[0]
        session_id = SessionId(new_id("sess"))
        protocol = RealtimeProtocol(
            session_id=session_id,
            model=model,
            defaults=self._settings,
            new_id=new_id,
            expires_at_s=unix_s() + self._config.server.session_limit_s,
            extensions=query.get("voicestack_events", ["0"])[0] == "1",
        )
        if _is_beta(peer.request):
            message = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
            self._turn_away(
                peer, protocol, PeerProtocolError(message, code="beta_api_shape_disabled"), BETA_CLOSE
            )
        elif (overloaded := self._admits()) is not None:
            self._turn_away(peer, protocol, overloaded, CloseCode.TRY_AGAIN_LATER)
        else:
            self._scope.start(self._converse(peer, protocol, session_id), name=session_id)

    def _turn_away(
        self, peer: WebSocketPeer, protocol: RealtimeProtocol, error: VoiceStackError, code: int
    ) -> None:
        peer.send(protocol.tell(Problem(error)))
        peer.close(code, str(error))

    async def _converse(self, peer: WebSocketPeer, protocol: RealtimeProtocol, session_id: SessionId) -> None:
        """Run one session to its end. The one place where a bug in a session is caught."""
        transport = RealtimeTransport(
            peer, protocol, tts_rate_hz=self._engines.tts.rate_hz, clock=self._clock
        )
        recording = self._config.telemetry
        session = Session(
            session_id,
            transport,
            self._engines,
            settings=self._settings,
            tuning=self._tuning,
            clock=self._clock,
            observer=self._metrics,
            recorder=Recorder(recording.record_dir, session_id, with_words=recording.record_words)
            if recording.record_dir
            else None,
            new_id=new_id,
        )
        limit = self._clock.call_at(
            self._clock.now_ns() + self._config.server.session_limit_s * 1_000_000_000,
            lambda: self._expire(peer, protocol),
        )
        self._sessions.add(session)
        self._metrics.session_opened()
        with logged_as(session_id):
            log.info("%s is here", peer.client)
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
                limit.cancel()
                self._sessions.discard(session)
                self._metrics.session_closed()

    def _expire(self, peer: WebSocketPeer, protocol: RealtimeProtocol) -> None:
        minutes = round(self._config.server.session_limit_s / 60)
        message = f"Your session hit the maximum duration of {minutes} minutes."
        peer.send(protocol.tell(Problem(PeerProtocolError(message, code="session_expired"))))
        peer.close(CloseCode.NORMAL_CLOSURE, message)


def _is_beta(request: Request) -> bool:
    wanted = request.headers.get("OpenAI-Beta", "") + request.headers.get("Sec-WebSocket-Protocol", "")
    return "realtime=v1" in wanted or "openai-beta.realtime-v1" in wanted


def _error_body(code: str, message: str) -> bytes:
    return orjson.dumps(
        {"error": {"type": "invalid_request_error", "code": code, "message": message, "param": None}}
    )
