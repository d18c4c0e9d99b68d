"""How does sound that is still being made, without a word about its words, become frames that carry them?

Pure. A frame is let go as soon as something loud follows it, so that silence at the end can be cut. Where a
word ends is a matter of its share of the letters: at an estimated pace while the end of the sound is not
known, and then so that the rest of the words fill the rest of the sound.
"""

import re

import numpy as np

from voicestack.core.audio import NO_AUDIO, Pcm, SpokenFrame, ms_to_samples
from voicestack.engines.spoken_frames import FADE_MS, FRAME_MS, LEAD_MS, LOUD, fade, gap_after


class SpokenStream:
    """The sound of one text. Push what comes; take frames when they are wanted: the later, the better placed.

    Args:
        text: What is said.
        rate_hz: Sample rate.
        letters_per_s: How fast the voice is thought to speak, in letters a second: characters of words, and
            one more for each word.
    """

    def __init__(self, text: str, rate_hz: int, letters_per_s: float) -> None:
        self._text, self._rate_hz, self._letters_per_s = text, rate_hz, letters_per_s
        self._ends = [(word.end(), n) for word, n in _with_letters(text)]
        if self._ends:  # white space at the end belongs to the last word
            self._ends[-1] = (len(text), self._ends[-1][1])
        self._n_letters = self._ends[-1][1] if self._ends else 0
        self._frame_samples = ms_to_samples(FRAME_MS, rate_hz)
        self._lead_samples = ms_to_samples(LEAD_MS, rate_hz)
        self._sound = bytearray()  # int16, from shortly before the first loud sample on
        self._loud_end = 0  # just after the last loud sample; 0 before the first
        self._at = 0  # samples that were let go
        self._n_said = 0  # characters that were
        self._ended = False
        self._known_from = (0, 0.0)  # sample and letters at which the end became known

    @property
    def has_begun(self) -> bool:
        """Whether there has been anything to hear."""
        return self._loud_end > 0

    @property
    def measured_letters_per_s(self) -> float | None:
        """How fast it was spoken, at the end; None if it was not."""
        if not self._ended or not self.has_begun or not self._n_letters:
            return None
        return self._n_letters * self._rate_hz / self._loud_end

    def push(self, pcm: Pcm) -> None:
        """Take what comes next: int16 mono."""
        loud = np.flatnonzero(np.abs(pcm.astype(np.int32)) >= LOUD)
        n_before = len(self._sound) // 2
        self._sound += pcm.astype("<i2", copy=False).tobytes()
        if not self.has_begun:
            first = n_before + int(loud[0]) if len(loud) else len(self._sound) // 2
            n_dropped = max(0, first - self._lead_samples)
            del self._sound[: 2 * n_dropped]
            n_before -= n_dropped
        if len(loud):
            self._loud_end = n_before + int(loud[-1]) + 1

    def end(self) -> None:
        """Nothing more will come: the silence that follows is cut to a gap that fits the punctuation."""
        self._ended = True
        self._known_from = (self._at, min(self._estimate(self._at), self._n_letters))
        if not self.has_begun:
            return
        n_samples = self._loud_end + ms_to_samples(gap_after(self._text), self._rate_hz)
        sound = np.zeros(n_samples, np.int16)
        kept = np.frombuffer(bytes(self._sound[: 2 * n_samples]), "<i2")
        sound[: len(kept)] = kept
        fade(sound[self._loud_end :], ms_to_samples(FADE_MS, self._rate_hz))
        self._sound = bytearray(sound.astype("<i2").tobytes())

    def next(self) -> SpokenFrame | None:
        """The next frame, of FRAME_MS or, as the last one, shorter. None: there is none, or none yet."""
        end = len(self._sound) // 2 if self._ended else self._loud_end - 1
        n_samples = min(self._frame_samples, end - self._at)
        if not self.has_begun or n_samples < (1 if self._ended else self._frame_samples):
            return self._without_sound()
        pcm = np.frombuffer(bytes(self._sound[2 * self._at : 2 * (self._at + n_samples)]), "<i2")
        self._at += n_samples
        return SpokenFrame(pcm, self._newly_said(self._n_chars_at(self._at)))

    def _without_sound(self) -> SpokenFrame | None:
        """A text of which nothing was to be heard is over at its end."""
        rest = self._newly_said(len(self._text)) if self._ended else ""
        return SpokenFrame(NO_AUDIO, rest) if rest else None

    def _newly_said(self, n_chars: int) -> str:
        text = self._text[self._n_said : n_chars]
        self._n_said = max(self._n_said, n_chars)
        return text

    def _n_chars_at(self, sample: int) -> int:
        """Characters of the words that end before this sample."""
        if self._ended and sample >= self._loud_end:
            return len(self._text)
        n_letters = self._estimate(sample)
        if self._ended:
            known_at, n_known = self._known_from
            share = (sample - known_at) / (self._loud_end - known_at)
            n_letters = n_known + share * (self._n_letters - n_known)
        but_last = self._ends[:-1]  # which ends with the sound
        return max((n_chars for n_chars, n_before in but_last if n_before <= n_letters), default=0)

    def _estimate(self, sample: int) -> float:
        return sample / self._rate_hz * self._letters_per_s


def _with_letters(text: str) -> list[tuple[re.Match[str], int]]:
    """The words, each with the letters up to its end."""
    found, n_so_far = [], 0
    for word in re.finditer(r"\S+", text):
        n_so_far += len(word.group()) + 1
        found.append((word, n_so_far))
    return found
