"""How an answer is made: LLM -> phrases -> TTS -> playout, as nested async generators.

Cancelling the task that runs `speak_reply` closes the generators inside out, which aborts the remote work.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from voicestack.core.audio import NO_AUDIO, SpokenFrame
from voicestack.core.ids import TurnId
from voicestack.core.marks import Mark
from voicestack.core.notes import Usage
from voicestack.core.phrases import Phrases, speakable
from voicestack.core.tools import CallDelta
from voicestack.ports import Llm, LlmDelta, LlmRequest, SpeechRequest, Tts
from voicestack.session.playout import Playout

FIRST_WORDS = 4
"""The first phrase goes to the TTS after so many words at the latest. A word is one or two tokens: with 20 ms
a token every word more delays the answer by about 30 ms, and every word less costs the voice some melody."""


@dataclass(slots=True)
class Outcome:
    """What is known of a reply's text, in the end of all of it. `first_words` is decided while it is made."""

    first_words: int = FIRST_WORDS
    truncated: bool = False
    usage: Usage = field(default_factory=Usage)
    n_deltas: int = 0
    has_text: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """The way from a session's engines to its peer.

    `on_call` is told what the LLM writes of its calls, and with None that it has written all it will.
    """

    llm: Llm
    tts: Tts
    playout: Playout
    stamp: Callable[[TurnId, Mark], None]
    on_call: Callable[[TurnId, CallDelta | None], None]


async def speak_reply(line: Line, request: LlmRequest, voice: SpeechRequest, outcome: Outcome) -> None:
    """Say what the LLM writes. Returns when it has been played.

    Raises:
        StageError: the LLM or the TTS failed; what was queued still plays.
    """
    line.stamp(request.turn, Mark.LLM_SENT)
    async with (
        aclosing(line.llm.reply(request)) as deltas,
        aclosing(_texts(line, request.turn, deltas, outcome)) as texts,
        aclosing(_phrases(texts, outcome)) as phrases,
    ):
        voice = replace(voice, deadline=request.deadline, trail=request.trail)
        async for phrase in phrases:
            line.stamp(request.turn, Mark.CLAUSE_READY)
            await speak_phrase(line, request.turn, phrase, voice, join=phrase.startswith(" "))
    await line.playout.drained(request.turn)


async def write_reply(line: Line, request: LlmRequest, outcome: Outcome) -> None:
    """Send what the LLM writes as text. Raises StageError as `speak_reply` does."""
    line.stamp(request.turn, Mark.LLM_SENT)
    async with (
        aclosing(line.llm.reply(request)) as deltas,
        aclosing(_texts(line, request.turn, deltas, outcome)) as texts,
    ):
        async for text in texts:
            await line.playout.put(request.turn, SpokenFrame(NO_AUDIO, text))
    await line.playout.drained(request.turn)


async def speak_phrase(line: Line, turn: TurnId, phrase: str, voice: SpeechRequest, *, join: bool) -> None:
    """Say one phrase. `join` puts a space before it, as it follows another one."""
    request = replace(voice, text=speakable(phrase), follows=join)
    if not request.text:  # a code fence, say
        return
    async with aclosing(line.tts.speak(request)) as frames:
        async for frame in frames:
            line.stamp(turn, Mark.TTS_FIRST_AUDIO)
            spaced = join and bool(frame.text)
            join = join and not spaced
            joined = replace(frame, text=f" {frame.text.lstrip()}") if spaced else frame
            await line.playout.put(turn, joined)


async def _texts(
    line: Line, turn: TurnId, deltas: AsyncIterator[LlmDelta], outcome: Outcome
) -> AsyncGenerator[str, None]:
    async for delta in deltas:
        if delta.text:
            line.stamp(turn, Mark.LLM_FIRST_TOKEN)
            outcome.n_deltas += 1
            outcome.has_text = True
            yield delta.text
        if delta.call is not None:
            line.stamp(turn, Mark.LLM_FIRST_TOKEN)
            outcome.n_deltas += 1
            line.on_call(turn, delta.call)
        outcome.truncated = outcome.truncated or delta.truncated
        outcome.usage = delta.usage or outcome.usage
    line.on_call(turn, None)


async def _phrases(texts: AsyncIterator[str], outcome: Outcome) -> AsyncGenerator[str, None]:
    phrases = Phrases(first_words=outcome.first_words)
    async for text in texts:
        phrases.hurry(outcome.first_words)
        for phrase in phrases.push(text):
            yield phrase
    for phrase in phrases.end():
        yield phrase
