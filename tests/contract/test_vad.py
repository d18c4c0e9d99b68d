"""Do the real and the scripted VAD keep the same promises, on real speech?"""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.support.speech import frames_of, hiss, silence, utterances
from tests.support.virtual_loop import run_virtual
from voicestack.core.audio import AudioFrame, Pcm
from voicestack.engines.scripted import EnergyVad
from voicestack.engines.silero_net import ROW_SAMPLES, STATE_SIZE, TILE, SileroNet, find_weights
from voicestack.engines.silero_vad import SileroVad
from voicestack.ports import SpeechWindow, Vad

NET = SileroNet(find_weights())
LEAD_MS = 480
THRESHOLD = 0.5
WINDOW_SAMPLES = 512

NewVad = Callable[[], Vad]
both = pytest.mark.parametrize("new_vad", [EnergyVad, lambda: SileroVad(NET)], ids=["energy", "silero"])


def judge(vad: Vad, *calls: Pcm, frame_samples: int = 320) -> list[list[SpeechWindow]]:
    """The opinions on each of several calls that go on at the same time."""

    async def main() -> list[list[SpeechWindow]]:
        opinions: list[list[SpeechWindow]] = [[] for _ in calls]
        streams = [vad.open(out.append) for out in opinions]
        frames = [list(frames_of(pcm, frame_samples)) for pcm in calls]
        for n in range(max(map(len, frames))):
            for stream, own in zip(streams, frames, strict=True):
                if n < len(own):
                    stream.push(own[n])
            await asyncio.sleep(0.02)
        await asyncio.sleep(1)
        for stream in streams:
            stream.close()
        return opinions

    return run_virtual(main())


def spoken(windows: Sequence[SpeechWindow]) -> list[int]:
    """Where the windows with speech end."""
    return [window.end_sample for window in windows if window.p_speech >= THRESHOLD]


@both
def test_speech_is_found_where_it_is(new_vad: NewVad) -> None:
    vad = new_vad()
    for at in range(0, len(utterances()), 10):  # ten callers at a time
        group = utterances()[at : at + 10]
        lead = len(silence(LEAD_MS))
        calls = [np.concatenate([silence(LEAD_MS), u.pcm, silence(600)]) for u in group]
        for u, windows in zip(group, judge(vad, *calls), strict=True):
            ends = spoken(windows)
            found_ms = (ends[0] - lead - u.first_sample) / 16
            lost_ms = (ends[-1] - lead - u.last_sample) / 16
            assert 0 < found_ms <= 100, u.name
            assert -50 < lost_ms <= 100, u.name
            assert len(ends) * WINDOW_SAMPLES >= 0.85 * (u.last_sample - u.first_sample), u.name


@both
@pytest.mark.parametrize("pcm", [silence(3000), hiss(3000, -60)], ids=["silence", "hiss"])
def test_silence_is_silence(new_vad: NewVad, pcm: Pcm) -> None:
    (windows,) = judge(new_vad(), pcm)
    assert len(windows) == len(pcm) // WINDOW_SAMPLES
    assert spoken(windows) == []


@both
@pytest.mark.parametrize("frame_samples", [77, 160, 512, 4000, 1_000_000])
def test_however_audio_is_cut_the_opinions_are_the_same(new_vad: NewVad, frame_samples: int) -> None:
    pcm = utterances()[0].pcm
    expected = judge(new_vad(), pcm)
    assert judge(new_vad(), pcm, frame_samples=frame_samples) == expected
    ends = [window.end_sample for window in expected[0]]
    assert ends == list(range(WINDOW_SAMPLES, len(pcm) + 1, WINDOW_SAMPLES))


@both
def test_callers_do_not_influence_each_other(new_vad: NewVad) -> None:
    calls = [u.pcm[: 16_000 + 100 * n] for n, u in enumerate(utterances()[:9])]
    alone = [judge(new_vad(), pcm)[0] for pcm in calls]
    assert judge(new_vad(), *calls) == alone  # to the bit
    assert judge(new_vad(), *calls[:2]) == alone[:2]


