"""Replies beside the conversation: to something else, or for something else than being heard in it.

They may be given while another reply is, nobody interrupts them by speaking, and nothing of them is in the
history. The turn machine does not know of them.
"""

from collections.abc import Callable
from dataclasses import replace

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.core.audio import SpokenFrame
from voicestack.core.errors import PeerProtocolError, StageError
from voicestack.core.history import History
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.marks import Mark
from voicestack.core.tools import CallDelta
from voicestack.ports import Meter, TransportSession
from voicestack.session.minutes import Minutes
from voicestack.session.mouth import LiveReply, Mouth
from voicestack.session.tuning import Engines, Tuning

MAX_ASIDES = 8
"""In one session at the same time. Each has a playout and a request of its own."""


class Asides:
    """The replies of one session that are no part of its conversation. Their turns are numbered below zero.

    Args:
        engines: What they are made with.
        tuning: As for the session.
        clock: For pacing.
        scope: Owns their tasks.
        transport: Is told and plays.
        new_id: Names items.
        meter: Counts them too.
    """

    def __init__(
        self,
        engines: Engines,
        tuning: Tuning,
        clock: Clock,
        scope: Scope,
        transport: TransportSession,
        new_id: Callable[[str], str],
        meter: Meter,
    ) -> None:
        self._engines, self._tuning, self._clock, self._scope = engines, tuning, clock, scope
        self._transport, self._new_id, self._meter = transport, new_id, meter
        self._live: dict[TurnId, _Aside] = {}
        self._n_begun = 0

    def next_turn(self) -> TurnId:
        """The name of the next one."""
        return TurnId(-self._n_begun - 1)

    def start(self, live: LiveReply) -> None:
        """Begin to give a reply named `next_turn()`.

        Raises:
            PeerProtocolError: `MAX_ASIDES` are being given.
        """
        if len(self._live) >= MAX_ASIDES:
            raise PeerProtocolError(
                f"{MAX_ASIDES} responses outside the conversation are in progress; wait for one to end.",
                code="rate_limit_exceeded",
            )
        self._n_begun += 1
        # A session of its own for the LLM: the conversation's prompt stays where it is.
        own = SessionId(f"{live.request.session}{live.turn}")
        live.request = replace(live.request, session=own)
        aside = _Aside(live, self)
        self._live[live.turn] = aside
        aside.begin()

    def cancel(self, turn: TurnId) -> bool:
        """End the reply. Returns False when it is none of these."""
        aside = self._live.get(turn)
        if aside is None:
            return False
        aside.cancel()
        return True

    def close(self) -> None:
        """The session is over."""
        for aside in list(self._live.values()):
            aside.close()

    def _ended(self, live: LiveReply) -> None:
        self._live.pop(live.turn, None)
        self._engines.llm.release(live.request.session)


class _Aside:
    """One of them. Satisfies `mouth.Speaker`."""

    def __init__(self, live: LiveReply, all_: Asides) -> None:
        self._live, self._all = live, all_
        self._history = History()
        self._minutes = Minutes(
            self._history,
            all_._transport.tell,
            all_._new_id,
            all_._engines.tts.rate_hz,
            aside=True,
            standings=all_._meter.standings,
        )
        self._mouth = Mouth(
            all_._engines,
            all_._tuning,
            clock=all_._clock,
            scope=all_._scope,
            speaker=self,
            stamp=_unmeasured,
            on_sent=_unobserved,
            meter=all_._meter,
        )

    def begin(self) -> None:
        """Make it, and let it be heard at once."""
        self._minutes.agent_started(self._live)
        self._mouth.start(self._live)
        self._mouth.open(self._live)

    def cancel(self) -> None:
        """Nobody wants it any more."""
        heard_ms = self._mouth.stop(self._live)
        self._all._ended(self._live)
        self._minutes.agent_stopped(self._live, heard_ms, "client_cancelled")

    def close(self) -> None:
        """Nobody is there any more."""
        self._mouth.close()
        self._all._ended(self._live)

    def on_frame(self, live: LiveReply, frame: SpokenFrame) -> None:
        """See `Speaker`."""
        self._minutes.agent_speaks(live)
        self._all._transport.play(live.turn, frame)
        self._minutes.agent_says(live, frame)

    def on_call(self, live: LiveReply, delta: CallDelta | None) -> None:
        """See `Speaker`."""
        self._minutes.agent_calls(live, delta)

    def on_said(self, live: LiveReply) -> None:
        """See `Speaker`."""
        self._all._ended(live)
        self._minutes.agent_said(live)

    def on_failed(self, live: LiveReply, error: StageError) -> None:
        """See `Speaker`. Whoever asked is told, and may ask again: there is nobody to apologise to."""
        self._mouth.stop(live)
        self._all._ended(live)
        self._minutes.agent_said(live)


def _unmeasured(turn: TurnId, mark: Mark) -> None:
    """The ledger is for the user's turns."""


def _unobserved(late_ns: int) -> None:
    """So is the pacing."""
