"""`voicestack bench gpu --part speech`: how many windows a second does Whisper hear, how many callers fit?"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from voicestack.aio.scope import Scope
from voicestack.cli.bench_gpu_load import Clients
from voicestack.cli.bench_gpu_plan import MODEL, Job
from voicestack.cli.bench_gpu_run import START_GUESS_S, Bench
from voicestack.cli.bench_gpu_server import BenchedVllm
from voicestack.cli.bench_gpu_sessions import (
    Carried,
    Load,
    Stages,
    Turn,
    carried_of,
    run_level,
    sessions_of,
)
from voicestack.cli.bench_gpu_subject import Subject
from voicestack.cli.bench_gpu_table import number
from voicestack.cli.bench_gpu_whisper import WHISPERS, RandomWhisper, measure_windows, write_whisper
from voicestack.cli.bench_speech import read_folder
from voicestack.cli.dialing import NoServer
from voicestack.cli.own_engines import own_asr, own_tts
from voicestack.cli.speaker import CALL_RATE_HZ
from voicestack.cli.waveform import resample
from voicestack.config.load import load
from voicestack.config.schema import Config
from voicestack.core.audio import EAR_RATE_HZ, Pcm
from voicestack.core.errors import ConfigError, StageError
from voicestack.ports import Asr, Tts

ENGINES_LIMIT_S = 120.0
FAILED_LEVELS = 2
"""The ramp ends after so many levels in a row that did not pass."""
N_WARM_UP = 8
"""Callers who each ask once before anything counts: the first words of a process take a second."""
LEVEL_TAIL_S = 15.0
"""Longest time that the last turns of a level take."""


@dataclass(frozen=True, slots=True)
class SpeechAmounts:
    """How much is asked.

    Attributes:
        whisper: Which of `WHISPERS`.
        batches: Windows that are decoded together.
        window_s: Length of each.
        batch_s: Seconds for each size of batch.
        sessions: Callers, ascending.
        level_s: Seconds for each number of callers.
        utterance_s: How long a caller speaks.
        duty: Share of the time in which a caller speaks.
        speech: Folder of recordings.
        sets: Keys of the configuration that say which engines recognise and speak.
    """

    whisper: str = "turbo"
    batches: tuple[int, ...] = (1, 4, 8, 16, 32, 64)
    window_s: float = 5.0
    batch_s: float = 3.0
    sessions: tuple[int, ...] = (32, 64, 128, 192, 256, 320, 384, 512)
    level_s: float = 22.0
    utterance_s: float = 3.0
    duty: float = 0.15
    speech: Path = Path("tests/data/speech")
    sets: tuple[str, ...] = ()


def whisper_folder(work: Path, amounts: SpeechAmounts) -> Path:
    """Where the random Whisper lies. `{whisper}` in a `--set` means it."""
    return work / f"whisper-{amounts.whisper}"


async def measure_whisper(bench: Bench, amounts: SpeechAmounts, device: str) -> None:
    """Windows a second by size of batch."""
    if not bench.record.has_time_for("whisper", amounts.batch_s * len(amounts.batches) + 30):
        return
    folder, shape = whisper_folder(bench.work, amounts), WHISPERS[amounts.whisper]
    try:
        await _ensure_whisper(bench.work, amounts)
        model = await asyncio.to_thread(RandomWhisper, folder, shape, device=device)
        for batch in amounts.batches:
            found = await asyncio.to_thread(
                measure_windows,
                model,
                (batch,),
                window_s=amounts.window_s,
                for_s=amounts.batch_s,
                clock=bench.clock,
            )
            bench.record.add("whisper", {"shape": shape.like, "device": device, **asdict(found[0])})
            bench.say(f"whisper: {batch} windows at once, {found[0].windows_per_s:.1f} windows/s")
    except (ImportError, RuntimeError, ValueError, OSError) as failed:
        bench.failed("whisper", f"{type(failed).__name__}: {failed}")


async def _ensure_whisper(work: Path, amounts: SpeechAmounts) -> None:
    folder = whisper_folder(work, amounts)
    if not (folder / "model.bin").is_file():
        await asyncio.to_thread(write_whisper, folder, WHISPERS[amounts.whisper])


def engines_of(work: Path, amounts: SpeechAmounts) -> Config:
    """The configuration that names recogniser and voice.

    Raises:
        ConfigError: it cannot be.
    """
    sets = [text.replace("{whisper}", str(whisper_folder(work, amounts))) for text in amounts.sets]
    return load(None, env=os.environ, sets=sets).config


async def measure_sessions(bench: Bench, amounts: SpeechAmounts, job: Job, config: Config) -> None:
    """Ever more callers, until the answers come too late.

    Raises:
        BadWav: there is no speech.
    """
    needed_s = START_GUESS_S[job.launch.device] + amounts.level_s + LEVEL_TAIL_S
    if not bench.record.has_time_for("sessions", needed_s):
        return
    utterance = utterance_of(amounts)
    if any("{whisper}" in text for text in amounts.sets):
        await _ensure_whisper(bench.work, amounts)
    server = bench.server(job)
    async with Scope() as scope:
        scope.start(server.run(), name="vllm sessions")
        try:
            await server.ready(bench.record.left_s)
            async with (
                own_asr(config, bench.clock, limit_s=ENGINES_LIMIT_S) as asr,
                own_tts(config, bench.clock, limit_s=ENGINES_LIMIT_S) as tts,
            ):
                await _ramp(bench, amounts, job, _Running(server.url, asr, tts, utterance, config), server)
        except (NoServer, StageError, ConfigError, ImportError) as failed:
            bench.failed("sessions", str(failed), server.tail)
        finally:
            await server.stop()


@dataclass(frozen=True, slots=True)
class _Running:
    url: str
    asr: Asr
    tts: Tts
    utterance: Pcm
    config: Config


async def _ramp(
    bench: Bench, amounts: SpeechAmounts, job: Job, running: _Running, server: BenchedVllm
) -> None:
    clients = Clients(running.url, MODEL, clock=bench.clock)
    try:
        subject = Subject(bench, job, server, clients)
        await subject.begin()
        stages = Stages(running.asr, clients.adapter, running.tts, subject.script, subject.counter)
        n_first = min(N_WARM_UP, amounts.sessions[0])
        warm_up = Load(n_first, running.utterance, amounts.utterance_s, duty=1.0)
        first = carried_of(warm_up, await run_level(warm_up, stages, bench.clock))
        bench.record.add("sessions_warm_up", asdict(first))
        levels = []
        for n_sessions in amounts.sessions:
            if not bench.record.has_time_for(f"sessions {n_sessions}", amounts.level_s + LEVEL_TAIL_S):
                break
            level = Load(n_sessions, running.utterance, amounts.level_s, amounts.duty, seed=n_sessions)
            turns = await run_level(level, stages, bench.clock)
            levels.append(carried_of(level, turns))
            _note(bench, level, levels, turns, engines=_names(running.config, job))
            if len(levels) >= FAILED_LEVELS and not any(one.passes for one in levels[-FAILED_LEVELS:]):
                break
    finally:
        await clients.close()


def _names(config: Config, job: Job) -> dict[str, str]:
    return {"asr": config.asr.engine, "llm": job.launch.name, "tts": config.tts.engine}


def _note(
    bench: Bench, level: Load, levels: Sequence[Carried], turns: Sequence[Turn], *, engines: dict[str, str]
) -> None:
    """Put the last level into the record and show it."""
    carried = levels[-1]
    bench.record.found["sessions_per_gpu"] = sessions_of(levels)
    entry = {**asdict(carried), "duty": level.duty, "every_s": level.every_s, "engines": engines}
    bench.record.add("sessions", {**entry, "turns": turns})
    p95 = number(None if carried.voice_ms is None else carried.voice_ms.p95, 0)
    bench.say(
        f"{level.n_sessions:>4} sessions, {carried.turns_per_s:.1f} turns/s: voice after p95 {p95} ms, "
        f"{carried.n_missing} of {carried.n} missing"
    )


def utterance_of(amounts: SpeechAmounts) -> Pcm:
    """Recordings, one after the other, until they are long enough: int16 mono at 16 kHz.

    Raises:
        BadWav: there are none.
    """
    wanted, found, n = round(amounts.utterance_s * EAR_RATE_HZ), list[Pcm](), 0
    lines = read_folder(amounts.speech)
    while n < wanted:
        for line in lines:
            said = line.pcm[line.first_speech : line.last_speech + 1]
            found.append(resample(said, CALL_RATE_HZ, EAR_RATE_HZ))
            n += len(found[-1])
            if n >= wanted:
                break
    return np.concatenate(found)[:wanted]
