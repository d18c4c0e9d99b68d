"""Which windows does the Whisper process decode together, in which order, and what does it make of each?"""

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from tests.support import tone_whisper
from tests.support.speech import hiss, silence
from tests.support.tone_whisper import TALK, spoken
from voicestack.core.audio import EAR_RATE_HZ, NO_AUDIO, Pcm
from voicestack.core.heard import HeardWord, sentence
from voicestack.engines.pipe import Frame, Kind, Stdio
from voicestack.engines.whisper_model import (
    BUCKET_S,
    Ready,
    WhisperEar,
    WhisperSettings,
    compute_type,
    padded_s,
    whole_words,
)
from voicestack.engines.whisper_window import Understood, Urgency, Window
from voicestack.engines.whisper_worker import Desk, Task, next_batch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tone_whisper.build(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def ear(folder: Path) -> WhisperEar:
    return WhisperEar(WhisperSettings(str(folder), compute_type="float32", n_threads=1, n_beams=1))


def window(pcm: Pcm, urgency: Urgency = Urgency.FINAL, context: str = "") -> Window:
    return Window(pcm, urgency, 1000, context)


def task(stream: int, urgency: Urgency, length_s: int = 1, prompt: int = 0, arrived_ms: int = 0) -> Task:
    features = np.zeros((80, padded_s(length_s * EAR_RATE_HZ) * 100), np.float32)
    ready = Ready(window(NO_AUDIO, urgency), features, (0,) * prompt, 100)
    return Task(stream, ready, arrived_ms * 1_000_000)


def test_what_a_turn_waits_for_is_first_then_what_waits_longest() -> None:
    waiting = [
        task(1, Urgency.PARTIAL, arrived_ms=1),
        task(2, Urgency.SETTLED, arrived_ms=5),
        task(3, Urgency.FINAL, arrived_ms=9),
        task(4, Urgency.SETTLED, arrived_ms=2),
        task(5, Urgency.FINAL, length_s=8, arrived_ms=3),
    ]
    assert [one.stream for one in next_batch(waiting, 8)] == [5]
    assert [one.stream for one in next_batch(waiting[:4], 8)] == [3, 4, 2]
    assert [one.stream for one in next_batch(waiting[:4], 2)] == [3, 4]
    assert next_batch([], 8) == []


def test_windows_of_another_length_or_prompt_wait_for_the_next_pass() -> None:
    waiting = [
        task(1, Urgency.FINAL, prompt=17),
        task(2, Urgency.FINAL),
        task(3, Urgency.FINAL, prompt=17),
        task(4, Urgency.FINAL, prompt=33),
    ]
    assert [one.stream for one in next_batch(waiting, 8)] == [1, 3]


def test_a_window_is_late_after_its_time() -> None:
    one = task(1, Urgency.PARTIAL, arrived_ms=500)
    assert not one.is_late(1_500_000_000)
    assert one.is_late(1_500_000_001)


class Pipe:
    """What the server sends, one batch of frames per look."""

    def __init__(self, *looks: list[Frame]) -> None:
        self._looks = list(looks)
        self.sent: list[Frame] = []
        self.closed = False

    def receive(self, *, wait: bool) -> list[Frame]:
        assert wait
        frames = self._looks.pop(0)
        self.closed = not self._looks
        return frames

    def send(self, frame: Frame) -> None:
        self.sent.append(frame)


def test_a_window_that_is_taken_back_is_not_decoded(ear: WhisperEar) -> None:
    opened = [Frame(Kind.OPEN, n, window(TALK[0].pcm).packed()) for n in range(4)]
    pipe = Pipe(opened[:2], [Frame(Kind.CANCEL, 0)], [*opened[2:], Frame(Kind.CANCEL, 2)], [])
    desk = Desk(cast("Stdio", pipe), ear, 8)
    desk.serve(n_lanes=0)
    assert [one.stream for one in desk._next()] == [1, 3]
    assert pipe.sent == []


@pytest.mark.parametrize(("ms", "seconds"), [(0, 5), (4500, 5), (4501, 10), (27_000, 30), (29_900, 30)])
def test_a_window_is_filled_up_to_a_multiple_and_not_to_thirty_seconds(ms: int, seconds: int) -> None:
    assert padded_s(ms * EAR_RATE_HZ // 1000) == seconds
    assert seconds % BUCKET_S == 0


def test_a_window_and_its_answer_come_through_the_pipe_as_they_are() -> None:
    sent = Window(hiss(100, -20), Urgency.SETTLED, 1234, 'he said "yes"\nand left', "de")
    got = Window.unpacked(sent.packed())
    assert (got.pcm == sent.pcm).all()
    assert (got.urgency, got.within_ms, got.context, got.language) == (
        Urgency.SETTLED,
        1234,
        sent.context,
        "de",
    )
    answer = Understood((HeardWord(" ja", 0.1, 0.4, 0.9),), "de", 0.8, 0.1, 3, 20.5, 1.5)
    assert Understood.unpacked(answer.packed()) == answer
    with pytest.raises(ValueError, match="Expecting value"):
        Window.unpacked(b"nonsense")


def test_words_are_understood_with_their_places(ear: WhisperEar) -> None:
    (got,) = ear.understand([ear.prepare(window(spoken(TALK[0].words, lead_ms=300)))])
    assert sentence(got.words) == TALK[0].words
    assert got.language == "en"
    for n, word in enumerate(got.words):
        assert word.end_s == pytest.approx(0.62 + 0.4 * n, abs=0.11)
        assert word.p_right > 0.9


@pytest.mark.parametrize("urgency", list(Urgency))
def test_windows_in_one_pass_are_understood_as_they_would_be_alone(ear: WhisperEar, urgency: Urgency) -> None:
    ready = [ear.prepare(window(one.pcm, urgency)) for one in TALK]
    together = ear.understand(ready)
    assert [sentence(one.words) for one in together] == [one.words for one in TALK]
    alone = [ear.understand([one])[0] for one in ready]
    assert [one.words for one in alone] == [one.words for one in together]


def test_silence_and_noise_have_no_words(ear: WhisperEar) -> None:
    sounds = [silence(1000), hiss(1000, -50), NO_AUDIO]
    assert [one.words for one in ear.understand([ear.prepare(window(pcm)) for pcm in sounds])] == [()] * 3


def test_words_before_the_window_are_its_prompt_in_steps_of_sixteen(ear: WhisperEar) -> None:
    n_words = [0, 10, 16, 40, 120]
    prompts = [ear.prepare(window(NO_AUDIO, context="the " * n)).prompt for n in n_words]
    assert [len(prompt) for prompt in prompts] == [0, 0, 17, 33, 97]
    (got,) = ear.understand([ear.prepare(window(TALK[1].pcm, context="What is the weather " * 5))])
    assert sentence(got.words) == TALK[1].words


def test_hotwords_and_a_prompt_stand_before_every_window(folder: Path) -> None:
    settings = WhisperSettings(
        str(folder), compute_type="float32", n_beams=1, hotwords="heating, alarm", prompt="Turn on the"
    )
    ear = WhisperEar(settings)
    ready = ear.prepare(window(TALK[2].pcm))
    n_hotwords = len(ear.prepare(window(NO_AUDIO)).prompt) - 4
    assert n_hotwords >= 3
    assert len(ready.prompt) == 1 + n_hotwords + 3
    assert sentence(ear.understand([ready])[0].words) == TALK[2].words


def test_words_that_go_in_circles_are_decoded_again(ear: WhisperEar) -> None:
    # Sixteen places and the first again: the model looks for what follows the last, and finds the first.
    around = np.concatenate([one.pcm for one in TALK])
    (partial,) = ear.understand([ear.prepare(window(around, Urgency.PARTIAL))])
    (final,) = ear.understand([ear.prepare(window(around))])
    assert len(partial.words) > 2 * 16
    assert sentence(final.words).startswith(" ".join(one.words for one in TALK))
    assert len({word.text for word in final.words}) > 16, "it may not say the same again"


def test_punctuation_belongs_to_the_word_before() -> None:
    aligned = [
        {"word": " Yes", "start": 0.0, "end": 0.4, "probability": 0.9},
        {"word": ",", "start": 0.4, "end": 0.4, "probability": 0.5},
        {"word": " no", "start": 0.5, "end": 0.8, "probability": 0.8},
        {"word": "?", "start": 0.8, "end": 0.9, "probability": 0.7},
        {"word": " ", "start": 0.9, "end": 0.9, "probability": 0.1},
    ]
    assert whole_words(aligned) == [HeardWord(" Yes,", 0.0, 0.4, 0.9), HeardWord(" no?", 0.5, 0.8, 0.8)]


def test_the_numbers_fit_the_device() -> None:
    assert [compute_type("auto", "cpu"), compute_type("auto", "cuda")] == ["int8", "float16"]
    assert compute_type("bfloat16", "cuda") == "bfloat16"
