"""What happens when a Piper worker dies or hangs, and who waits for whom when all are busy?"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from tests.support.tiny_voice import make_voice
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.core.audio import SpokenFrame
from voicestack.core.deadline import Deadline
from voicestack.core.errors import StageExpired, StageTimeout, StageUnavailable
from voicestack.engines import piper_tts
from voicestack.engines.pipe import Frame, Kind, Unpacker
from voicestack.engines.piper_files import VoiceFile, find_voice
from voicestack.engines.piper_tts import PiperTts
from voicestack.engines.piper_wish import Manner, Settings
from voicestack.engines.worker import Worker
from voicestack.ports import SpeechRequest

LIMIT_S = 60.0
START_NS = 30_000_000_000
STORY = "Once upon a time there was a small town by the sea, and nobody knew its name."


@pytest.fixture
def voice(tmp_path: Path) -> VoiceFile:
    return find_voice(str(make_voice(tmp_path)), tmp_path)


@asynccontextmanager
async def pool(voices: list[VoiceFile], n_workers: int = 1) -> AsyncIterator[PiperTts]:
    tts = PiperTts(voices, clock=SystemClock(), n_workers=n_workers)
    async with asyncio.timeout(LIMIT_S), Scope() as scope:
        scope.start(tts.run(), name="piper")
        for worker in tts.workers:
            await worker.ready(START_NS)
        yield tts


async def spoken(
    tts: PiperTts, text: str, *, follows: bool = False, voice: str = "default"
) -> list[SpokenFrame]:
    async with aclosing(tts.speak(SpeechRequest(text, voice, follows=follows))) as frames:
        return [frame async for frame in frames]


def joined(frames: list[SpokenFrame]) -> str:
    return "".join(frame.text for frame in frames)


def signal_to(worker: Worker, how: signal.Signals) -> int:
    assert worker.pid is not None
    os.kill(worker.pid, how)
    return worker.pid


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_phrase_that_waits_for_too_long_is_dropped_and_takes_no_worker(voice: VoiceFile) -> None:
    async def main() -> None:
        async with pool([voice]) as tts:
            (worker,) = tts.workers
            signal_to(worker, signal.SIGSTOP)
            async with aclosing(tts.speak(SpeechRequest(STORY))) as story, Scope() as scope:
                scope.start(anext_of(story), name="story")
                await settle()
                now_ns = SystemClock().now_ns()
                for limit_ms in (0, 50):
                    late = SpeechRequest("Yes.", deadline=Deadline(now_ns, now_ns + limit_ms * 1_000_000))
                    async with aclosing(tts.speak(late)) as frames:
                        with pytest.raises(StageExpired):
                            await anext(frames)
                figures = tts.figures()
                assert (figures["piper_expired_total"], figures["piper_waiting_phrases"]) == (2, 0)
                signal_to(worker, signal.SIGCONT)
                assert joined(await spoken(tts, "Yes.")) == "Yes."

    asyncio.run(main())


async def anext_of(frames: AsyncGenerator[SpokenFrame, None]) -> None:
    await anext(frames)


def test_a_worker_that_is_killed_in_mid_phrase_is_replaced(voice: VoiceFile) -> None:
    async def main() -> list[int]:
        async with pool([voice]) as tts:
            (worker,) = tts.workers
            old = signal_to(worker, signal.SIGSTOP)
            async with aclosing(tts.speak(SpeechRequest(STORY))) as frames, Scope() as scope:
                waiting = scope.start(expect_loss(frames), name="waiting")
                await settle()
                assert worker.n_streams == 1
                signal_to(worker, signal.SIGKILL)
                await waiting
            assert joined(await spoken(tts, "I am back.")) == "I am back."
            assert worker.n_restarts == 1
            assert worker.n_streams == 0
            assert worker.pid not in (None, old)
            assert tts.figures() == {
                "piper_phrases_total": 2,
                "piper_waiting_phrases": 0,
                "piper_idle_workers": 1,
                "piper_expired_total": 0,
            }
            return [old, worker.pid or 0]

    async def expect_loss(frames: AsyncIterator[SpokenFrame]) -> None:
        with pytest.raises(StageUnavailable, match="SIGKILL") as caught:
            await anext(frames)
        assert caught.value.stage == "tts"

    assert not any(map(is_alive, asyncio.run(main())))


def test_the_others_speak_while_one_is_down(voice: VoiceFile) -> None:
    async def main() -> None:
        async with pool([voice], 2) as tts:
            dead = signal_to(tts.workers[0], signal.SIGKILL)
            while tts.workers[0].is_ready:  # noqa: ASYNC110 (the system says when)
                await asyncio.sleep(0.005)
            for n in range(4):
                assert joined(await spoken(tts, f"Number {n}.", follows=n > 0)) == f"Number {n}."
            await tts.workers[0].ready(START_NS)
            assert tts.workers[0].pid != dead

    asyncio.run(main())


def test_a_worker_that_hangs_is_replaced(voice: VoiceFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piper_tts, "HUNG_S", 0.2)

    async def main() -> None:
        async with pool([voice]) as tts:
            signal_to(tts.workers[0], signal.SIGSTOP)
            with pytest.raises(StageTimeout):
                await spoken(tts, STORY)
            monkeypatch.undo()
            assert joined(await spoken(tts, "I am back.")) == "I am back."

    asyncio.run(main())


def test_a_first_clause_overtakes_what_follows_another(voice: VoiceFile) -> None:
    async def main() -> None:
        async with pool([voice]) as tts:
            signal_to(tts.workers[0], signal.SIGSTOP)
            order: list[str] = []

            async def say(name: str, *, follows: bool) -> None:
                await spoken(tts, "One two three.", follows=follows)
                order.append(name)

            async with asyncio.TaskGroup() as group:
                for name, follows in (("busy", False), ("later", True), ("first", False), ("second", False)):
                    group.create_task(say(name, follows=follows))
                    await settle()
                assert tts.figures()["piper_waiting_phrases"] == 3
                signal_to(tts.workers[0], signal.SIGCONT)
            assert order == ["busy", "first", "second", "later"]

    asyncio.run(main())


def test_a_busy_session_leaves_one_worker_to_the_others(voice: VoiceFile) -> None:
    async def main() -> None:
        async with pool([voice], 2) as tts:
            for worker in tts.workers:
                signal_to(worker, signal.SIGSTOP)
            async with asyncio.TaskGroup() as group:
                story = [group.create_task(spoken(tts, STORY, follows=True)) for _ in range(3)]
                await settle()
                assert sorted(worker.n_streams for worker in tts.workers) == [0, 1]
                assert tts.figures()["piper_waiting_phrases"] == 2
                (free,) = (worker for worker in tts.workers if not worker.n_streams)
                signal_to(free, signal.SIGCONT)
                assert joined(await spoken(tts, "Yes.")) == "Yes."
                assert not any(task.done() for task in story)
                for worker in tts.workers:
                    signal_to(worker, signal.SIGCONT)
            assert [joined(task.result()) for task in story] == [STORY] * 3

    asyncio.run(main())


def test_who_listens_slowly_holds_nobody_up(voice: VoiceFile) -> None:
    """A phrase is played for seconds, and made in a fraction of one."""

    async def main() -> None:
        async with pool([voice]) as tts:
            async with aclosing(tts.speak(SpeechRequest(STORY))) as frames:
                said = [await anext(frames)]
                assert joined(await spoken(tts, "Yes.")) == "Yes."
                assert tts.figures()["piper_idle_workers"] == 1
                said += [frame async for frame in frames]
            assert joined(said) == STORY

    asyncio.run(main())


def test_who_gives_up_waiting_leaves_no_trace(voice: VoiceFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piper_tts, "MAX_WAIT_NS", 50_000_000)

    async def main() -> None:
        async with pool([voice]) as tts:
            signal_to(tts.workers[0], signal.SIGSTOP)
            async with aclosing(tts.speak(SpeechRequest(STORY))) as frames, Scope() as scope:
                busy = scope.start(expect_end(frames), name="busy")
                await settle()
                with pytest.raises(StageUnavailable, match="no Piper was free"):
                    await spoken(tts, "Hello?")
                async with Scope() as impatient:
                    impatient.start(expect_end(tts.speak(SpeechRequest("Hello?"))), name="impatient")
                    await settle()
                assert tts.figures()["piper_waiting_phrases"] == 0
                signal_to(tts.workers[0], signal.SIGCONT)
                await busy
            assert joined(await spoken(tts, "Hello?")) == "Hello?"

    async def expect_end(frames: AsyncIterator[SpokenFrame]) -> None:
        async for _ in frames:
            pass

    asyncio.run(main())


def test_who_hangs_up_as_he_is_served_gives_the_worker_back(voice: VoiceFile) -> None:
    async def main() -> None:
        async with pool([voice]) as tts:
            loop = asyncio.get_running_loop()
            for n_steps in range(4):
                busy = loop.create_task(spoken(tts, STORY))
                await settle()
                waiting = loop.create_task(spoken(tts, "Hello?"))
                await settle()
                assert tts.figures()["piper_waiting_phrases"] == 1
                busy.cancel()
                while tts.figures()["piper_waiting_phrases"]:  # noqa: ASYNC110 (step by step)
                    await asyncio.sleep(0)
                for _ in range(n_steps):
                    await asyncio.sleep(0)
                waiting.cancel()
                for task in (busy, waiting):
                    with pytest.raises(asyncio.CancelledError):
                        await task
                assert tts.figures()["piper_idle_workers"] == 1
            assert joined(await spoken(tts, "Yes.")) == "Yes."

    asyncio.run(main())


def test_too_many_are_refused_at_once(voice: VoiceFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piper_tts, "MAX_WAITING", 0)

    async def main() -> None:
        async with pool([voice]) as tts:
            with pytest.raises(StageUnavailable, match="too much waits"):
                await spoken(tts, "Yes.")

    asyncio.run(main())


def test_voices_and_speakers_are_chosen_by_name(tmp_path: Path) -> None:
    names = [("en_US-tiny-low", "en-us", 1, 22_050), ("de_DE-many-low", "de", 2, 16_000)]
    voices = [
        find_voice(str(make_voice(tmp_path, name, espeak=espeak, n_speakers=n, rate_hz=rate_hz)), tmp_path)
        for name, espeak, n, rate_hz in names
    ]

    async def main() -> None:
        async with pool(voices) as tts:
            assert tts.rate_hz == 22_050
            said = {
                voice: b"".join(frame.pcm.tobytes() for frame in await spoken(tts, "um 5 km", voice=voice))
                for voice in ("default", "nobody", "de", "de_DE-many-low", "de_DE-many-low#two", "de#one")
            }
            assert said["default"] == said["nobody"]
            assert said["de"] == said["de_DE-many-low"] == said["de#one"]
            assert len({said["default"], said["de"], said["de_DE-many-low#two"]}) == 3

    asyncio.run(main())


def test_a_worker_ends_with_its_stdin(voice: VoiceFile) -> None:
    settings = Settings([voice], voice.rate_hz, Manner()).text()
    command = [sys.executable, "-m", "voicestack.engines.piper_worker", settings]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=LIMIT_S, check=True)
    assert Unpacker().push(done.stdout) == [Frame(Kind.READY, 0)]
    assert done.stderr == b""


def test_a_worker_without_a_voice_says_why(voice: VoiceFile) -> None:
    Path(voice.path).write_bytes(b"no network")

    async def main() -> None:
        tts = PiperTts([voice], clock=SystemClock(), n_workers=1)
        async with asyncio.timeout(LIMIT_S), Scope() as scope:
            scope.start(tts.run(), name="piper")
            with pytest.raises(StageUnavailable, match="piper-0 is not running"):
                await tts.ready(2_000_000_000)

    asyncio.run(main())


def test_the_server_never_imports_piper() -> None:
    """It is GPL-3.0: only the worker program may."""
    program = """
import sys
import voicestack.server.lifecycle, voicestack.server.assembly_piper, voicestack.engines.piper_tts
assert not {name.partition(".")[0] for name in sys.modules} & {"piper", "onnx"}
"""
    subprocess.run([sys.executable, "-c", program], timeout=LIMIT_S, check=True)
