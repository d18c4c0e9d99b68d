"""Can any text be said, and are its spans the text?"""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.tiny_voice import make_voice
from voicestack.engines.espeak_tts import sayable
from voicestack.engines.piper_files import find_voice
from voicestack.engines.piper_voice import Voice
from voicestack.engines.piper_wish import Manner
from voicestack.engines.spoken.languages import KNOWN, Language
from voicestack.engines.spoken.lexicon import EMPTY
from voicestack.engines.spoken.text import spans_of

PARTS = st.one_of(
    st.sampled_from(
        re.findall(
            r"\S+",
            "1 12 1.5 1,5 1.000 1,000 2024 007 5% $5 € 10:30 14h30 3/4 1st 2e 3ª -5 5-10 km °C GB a@b.com "
            "USA www.x.org PDFs U.S. Dr. z.B. M. etc. 1/2/2024 5.3.2024 March März marzo mars "
            "+1 (555) 123-4567 # & — … ... ?! hello straße l'été ¿qué [[x]] ** <b> "
            "\u0301 \u202e \ud800 中文 1½ ½ ~5 x=2 "
            "24/7 '90s $5/month",
        )
    ),
    st.text(max_size=4),
)
TEXTS = st.lists(st.tuples(PARTS, st.sampled_from([" ", "", "  ", "\n", "-", "/", ","])), max_size=12).map(
    lambda parts: "".join(part + gap for part, gap in parts)
)


@pytest.mark.parametrize("language", [*KNOWN, None], ids=lambda one: one.locale if one else "none")
@given(text=TEXTS)
@settings(max_examples=40, deadline=None)
def test_spans_tile_the_text_and_hold_nothing_but_words(language: Language | None, text: str) -> None:
    spans = spans_of(text, language)
    assert "".join(text[span.start : span.end] for span in spans) == text
    assert all(span.start < span.end for span in spans)
    for span in spans:
        assert span.said == span.said.strip()
        assert not span.said or any(map(str.isalnum, span.said))
        assert not re.search(r"[\[\]<>@#*_{}|\\]", span.said)
        if language is not None:
            assert not re.search(r"[0-9]", span.said), span.said


@given(text=TEXTS)
@settings(max_examples=40, deadline=None)
def test_no_span_begins_inside_of_a_word(text: str) -> None:
    for span in spans_of(text, KNOWN[0])[1:]:
        assert text[span.start].isspace()


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    folder = tmp_path_factory.mktemp("voice")
    file = find_voice(str(make_voice(folder)), folder)
    return Voice(file, Manner(), EMPTY, file.rate_hz)


@given(text=TEXTS)
@settings(max_examples=40, deadline=None)
def test_a_voice_says_all_of_it_in_order(voice: Voice, text: str) -> None:
    """From the text to the sound and back: frame by frame, up to the whole text."""
    said = [n_chars for _, n_chars in voice.say(sayable(text), speaker=None, speed=1.0)]
    assert said == sorted(said)
    assert (said or [0])[-1] == len(text)
