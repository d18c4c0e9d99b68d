"""How a session speaks: the one live reply, its task, and the playout that it goes through."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.core.audio import SpokenFrame
from voicestack.core.errors import StageError
from voicestack.core.history import CallItem, context_tokens_of
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.marks import Mark
from voicestack.core.offers import Served
from voicestack.core.settings import Modality
from voicestack.core.tools import CallDelta
from voicestack.ports import Llm, LlmRequest, Meter, SpeechRequest, Tts
from voicestack.session.playout import Playout
from voicestack.session.reply import Line, Outcome, speak_phrase, speak_reply, write_reply


@dataclass(slots=True)
class LiveReply:
    """The reply that is being made. It becomes part of the conversation when it is committed.

    Attributes:
        turn: Its name.
        item_id: The message that it fills, if it says anything.
        modality: Spoken or written.
        voice: How it is spoken.
        request: What the LLM is asked.
        tag: See `ReplyStarted`.
        served: The tools that this side calls, by the names that the LLM knows.
        outcome: What is known of the text.
        committed: Whether it may be heard.
        announced: Whether the peer knows of the message.
        n_frames: Frames that have left for the peer.
        calls: The calls that the peer knows of, by their place in the LLM's answer.
        early_calls: What was written of calls while this was a draft.
        task: The work on it.
        error: Why it broke off.
    """

    turn: TurnId
    item_id: ItemId
    modality: Modality
    voice: SpeechRequest
    request: LlmRequest
    tag: str = ""
    served: Mapping[str, Served] = field(default_factory=dict)
    outcome: Outcome = field(default_factory=Outcome)
    committed: bool = False
    announced: bool = False
    n_frames: int = 0
    calls: dict[int, CallItem] = field(default_factory=dict)
    early_calls: list[CallDelta | None] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    error: StageError | None = None


class Speaker(Protocol):
    """Whoever the mouth speaks for."""

    def on_frame(self, live: LiveReply, frame: SpokenFrame) -> None:
        """The frame is due: let the peer have it."""
        ...

    def on_call(self, live: LiveReply, delta: CallDelta | None) -> None:
        """More of a call was written; None when all calls are complete."""
        ...

    def on_said(self, live: LiveReply) -> None:
        """The reply, or the apology in its place, has been played to its end."""
        ...

    def on_failed(self, live: LiveReply, error: StageError) -> None:
        """The reply broke off; what was queued still plays."""
        ...


class Mouth:
    """Makes replies and plays them, one at a time.

    Args:
        llm: Writes the words.
        tts: Says them.
        clock: For pacing.
        scope: Owns the reply's task.
        speaker: Is told how it goes.
        stamp: Writes a mark of a turn, now.
        lead_ms: See `Playout`.
        queue_ms: See `Playout`.
        on_sent: See `Playout`.
        meter: Counts the replies that may be heard, and what they cost.
    """

    def __init__(  # noqa: PLR0913 (it is wired in one place)
        self,
        llm: Llm,
        tts: Tts,
        *,
        clock: Clock,
        scope: Scope,
        speaker: Speaker,
        stamp: Callable[[TurnId, Mark], None],
        lead_ms: float,
        queue_ms: float,
        on_sent: Callable[[int], None],
        meter: Meter,
    ) -> None:
        self._scope, self._speaker, self._meter = scope, speaker, meter
        self._playout = Playout(
            clock, self._send, rate_hz=tts.rate_hz, lead_ms=lead_ms, queue_ms=queue_ms, on_sent=on_sent
        )
        self._line = Line(llm, tts, self._playout, stamp, self._on_call)
        self.live: LiveReply | None = None

    @property
    def queued_ms(self) -> float:
        """Audio that waits for its time."""
        return self._playout.queued_ms

    def start(self, live: LiveReply) -> None:
        """Begin to make the reply, with the gate closed."""
        self.live = live
        self._playout.begin(live.turn)
        live.task = self._scope.start(self._reply(live), name=f"reply-{live.turn}")

    def open(self, live: LiveReply) -> None:
        """The reply may be heard."""
        if not live.committed:
            self._meter.begin()
        live.committed = True
        self._playout.open_gate(live.turn)

    def retry(self, live: LiveReply) -> None:
        """Begin the reply, of which nothing was heard, once more."""
        live.outcome, live.error = Outcome(), None
        live.early_calls.clear()
        self.start(live)
        self.open(live)

    def apologise(self, live: LiveReply, apology: str) -> None:
        """Say the apology instead of the rest of the reply."""
        live.task = self._scope.start(self._apology(live, apology), name=f"apology-{live.turn}")

    def stop(self, live: LiveReply) -> float:
        """Fall silent at once; the work behind the reply ends by itself.

        Returns:
            How much of the reply the peer has played, in milliseconds, by its pace.
        """
        heard_ms = self._playout.flush()
        self._pay(live)
        if live.task is not None:
            live.task.cancel()
        self.live = None
        return heard_ms

    def close(self) -> None:
        """The session is over."""
        self._playout.flush()

    async def _reply(self, live: LiveReply) -> None:
        try:
            if live.modality == "audio":
                await speak_reply(self._line, live.request, live.voice, live.outcome)
            else:
                await write_reply(self._line, live.request, live.outcome)
        except StageError as error:
            live.error = error
            self._speaker.on_failed(live, error)
        else:
            self._said(live)

    async def _apology(self, live: LiveReply, apology: str) -> None:
        try:
            if live.modality == "audio":
                await speak_phrase(self._line, live.turn, apology, live.voice, join=live.n_frames > 0)
            await self._playout.drained(live.turn)
        except StageError as error:
            live.error = error
        self._said(live)

    def _said(self, live: LiveReply) -> None:
        self._pay(live)
        self.live = None
        self._speaker.on_said(live)

    def _pay(self, live: LiveReply) -> None:
        """Charge what it has cost; where the engine has not said so, because it was stopped, an estimate."""
        if not live.committed:
            return
        usage, outcome = live.outcome.usage, live.outcome
        n_read = usage.input_tokens or context_tokens_of(live.request.messages)
        self._meter.spend(n_read + (usage.output_tokens or outcome.n_deltas))

    def _on_call(self, turn: TurnId, delta: CallDelta | None) -> None:
        live = self.live
        if live is not None and live.turn == turn:
            self._speaker.on_call(live, delta)

    def _send(self, turn: TurnId, frame: SpokenFrame) -> None:
        live = self.live
        assert live is not None
        assert live.turn == turn
        live.n_frames += 1
        self._speaker.on_frame(live, frame)
