"""Every seam of the system on one page. Whatever has the right shape fits; there is nothing to inherit.

Who is told what happens in turns is in `core/watching.py`. Engines raise only `StageError`s. Closing a
generator cancels the work behind it, on this machine or another.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, runtime_checkable

from voicestack.aio.orders import Orders, Promise
from voicestack.core.audio import AudioFrame, SpokenFrame
from voicestack.core.commands import Command
from voicestack.core.deadline import Deadline
from voicestack.core.errors import RateLimited
from voicestack.core.heard import HeardWord
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.notes import Note, Usage
from voicestack.core.rungs import Forecast, Rung
from voicestack.core.standing import Standing
from voicestack.core.tools import NO_TOOLS, CallDelta, Toolbox
from voicestack.core.turn_record import Use
from voicestack.core.watching import Trail


@dataclass(frozen=True, slots=True)
class SpeechWindow:
    """The VAD's opinion of one window of audio.

    `p_speech` is 0..1, `end_sample` the media time just after the window.
    """

    p_speech: float
    end_sample: int


class VadStream(Protocol):
    """Voice activity of one session."""

    def push(self, frame: AudioFrame) -> None:
        """Take the next frame. Never waits; opinions come through the callback given to `Vad.open`."""
        ...

    def close(self) -> None:
        """Forget the session. No opinion comes after this."""
        ...


class Vad(Protocol):
    """Tells speech from everything else, for all sessions of the process."""

    def open(self, on_window: Callable[[SpeechWindow], None]) -> VadStream:
        """Begin a session. `on_window` is called from the event loop, in media order."""
        ...


class Pause:
    """In a stream of audio: the user fell silent here; say what you have understood."""


PAUSE = Pause()


class Certainty(Enum):
    """How far a transcript can be trusted."""

    PARTIAL = "partial"  # may change at any time
    SETTLED = "settled"  # the answer to a Pause: covers all audio before it; good enough for a draft
    FINAL = "final"  # the utterance is over; the last thing a transcription yields


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words of an utterance so far: all of them, not only the new ones.

    Attributes:
        text: They.
        certainty: How far they can be trusted.
        sure: A beginning of the text, in whole words, that no later transcript of the utterance changes.
        words: The same words with their times, from a recogniser that has them.
        language: Theirs, as ISO 639-1, from a recogniser that finds it out or goes by a hint.
        use: Who understood them, where there is a choice of recognisers.
    """

    text: str
    certainty: Certainty
    sure: str = ""
    words: tuple[HeardWord, ...] = ()
    language: str = ""
    use: Use | None = field(default=None, compare=False)


class Asr(Protocol):
    """Turns one utterance into words while it is being spoken."""

    def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        """Yield partials, SETTLED for each Pause, and one FINAL when `sounds` ends.

        A second SETTLED for the same Pause replaces the first: a quick guess, then a better one. `hints` hold
        for the whole utterance; those that the recogniser has no use for change nothing.

        Raises:
            StageError: the recogniser is lost, overloaded or over its budget.
        """
        ...


@dataclass(frozen=True, slots=True)
class LlmRequest:
    """One reply to generate.

    Attributes:
        session: Requests of one session share a prefix; an engine keeps it warm.
        turn: For logs and for the fence against late answers.
        messages: The conversation as heard, system prompt first.
        max_tokens: Longest answer; None for the engine's limit.
        draft: May be thrown away: serve it after requests that may not.
        toolbox: What the LLM may call instead of, or after, saying something.
        model: What the peer asked for by name; an engine that does not have it answers with its own.
        begun: What has been said of the answer already: it goes on from there, without saying it again.
        scope: Whose answers it may be given again; empty for the session's only.
        deadline: Until when its first token is wanted; None for as long as it takes.
        rung: How to go about it: what the planner chose at the start.
        orders: What the planner chooses while the reply is being made.
        trail: Is told what was done for it.
        promise: Of a draft: is given when it may not be thrown away any more.
    """

    session: SessionId
    turn: TurnId
    messages: tuple[Message, ...]
    max_tokens: int | None = None
    draft: bool = False
    toolbox: Toolbox = NO_TOOLS
    model: str = ""
    begun: str = ""
    scope: str = field(default="", compare=False)
    deadline: Deadline | None = field(default=None, compare=False)
    rung: Rung = field(default=Rung.FULL, compare=False)
    orders: Orders | None = field(default=None, compare=False, repr=False)
    trail: Trail | None = field(default=None, compare=False, repr=False)
    promise: Promise | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LlmDelta:
    """A piece of the answer: text, or of a call. The last one says why it ended and what it cost."""

    text: str = ""
    call: CallDelta | None = None
    truncated: bool = False
    usage: Usage | None = None


