"""How long do the embedded engines take for a piece of work when they have nothing else to do? Recorded.

The recordings are spoken to them at the pace of speech, one after the other: words, answer, first phrase.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_speech import Line
from voicestack.cli.speaker import CALL_RATE_HZ
from voicestack.cli.waveform import resample
from voicestack.config.load import load
from voicestack.core.audio import EAR_RATE_HZ, AudioFrame, Pcm
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.ports import LlmRequest, Pause, SpeechRequest
from voicestack.server.assembly import Assembly, assemble

FRAME_SAMPLES = EAR_RATE_HZ // 50
READY_S = 120
N_WARM = 2
"""Lines before the recording begins: the first answers of a process are slower."""


@dataclass(slots=True)
class Recorded:
    """See `engines.work_times.WorkTimes`."""

    asr_final_ms: list[float] = field(default_factory=list)
    llm_first_token_ms: list[float] = field(default_factory=list)
    llm_token_ms: list[float] = field(default_factory=list)
    tts_phrase_ms: list[float] = field(default_factory=list)


async def record(lines: list[Line], clock: Clock) -> Recorded:
    """Have every line heard, answered and the answer said.

    Raises:
        ConfigError: an engine is missing.
        StageError: an engine failed.
        TimeoutError: the engines do not become ready.
    """
    config = load("embedded", env={}, sets=[]).config
    assembly = assemble(config, clock)
    recorded = Recorded()
    try:
        async with Scope() as scope:
            for part in assembly.supervised:
                scope.start(part.run(), name=part.name)
            async with asyncio.timeout(READY_S):
                while not all(part.is_ready for part in assembly.supervised):  # noqa: ASYNC110 (no event)
                    await asyncio.sleep(0.1)
            for n, line in enumerate([*lines[:N_WARM], *lines]):
                into = Recorded() if n < N_WARM else recorded
                await _turn(assembly, config.session.instructions, line, clock, into)
    finally:
        await assembly.close()
    return recorded


async def _turn(assembly: Assembly, instructions: str, line: Line, clock: Clock, into: Recorded) -> None:
    engines, session = assembly.engines, SessionId(f"record-{line.file}")
    ended_ns: list[int] = []
    heard = ""
    sounds = _spoken(resample(line.pcm, CALL_RATE_HZ, EAR_RATE_HZ), clock, ended_ns)
    async with aclosing(engines.asr.transcribe(sounds)) as transcripts:
        async for transcript in transcripts:
            heard = transcript.text
    into.asr_final_ms.append((clock.now_ns() - ended_ns[0]) / 1e6)
    prompt = Message("system", instructions)
    await engines.llm.prime(LlmRequest(session, TurnId(1), (prompt, Message("user", ""))))
    request = LlmRequest(session, TurnId(1), (prompt, Message("user", heard or "Hello.")))
    answer, at_ns = "", [clock.now_ns()]
    async with aclosing(engines.llm.reply(request)) as deltas:
        async for delta in deltas:
            if delta.text:
                at_ns.append(clock.now_ns())
                answer += delta.text
    engines.llm.release(session)
    if len(at_ns) < 3:
        return
    into.llm_first_token_ms.append((at_ns[1] - at_ns[0]) / 1e6)
    into.llm_token_ms.append((at_ns[-1] - at_ns[1]) / 1e6 / (len(at_ns) - 2))
    began_ns = clock.now_ns()
    async with aclosing(engines.tts.speak(SpeechRequest(answer))) as frames:
        async for _ in frames:
            pass
    into.tts_phrase_ms.append((clock.now_ns() - began_ns) / 1e6)


async def _spoken(pcm: Pcm, clock: Clock, ended_ns: list[int]) -> AsyncIterator[AudioFrame | Pause]:
    """At the pace of speech. `ended_ns` gets the instant of the end."""
    zero_ns = clock.now_ns()
    for start in range(0, len(pcm) - FRAME_SAMPLES, FRAME_SAMPLES):
        due_ns = zero_ns + (start + FRAME_SAMPLES) * 1_000_000_000 // EAR_RATE_HZ
        await asyncio.sleep(max(0, due_ns - clock.now_ns()) / 1e9)
        yield AudioFrame(pcm[start : start + FRAME_SAMPLES], start, clock.now_ns())
    ended_ns.append(clock.now_ns())
