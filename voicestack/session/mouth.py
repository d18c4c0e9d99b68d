"""How a session speaks: the one live reply, its task, and the playout that it goes through."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.core.audio import SpokenFrame
from voicestack.core.errors import StageError
from voicestack.core.history import CallItem
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.marks import Mark
from voicestack.core.offers import Served
from voicestack.core.prompt_room import context_tokens_of
from voicestack.core.settings import Modality
from voicestack.core.tools import CallDelta
from voicestack.ports import LlmRequest, Meter, SpeechRequest
from voicestack.session.playout import Playout
from voicestack.session.reply import Line, Outcome, speak_phrase, speak_reply, write_reply
from voicestack.session.tuning import Engines, Tuning


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
        n_frames: Frames of the answer that have left for the peer.
        n_filled: Sentences that filled a silence before it.
        said: Whether a word of the answer has left for the peer.
        excused: It only says that nothing was understood.
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
    n_filled: int = 0
    said: bool = False
    excused: bool = False
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
        engines: Write the words and say them.
        tuning: How far ahead of being played audio leaves, and how much of it waits.
        clock: For pacing.
        scope: Owns the reply's task.
        speaker: Is told how it goes.
        stamp: Writes a mark of a turn, now.
        on_sent: See `Playout`.
        meter: Counts the replies that may be heard, and what they cost.
    """

    def __init__(  # noqa: PLR0913 (it is wired in one place)
        self,
        engines: Engines,
        tuning: Tuning,
        *,
        clock: Clock,
        scope: Scope,
        speaker: Speaker,
        stamp: Callable[[TurnId, Mark], None],
        on_sent: Callable[[int], None],
        meter: Meter,
    ) -> None:
        self._scope, self._speaker, self._meter, self._prompts = scope, speaker, meter, engines.prompts
        self._playout = Playout(
            clock,
            self._send,
            rate_hz=engines.tts.rate_hz,
            lead_ms=tuning.lead_ms,
            queue_ms=tuning.queue_ms,
            on_sent=on_sent,
        )
        self._line = Line(engines.llm, engines.tts, self._playout, stamp, self._on_call)
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
        """Begin the reply, of whose answer nothing was heard, once more."""
        live.outcome, live.error = Outcome(live.outcome.first_words), None
        live.early_calls.clear()
        self._playout.unsay()
        live.task = self._scope.start(self._reply(live), name=f"reply-{live.turn}")

    def fill(self, live: LiveReply, text: str) -> bool:
        """Say a prepared sentence before the answer. Returns whether it was there."""
        frames = self._prompts.frames(text, live.voice)
        self._playout.insert(live.turn, _spaced(frames, after=live.announced, filler=True))
        live.n_filled += bool(frames)
        return bool(frames)

    def excuse(self, live: LiveReply, text: str) -> None:
        """A reply that only says this, for want of an answer."""
        self.live, live.excused = live, True
        self._playout.begin(live.turn)
        self.open(live)
        self.apologise(live, text)

    def break_off(self, live: LiveReply) -> None:
        """End the work on the answer, of which nothing was heard."""
        assert live.task is not None
        live.task.cancel()
        self._playout.unsay()

    def apologise(self, live: LiveReply, apology: str) -> None:
        """Say the apology instead of the rest of the reply. It is no answer."""
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
        is_filler = live.n_frames == 0
        frames = self._prompts.frames(apology, live.voice)
        try:
            if live.modality == "audio" and frames:
                spaced = _spaced(frames, after=live.announced or not is_filler, filler=is_filler)
                self._playout.insert(live.turn, spaced)
            elif live.modality == "audio":
                await speak_phrase(self._line, live.turn, apology, live.voice, join=live.announced)
        except StageError as error:
            live.error = error
        await self._playout.drained(live.turn)  # what there is of it is heard, whole or not
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
        if live.n_filled and not live.said and frame.text and not frame.filler:
            frame = replace(frame, text=f" {frame.text.lstrip()}")  # after what filled the silence
        live.said = live.said or bool(frame.text and not frame.filler)
        live.n_frames += not frame.filler
        self._speaker.on_frame(live, frame)


def _spaced(frames: Iterable[SpokenFrame], *, after: bool, filler: bool) -> list[SpokenFrame]:
    """A sentence as it is said after something else, or first."""
    out = [replace(frame, filler=filler) for frame in frames]
    first = next((n for n, frame in enumerate(out) if frame.text), None)
    if after and first is not None:
        out[first] = replace(out[first], text=f" {out[first].text.lstrip()}")
    return out
