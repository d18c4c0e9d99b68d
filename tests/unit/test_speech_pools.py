"""Who speaks a phrase, and who listens, when replicas fail? On virtual time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import numpy as np
import pytest

from tests.support.replicas import Log, member, roster
from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.aio.scope import Scope
from voicestack.core.audio import EAR_RATE_HZ, AudioFrame, SpokenFrame
from voicestack.core.errors import StageError, StageRejected, StageUnavailable
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.engines.scripted import ScriptedAsr, ScriptedTts
from voicestack.fleet.asr_pool import AsrPool, probe_asr
from voicestack.fleet.breaker import BreakerState
from voicestack.fleet.choose import ChoosePolicy
from voicestack.fleet.keeper import Keeper, Kept
from voicestack.fleet.tts_pool import TtsPool, probe_tts
from voicestack.ports import PAUSE, Certainty, Pause, SpeechRequest, Transcript


def run(script: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await script()

    run_virtual(main(), timeout_s=1_000)


class Broken(ScriptedTts):
    """Fails after so many frames, so many times; -1 frames never answers."""

    def __init__(self, n_frames: int, n_failures: int = 100, error: StageError | None = None) -> None:
        super().__init__()
        self._left, self._n_frames = n_failures, n_frames
        self._error = error or StageUnavailable("gone", stage="tts")

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        n_frames = 0
        async with aclosing(super().speak(request)) as frames:
            async for frame in frames:
                if self._left and n_frames >= self._n_frames:
                    self._left -= 1
                    await asyncio.sleep(10_000 if self._n_frames < 0 else 0)
                    raise self._error
                n_frames += 1
                yield frame


async def spoken(pool: TtsPool, request: SpeechRequest) -> tuple[str, float]:
    """The words, and the seconds of sound."""
    async with aclosing(pool.speak(request)) as frames:
        said = [frame async for frame in frames]
    return "".join(frame.text for frame in said), sum(len(frame.pcm) for frame in said) / pool.rate_hz


@pytest.mark.parametrize("error", [StageUnavailable("gone", stage="tts"), StageRejected("no", stage="tts")])
def test_another_one_says_the_phrase_at_our_rate(error: StageError) -> None:
    async def script() -> None:
        log = Log()
        other = ScriptedTts(16_000, first_audio_ms=30)
        pool = TtsPool(
            roster([member("local", Broken(0, error=error), stage="tts"), member("b", other, stage="tts")])
        )
        text, sound_s = await spoken(pool, SpeechRequest("Hello there.", trail=log))
        assert text == "Hello there."
        assert abs(sound_s - 0.6) < 0.01
        assert log.told == [("local", None, False), ("b", 30.0, True)]
        assert pool.figures()["retries_total"] == 1

    run(script)


def test_what_has_been_heard_in_part_is_not_said_again() -> None:
    async def script() -> None:
        other = ScriptedTts()
        pool = TtsPool(roster([member("local", Broken(2), stage="tts"), member("b", other, stage="tts")]))
        with pytest.raises(StageUnavailable):
            await spoken(pool, SpeechRequest("Hello there."))
        assert other.requests == []

    run(script)


def test_a_voice_that_hangs_is_not_waited_for_where_there_is_another() -> None:
    async def script() -> None:
        hangs, other = member("local", Broken(-1), stage="tts"), member("b", ScriptedTts(), stage="tts")
        pool, began_ns = TtsPool(roster([hangs, other]), patience_ms=300), LoopClock().now_ns()
        assert (await spoken(pool, SpeechRequest("Hello.")))[0] == "Hello."
        assert LoopClock().now_ns() - began_ns == 300_000_000
        alone = TtsPool(roster([member("local", ScriptedTts(first_audio_ms=2_000), stage="tts")]))
        assert (await spoken(alone, SpeechRequest("Hello.")))[0] == "Hello."

    run(script)


def test_when_nobody_says_it_the_first_reason_is_told() -> None:
    async def script() -> None:
        never = StageRejected("no", stage="tts")
        pool = TtsPool(
            roster(
                [
                    member("local", Broken(0), stage="tts"),
                    member("b", Broken(0, error=never), stage="tts"),
                ]
            )
        )
        with pytest.raises(StageUnavailable, match="gone"):
            await spoken(pool, SpeechRequest("Hello."))

    run(script)


def test_a_voice_that_failed_comes_back() -> None:
    async def script() -> None:
        local, other = member("local", Broken(0, 3), stage="tts"), member("b", ScriptedTts(), stage="tts")
        pool = TtsPool(roster([local, other], ChoosePolicy(region="here", stay_ms=500)))
        for _ in range(3):
            await spoken(pool, SpeechRequest("Hello."))
        assert local.breaker.state(LoopClock().now_ns()) is BreakerState.OPEN
        async with Scope() as scope:
            scope.start(Keeper([Kept(local, probe_tts), Kept(other, probe_tts)], 2.0).run(), name="keeper")
            await asyncio.sleep(3)
        log = Log()
        await spoken(pool, SpeechRequest("Hello.", trail=log))
        assert [use.replica for use in log.uses] == ["local"]

    run(script)


# --- listening -------------------------------------------------------------------------------------------


class Deaf:
    """Fails when it has heard so many frames; 0 says nothing for ever."""

    def __init__(self, n_frames: int, words: str = "") -> None:
        self.n_heard, self._n_frames, self._words = 0, n_frames, words

    async def transcribe(
        self,
        sounds: AsyncIterator[AudioFrame | Pause],
        hints: Hints = NO_HINTS,
    ) -> AsyncGenerator[Transcript, None]:
        async for _ in sounds:
            self.n_heard += 1
            if self.n_heard == self._n_frames:
                if self._words:
                    yield Transcript(self._words, Certainty.PARTIAL)
                raise StageUnavailable("gone", stage="asr")
        await asyncio.sleep(10_000)
        yield Transcript("", Certainty.FINAL)


async def utterance(n_frames: int = 50, pause_at: int = 40) -> AsyncGenerator[AudioFrame | Pause, None]:
    n_samples = EAR_RATE_HZ // 50
    for n in range(n_frames):
        await asyncio.sleep(0.02)
        yield AudioFrame(np.full(n_samples, n, np.int16), n * n_samples, 0)
        if n == pause_at:
            yield PAUSE


async def heard(pool: AsrPool) -> list[Transcript]:
    async with aclosing(utterance()) as sounds, aclosing(pool.transcribe(sounds)) as transcripts:
        return [transcript async for transcript in transcripts]


def test_a_single_recogniser_is_named() -> None:
    async def script() -> None:
        pool = AsrPool(roster([member("local", ScriptedAsr(["one two"]), stage="asr")]))
        found = await heard(pool)
        assert found[-1].text == "one two"
        assert {one.use.replica for one in found if one.use} == {"local"}
        assert pool.replicas()[0].requests == 1

    run(script)


@pytest.mark.parametrize("n_frames", [1, 20, 51])
def test_another_one_hears_it_from_the_beginning(n_frames: int) -> None:
    async def script() -> None:
        deaf, other = Deaf(n_frames), ScriptedAsr(["one two three"])
        local = member("local", deaf, stage="asr")
        pool = AsrPool(roster([local, member("b", other, stage="asr")]))
        found = await heard(pool)
        assert [one.text for one in found if one.certainty is not Certainty.PARTIAL] == [
            *("one two three", "one two three"),
        ]
        assert {one.use.replica for one in found if one.use} == {"b"}
        assert local.view().failures == 1

    run(script)


def test_one_that_says_nothing_after_a_pause_is_given_up() -> None:
    async def script() -> None:
        local = member("local", Deaf(0), stage="asr")
        pool = AsrPool(roster([local, member("b", ScriptedAsr(["one"]), stage="asr")]), patience_ms=600)
        began_ns = LoopClock().now_ns()
        found = await heard(pool)
        assert found[-1].text == "one"
        took_ms = (LoopClock().now_ns() - began_ns) / 1e6
        assert took_ms == pytest.approx(41 * 20 + 600, abs=1)
        assert local.view().failures == 1

    run(script)


def test_what_was_understood_in_part_is_not_heard_again() -> None:
    async def script() -> None:
        other = ScriptedAsr(["one"])
        pool = AsrPool(
            roster([member("local", Deaf(20, "some"), stage="asr"), member("b", other, stage="asr")])
        )
        with pytest.raises(StageUnavailable):
            await heard(pool)
        assert other.n_utterances == 0

    run(script)


def test_when_nobody_hears_it_that_is_told() -> None:
    async def script() -> None:
        pool = AsrPool(roster([member("local", Deaf(5), stage="asr"), member("b", Deaf(9), stage="asr")]))
        with pytest.raises(StageUnavailable):
            await heard(pool)

    run(script)


def test_a_recogniser_is_tried_with_silence() -> None:
    async def script() -> None:
        await probe_asr(ScriptedAsr([""]))
        with pytest.raises(StageUnavailable):
            await probe_asr(Deaf(1))

    run(script)


def test_a_long_sound_without_words_is_not_kept_for_ever() -> None:
    async def script() -> None:
        deaf, other = Deaf(2_000), ScriptedAsr(["one"])
        pool = AsrPool(roster([member("local", deaf, stage="asr"), member("b", other, stage="asr")]))
        sounds = utterance(2_500, pause_at=-1)
        async with aclosing(sounds), aclosing(pool.transcribe(sounds)) as transcripts:
            with pytest.raises(StageUnavailable):
                async for _ in transcripts:
                    pass
        assert other.n_utterances == 0

    run(script)
