"""How many callers does one GPU carry when recogniser, language model and voice all work for them?

Every caller speaks for a few seconds, waits for the answer, and speaks again after a fixed time: the share
of the time in which a caller speaks is the duty. All of them begin at times that were drawn beforehand, and
nobody waits for a slow answer before it is his turn again. What counts is the time from the end of the turn
(the endpoint) to the first sample of the agent's voice; nothing of it is hidden by drafts.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_gpu_load import Counter, Stopwatch
from voicestack.cli.bench_gpu_prompts import Script, request_of
from voicestack.cli.bench_stats import Summary, summarise
from voicestack.core.audio import AudioFrame, Pcm
from voicestack.core.errors import StageError
from voicestack.core.phrases import Phrases, speakable
from voicestack.ports import PAUSE, Asr, Certainty, Llm, Pause, SpeechRequest, Tts

LIMIT_MS = 300.0
"""From the endpoint to the first sample of the agent's voice, p95."""
DUTY = 0.15
FRAME_MS = 20
TURN_LIMIT_S = 10.0
"""A turn that has no voice by then has none."""


@dataclass(frozen=True, slots=True)
class Load:
    """One level.

    Attributes:
        n_sessions: Callers.
        utterance: What each of them says, int16 mono at 16 kHz.
        for_s: How long it is measured.
        duty: Share of the time in which a caller speaks.
        endpoint_ms: Silence after which the turn is over.
        seed: Of the times at which callers begin.
    """

    n_sessions: int
    utterance: Pcm = field(repr=False)
    for_s: float
    duty: float = DUTY
    endpoint_ms: int = 200
    seed: int = 1

    @property
    def utterance_s(self) -> float:
        """How long a caller speaks."""
        return len(self.utterance) / 16_000

    @property
    def every_s(self) -> float:
        """From the beginning of one turn of a caller to that of the next."""
        return self.utterance_s / self.duty

    @property
    def turns_per_s(self) -> float:
        """Of all callers together."""
        return self.n_sessions / self.every_s


@dataclass(slots=True)
class Turn:
    """One turn. Milliseconds since its endpoint; None for what did not come.

    Attributes:
        due_ms: When the caller was to begin, since the start of the level.
        late_ms: How much later than planned the utterance had been said: the harness's own error.
        final_ms: The transcript.
        clause_ms: The first phrase of the answer.
        voice_ms: The first sample of the agent's voice.
        error: Why there is none.
    """

    due_ms: float
    late_ms: float = 0.0
    final_ms: float | None = None
    clause_ms: float | None = None
    voice_ms: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Stages:
    """The engines. `script` writes what the language model is asked."""

    asr: Asr
    llm: Llm
    tts: Tts
    script: Script
    counter: Counter = field(default_factory=Counter)


def schedule_s(load: Load) -> list[float]:
    """When the turns begin: each caller at a random time of the first period, then periodically."""
    rng = random.Random(load.seed)
    firsts = [rng.random() * load.every_s for _ in range(load.n_sessions)]
    starts = []
    for first_s in firsts:
        at_s = first_s
        while at_s < load.for_s:
            starts.append(at_s)
            at_s += load.every_s
    return sorted(starts)


async def run_level(load: Load, stages: Stages, clock: Clock) -> list[Turn]:
    """Let all callers speak at their times. A turn without a voice after TURN_LIMIT_S has none."""
    watch = Stopwatch(clock)
    turns = [Turn(at_s * 1e3) for at_s in schedule_s(load)]
    async with Scope() as scope:
        running = []
        for turn in turns:
            await asyncio.sleep(max(0.0, turn.due_ms - watch.ms()) / 1e3)
            running.append(scope.start(_turn(turn, load, stages, watch), name="turn"))
        if running:
            await asyncio.wait(running)
    return turns


async def _turn(turn: Turn, load: Load, stages: Stages, watch: Stopwatch) -> None:
    limit_s = load.utterance_s + load.endpoint_ms / 1e3 + TURN_LIMIT_S
    try:
        async with asyncio.timeout(limit_s):
            await _converse(turn, load, stages, watch)
    except TimeoutError:
        turn.error = turn.error or "timeout"
    except StageError as failed:
        turn.error = failed.code