@both
def test_a_closed_stream_is_silent_and_leaves_nothing_to_the_next(new_vad: NewVad) -> None:
    pcm = utterances()[0].pcm[:16_000]
    vad = new_vad()
    first = judge(vad, pcm)

    async def main() -> None:
        opinions: list[SpeechWindow] = []
        stream = vad.open(opinions.append)
        for frame in frames_of(pcm):
            stream.push(frame)
        n_before = len(opinions)
        stream.close()
        stream.close()
        stream.push(AudioFrame(pcm, len(pcm), 0))
        successor_hears: list[SpeechWindow] = []
        successor = vad.open(successor_hears.append)
        for frame in frames_of(pcm):
            successor.push(frame)
            await asyncio.sleep(0.02)
        assert len(opinions) == n_before
        assert successor_hears == first[0]

    run_virtual(main())
    assert judge(vad, pcm) == first


@both
def test_after_a_gap_windows_begin_anew(new_vad: NewVad) -> None:
    async def main() -> list[int]:
        opinions: list[SpeechWindow] = []
        stream = new_vad().open(opinions.append)
        for start in (0, 400, 10_000, 10_400):  # 800 samples, a gap, 800 samples
            stream.push(AudioFrame(silence(25), start, 0))
        await asyncio.sleep(1)
        return [window.end_sample for window in opinions]

    assert run_virtual(main()) == [512, 10_512]


def test_each_window_is_judged_after_the_end_of_the_one_before() -> None:
    pcm = utterances()[0].pcm[:16_000]
    audio = np.concatenate([np.zeros(64), pcm / 32768]).astype(np.float32)
    h = c = np.zeros((TILE, STATE_SIZE), np.float32)
    expected = []
    for at in range(0, len(audio) - 575, WINDOW_SAMPLES):
        rows = np.zeros((TILE, ROW_SAMPLES), np.float32)
        rows[:, :576] = audio[at : at + 576]
        p_speech, h, c = NET(rows, h, c)
        expected.append(float(p_speech[0]))
    assert [window.p_speech for window in judge(SileroVad(NET), pcm)[0]] == expected


def test_a_session_may_close_and_another_open_within_an_opinion() -> None:
    pcm = utterances()[0].pcm[:8000]
    vad = SileroVad(NET)
    (expected,) = judge(vad, pcm)

    async def main() -> None:
        early: list[SpeechWindow] = []
        late: list[SpeechWindow] = []

        def hang_up(window: SpeechWindow) -> None:
            early.append(window)
            stream.close()
            successor = vad.open(late.append)
            for frame in frames_of(pcm):
                successor.push(frame)

        stream = vad.open(hang_up)
        for frame in frames_of(pcm):
            stream.push(frame)
        await asyncio.sleep(1)
        assert early == expected[:1]
        assert late == expected

    run_virtual(main())


@pytest.mark.parametrize("n_samples", [512, 8000])
def test_one_broken_session_does_not_hold_up_the_others(n_samples: int) -> None:
    pcm = utterances()[0].pcm[:n_samples]
    opinions: list[SpeechWindow] = []

    def breaks(_window: SpeechWindow) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        vad = SileroVad(NET)
        streams = [vad.open(breaks), vad.open(opinions.append)]
        for frame in frames_of(pcm):
            for stream in streams:
                stream.push(frame)
        await asyncio.sleep(1)

    with pytest.raises(ZeroDivisionError):
        run_virtual(main())
    assert len(opinions) == len(pcm) // WINDOW_SAMPLES


@pytest.mark.parametrize(("n_sessions", "waits_ms"), [(4, 0), (5, 4), (40, 4)])
def test_windows_wait_for_company_only_when_there_may_be_some(n_sessions: int, waits_ms: int) -> None:
    async def main() -> None:
        vad = SileroVad(NET, gather_ms=4)
        loop = asyncio.get_running_loop()
        judged_s: list[float] = []
        streams = [vad.open(lambda _window: judged_s.append(loop.time())) for _ in range(n_sessions)]
        start_s = loop.time()
        streams[0].push(AudioFrame(silence(32), 0, 0))
        await asyncio.sleep(0.01)
        assert [round((at - start_s) * 1000) for at in judged_s] == [waits_ms]
        judged_s.clear()
        start_s = loop.time()
        for stream in streams[1:]:
            stream.push(AudioFrame(silence(32), 0, 0))
        streams[0].push(AudioFrame(silence(32), 512, 0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(judged_s) == n_sessions  # all are there: at once, in batches
        assert set(judged_s) == {start_s}

    run_virtual(main())