class Llm(Protocol):
    """Writes the agent's words."""

    def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        """Yield the answer as it is generated. Closing the generator aborts the request on the server.

        Raises:
            StageError: nothing, or nothing more, will come.
        """
        ...

    async def prime(self, request: LlmRequest) -> None:
        """Compute the prompt's KV so that a reply to a longer version of it starts sooner. Best effort.

        Raises:
            StageError: it was not done; the next `reply` still works, only later.
        """
        ...

    def release(self, session: SessionId) -> None:
        """The session is over; what was kept for it may go."""
        ...


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """One phrase to say. `speed` 1.0 is the voice's own rate.

    `follows`: something of the same reply is heard meanwhile, so that it may wait a little for phrases that
    begin one. It changes nothing about what is said, and neither do `deadline` and `trail`, see `LlmRequest`.
    """

    text: str
    voice: str = "default"
    speed: float = 1.0
    follows: bool = field(default=False, compare=False)
    deadline: Deadline | None = field(default=None, compare=False)
    trail: Trail | None = field(default=None, compare=False, repr=False)

    @property
    def begin_by(self) -> Deadline | None:
        """Until when its first sound is wanted. An answer that is heard already is not broken off."""
        return None if self.follows else self.deadline


class Tts(Protocol):
    """Speaks the agent's words."""

    @property
    def rate_hz(self) -> int:
        """Sample rate of everything that `speak` yields."""
        ...

    def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        """Yield the phrase as frames of at most 40 ms, as soon as they exist, without leading silence.

        The frames' texts, joined, are the phrase.

        Raises:
            StageError: the rest will not come.
        """
        ...


class Forecaster(Protocol):
    """Knows from what was measured how long things take now."""

    def forecasts(self, request: LlmRequest, waited_ms: float | None) -> tuple[Forecast, ...]:
        """When the first sample of the answer could be there, for each rung that could be taken now.

        Args:
            request: The reply.
            waited_ms: For how long the LLM has been asked already; None if it has not been.
        """
        ...

    def expect_filler_ms(self) -> float:
        """How long it takes, in nineteen cases of twenty, until a prepared phrase is audible."""
        ...

    def observe(self, stage: str, replica: str, took_ms: float, *, finished: bool = True) -> None:
        """A stage took so long; one that did not finish took longer than that.

        Stages are `asr`, `llm` (to the first token), `clause` (from there to the first phrase; `short_clause`
        if it is a short one) and `tts` (to the first sound).
        """
        ...


class Meter(Protocol):
    """Counts what a session's replies cost, against the limits of whoever pays for them."""

    def refusal(self) -> RateLimited | None:
        """Why no further reply may begin now; None if one may."""
        ...

    def begin(self) -> None:
        """A reply begins."""
        ...

    def spend(self, n_tokens: int) -> None:
        """A reply is over, for which the language model has read and written so many tokens."""
        ...

    def standings(self) -> tuple[Standing, ...]:
        """What is left of each limit in force."""
        ...


@runtime_checkable
class Measured(Protocol):
    """An engine that counts what it does."""

    def figures(self) -> Mapping[str, float]:
        """How things stand, by name. Cheap: asked at every scrape.

        A name that ends in `_total` is a count that only rises; any other is a reading, with its unit as
        suffix (`queue_requests`, `kv_used_ratio`, `first_token_p50_ms`). No name holds anything of a user.
        """
        ...


class TransportSession(Protocol):
    """One peer: a browser, a phone, a program."""

    async def run(self, on_received: Callable[[AudioFrame | Command], None]) -> None:
        """Deliver everything that the peer sends, in order, until it hangs up.

        `on_received` does not wait, so nothing can change between a message and its effects.

        Raises:
            TransportLost: the peer vanished.
        """
        ...

    def tell(self, note: Note) -> None:
        """Say what happened. Never waits."""
        ...

    def play(self, turn: TurnId, frame: SpokenFrame) -> None:
        """Send audio that is due now. Never waits."""
        ...

    def flush(self) -> None:
        """Silence: drop everything that was sent and not yet played."""
        ...
