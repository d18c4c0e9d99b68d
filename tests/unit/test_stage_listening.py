"""Is a recording cut where nobody speaks, and heard whole?"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from itertools import pairwise

import numpy as np
import pytest

from tests.support.speech import hiss, silence
from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.core.audio import EAR_RATE_HZ, AudioFrame, Pcm
from voicestack.core.errors import Overloaded, StageError, StageTimeout, StageUnavailable
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.engines.scripted import EnergyVad, ScriptedAsr
from voicestack.ports import Asr, Certainty, Pause, SpeechWindow, Transcript, Vad
from voicestack.server.stages.admission import Pace, Turnstile
from voicestack.server.stages.listening import LONGEST_SAMPLES, Listener, Piece, Recording
from voicestack.server.stages.opinions import HUNG_S


class HearingAsr:
    """Satisfies `ports.Asr`: its words are how many samples it heard; keeps the samples."""

    def __init__(self) -> None:
        self.heard: list[Pcm] = []

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        frames = [sound.pcm async for sound in sounds if isinstance(sound, AudioFrame)]
        self.heard.append(np.concatenate(frames))
        yield Transcript("not yet", Certainty.PARTIAL)
        yield Transcript(str(len(self.heard[-1])), Certainty.FINAL)


def loud(ms: int, seed: int = 1) -> Pcm:
    return hiss(ms, -20, seed)


async def blocks_of(pcm: Pcm, n_samples: int = 1600) -> AsyncGenerator[Pcm, None]:
    for at in range(0, len(pcm), n_samples):
        yield pcm[at : at + n_samples]


def listener(asr: Asr, vad: Vad | None = None, *, ratio: float = 1.0, in_calls: bool = False) -> Listener:
    clock = LoopClock()
    return Listener(vad or EnergyVad(), asr, clock, Pace(clock, ratio=ratio, in_calls=lambda: in_calls))


def heard(pcm: Pcm, asr: Asr, n_samples: int = 1600) -> tuple[list[Piece], float]:
    async def listen() -> tuple[list[Piece], float]:
        recording = Recording(listener(asr), blocks_of(pcm, n_samples))
        return [piece async for piece in recording.pieces()], recording.duration_s

    return run_virtual(listen(), timeout_s=1000)


@pytest.mark.parametrize("n_samples", [37, 511, 1600, 100_000])
def test_the_pieces_lie_where_speech_is(n_samples: int) -> None:
    pcm = np.concatenate([silence(1000), loud(700), silence(900), loud(500), silence(700)])
    pieces, duration_s = heard(pcm, ScriptedAsr(["one two", "three"]), n_samples)
    assert duration_s == len(pcm) / EAR_RATE_HZ
    assert [piece.text for piece in pieces] == ["one two", "three"]
    assert [piece.start_s for piece in pieces] == pytest.approx([0.7, 2.3], abs=0.04)  # 300 ms before
    assert [piece.end_s for piece in pieces] == pytest.approx([1.7, 3.1], abs=0.04)
    assert all(0.4 < piece.p_speech < 1.0 for piece in pieces)


def test_nothing_is_heard_twice_and_no_speech_is_lost() -> None:
    speech = [loud(2000, 1), loud(40_000, 2), loud(900, 3)]
    pcm = np.concatenate([speech[0], silence(1200), speech[1], silence(100), speech[2]])
    asr = HearingAsr()
    pieces, _ = heard(pcm, asr)
    whole = np.concatenate(asr.heard)
    for part in speech:
        assert _holds(whole, part)
    assert sum(map(len, asr.heard)) <= len(pcm) + 512
    assert max(map(len, asr.heard)) <= LONGEST_SAMPLES + 2 * 512
    assert [piece.text for piece in pieces] == [str(len(part)) for part in asr.heard]
    assert all(a.end_s <= b.start_s for a, b in pairwise(pieces))
    assert pieces[-1].end_s == len(pcm) / EAR_RATE_HZ


def _holds(whole: Pcm, part: Pcm) -> bool:
    return part.tobytes() in whole.tobytes()


def test_a_long_piece_ends_between_words() -> None:
    words = [np.concatenate([loud(1700, n), silence(300)]) for n in range(10)]
    asr = HearingAsr()
    heard(np.concatenate(words), asr)
    assert [round(len(part) / EAR_RATE_HZ) for part in asr.heard] == [16, 4]
    assert np.abs(asr.heard[0][-1600:]).max() == 0  # it ends in a pause


@pytest.mark.parametrize("pcm", [silence(0), silence(3000), loud(30)])
def test_without_speech_there_are_no_words(pcm: Pcm) -> None:
    asr = HearingAsr()
    assert heard(pcm, asr)[0] == []
    assert asr.heard == []


def test_words_that_are_none_are_left_out() -> None:
    assert (
        heard(np.concatenate([loud(500), silence(800), loud(500)]), ScriptedAsr(["", "yes"]))[0][0].text
        == "yes"
    )


class FailingAsr:
    """Satisfies `ports.Asr`; the decoder is gone in mid-utterance."""

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        async for _ in sounds:
            yield Transcript("a", Certainty.PARTIAL)
            raise StageUnavailable("gone", stage="asr")


class MuteAsr:
    """Breaks the contract of `ports.Asr`: there is no final transcript."""

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        async for _ in sounds:
            yield Transcript("a", Certainty.PARTIAL)


@pytest.mark.parametrize(("asr", "error"), [(FailingAsr(), StageUnavailable), (MuteAsr(), StageError)])
def test_a_recogniser_that_fails_is_told(asr: Asr, error: type[StageError]) -> None:
    with pytest.raises(error):
        heard(loud(1000), asr)


class HungVad:
    """Satisfies `ports.Vad`, but has no opinion."""

    def open(self, on_window: object) -> "HungVad":
        return self

    def push(self, frame: AudioFrame) -> None:
        pass

    def close(self) -> None:
        pass


class SlowVad:
    """Satisfies `ports.Vad`: windows of 1536 samples, told 30 ms later."""

    def __init__(self) -> None:
        self._n_samples = 0

    def open(self, on_window: object) -> "SlowVad":
        self._on_window = on_window
        return self

    def push(self, frame: AudioFrame) -> None:
        for end in range(frame.start_sample + 1, frame.end_sample + 1):
            if end % 1536 == 0:
                window = SpeechWindow(1.0, end)
                asyncio.get_running_loop().call_later(0.03, self._on_window, window)  # type: ignore[arg-type]

    def close(self) -> None:
        self._on_window = lambda window: None


def test_a_vad_that_hangs_is_told() -> None:
    async def listen() -> None:
        recording = Recording(listener(ScriptedAsr(["a"]), HungVad()), blocks_of(loud(3000)))
        with pytest.raises(StageTimeout):
            await anext(recording.pieces())
        assert LoopClock().now_ns() >= HUNG_S * 1e9

    run_virtual(listen(), timeout_s=60)


def test_a_vad_with_other_windows_will_do() -> None:
    async def listen() -> None:
        asr, pcm = HearingAsr(), loud(3000)
        pieces = [piece async for piece in Recording(listener(asr, SlowVad()), blocks_of(pcm)).pieces()]
        assert len(pieces) == 1
        assert np.array_equal(np.concatenate(asr.heard)[: len(pcm)], pcm)

    run_virtual(listen(), timeout_s=60)


@pytest.mark.parametrize(("in_calls", "least_s", "most_s"), [(False, 0, 0.001), (True, 4.4, 5.1)])
def test_beside_calls_the_pace_is_kept_by_all_together(in_calls: bool, least_s: float, most_s: float) -> None:
    async def work() -> float:
        clock = LoopClock()
        pace = Pace(clock, ratio=4.0, in_calls=lambda: in_calls)
        start_ns = clock.now_ns()
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(spend(pace))
        return (clock.now_ns() - start_ns) / 1e9

    async def spend(pace: Pace) -> None:
        for _ in range(100):
            await pace.spend(0.1)

    assert least_s <= run_virtual(work(), timeout_s=60) <= most_s


def test_a_turnstile_counts_who_is_inside() -> None:
    closed: list[Overloaded] = []
    turnstile = Turnstile(1, name="speech", admits=lambda: closed[0] if closed else None)
    with turnstile.passing():
        with pytest.raises(Overloaded, match="all 1 places for speech are taken"), turnstile.passing():
            pass
        assert turnstile.n_inside == 1
    with pytest.raises(ValueError, match="x"), turnstile.passing():
        raise ValueError("x")
    assert turnstile.n_inside == 0
    closed.append(Overloaded("not ready", retry_after_ms=5))
    with pytest.raises(Overloaded, match="not ready"), turnstile.passing():
        pass
