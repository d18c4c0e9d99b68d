"""What is the same for every conversation, whatever carries it: its making, its limits and its end?"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import parse_qs

from websockets.frames import CloseCode

from voicestack import __version__
from voicestack.access.guard import Guard, Visitor
from voicestack.access.secret import Claims
from voicestack.aio.clock import Clock, Timer, unix_ms, unix_s
from voicestack.aio.scope import Scope
from voicestack.config.derived import settings_of
from voicestack.config.load import budgets_of
from voicestack.config.schema import Config
from voicestack.core.errors import Overloaded, PeerProtocolError, TransportLost, VoiceStackError
from voicestack.core.ids import SessionId
from voicestack.core.turn_record import Origin
from voicestack.ports import TransportSession
from voicestack.realtime.checks import JsonObject
from voicestack.realtime.protocol import RealtimeProtocol
from voicestack.server.assembly import tuning_of
from voicestack.server.directory import Directory, Live
from voicestack.session.recorder import Recorder
from voicestack.session.session import Session
from voicestack.session.tuning import Engines
from voicestack.telemetry.logs import logged_as
from voicestack.telemetry.metrics import Metrics
from voicestack.transports.webrtc import WebRtcTransport
from voicestack.transports.ws_peer import WebSocketPeer

log = logging.getLogger(__name__)


def new_id(prefix: str) -> str:
    """A name that nobody can guess, at most 32 characters long (the Realtime API's limit)."""
    return f"{prefix}_{secrets.token_hex(11)}"[:32]


@dataclass(frozen=True, slots=True)
class Line:
    """What carries a conversation.

    Attributes:
        client: The address at its other end, for logs.
        transport: It.
        join: Lets a further connection take part.
        end: Tells the client why and hangs up, with this close code where there is such a thing.
        crash: Hangs up after a bug.
        has_received: Whether the client has ever sent anything.
        call_id: A further name of the conversation; empty for none.
        call: It, if it is a call over WebRTC.
    """

    client: str
    transport: TransportSession
    join: Callable[[WebSocketPeer], None]
    end: Callable[[VoiceStackError, int], None]
    crash: Callable[[], None]
    has_received: Callable[[], bool]
    call_id: str = ""
    call: WebRtcTransport | None = None


class Sessions:
    """Makes sessions and keeps account of them.

    Args:
        config: The configuration.
        engines: What they run on.
        guard: Says who may have one.
        clock: Their clock.
        scope: Owns their tasks.
        metrics: Is told their figures.
        admits: Why a new one cannot be taken now; None if it can.
        sheds_drafts: Whether no drafts are to be made now.

    Attributes:
        directory: Those in progress.
    """

    def __init__(  # noqa: PLR0913 (it is wired in one place)
        self,
        config: Config,
        engines: Engines,
        *,
        guard: Guard,
        clock: Clock,
        scope: Scope,
        metrics: Metrics,
        admits: Callable[[], Overloaded | None],
        sheds_drafts: Callable[[], bool] = bool,
    ) -> None:
        self.config, self.engines, self.clock, self.scope = config, engines, clock, scope
        self.guard, self.admits, self.directory = guard, admits, Directory()
        self._metrics = metrics
        self._settings = settings_of(config)
        self._tuning = replace(tuning_of(config), sheds_drafts=sheds_drafts)
        self._budgets = budgets_of(config)
        self._call_tuning = replace(self._tuning, lead_ms=config.webrtc.lead_ms)

    def __len__(self) -> int:
        """Conversations in progress."""
        return len(self.directory)

    def queued_ms(self) -> list[dict[str, float]]:
        """What waits in the queues of every session."""
        return [live.session.queued_ms() for live in self.directory]

    def end_unwelcome(self) -> None:
        """End the sessions whose key has been revoked."""
        for live in list(self.directory):
            if not self.guard.is_welcome_still(live.principal):
                log.info("%s ends: its key %s was revoked", live.id, live.principal.key_id)
                message = "The API key of this session has been revoked."
                error = PeerProtocolError(message, code="invalid_api_key")
                live.end(error, CloseCode.POLICY_VIOLATION)

    def protocol(
        self,
        query: str,
        claims: Claims | None,
        *,
        session: JsonObject | None = None,
        owns_playout: bool = False,
    ) -> RealtimeProtocol:
        """The protocol of a new session, and its name.

        Args:
            query: Of the client's request: `model`, `voicestack_events`.
            claims: What its ephemeral secret says.
            session: What its request says, on top of that.
            owns_playout: See `RealtimeProtocol`.

        Raises:
            PeerProtocolError: a value in the session object is wrong.
        """
        asked = parse_qs(query)
        opening = [*([claims.session] if claims else []), *([session] if session else [])]
        named = (session or {}).get("model") or (claims.model if claims else None) or self.config.llm.model
        model = asked.get("model", [str(named or "voicestack")])[0]
        return RealtimeProtocol(
            session_id=SessionId(new_id("sess")),
            model=model,
            defaults=replace(self._settings, model=model),
            now_ns=self.clock.now_ns,
            new_id=new_id,
            expires_at_s=unix_s() + self.config.server.session_limit_s,
            extensions=asked.get("voicestack_events", ["0"])[0] == "1",
            owns_playout=owns_playout,
            opening=opening,
        )

    def begin(self, line: Line, protocol: RealtimeProtocol, visitor: Visitor) -> Live:
        """Hold a conversation. The caller has asked `guard.full` and `admits`."""
        session = self._session(line.transport, protocol, visitor)
        live = Live(session.id, visitor.principal, session, line.end, line.join, line.call_id, line.call)
        self.guard.sit(visitor)
        self.directory.add(live)
        self.scope.start(self._converse(live, line, visitor), name=session.id)
        return live

    async def _converse(self, live: Live, line: Line, visitor: Visitor) -> None:
        """Run one session to its end. The one place where a bug in a session is caught."""
        limits = self._time_limits(line)
        self._metrics.session_opened()
        with logged_as(live.id):
            who = visitor.principal
            log.info("%s is here (tenant %s, key %s)", line.client, who.tenant, who.key_id or "none")
            try:
                await live.session.run()
            except TransportLost as lost:
                log.info("%s", lost)
            except Exception:
                log.exception("a bug ended this session")
                line.crash()
            else:
                log.info("over")
            finally:
                for limit in limits:
                    limit.cancel()
                self.guard.leave(visitor)
                self.directory.remove(live)
                self._metrics.session_closed()

    def _session(self, transport: TransportSession, protocol: RealtimeProtocol, visitor: Visitor) -> Session:
        recording, name = self.config.telemetry, protocol.session_id
        origin = self._origin(visitor, "webrtc" if protocol.owns_playout else "websocket")
        tuning = self._call_tuning if protocol.owns_playout else self._tuning
        return Session(
            name,
            transport,
            self.engines,
            settings=protocol.settings,
            tuning=replace(tuning, budget=self._budgets.of(origin.tenant, origin.route)),
            clock=self.clock,
            observer=self._metrics,
            recorder=Recorder(recording.record_dir, name, with_words=recording.record_words)
            if recording.record_dir
            else None,
            new_id=new_id,
            meter=self.guard.meter(visitor),
            origin=origin,
            began_unix_ms=unix_ms(),
        )

    def _origin(self, visitor: Visitor, route: str) -> Origin:
        config = self.config
        return Origin(visitor.principal.tenant, route, config.profile, config.fleet.region, __version__)

    def _time_limits(self, line: Line) -> list[Timer]:
        """A session ends after an hour, and soon when nobody ever says anything."""
        limit_s, speechless_ms = self.config.server.session_limit_s, self.config.limits.speechless_ms

        def over(message: str) -> None:
            line.end(PeerProtocolError(message, code="session_expired"), CloseCode.NORMAL_CLOSURE)

        def check_sent() -> None:
            if not line.has_received():
                over(f"Nothing was sent for {speechless_ms / 1000:g} seconds after connecting.")

        now_ns = self.clock.now_ns()
        message = f"Your session hit the maximum duration of {round(limit_s / 60)} minutes."
        return [
            self.clock.call_at(now_ns + limit_s * 1_000_000_000, lambda: over(message)),
            self.clock.call_at(now_ns + speechless_ms * 1_000_000, check_sent),
        ]
