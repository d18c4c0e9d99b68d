"""How does the sound of a sentence become frames that carry the words that end in them?

Pure. Silence before the sentence is dropped, silence after it is cut to a gap that fits its punctuation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicestack.core.audio import Pcm, ms_to_samples

LOUD = 184
"""-45 dBFS: below it a listener calls it silence."""
LEAD_MS = 5
"""Kept before the first loud sample, so that no consonant starts with a click."""
FRAME_MS = 20
FADE_MS = 5
"""The end is faded out, because a breath or a hum may be cut in the middle."""
GAPS_MS = dict.fromkeys(".?!\N{HORIZONTAL ELLIPSIS}", 120) | dict.fromkeys(",;:-\N{EN DASH}\N{EM DASH}", 80)
"""Silence after a phrase, by what it ends with as it is written."""
_CLOSING = "\"'\N{RIGHT DOUBLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}»)*_`"
PLAIN_GAP_MS = 30
"""A phrase that was cut off in mid-clause is followed closely by the rest."""


@dataclass(frozen=True, slots=True)
class WordEnd:
    """Before this sample the first `n_chars` characters of the text are said, and nothing after them."""

    sample: int
    n_chars: int


def framed(pcm: Pcm, ends: Sequence[WordEnd], rate_hz: int, *, gap_ms: int) -> Iterator[tuple[Pcm, int]]:
    """Cut the sound of one sentence.

    Args:
        pcm: All of it, with the silence around it.
        ends: Where words end, in order. The last one ends with the last loud sample in any case.
        rate_hz: Rate of `pcm`.
        gap_ms: Silence after the last loud sample.

    Yields:
        Frames of FRAME_MS, the last one shorter, each with how many characters have been said at its end.
        Nothing for a sound without a loud sample.
    """
    loud = np.flatnonzero(np.abs(pcm.astype(np.int32)) >= LOUD)
    if not len(loud):
        return
    start = max(0, int(loud[0]) - ms_to_samples(LEAD_MS, rate_hz))
    loud_end = int(loud[-1]) + 1
    n_samples = loud_end + ms_to_samples(gap_ms, rate_hz) - start
    sound = np.zeros(n_samples, dtype=np.int16)
    kept = pcm[start : start + n_samples]
    sound[: len(kept)] = kept
    fade(sound[loud_end - start :], ms_to_samples(FADE_MS, rate_hz))
    places = _places(ends, loud, start)
    frame_samples, n_said, n_next = ms_to_samples(FRAME_MS, rate_hz), 0, 0
    for at in range(0, n_samples, frame_samples):
        while n_next < len(places) and places[n_next].sample <= at + frame_samples:
            n_said = max(n_said, places[n_next].n_chars)
            n_next += 1
        yield sound[at : at + frame_samples], n_said


def _places(ends: Sequence[WordEnd], loud: NDArray[np.intp], start: int) -> list[WordEnd]:
    """Each end where the sound before it was loud the last time, counted from the first kept sample."""
    places = []
    for n, end in enumerate(ends):
        before = len(loud) if n == len(ends) - 1 else int(np.searchsorted(loud, end.sample))
        last_loud = int(loud[before - 1]) + 1 if before else start
        places.append(WordEnd(last_loud - start, end.n_chars))
    return places


def fade(rest: Pcm, fade_samples: int) -> None:
    """Turn what follows the last loud sample down to nothing, in place."""
    n = min(len(rest), fade_samples)
    rest[:n] = (rest[:n] * np.linspace(1, 0, n)).astype(np.int16)
    rest[n:] = 0


def gap_after(written: str) -> int:
    """Milliseconds of silence after something that is written like this."""
    return GAPS_MS.get(written.rstrip().rstrip(_CLOSING)[-1:], PLAIN_GAP_MS)
