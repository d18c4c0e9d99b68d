"""What do real turns take, stage by stage, one at a time and several at once? Recorded, as JSON lines."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.cli.own_engines import own_llm, own_tts
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError, StageError
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.phrases import Phrases, speakable
from voicestack.ports import Llm, LlmRequest, SpeechRequest, Tts

FIRST_WORDS = 4
"""As in `session/reply.py`."""
SHORT_WORDS = 2
"""Half of them: the rung SHORT_CLAUSE."""
NO_WORDS = "Yes."
"""Spoken instead of an empty answer, so that the voice has something to do."""
QUESTIONS = (
    "What is the capital of France?",
    "How do I make a cup of tea?",
    "What can I see at the sea in winter?",
    "Why is the sky blue?",
    "Can you tell me a fact about cats?",
    "What should I wear when it rains?",
    "How long does it take to boil an egg?",
    "What is a good present for a child?",
)


@dataclass(frozen=True, slots=True)
class Served:
    """What one turn took. Milliseconds.

    Attributes:
        at_ms: When it began, after the beginning of the recording.
        n_in_flight: Turns under way then, this one too.
        llm_ms: To the first token.
        clause_ms: From there to the first phrase.
        tts_ms: From there to its first sound.
        short_clause_ms: From the first token to a shorter first phrase.
        short_tts_ms: From there to its first sound.
    """

    at_ms: float
    n_in_flight: int
    llm_ms: float
    clause_ms: float
    tts_ms: float
    short_clause_ms: float
    short_tts_ms: float


def read_trace(path: Path) -> list[Served]:
    """The turns of a recording.

    Raises:
        ConfigError: it is none; names file and line.
    """
    turns = []
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    for number, line in enumerate(lines, start=1):
        try:
            turns.append(Served(**json.loads(line)))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{path}:{number}: no turn ({error})") from None
    if not turns:
        raise ConfigError(f"{path}: no turns")
    return turns


def write_trace(path: Path, turns: Sequence[Served]) -> None:
    """Write them down, to a tenth of a millisecond."""
    rounded = [{key: round(value, 1) for key, value in asdict(turn).items()} for turn in turns]
    path.write_text("".join(json.dumps(turn) + "\n" for turn in rounded))


async def record(
    config: Config, clock: Clock, loads: Sequence[int], n_turns: int, tell: Callable[[str], None]
) -> list[Served]:
    """Ask the configured engines, with so many callers at once, in turn.

    Args:
        config: Which engines.
        clock: To measure with.
        loads: Numbers of callers.
        n_turns: At each load, in equal parts.
        tell: Is told how it goes.

    Raises:
        ConfigError: the engines cannot be had.
        StageError: not even one turn went well.
    """
    async with own_llm(config, clock) as llm, own_tts(config, clock) as tts:
        ask = _Asked(config, clock, llm, tts, tell)
        await ask.turn("warm-up", QUESTIONS[0])
        turns = ask.done
        turns.clear()
        for place, n_callers in enumerate(loads):
            tell(f"{n_callers} at once ...")
            async with Scope() as scope:
                callers = [
                    scope.start(ask.turns(f"{place}-{caller}", caller, n_turns // n_callers), name="caller")
                    for caller in range(n_callers)
                ]
                for one in callers:
                    await one
    return turns


class _Asked:
    """Turns, one after the other or at once; those that are over are in `done`."""

    def __init__(self, config: Config, clock: Clock, llm: Llm, tts: Tts, tell: Callable[[str], None]) -> None:
        self._instructions = Message("system", config.session.instructions)
        self._clock, self._llm, self._tts, self._tell = clock, llm, tts, tell
        self.done: list[Served] = []
        self._zero_ns, self._n_in_flight = clock.now_ns(), 0

    async def turns(self, name: str, begin: int, n: int) -> None:
        """One caller's."""
        for number in range(n):
            try:
                await self.turn(name, QUESTIONS[(begin + number) % len(QUESTIONS)])
            except StageError as error:
                self._tell(f"left out: {error}")
        self._llm.release(SessionId(name))

    async def turn(self, name: str, question: str) -> None:
        """Ask, and write down what it took."""
        self._n_in_flight += 1
        try:
            self.done.append(await self._served(name, question))
        finally:
            self._n_in_flight -= 1

    async def _served(self, name: str, question: str) -> Served:
        began_ns, n_in_flight = self._clock.now_ns(), self._n_in_flight
        request = LlmRequest(SessionId(name), TurnId(1), (self._instructions, Message("user", question)))
        async with aclosing(self._llm.reply(request)) as deltas:
            texts = (delta.text async for delta in deltas)
            first_ns, (phrase, at_ns), (short, short_ns) = await self._phrases(texts)
        tts_ms, short_tts_ms = await self._first_sound_ms(phrase), await self._first_sound_ms(short)
        return Served(
            (began_ns - self._zero_ns) / 1e6,
            n_in_flight,
            (first_ns - began_ns) / 1e6,
            (at_ns - first_ns) / 1e6,
            tts_ms,
            (short_ns - first_ns) / 1e6,
            short_tts_ms,
        )

    async def _phrases(self, texts: AsyncIterator[str]) -> tuple[int, tuple[str, int], tuple[str, int]]:
        """When the first token was there, and the first phrase of either length with its time."""
        cutters = [Phrases(first_words=n_words) for n_words in (FIRST_WORDS, SHORT_WORDS)]
        found: list[tuple[str, int] | None] = [None, None]
        first_ns = 0
        async for text in texts:
            now_ns = self._clock.now_ns()
            if text:
                first_ns = first_ns or now_ns
            for place, cutter in enumerate(cutters):
                for phrase in cutter.push(text):
                    found[place] = found[place] or (phrase, now_ns)
        now_ns = self._clock.now_ns()
        first, short = (
            one or (next(iter(cutter.end()), NO_WORDS), now_ns)
            for one, cutter in zip(found, cutters, strict=True)
        )
        return first_ns or now_ns, first, short

    async def _first_sound_ms(self, phrase: str) -> float:
        began_ns = self._clock.now_ns()
        async with aclosing(self._tts.speak(SpeechRequest(speakable(phrase)))) as frames:
            async for _ in frames:
                break
        return (self._clock.now_ns() - began_ns) / 1e6
