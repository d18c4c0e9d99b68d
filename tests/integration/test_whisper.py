"""What happens when a Whisper process dies, hangs, or has more to do than it can? And is it served?"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support import tone_whisper
from tests.support.server import with_server
from tests.support.speech import frames_of, silence, wav_bytes
from tests.support.tone_whisper import TALK, tone_asr
from voicestack.aio.clock import SystemClock
from voicestack.aio.prefetch import Channel
from voicestack.aio.scope import Scope
from voicestack.cli.random_whisper import Shape, build
from voicestack.config.load import load
from voicestack.core.audio import AudioFrame
from voicestack.core.errors import ConfigError, StageTimeout, StageUnavailable
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.engines import whisper_pool
from voicestack.engines.pipe import Frame, Kind, Unpacker
from voicestack.engines.whisper_asr import WhisperAsr
from voicestack.engines.whisper_model import WhisperSettings
from voicestack.engines.whisper_window import Urgency, Window
from voicestack.engines.whisper_worker import packed
from voicestack.ports import PAUSE, Certainty, Pause, Transcript
from voicestack.server import readiness
from voicestack.server.assembly_whisper import whisper_of

LIMIT_S = 60.0
START_NS = 30_000_000_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tone_whisper.build(tmp_path_factory.mktemp("whisper"))


@asynccontextmanager
async def running(model: Path, n_processes: int = 1, **options: Any) -> AsyncIterator[WhisperAsr]:
    asr = tone_asr(model, n_processes, **options)
    async with asyncio.timeout(LIMIT_S), Scope() as scope:
        scope.start(asr.run(), name="whisper")
        for worker in asr.workers:
            await worker.ready(START_NS)
        yield asr


async def sounds_of(n: int) -> AsyncIterator[AudioFrame | Pause]:
    for frame in frames_of(TALK[n].pcm):
        yield frame


async def heard(asr: WhisperAsr, n: int = 0) -> list[Transcript]:
    return await listened(asr, sounds_of(n))


async def listened(asr: WhisperAsr, sounds: AsyncIterator[AudioFrame | Pause]) -> list[Transcript]:
    async with aclosing(asr.transcribe(sounds)) as transcripts:
        return [one async for one in transcripts]


async def until_asked(asr: WhisperAsr, n_windows: int = 1) -> None:
    while asr.figures()["open"] < n_windows:  # noqa: ASYNC110 (figures are no event)
        await asyncio.sleep(0.001)


def end(asr: WhisperAsr, how: signal.Signals, n: int = 0) -> None:
    pid = asr.workers[n].pid
    assert pid is not None
    os.kill(pid, how)


def test_a_process_hears_each_utterance_in_the_language_of_its_hints(tmp_path: Path) -> None:
    folder = build(tmp_path, Shape(1, 1, 64, 2, n_mels=80, n_languages=99), n_tokens=4)

    async def main() -> None:
        async with running(folder, language="fr") as asr:
            for hints, language in ((Hints("de", "w1 w2"), "de"), (NO_HINTS, "fr")):
                async with aclosing(asr.transcribe(sounds_of(0), hints)) as transcripts:
                    assert [one.language async for one in transcripts][-1] == language
            with pytest.raises(StageUnavailable, match="does not know 'yue'"):
                await anext(asr.transcribe(sounds_of(0), Hints("yue")))
            assert asr.workers[0].n_restarts == 0

    asyncio.run(main())


@pytest.mark.parametrize("n_processes", [1, 2])
def test_an_utterance_survives_the_process_that_had_it(model: Path, n_processes: int) -> None:
    async def main() -> None:
        async with running(model, n_processes) as asr:
            end(asr, signal.SIGSTOP)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(heard(asr))
                await until_asked(asr)
                end(asr, signal.SIGKILL)
            assert task.result()[-1].text == TALK[0].words
            assert asr.figures()["retries"] == 1
            await asr.workers[0].ready(START_NS)
            assert (await heard(asr, 1))[-1].text == TALK[1].words
            assert asr.workers[0].n_restarts == 1

    asyncio.run(main())


def test_a_process_that_dies_again_loses_the_utterance_and_no_other(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whisper_pool, "N_TRIES", 1)

    async def main() -> None:
        async with running(model) as asr:
            end(asr, signal.SIGSTOP)
            async with asyncio.TaskGroup() as group:
                group.create_task(expect_loss(asr))
                await until_asked(asr)
                end(asr, signal.SIGKILL)
            assert asr.figures()["utterances_open"] == 0
            assert (await heard(asr))[-1].text == TALK[0].words

    asyncio.run(main())


async def expect_loss(asr: WhisperAsr) -> None:
    with pytest.raises(StageUnavailable, match="SIGKILL") as caught:
        await heard(asr)
    assert caught.value.stage == "asr"


def test_partial_words_that_a_dead_process_had_are_not_missed(model: Path) -> None:
    async def main() -> None:
        async with running(model) as asr:
            sounds: Channel[AudioFrame | Pause] = Channel(1000, name="sounds")
            frames = list(frames_of(TALK[0].pcm))
            end(asr, signal.SIGSTOP)
            for frame in frames[:40]:
                sounds.put(frame)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(listened(asr, sounds))
                await until_asked(asr)
                end(asr, signal.SIGKILL)
                await until_down(asr)
                for frame in frames[40:]:
                    sounds.put(frame)
                sounds.close()
            assert task.result()[-1].text == TALK[0].words

    asyncio.run(main())


async def until_down(asr: WhisperAsr) -> None:
    while asr.workers[0].is_ready:  # noqa: ASYNC110 (nobody is told)
        await asyncio.sleep(0.001)


def test_a_process_that_hangs_is_replaced(model: Path) -> None:
    async def main() -> None:
        async with running(model, deadline_ms=300) as asr:
            end(asr, signal.SIGSTOP)
            with pytest.raises(StageTimeout, match="within 300 ms"):
                await heard(asr)
            assert asr.figures()["killed"] == 1
            await asr.workers[0].ready(START_NS)
            assert asr.workers[0].n_restarts == 1

    asyncio.run(main())


def test_windows_of_many_sessions_share_a_pass(model: Path) -> None:
    async def main() -> None:
        async with running(model) as asr:
            # A pipe may bring one window at a time, and each be understood at once.
            for n_rounds in range(1, 101):
                end(asr, signal.SIGSTOP)  # or the first would be understood before the last is asked about
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(heard(asr, n % len(TALK))) for n in range(12)]
                    await until_asked(asr, 12)
                    end(asr, signal.SIGCONT)
                assert [task.result()[-1].text for task in tasks] == [one.words for one in TALK] * 3
                figures = asr.figures()
                assert figures["windows"] == 12 * n_rounds
                if figures["batch_largest"] > 1:
                    break
            assert figures["batch_largest"] > 1
            assert figures["passes"] < figures["windows"]
            assert figures["waited_max_ms"] >= figures["waited_ms"] / figures["windows"] > 0

    asyncio.run(main())


def test_a_newer_window_takes_the_place_of_one_that_waits(model: Path) -> None:
    async def main() -> None:
        async with running(model) as asr:
            sounds: Channel[AudioFrame | Pause] = Channel(1000, name="sounds")
            for frame in frames_of(TALK[0].pcm):
                sounds.put(frame)
            end(asr, signal.SIGSTOP)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(listened(asr, sounds))
                await until_asked(asr)
                sounds.put(PAUSE)
                while asr.figures()["superseded"] == 0:  # noqa: ASYNC110 (figures are no event)
                    await asyncio.sleep(0.001)
                sounds.close()
                end(asr, signal.SIGCONT)
            got = [(one.certainty, one.text) for one in task.result()]
            assert got == [(Certainty.SETTLED, TALK[0].words), (Certainty.FINAL, TALK[0].words)]
            assert asr.figures()["at_once"] == 1
            assert asr.figures()["windows"] == 1

    asyncio.run(main())


def test_partial_words_that_are_late_are_dropped(model: Path) -> None:
    settings = WhisperSettings(str(model), compute_type="float32", n_threads=1)
    command = [sys.executable, "-m", "voicestack.engines.whisper_worker", *packed(settings, 4)]
    late = Window(TALK[0].pcm, Urgency.PARTIAL, -1)
    sent = Frame(Kind.OPEN, 1, late.packed()).packed() + Frame(Kind.OPEN, 2, b"{}").packed()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(sent)
        process.stdin.flush()
        unpacker, got = Unpacker(), list[Frame]()
        while len(got) < 3:
            got += unpacker.push(os.read(process.stdout.fileno(), 65_536))
        process.stdin.close()
        assert process.wait(LIMIT_S) == 0
    assert {frame.kind for frame in got if frame.stream == 0} == {Kind.READY}
    assert [frame.payload for frame in got if frame.stream == 1] == [b""]
    assert [frame.kind for frame in got if frame.stream == 2] == [Kind.ERROR]


def test_too_many_utterances_are_told_so(model: Path) -> None:
    async def main() -> None:
        async with running(model, n_utterances_max=1) as asr:
            busy: Channel[AudioFrame | Pause] = Channel(1000, name="busy")
            async with asyncio.TaskGroup() as group:
                task = group.create_task(listened(asr, busy))
                await asyncio.sleep(0)
                with pytest.raises(StageUnavailable, match="1 utterances are open"):
                    await heard(asr)
                busy.close()
            assert [one.certainty for one in task.result()] == [Certainty.FINAL]
            assert (await heard(asr))[-1].text == TALK[0].words

    asyncio.run(main())


def sets_of(model: Path, *more: str) -> tuple[str, ...]:
    engine = ("asr.engine=whisper", f"whisper.model={model}", "whisper.device=cpu")
    numbers = ("whisper.compute_type=float32", "whisper.beam_size=1", "whisper.threads=1")
    return ("vad.engine=energy", "turn.silence_duration_ms=200", *engine, *numbers, *more)


def test_a_recording_is_transcribed_by_the_server(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        readiness, "question", lambda: TALK[0].pcm
    )  # it must understand something to be ready
    pcm = np.concatenate([TALK[0].pcm, silence(1000), TALK[1].pcm])

    async def script(port: int) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", timeout=60) as client:
            answer = await client.post(
                "/audio/transcriptions", files={"file": ("both.wav", wav_bytes(pcm, 16_000))}
            )
            assert answer.json()["text"] == f"{TALK[0].words} {TALK[1].words}"
            verbose = await client.post(
                "/audio/transcriptions",
                files={"file": ("both.wav", wav_bytes(pcm, 16_000))},
                data={"response_format": "verbose_json", "timestamp_granularities[]": "word"},
            )
            words = verbose.json()["words"]
            assert [one["word"] for one in words] == f"{TALK[0].words} {TALK[1].words}".split()
            second_s = len(TALK[0].pcm) / 16_000 + 1.0
            placed = [0.4 * n + part_s for part_s in (0.0, second_s) for n in range(4)]
            for one, start_s in zip(words, placed, strict=True):
                assert one["end"] == pytest.approx(start_s + 0.32, abs=0.15)
            ids = [one["id"] for one in (await client.get("/models")).json()["data"]]
            assert model.name in ids

    with_server(script, sets=sets_of(model), timeout_s=LIMIT_S)


@pytest.mark.parametrize("empty_folder", [False, True])
def test_a_missing_model_names_the_command(tmp_path: Path, empty_folder: bool) -> None:
    if empty_folder:
        (tmp_path / "base.en").mkdir()
    config = load("scripted", env={}, sets=["asr.engine=whisper", f"models.folder={tmp_path}"]).config
    with pytest.raises(ConfigError, match=r"run `voicestack models pull base\.en`"):
        whisper_of(config, SystemClock())


def test_a_language_that_whisper_does_not_know_is_named(model: Path) -> None:
    config = load("scripted", env={}, sets=[*sets_of(model), "whisper.language=xx"]).config
    with pytest.raises(ConfigError, match="knows no 'xx'"):
        whisper_of(config, SystemClock())


def test_a_gpu_that_is_not_there_is_named(model: Path) -> None:
    more = ("whisper.device=cuda", "whisper.devices=[63]")
    config = load("scripted", env={}, sets=[*sets_of(model), *more]).config
    with pytest.raises(ConfigError, match="no GPU 63"):
        whisper_of(config, SystemClock())
