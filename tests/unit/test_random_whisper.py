"""Is a Whisper that has learnt nothing otherwise like one that has? And one of many languages?"""

from pathlib import Path

import numpy as np
import pytest

from tests.support.speech import hiss, utterances
from voicestack.cli.random_whisper import SHAPES, Shape, build
from voicestack.core.audio import EAR_RATE_HZ
from voicestack.engines.whisper_model import WhisperEar, WhisperSettings
from voicestack.engines.whisper_window import Urgency, Window

SMALL = Shape(1, 1, 64, 2, n_text_tokens=300)
SMALL_IN_MANY_LANGUAGES = Shape(1, 1, 64, 2, n_mels=128, n_languages=100)


def loaded(folder: Path, shape: Shape, n_tokens: int, compute_type: str = "float32") -> WhisperEar:
    settings = WhisperSettings(
        str(build(folder, shape, n_tokens)), compute_type=compute_type, n_threads=1, n_beams=2
    )
    return WhisperEar(settings)


def n_tokens_of(ear: WhisperEar, window: Window) -> int:
    ready = ear.prepare(window)
    encoded = ear._model.encode(np.stack([ready.features]))
    (result,) = ear._generate(encoded, [ear._start(window.language or "en")], ready)
    return len(result.sequences_ids[0])


@pytest.mark.parametrize(
    ("urgency", "compute_type"),
    [
        (Urgency.PARTIAL, "float32"),
        (Urgency.FINAL, "float32"),
        (Urgency.FINAL, "int8"),
        (Urgency.FINAL, "auto"),
    ],
)
def test_it_writes_so_many_tokens_whatever_it_hears(
    tmp_path: Path, urgency: Urgency, compute_type: str
) -> None:
    ear = loaded(tmp_path, SMALL, 7, compute_type)
    assert not ear.is_multilingual
    for pcm in (utterances()[0].pcm, hiss(500, -20), hiss(9000, -40)):
        assert n_tokens_of(ear, Window(pcm, urgency, 1000)) == 7


def test_a_language_is_found_or_given(tmp_path: Path) -> None:
    ear = loaded(tmp_path, SMALL_IN_MANY_LANGUAGES, 9)
    assert ear.is_multilingual
    pcm = utterances()[0].pcm
    (given,) = ear.understand([ear.prepare(Window(pcm, Urgency.FINAL, 1000, language="de"))])
    assert (given.language, given.p_language) == ("de", 1.0)
    ready = [ear.prepare(Window(one, Urgency.FINAL, 1000)) for one in (pcm, hiss(EAR_RATE_HZ // 16, -20))]
    found = ear.understand(ready)
    with pytest.raises(ValueError, match="not a valid language"):
        ear.prepare(Window(pcm, Urgency.FINAL, 1000, language="xx"))
    assert all(len(one.language) in (2, 3) for one in found)
    assert all(0 < one.p_language < 1 for one in found)
    assert n_tokens_of(ear, Window(pcm, Urgency.FINAL, 1000)) == 9


def test_the_shapes_have_as_many_tokens_as_the_real_ones() -> None:
    n_tokens = {
        name: one.n_text_tokens + 2 + one.n_languages + 6 + 1501 for name, one in SHAPES.items()
    }  # openai/whisper `model.py`: n_vocab
    assert n_tokens["tiny.en"] == n_tokens["small.en"] == 51_864
    assert n_tokens["large-v3"] == n_tokens["large-v3-turbo"] == 51_866
