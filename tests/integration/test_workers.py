"""What happens when a worker process dies, hangs, talks nonsense or is left alone?"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.speech import frames_of, silence, utterances
from voicestack.aio.clock import SystemClock
from voicestack.aio.prefetch import Channel
from voicestack.aio.scope import Scope
from voicestack.core.audio import AudioFrame, SpokenFrame
from voicestack.core.errors import StageTimeout, StageUnavailable
from voicestack.engines import espeak_tts, pocketsphinx_asr
from voicestack.engines.espeak_tts import EspeakTts
from voicestack.engines.pipe import MAX_PAYLOAD_BYTES, Frame, GarbledPipe, Kind, Unpacker
from voicestack.engines.pocketsphinx_asr import PocketSphinxAsr
from voicestack.engines.worker import Stream, Worker
from voicestack.ports import Certainty, Pause, SpeechRequest

LIMIT_S = 60.0
START_NS = 30_000_000_000
STORY = "Once upon a time there was a small town by the sea, and nobody knew its name. " * 2
QUESTION = utterances()[0]

Engine = EspeakTts | PocketSphinxAsr


@asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[None]:
    async with asyncio.timeout(LIMIT_S), Scope() as scope:
        scope.start(engine.run(), name="engine")
        await engine.ready(START_NS)
        yield


async def spoken(tts: EspeakTts, text: str) -> list[SpokenFrame]:
    async with aclosing(tts.speak(SpeechRequest(text))) as frames:
        return [frame async for frame in frames]


async def heard(asr: PocketSphinxAsr) -> str:
    async def sounds() -> AsyncIterator[AudioFrame | Pause]:
        for frame in frames_of(np.concatenate([silence(200), QUESTION.pcm, silence(200)])):
            yield frame

    async with aclosing(asr.transcribe(sounds())) as transcripts:
        return [one.text async for one in transcripts][-1]


async def exhaust(results: AsyncIterator[object]) -> None:
    async with asyncio.timeout(2.0):
        async for _ in results:
            pass


def end(worker: Worker, how: signal.Signals) -> None:
    assert worker.pid is not None
    os.kill(worker.pid, how)


def test_a_voice_that_dies_says_so_at_once_and_comes_back() -> None:
    async def main() -> None:
        tts = EspeakTts(clock=SystemClock())
        async with running(tts):
            end(tts.worker, signal.SIGSTOP)  # or it would be done before it can be killed
            async with aclosing(tts.speak(SpeechRequest(STORY))) as frames, Scope() as scope:
                waiting = scope.start(expect_loss(frames), name="waiting")
                await asyncio.sleep(0.05)
                end(tts.worker, signal.SIGKILL)
                async with asyncio.timeout(1.0):
                    await waiting
            assert tts.worker.n_streams == 0
            assert "".join(frame.text for frame in await spoken(tts, "I am back.")) == "I am back."
            assert tts.worker.n_restarts == 1

    async def expect_loss(frames: AsyncIterator[SpokenFrame]) -> None:
        with pytest.raises(StageUnavailable, match="SIGKILL") as caught:
            await anext(frames)
        assert caught.value.stage == "tts"

    asyncio.run(main())


def test_a_voice_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak_tts, "HUNG_S", 0.2)

    async def main() -> None:
        tts = EspeakTts(clock=SystemClock())
        async with running(tts):
            end(tts.worker, signal.SIGSTOP)
            with pytest.raises(StageTimeout):
                await spoken(tts, STORY)
            monkeypatch.undo()
            assert await spoken(tts, "I am back.")

    asyncio.run(main())


def test_a_recogniser_that_dies_loses_its_utterance_and_no_other() -> None:
    async def main() -> None:
        asr = PocketSphinxAsr(clock=SystemClock(), n_workers_min=2, n_workers_max=2)
        async with running(asr):
            await asr.workers[1].ready(START_NS)
            expected = await heard(asr)
            sounds: Channel[AudioFrame | Pause] = Channel(1000, name="sounds")
            for frame in frames_of(QUESTION.pcm):
                sounds.put(frame)
            async with aclosing(asr.transcribe(sounds)) as transcripts:
                assert (await anext(transcripts)).certainty is Certainty.PARTIAL
                (busy,) = (worker for worker in asr.workers if worker.n_streams)
                end(busy, signal.SIGKILL)
                with pytest.raises(StageUnavailable, match="SIGKILL"):
                    await exhaust(transcripts)
            assert await heard(asr) == expected
            await busy.ready(START_NS)
            assert await heard(asr) == expected
            assert busy.n_restarts == 1

    asyncio.run(main())


def test_a_recogniser_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pocketsphinx_asr, "HUNG_S", 0.2)

    async def main() -> None:
        asr = PocketSphinxAsr(clock=SystemClock(), n_workers_max=1)
        async with running(asr):
            end(asr.workers[0], signal.SIGSTOP)
            with pytest.raises(StageUnavailable, match="did not answer"):
                await heard(asr)
            monkeypatch.undo()
            assert await heard(asr)

    asyncio.run(main())


def test_more_recognisers_start_when_more_people_speak_and_are_kept() -> None:
    async def main() -> None:
        asr = PocketSphinxAsr(clock=SystemClock(), n_workers_min=1, n_workers_max=2)
        async with running(asr):
            assert [await heard(asr) for _ in range(2)] == [QUESTION.words.capitalize()] * 2
            assert len(asr.workers) == 1
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(heard(asr))
            assert len(asr.workers) == 2
            assert all(worker.is_ready for worker in asr.workers)
            assert all(worker.n_streams == 0 for worker in asr.workers)

    asyncio.run(main())


def test_a_closed_stream_is_forgotten_on_both_sides() -> None:
    async def main() -> None:
        tts = EspeakTts(clock=SystemClock())
        async with running(tts):
            for _ in range(50):
                async with aclosing(tts.speak(SpeechRequest(STORY))) as frames:
                    await anext(frames)
                assert tts.worker.n_streams == 0
            assert "".join(frame.text for frame in await spoken(tts, "Yes.")) == "Yes."
            assert tts.worker.n_restarts == 0

    asyncio.run(main())


@pytest.mark.parametrize("module", ["this", "no_such_module"])
def test_a_program_that_is_no_worker_is_never_ready(module: str) -> None:
    async def main() -> None:
        worker = Worker(module, name="nonsense", stage="tts", clock=SystemClock())
        async with asyncio.timeout(LIMIT_S), Scope() as scope:
            scope.start(worker.run(), name="worker")
            with pytest.raises(StageUnavailable, match="nonsense is not running"):
                await worker.ready(1_000_000_000)
            with pytest.raises(StageUnavailable, match="nonsense is down"):
                worker.open(b"")

    asyncio.run(main())


def test_a_reader_that_never_reads_loses_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicestack.engines.worker.UNREAD_ITEMS", 10)

    async def main() -> None:
        tts = EspeakTts(clock=SystemClock())
        async with running(tts):
            async with aclosing(tts.speak(SpeechRequest(STORY))) as frames:
                await anext(frames)
                await asyncio.sleep(0.2)
                with pytest.raises(StageUnavailable, match="items are waiting"):
                    await exhaust(frames)
            assert tts.worker.n_restarts == 0

    asyncio.run(main())


def test_a_stream_that_is_over_takes_nothing() -> None:
    async def main() -> None:
        worker = Worker("voicestack.engines.espeak_worker", name="espeak", stage="tts", clock=SystemClock())
        stream = Stream(worker, 1)
        stream.send(b"x")
        stream.finish()
        stream.end("it broke")
        stream.close()
        with pytest.raises(StageUnavailable, match="it broke"):
            await anext(stream)

    asyncio.run(main())


@pytest.mark.parametrize("module", ["espeak_worker", "pocketsphinx_worker"])
def test_a_worker_ends_with_its_stdin(module: str) -> None:
    command = [sys.executable, "-m", f"voicestack.engines.{module}"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=LIMIT_S, check=True)
    assert Unpacker().push(done.stdout) == [Frame(Kind.READY, 0)]
    assert done.stderr == b""


def test_what_a_library_prints_does_not_reach_the_pipe() -> None:
    program = """
