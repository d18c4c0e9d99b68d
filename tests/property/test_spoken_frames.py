"""Is a word in the frame in which its sound ends, and is nothing but silence cut away?"""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.core.audio import Pcm
from voicestack.engines.spoken_frames import LOUD, WordEnd, framed, gap_after

RATE_HZ = 22_050
FRAME = RATE_HZ // 50
LEAD = RATE_HZ // 200


def joined(frames: list[tuple[Pcm, int]]) -> Pcm:
    return np.concatenate([np.zeros(0, np.int16), *(pcm for pcm, _ in frames)])


@given(
    st.lists(st.tuples(st.integers(1, 3_000), st.integers(0, 1_500)), min_size=1, max_size=6),
    st.integers(0, 4_000),
    st.integers(0, 4_000),
    st.sampled_from([30, 80, 120]),
)
@settings(max_examples=150, deadline=None)
def test_a_word_is_in_the_frame_in_which_its_sound_ends(
    parts: list[tuple[int, int]], lead: int, tail: int, gap_ms: int
) -> None:
    """Words of known length, with known silence behind them that the voice counts to the word."""
    sounds, ends, loud_ends, at = [np.zeros(lead, np.int16)], [], [], lead
    for n, (n_loud, n_quiet) in enumerate(parts):
        sounds += [np.full(n_loud, 1_000, np.int16), np.zeros(n_quiet, np.int16)]
        loud_ends.append(at + n_loud)
        at += n_loud + n_quiet
        ends.append(WordEnd(at, n + 1))
    pcm = np.concatenate([*sounds, np.zeros(tail, np.int16)])
    frames = list(framed(pcm, ends, RATE_HZ, gap_ms=gap_ms))

    start = max(0, lead - LEAD)
    assert len(joined(frames)) == loud_ends[-1] - start + gap_ms * RATE_HZ // 1000
    kept = joined(frames)[: loud_ends[-1] - start]
    assert np.array_equal(kept, pcm[start : loud_ends[-1]])
    assert all(len(one) == FRAME for one, _ in frames[:-1])
    assert all(before <= after for (_, before), (_, after) in pairwise(frames))
    for n, end in enumerate(loud_ends):
        first = next(i for i, (_, said) in enumerate(frames) if said >= n + 1)
        assert first == (end - 1 - start) // FRAME


@given(st.lists(st.integers(-32_768, 32_767), max_size=3_000), st.lists(st.integers(0, 4_000), max_size=5))
@settings(max_examples=100, deadline=None)
def test_any_sound_can_be_cut(samples: list[int], places: list[int]) -> None:
    pcm = np.array(samples, np.int16)
    ends = [WordEnd(sample, n + 1) for n, sample in enumerate(sorted(places))]
    frames = list(framed(pcm, ends, RATE_HZ, gap_ms=30))
    is_loud = bool((np.abs(pcm.astype(np.int32)) >= LOUD).any())
    assert bool(frames) == is_loud
    if is_loud:
        assert frames[-1][1] == len(ends)
        assert all(0 < len(one) <= FRAME for one, _ in frames)


def test_what_is_quiet_after_the_last_word_is_faded_out() -> None:
    hum = np.full(3_000, LOUD - 1, np.int16)
    pcm = np.concatenate([np.full(1_000, 5_000, np.int16), hum])
    out = joined(list(framed(pcm, [WordEnd(1_000, 1)], RATE_HZ, gap_ms=30)))
    assert np.array_equal(out[:1_000], pcm[:1_000])
    assert np.all(np.diff(out[1_000 : 1_000 + RATE_HZ // 200]) <= 0)
    assert not out[1_000 + RATE_HZ // 200 :].any()


@pytest.mark.parametrize(
    ("written", "gap_ms"),
    [
        ("Yes.", 120),
        ("Yes,", 80),
        ("yes", 30),
        ('"yes."', 120),
        ("**Yes!**", 120),
        ("", 30),
        ("so —", 80),
    ],
)
def test_the_gap_fits_the_punctuation(written: str, gap_ms: int) -> None:
    assert gap_after(written) == gap_ms
