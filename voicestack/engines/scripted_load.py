"""What would engines do that follow a script and take as long as real ones, on as many places?

Everything but the work itself is real: work waits in the same queues, is refused by the same rules, and what
is not wanted any more gives its place back.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import ExitStack, aclosing, asynccontextmanager

from voicestack.aio.clock import Clock
from voicestack.core.audio import AudioFrame, SpokenFrame
from voicestack.core.deadline import Deadline
from voicestack.core.errors import Stage
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.ids import SessionId
from voicestack.core.queues import QueueReading
from voicestack.engines.line import Line, Ticket
from voicestack.engines.precedence import Precedence, Rank
from voicestack.engines.scripted import ScriptedAsr, ScriptedLlm, ScriptedTts
from voicestack.engines.work_times import WorkTimes
from voicestack.ports import Certainty, LlmDelta, LlmRequest, Pause, SpeechRequest, Transcript

Draw = Callable[[tuple[float, ...]], float]
"""Takes one of the recorded figures."""


def drawn_with(seed: int) -> Draw:
    """With the same seed, the same figures in the same order."""
    rng = random.Random(seed)
    return rng.choice


class Places:
    """So many at a time; the others wait as `core.codel` says."""

    def __init__(self, stage: Stage, clock: Clock, n_places: int) -> None:
        self._n_free = n_places
        self._line = Line(stage, stage=stage, clock=clock, n_places=n_places)
        self._begun: dict[int, asyncio.Event] = {}

    @asynccontextmanager
    async def one(self, deadline: Deadline | None = None) -> AsyncIterator[Ticket]:
        """A place for the length of the block.

        Raises:
            StageOverloaded: it was turned away.
        """
        with self._line.held(0, deadline) as ticket:
            begun = self._begun[id(ticket)] = asyncio.Event()
            try:
                self._deal()
                await begun.wait()
                self._line.check(ticket)
                yield ticket
            finally:
                del self._begun[id(ticket)]
                self._n_free += ticket.began_ns is not None
                self._line.leave(ticket)
                self._deal()

    def has_result(self, ticket: Ticket) -> None:
        """See `Line`."""
        self._line.has_result(ticket)

    def reading(self) -> QueueReading:
        """How it is now."""
        return self._line.reading()

    def _deal(self) -> None:
        order, gone = self._line.next()
        for ticket in gone:
            self._begun[id(ticket)].set()
        for ticket in order[: self._n_free]:
            self._n_free -= 1
            self._line.begin(ticket)
            self._begun[id(ticket)].set()


class LoadedAsr:
    """Satisfies `ports.Asr`: the words come when a place had the time for them.

    Args:
        asr: What is heard.
        clock: Times the waits.
        times: What a place is taken for at a pause, and at the end.
        n_places: Utterances that are finished at the same time.
        draw: Chooses among the times.
    """

    def __init__(
        self, asr: ScriptedAsr, *, clock: Clock, times: WorkTimes, n_places: int, draw: Draw
    ) -> None:
        self._asr, self._times, self._draw = asr, times, draw
        self._places = Places("asr", clock, n_places)

    def queues(self) -> list[QueueReading]:
        """See `Queued`."""
        return [self._places.reading()]

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        """See `ports.Asr`.

        Raises:
            StageOverloaded: too much waits.
        """
        async with aclosing(self._asr.transcribe(sounds, hints)) as heard:
            async for transcript in heard:
                if transcript.certainty is not Certainty.PARTIAL:
                    async with self._places.one():
                        await asyncio.sleep(self._draw(self._times.asr_final_ms) / 1e3)
                yield transcript


class LoadedLlm:
    """Satisfies `ports.Llm`: a place is taken for as long as the answer is written, whoever reads it when.

    Args:
        llm: What is said.
        clock: Times the waits.
        times: What the tokens take.
        n_places: Answers that are written at the same time.
        draw: Chooses among the times.
    """

    def __init__(
        self, llm: ScriptedLlm, *, clock: Clock, times: WorkTimes, n_places: int, draw: Draw
    ) -> None:
        self._llm, self._clock, self._times, self._draw = llm, clock, times, draw
        self._precedence = Precedence(n_places, clock)

    def queues(self) -> list[QueueReading]:
        """See `Queued`."""
        return [one for one in (self._precedence.reading(),) if one is not None]

    async def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        """See `ports.Llm`.

        Raises:
            StageOverloaded: too much waits.
        """
        rank = Rank.DRAFT if request.draft else Rank.COMMITTED
        with ExitStack() as place:
            work = place.enter_context(self._precedence.work(rank, request.deadline, request.promise))
            await self._precedence.admission(work)
            deltas = [delta async for delta in self._llm.reply(request)]
            gap_ns = round(self._draw(self._times.llm_token_ms) * 1e6)
            first_ns = self._clock.now_ns() + round(self._draw(self._times.llm_first_token_ms) * 1e6)
            end_ns = first_ns + gap_ns * (len(deltas) - 1)
            timers = [
                self._clock.call_at(first_ns, lambda: self._precedence.first_token(work)),
                self._clock.call_at(end_ns, place.close),
            ]
            try:
                for n, delta in enumerate(deltas):
                    await asyncio.sleep(max(0, first_ns + n * gap_ns - self._clock.now_ns()) / 1e9)
                    yield delta
            finally:
                for timer in timers:
                    timer.cancel()

    async def prime(self, request: LlmRequest) -> None:
        """See `ports.Llm`."""
        await self._llm.prime(request)

    def release(self, session: SessionId) -> None:
        """See `ports.Llm`."""
        self._llm.release(session)


class LoadedTts:
    """Satisfies `ports.Tts`: a place is taken until the phrase is made; then all of it is there.

    Args:
        tts: How it sounds.
        clock: Times the waits.
        times: What a phrase takes.
        n_places: Phrases that are made at the same time.
        draw: Chooses among the times.
    """

    def __init__(
        self, tts: ScriptedTts, *, clock: Clock, times: WorkTimes, n_places: int, draw: Draw
    ) -> None:
        self._tts, self._times, self._draw = tts, times, draw
        self._places = Places("tts", clock, n_places)

    @property
    def rate_hz(self) -> int:
        """Sample rate of what `speak` yields."""
        return self._tts.rate_hz

    def queues(self) -> list[QueueReading]:
        """See `Queued`."""
        return [self._places.reading()]

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        """See `ports.Tts`.

        Raises:
            StageOverloaded: too much waits.
        """
        async with self._places.one(None if request.follows else request.deadline) as ticket:
            await asyncio.sleep(self._draw(self._times.tts_phrase_ms) / 1e3)
            self._places.has_result(ticket)
        async with aclosing(self._tts.speak(request)) as frames:
            async for frame in frames:
                yield frame
