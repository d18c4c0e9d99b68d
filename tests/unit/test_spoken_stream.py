"""Where are the words of a sound about whose words nothing is known?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.core.audio import Pcm, SpokenFrame
from voicestack.engines.spoken_stream import SpokenStream

RATE_HZ = 16_000
TEXT = "One two, three four five."


def tone(n_samples: int) -> Pcm:
    return np.full(n_samples, 1000, np.int16)


def quiet(n_samples: int) -> Pcm:
    return np.zeros(n_samples, np.int16)


def taken(stream: SpokenStream) -> list[SpokenFrame]:
    frames = []
    while (frame := stream.next()) is not None:
        frames.append(frame)
    return frames


def ends_s(frames: list[SpokenFrame]) -> list[float]:
    """The end of each frame that has a word."""
    return [(n + 1) * 0.02 for n, frame in enumerate(frames) if frame.text]


def test_words_fill_the_sound_when_its_end_is_known() -> None:
    stream = SpokenStream(TEXT, RATE_HZ, 1000.0)
    stream.push(tone(25 * RATE_HZ // 10))
    stream.end()
    frames = taken(stream)
    assert [frame.text for frame in frames if frame.text] == ["One", " two,", " three", " four", " five."]
    # Letters, and one for each word: 4, 5, 6, 5, 6 of 26, in 2.5 s.
    assert np.allclose(ends_s(frames), np.cumsum([4, 5, 6, 5, 6]) / 26 * 2.5, atol=0.021)
    assert stream.measured_letters_per_s == pytest.approx(26 / 2.5)


def test_words_come_at_an_estimated_pace_until_then() -> None:
    stream = SpokenStream(TEXT, RATE_HZ, 13.0)
    stream.push(tone(RATE_HZ))
    first = taken(stream)
    assert [frame.text for frame in first if frame.text] == ["One", " two,"]
    assert np.allclose(ends_s(first), [4 / 13, 9 / 13], atol=0.021)
    stream.push(tone(RATE_HZ))
    stream.end()
    rest = taken(stream)
    assert [frame.text for frame in rest if frame.text] == [" three", " four", " five."]
    # After 0.98 s, 12.7 letters are taken for said; 13.3 are left for 1.02 s.
    assert np.allclose(ends_s(rest), [2.3 / 13.3 * 1.02, 7.3 / 13.3 * 1.02, 1.02], atol=0.03)


@pytest.mark.parametrize("letters_per_s", [1.0, 1000.0])
def test_an_estimate_that_is_wrong_never_says_the_last_word_early(letters_per_s: float) -> None:
    stream = SpokenStream(TEXT, RATE_HZ, letters_per_s)
    stream.push(tone(RATE_HZ))
    assert not any(frame.text.endswith("five.") for frame in taken(stream))
    stream.end()
    assert "".join(frame.text for frame in taken(stream)).endswith("five.")


def test_a_frame_is_let_go_when_something_loud_follows() -> None:
    stream = SpokenStream(TEXT, RATE_HZ, 13.0)
    stream.push(quiet(1000))
    assert stream.next() is None
    assert not stream.has_begun
    stream.push(tone(240))
    assert stream.next() is None, "80 samples of silence, 240 of sound: nothing follows"
    stream.push(quiet(5000))
    assert stream.next() is None
    stream.push(tone(1))
    assert len(taken(stream)) == 16


def test_nothing_to_hear_is_a_text_all_the_same() -> None:
    stream = SpokenStream(TEXT, RATE_HZ, 13.0)
    stream.push(quiet(1000))
    stream.end()
    (frame,) = taken(stream)
    assert (len(frame.pcm), frame.text) == (0, TEXT)
    assert stream.measured_letters_per_s is None


@given(
    st.text(max_size=60),
    st.lists(st.tuples(st.booleans(), st.integers(0, 3000)), max_size=8),
    st.floats(1, 100),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_nothing_is_lost(
    text: str, parts: list[tuple[bool, int]], letters_per_s: float, is_eager: bool
) -> None:
    stream = SpokenStream(text, RATE_HZ, letters_per_s)
    frames: list[SpokenFrame] = []
    pushed = [tone(n) if loud else quiet(n) for loud, n in parts]
    for pcm in pushed:
        stream.push(pcm)
        frames += taken(stream) if is_eager else []
    stream.end()
    frames += taken(stream)
    assert "".join(frame.text for frame in frames) == text
    assert all(len(frame.pcm) == 320 for frame in frames[:-1])
    sent = np.concatenate([quiet(0), *pushed])
    loud = np.flatnonzero(sent)
    if len(loud):
        got = np.concatenate([frame.pcm for frame in frames])
        first = int(np.flatnonzero(got)[0])
        assert first == min(loud[0], 80)
        assert np.array_equal(got[first : first + np.ptp(loud) + 1], sent[loud[0] : loud[-1] + 1])
        assert 480 <= len(got) - first - np.ptp(loud) - 1 <= 1920
