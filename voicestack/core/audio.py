"""What sound looks like inside voicestack: mono 16-bit samples in numpy arrays, with their place in time."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
"""Signed 16-bit mono samples, shape (n_samples,), full scale +-32767."""

EAR_RATE_HZ = 16_000
"""The one rate at which user audio is heard. Silero VAD, PocketSphinx and Whisper all take 16 kHz."""

NO_AUDIO: Pcm = np.zeros(0, dtype=np.int16)


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """Some user audio, as it came in.

    Attributes:
        pcm: int16 mono at EAR_RATE_HZ, shape (n_samples,).
        start_sample: Index of the first sample since the session began: media time, counted by the transport.
        arrived_ns: Monotonic time at which the last sample was here.
    """

    pcm: Pcm
    start_sample: int
    arrived_ns: int

    @property
    def end_sample(self) -> int:
        """Index just after the last sample."""
        return self.start_sample + len(self.pcm)


@dataclass(frozen=True, slots=True)
class SpokenFrame:
    """Some agent audio with the words that end inside it.

    A word belongs to the frame in which its last sample lies, so the texts of the frames that were
    played are exactly the words that were heard to their end.

    Attributes:
        pcm: int16 mono at the TTS's rate, shape (n_samples,), at most 40 ms; may be empty (text only).
        text: The words that end here, with the white space that joins them to what went before.
        filler: It fills a silence and is no part of the answer.
    """

    pcm: Pcm
    text: str = ""
    filler: bool = False


@dataclass(frozen=True, slots=True)
class Sound:
    """A recording: int16 mono at `rate_hz`, shape (n_samples,). In no representation."""

    pcm: Pcm = field(repr=False)
    rate_hz: int


def ms_to_samples(ms: float, rate_hz: int) -> int:
    """Samples in `ms` milliseconds, rounded down."""
    return int(ms * rate_hz / 1000)


def samples_to_ms(n_samples: int, rate_hz: int) -> int:
    """Whole milliseconds in `n_samples` samples, rounded down."""
    return n_samples * 1000 // rate_hz