import os, sys
from voicestack.engines.pipe import Frame, Kind, Stdio
stdio = Stdio()
print("noise", flush=True)
os.system("echo more noise; cat")
stdio.send(Frame(Kind.READY, 0))
for frame in stdio.receive(wait=True):
    stdio.send(frame)
"""
    sent = Frame(Kind.ITEM, 7, b"payload")
    done = subprocess.run(
        [sys.executable, "-c", program], input=sent.packed(), capture_output=True, timeout=LIMIT_S, check=True
    )
    assert Unpacker().push(done.stdout) == [Frame(Kind.READY, 0), sent]
    assert b"noise" in done.stderr


frames = st.builds(
    Frame,
    st.sampled_from(Kind),
    st.integers(0, 2**32 - 1),
    st.one_of(st.binary(max_size=50), st.just(b"x" * 70_000)),
)


@given(st.lists(frames, max_size=6), st.integers(1, 100_000))
@settings(max_examples=100, deadline=None)
def test_frames_survive_any_chopping(sent: list[Frame], chunk_bytes: int) -> None:
    data = b"".join(frame.packed() for frame in sent)
    unpacker = Unpacker()
    got = [
        frame
        for at in range(0, len(data), chunk_bytes)
        for frame in unpacker.push(data[at : at + chunk_bytes])
    ]
    assert got == sent


@pytest.mark.parametrize("head", [(0, 0, 6), (MAX_PAYLOAD_BYTES + 1, 0, 0)])
def test_what_is_no_frame_is_refused(head: tuple[int, int, int]) -> None:
    with pytest.raises(GarbledPipe):
        Unpacker().push(b"".join(n.to_bytes(size, "little") for n, size in zip(head, (4, 4, 1), strict=True)))
