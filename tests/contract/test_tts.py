"""What every TTS must do: the scripted one, eSpeak NG and Piper in their worker processes, and a server."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.tiny_voice import make_voice
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.core.audio import SpokenFrame
from voicestack.engines.espeak_tts import MAX_PIECE_CHARS, EspeakTts, pieces, sayable
from voicestack.engines.espeak_worker import FRAME_SAMPLES, LOUD, RATE_HZ, Boundary, Cutter
from voicestack.engines.openai_tts import OpenAiTts, SpeechServer
from voicestack.engines.piper_files import find_voice
from voicestack.engines.piper_tts import PiperTts
from voicestack.engines.scripted import ScriptedTts
from voicestack.ports import SpeechRequest, Tts

LIMIT_S = 30.0
START_NS = 20_000_000_000
PHRASE = "The capital of France is Paris, and it is lovely."
ODD_TEXTS = [
    "",
    "   ",
    "...",
    "?!",
    "x",
    " leading and trailing \n",
    "Dr. Smith paid $5.20 at 3:30, i.e. 3.14 percent (50%) of 1,000.",
    "**bold** `code` # head\n- item",
    "naïve café, e\u0301tude — \u202eabc",
    "\N{GRINNING FACE} hi \N{GRINNING FACE}",
    "中文字符测试",
    "مرحبا بالعالم",
    "\x01100P hello \x00 there\x07",
    "bad \ud800 surrogate",
    "<speak><break time='10s'/>hello</speak>",
    "[[h@l'oU]]",
    "a" * 500,
    "9" * 60,
    "word " * 80,
]

OnTts = Callable[[Tts], Coroutine[Any, Any, None]]


@asynccontextmanager
async def espeak() -> AsyncIterator[EspeakTts]:
    tts = EspeakTts(clock=SystemClock())
    async with Scope() as scope:
        scope.start(tts.run(), name="espeak")
        await tts.ready(START_NS)
        yield tts


@asynccontextmanager
async def piper(folder: Path) -> AsyncIterator[PiperTts]:
    voice = find_voice(str(make_voice(folder)), folder)
    tts = PiperTts([voice], clock=SystemClock(), n_workers=1)
    async with Scope() as scope:
        scope.start(tts.run(), name="piper")
        await tts.ready(START_NS)
        yield tts


@pytest.fixture(params=["scripted", "espeak", "piper", "openai"])
def with_tts(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[OnTts], None]:
    """Runs a coroutine with a TTS."""

    async def main(on_tts: OnTts) -> None:
        async with asyncio.timeout(LIMIT_S):
            if request.param == "scripted":
                await on_tts(ScriptedTts(RATE_HZ // 50 * 50))
            elif request.param == "piper":
                async with piper(tmp_path) as tts:
                    await on_tts(tts)
            elif request.param == "openai":
                await on_server(on_tts, request.getfixturevalue("replica_url"))
            else:
                async with espeak() as tts:
                    await on_tts(tts)

    async def on_server(on_tts: OnTts, url: str) -> None:
        remote = OpenAiTts(url, SpeechServer("tts", "default"))
        try:
            await on_tts(remote)
        finally:
            await remote.close()

    return lambda on_tts: asyncio.run(main(on_tts))


async def spoken(tts: Tts, text: str, **wishes: Any) -> list[SpokenFrame]:
    async with aclosing(tts.speak(SpeechRequest(text, **wishes))) as frames:
        return [frame async for frame in frames]


def joined(frames: list[SpokenFrame]) -> str:
    return "".join(frame.text for frame in frames)


def length(frames: list[SpokenFrame]) -> int:
    return sum(len(frame.pcm) for frame in frames)


def colour(frames: list[SpokenFrame]) -> NDArray[np.float64]:
    """The mean spectrum up to 4 kHz, of length 1: what a voice sounds like, whatever it says."""
    pcm = np.concatenate([frame.pcm for frame in frames])
    windows = np.lib.stride_tricks.sliding_window_view(pcm, 1024)[::512] * np.hanning(1024)
    mean = np.abs(np.fft.rfft(windows))[:, :186].mean(axis=0)
    spectrum: NDArray[np.float64] = mean / np.linalg.norm(mean)
    return spectrum


def alike(ones: list[SpokenFrame], others: list[SpokenFrame]) -> bool:
    """The same speech. eSpeak NG is not exact to the sample: its noise and its phases go on."""
    same_words = joined(ones) == joined(others)
    same_length = abs(length(ones) - length(others)) <= 0.01 * length(ones)
    return same_words and same_length and float(colour(ones) @ colour(others)) > 0.98


def is_loud(frame: SpokenFrame) -> bool:
    return bool(len(frame.pcm)) and int(np.abs(frame.pcm.astype(np.int32)).max()) >= LOUD


def test_says_the_phrase_in_short_frames_word_by_word(with_tts: Callable[[OnTts], None]) -> None:
    async def main(tts: Tts) -> None:
        frames = await spoken(tts, PHRASE)
        assert joined(frames) == PHRASE
        assert all(frame.pcm.dtype == np.int16 and frame.pcm.ndim == 1 for frame in frames)
        assert all(0 < len(frame.pcm) <= 0.04 * tts.rate_hz for frame in frames)
        said = [frame.text for frame in frames if frame.text]
        assert [word for text in said for word in text.split()] == PHRASE.split(), "whole words"
        # A server does not tell where words are: the last ones may come together.
        assert len(said) >= (8 if isinstance(tts, OpenAiTts) else 10)
        assert all(text.startswith(" ") for text in said[1:])

    with_tts(main)


def test_there_is_no_silence_to_wait_for(with_tts: Callable[[OnTts], None]) -> None:
    async def main(tts: Tts) -> None:
        for text in (PHRASE, "Yes.", "sixteen", "Well, no"):
            frames = await spoken(tts, text)
            assert is_loud(frames[0]), text
            last_word = max(n for n, frame in enumerate(frames) if frame.text)
            assert is_loud(frames[last_word]), text
            after = frames[last_word + 1 :]
            assert sum(len(frame.pcm) for frame in after) <= 0.125 * tts.rate_hz, text

    with_tts(main)


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_no_text_breaks_it(with_tts: Callable[[OnTts], None], text: str) -> None:
    async def main(tts: Tts) -> None:
        assert joined(await spoken(tts, text)) == text
        assert joined(await spoken(tts, "Still here.")) == "Still here."

    with_tts(main)


def test_a_higher_speed_takes_less_time(with_tts: Callable[[OnTts], None]) -> None:
    async def main(tts: Tts) -> None:
        usual = await spoken(tts, PHRASE)
        assert length(await spoken(tts, PHRASE, speed=1.6)) < 0.8 * length(usual)
        assert length(await spoken(tts, PHRASE, speed=0.7)) > 1.2 * length(usual)
        assert alike(await spoken(tts, PHRASE), usual)

    with_tts(main)


@pytest.mark.parametrize("voice", ["no-such-voice", "", "../../etc/passwd", "en-us+", "en-us\0"])
def test_a_strange_voice_is_the_default_voice(with_tts: Callable[[OnTts], None], voice: str) -> None:
    async def main(tts: Tts) -> None:
        usual = await spoken(tts, PHRASE)
        assert alike(await spoken(tts, PHRASE, voice=voice), usual)

    with_tts(main)


def test_a_closed_phrase_leaves_nothing_to_the_next(with_tts: Callable[[OnTts], None]) -> None:
    async def main(tts: Tts) -> None:
        alone = await spoken(tts, PHRASE)
        for n_taken in (1, 3, 30):
            async with aclosing(tts.speak(SpeechRequest("something else entirely " * 6))) as frames:
                taken = [frame async for _, frame in azip(range(n_taken), frames)]
            assert len(taken) == n_taken
            assert alike(await spoken(tts, PHRASE), alone)

    with_tts(main)


def test_phrases_spoken_at_once_are_not_mixed(with_tts: Callable[[OnTts], None]) -> None:
    async def main(tts: Tts) -> None:
        texts = [f"Number {n} is a fine number." for n in ("one", "two", "three", "four", "five")]
        alone = [await spoken(tts, text) for text in texts]
        together: dict[str, list[SpokenFrame]] = {}

        async def say(text: str) -> None:
            together[text] = await spoken(tts, text)

        async with asyncio.TaskGroup() as group:
            for text in texts:
                group.create_task(say(text))
        assert all(alike(together[text], frames) for text, frames in zip(texts, alone, strict=True))

    with_tts(main)


async def azip(numbers: range, frames: AsyncIterator[SpokenFrame]) -> AsyncIterator[tuple[int, SpokenFrame]]:
    for n in numbers:
        yield n, await anext(frames)


def test_markup_is_text_to_espeak() -> None:
    async def main() -> None:
        async with espeak() as tts:
            plain = length(await spoken(tts, "hello"))
            assert length(await spoken(tts, "<break time='10s'/>hello")) > 2 * plain  # it is read out
            assert length(await spoken(tts, "[[h@l'oU]]")) > 1.5 * plain

    asyncio.run(main())


def test_a_voice_is_heard_and_forgotten() -> None:
    async def main() -> None:
        async with espeak() as tts:
            usual = await spoken(tts, PHRASE)
            other = await spoken(tts, PHRASE, voice="en-us+f3")
            assert float(colour(usual) @ colour(other)) < 0.9
            assert alike(await spoken(tts, PHRASE), usual)

    asyncio.run(main())


def test_a_long_text_does_not_hold_up_others() -> None:
    """The long text is 2 minutes of speech in 50 pieces; the short one gets in between."""

    async def main() -> None:
        async with espeak() as tts:
            order: list[str] = []

            async def say(text: str, name: str) -> None:
                await spoken(tts, text)
                order.append(name)

            async with asyncio.TaskGroup() as group:
                group.create_task(say("A long story about a small town. " * 60, "long"))
                await asyncio.sleep(0)
                group.create_task(say("Yes.", "short"))
            assert order == ["short", "long"]

    asyncio.run(main())


@given(st.text(max_size=600))
@settings(max_examples=200, deadline=None)
def test_pieces_are_the_text(text: str) -> None:
    cut = pieces(text)
    assert "".join(cut) == text
    assert all(0 < len(piece) <= MAX_PIECE_CHARS for piece in cut)
    clean = sayable(text)
    assert len(clean) == len(text)
    assert clean.encode().decode() == clean
    assert all(ord(char) >= 32 for char in clean)


def test_pieces_are_cut_between_words() -> None:
    assert {word for piece in pieces("some word " * 100) for word in piece.split()} == {"some", "word"}


WORDS = ["one", "two,", "three", "four"]


@given(
    st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 1500)), min_size=4, max_size=4),
    st.integers(1, 2000),
    st.integers(0, 4000),
)
@settings(max_examples=200, deadline=None)
def test_a_word_is_in_the_frame_in_which_its_sound_ends(
    parts: list[tuple[int, int]], buffer_samples: int, lead_samples: int
) -> None:
    """Words of known length with known silence behind them, however the audio is buffered."""
    text = " ".join(WORDS)
    sound = array("h", [0] * lead_samples)
    boundaries, ends = [], []
    for n, (n_loud, n_quiet) in enumerate(parts):
        boundaries.append(Boundary(len(sound), len(" ".join(WORDS[:n])) + bool(n)))
        sound.extend([1000] * n_loud)
        ends.append(len(sound))
        sound.extend([0] * n_quiet)
    frames: list[tuple[int, int]] = []
    cutter = Cutter(text, lambda pcm, n_chars: frames.append((len(pcm), n_chars)))
    for at in range(0, len(sound), buffer_samples):
        here = [one for one in boundaries if at <= one.sample < at + buffer_samples]
        cutter.push(sound[at : at + buffer_samples], here)
    cutter.end()

    start = max(0, lead_samples - RATE_HZ // 200)
    assert sum(n for n, _ in frames) == ends[-1] - start + 30 * RATE_HZ // 1000
    assert all(n == FRAME_SAMPLES for n, _ in frames[:-1])
    assert all(before <= after for (_, before), (_, after) in pairwise(frames))
    for n, end in enumerate(ends):
        n_chars = len(" ".join(WORDS[: n + 1]))
        first = next(i for i, (_, said) in enumerate(frames) if said >= n_chars)
        assert first == (end - 1 - start) // FRAME_SAMPLES


def test_a_frame_is_let_go_as_soon_as_something_follows_it() -> None:
    frames: list[int] = []
    cutter = Cutter("aaa", lambda pcm, _: frames.append(len(pcm)))
    cutter.push(array("h", [1000] * FRAME_SAMPLES), [])
    assert frames == []
    cutter.push(array("h", [1000]), [])
    assert frames == [FRAME_SAMPLES]