async def _converse(turn: Turn, load: Load, stages: Stages, watch: Stopwatch) -> None:
    ended = _Ended(watch)
    sounds = speech(load, turn, watch, ended)
    async with aclosing(stages.asr.transcribe(sounds)) as transcripts:
        async for transcript in transcripts:
            if transcript.certainty is Certainty.FINAL:
                turn.final_ms = ended.since_ms()
    phrases = Phrases()
    request = request_of(stages.script, stages.counter.take())
    async with aclosing(stages.llm.reply(request)) as deltas:
        async for delta in deltas:
            for phrase in phrases.push(delta.text):
                await _speak(phrase, turn, stages, ended)
    for phrase in phrases.end():
        await _speak(phrase, turn, stages, ended)
    if turn.voice_ms is None:
        turn.error = "silent"


async def _speak(phrase: str, turn: Turn, stages: Stages, ended: "_Ended") -> None:
    """Make the voice of a phrase. What the model writes meanwhile waits in the connection."""
    if turn.clause_ms is None:
        turn.clause_ms = ended.since_ms()
    if not (said := speakable(phrase)):
        return
    async with aclosing(stages.tts.speak(SpeechRequest(said))) as frames:
        async for frame in frames:
            if turn.voice_ms is None and len(frame.pcm):
                turn.voice_ms = ended.since_ms()


class _Ended:
    """When a turn was over."""

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch
        self.at_ms: float | None = None

    def now(self) -> None:
        """It is."""
        self.at_ms = self._watch.ms()

    def since_ms(self) -> float:
        """How long ago."""
        return self._watch.ms() - (self.at_ms if self.at_ms is not None else self._watch.ms())


async def speech(
    load: Load, turn: Turn, watch: Stopwatch, ended: _Ended
) -> AsyncGenerator[AudioFrame | Pause, None]:
    """The utterance in real time, the pause, the silence until the endpoint. Then `ended` is stamped."""
    n = 16_000 * FRAME_MS // 1000
    silence = load.utterance[:0].copy()
    silence.resize(n)
    n_spoken = -(-len(load.utterance) // n)
    start_ms = watch.ms()
    for k in range(n_spoken + load.endpoint_ms // FRAME_MS):
        if k == n_spoken:
            yield PAUSE
        due_ms = start_ms + (k + 1) * FRAME_MS
        await asyncio.sleep(max(0.0, due_ms - watch.ms()) / 1e3)
        pcm = load.utterance[k * n : (k + 1) * n] if k < n_spoken else silence
        yield AudioFrame(pcm, k * n, watch.clock.now_ns())
        turn.late_ms = max(turn.late_ms, watch.ms() - due_ms)
    ended.now()


@dataclass(frozen=True, slots=True)
class Carried:
    """What a level came to; milliseconds since the endpoint.

    Attributes:
        n_sessions: Callers.
        turns_per_s: Planned, of all together.
        n: Turns.
        n_missing: Without a voice.
        voice_ms: The first sample.
        stages_ms: What each stage took of it.
        late_ms: Frames of the callers, the harness's own error.
        errors: Code -> turns.
        passes: Whether p95 is within LIMIT_MS, missing turns counted as longer than all others.
    """

    n_sessions: int
    turns_per_s: float
    n: int
    n_missing: int
    voice_ms: Summary | None
    stages_ms: dict[str, Summary | None]
    late_ms: Summary | None
    errors: dict[str, int]
    passes: bool


def carried_of(load: Load, turns: Sequence[Turn]) -> Carried:
    """Add up the turns of a level."""
    heard = [turn for turn in turns if turn.voice_ms is not None]
    voice = summarise(
        (t.voice_ms for t in heard if t.voice_ms is not None), n_censored=len(turns) - len(heard)
    )
    parts: dict[str, list[float]] = {"asr": [], "llm": [], "tts": []}
    for turn in heard:
        stamps = (0.0, turn.final_ms or 0.0, turn.clause_ms or 0.0, turn.voice_ms or 0.0)
        for name, before, after in zip(parts, stamps, stamps[1:], strict=False):
            parts[name].append(after - before)
    errors: dict[str, int] = {}
    for turn in turns:
        if turn.error:
            errors[turn.error] = errors.get(turn.error, 0) + 1
    return Carried(
        n_sessions=load.n_sessions,
        turns_per_s=load.turns_per_s,
        n=len(turns),
        n_missing=len(turns) - len(heard),
        voice_ms=voice,
        stages_ms={name: summarise(values) for name, values in parts.items()},
        late_ms=summarise(turn.late_ms for turn in turns),
        errors=errors,
        passes=voice is not None and voice.p95 <= LIMIT_MS,
    )


def sessions_of(levels: Sequence[Carried]) -> int:
    """The most callers that were carried, with every smaller level carried as well; 0 for none."""
    best = 0
    for level in sorted(levels, key=lambda level: level.n_sessions):
        if not level.passes:
            break
        best = level.n_sessions
    return best
