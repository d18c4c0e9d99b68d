"""Does Whisper listen for the language, and read the prompt, that an utterance comes with?"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from tests.support import tone_whisper
from tests.support.speech import frames_of, hiss, silence
from tests.support.tone_whisper import TALK
from voicestack.aio.clock import SystemClock
from voicestack.cli.random_whisper import Shape, build
from voicestack.core.audio import NO_AUDIO, AudioFrame
from voicestack.core.heard import HeardWord
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.engines.whisper_asr import WhisperAsr
from voicestack.engines.whisper_model import CONTEXT_TOKENS, PROMPT_TOKENS, WhisperEar, WhisperSettings
from voicestack.engines.whisper_pool import WhisperPool
from voicestack.engines.whisper_window import Understood, Urgency, Window
from voicestack.ports import PAUSE, Pause, Transcript


def window(context: str = "", prompt: str = "", language: str = "") -> Window:
    return Window(NO_AUDIO, Urgency.FINAL, 1000, context, language, prompt)


@pytest.fixture(scope="module")
def ear(tmp_path_factory: pytest.TempPathFactory) -> WhisperEar:
    folder = tone_whisper.build(tmp_path_factory.mktemp("tones"))
    return WhisperEar(WhisperSettings(str(folder), compute_type="float32", n_threads=1, prompt="Turn on"))


def words_of(ear: WhisperEar, window: Window) -> str:
    """What stands before the transcript, without the token that begins it."""
    return str(ear._tokenizer("en").decode(list(ear.prepare(window).prompt[1:]))).strip()


def test_a_prompt_takes_the_place_of_the_one_that_is_set(ear: WhisperEar) -> None:
    assert words_of(ear, window()) == "Turn on"
    assert words_of(ear, window(prompt="Tell me")) == "Tell me"


def test_a_short_prompt_stays_before_whatever_is_said_in_steps_of_sixteen(ear: WhisperEar) -> None:
    for n_said, n_kept in ((0, 0), (10, 0), (20, 16), (40, 32), (200, 80)):
        before = words_of(ear, window("the " * n_said, "Tell me")).split()
        assert before == ["Tell", "me", *["the"] * n_kept]


def test_a_long_prompt_leaves_room_for_what_was_said(ear: WhisperEar) -> None:
    assert words_of(ear, window("", "me " * 500)).split() == ["me"] * CONTEXT_TOKENS
    before = words_of(ear, window("the " * 500, "me " * 500)).split()
    assert before == [*["me"] * PROMPT_TOKENS, *["the"] * (CONTEXT_TOKENS - PROMPT_TOKENS)]


def test_a_window_brings_its_prompt_through_the_pipe() -> None:
    got = Window.unpacked(window("before", "Grüß Gott", "de").packed())
    assert (got.context, got.prompt, got.language) == ("before", "Grüß Gott", "de")


def test_the_language_that_is_asked_for_begins_the_transcript(tmp_path: Path) -> None:
    shape = Shape(1, 1, 64, 2, n_mels=80, n_languages=99)
    folder = build(tmp_path, shape, n_tokens=5)
    ear = WhisperEar(WhisperSettings(str(folder), compute_type="float32", n_threads=1))
    tokens = {code: ear._model.hf_tokenizer.token_to_id(f"<|{code}|>") for code in ("de", "fr")}
    starts: list[list[int]] = []
    generate = ear._generate

    def noting(encoded: object, prompts: list[list[int]], *rest: object, **more: object) -> object:
        starts.extend(prompts)
        return generate(encoded, prompts, *rest, **more)  # type: ignore[arg-type]

    ear._generate = noting  # type: ignore[method-assign,assignment]
    for code, token in tokens.items():
        (got,) = ear.understand([ear.prepare(window(language=code, prompt="w1"))])
        assert got.language == code
        assert token in starts[-1]
        assert starts[-1].index(token) > starts[-1].index(ear._tokenizer("en").sot_prev)
    with pytest.raises(ValueError, match="this model does not know 'yue'"):
        ear.prepare(window(language="yue"))  # large-v3 does; without this the process would end


class NotingPool(WhisperPool):
    """Understands a word in every window, in the given languages, and keeps what it was asked."""

    def __init__(self, found: Iterable[tuple[str, float]]) -> None:
        super().__init__(clock=SystemClock(), settings=[WhisperSettings("nowhere")], batch_max=1)
        self.windows: list[Window] = []
        self._found = iter(found)

    async def understand(self, window: Window) -> Understood | None:
        self.windows.append(window)
        language, p_language = (window.language, 1.0) if window.language else next(self._found)
        return Understood((HeardWord(f" word{len(self.windows)}", 0.1, 0.4, 0.9),), language, p_language)


def heard(pool: NotingPool, hints: Hints = NO_HINTS, language: str = "") -> list[Transcript]:
    """The settled and the final words of something that is said in two parts."""
    asr = WhisperAsr(clock=SystemClock(), settings=[WhisperSettings("nowhere")], language=language)
    asr._pool = cast("WhisperPool", pool)

    async def sounds() -> AsyncIterator[AudioFrame | Pause]:
        for pcm in (TALK[0].pcm, TALK[1].pcm):
            for frame in frames_of(np.concatenate([pcm, hiss(100, -20), silence(100)])):
                yield frame
            yield PAUSE
            for _ in range(20):
                await asyncio.sleep(0)

    async def listen() -> list[Transcript]:
        return [one async for one in asr.transcribe(sounds(), hints)]

    return asyncio.run(listen())


def test_every_window_of_an_utterance_has_its_hints() -> None:
    pool = NotingPool([])
    got = heard(pool, Hints("de", "Grüß Gott"), language="fr")
    assert len(pool.windows) >= 2
    assert {(one.language, one.prompt) for one in pool.windows} == {("de", "Grüß Gott")}
    assert {one.language for one in got} == {"de"}


def test_without_hints_what_is_set_holds() -> None:
    pool = NotingPool([])
    got = heard(pool, language="fr")
    assert {(one.language, one.prompt) for one in pool.windows} == {("fr", "")}
    assert got[-1].language == "fr"


def test_a_prompt_alone_leaves_the_language_to_be_found() -> None:
    pool = NotingPool([("it", 0.4), ("es", 0.9)])
    got = heard(pool, Hints(prompt="Hola"))
    assert [one.language for one in pool.windows][:2] == ["", ""]
    assert all(one.language == "es" for one in pool.windows[2:])
    assert {one.prompt for one in pool.windows} == {"Hola"}
    assert [got[0].language, got[-1].language] == ["it", "es"]
