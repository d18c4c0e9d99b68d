"""What do the test callers say, and when exactly does their voice begin and end?"""

import io
import json
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from voicestack.core.audio import EAR_RATE_HZ, AudioFrame, Pcm

SPEECH = Path(__file__).resolve().parents[1] / "data" / "speech"


@dataclass(frozen=True)
class Utterance:
    """One recorded question.

    Attributes:
        name: The file's name.
        words: What is said.
        pcm: int16 mono at EAR_RATE_HZ.
        first_sample: First sample of the first 10 ms above -45 dBFS.
        last_sample: Last sample of the last 10 ms above -45 dBFS.
    """

    name: str
    words: str
    pcm: Pcm
    first_sample: int
    last_sample: int


@cache
def utterances() -> tuple[Utterance, ...]:
    """All questions of `tests/data/speech`, in order; read once."""
    rows = json.loads((SPEECH / "index.json").read_text())
    return tuple(
        Utterance(
            row["file"],
            row["words"],
            read_wav(SPEECH / row["file"]),
            row["first_speech_sample"],
            row["last_speech_sample"],
        )
        for row in rows
    )


def read_wav(path: Path) -> Pcm:
    """A mono 16-bit WAV file at EAR_RATE_HZ."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (EAR_RATE_HZ, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def silence(ms: int) -> Pcm:
    """Digital silence at EAR_RATE_HZ."""
    return np.zeros(ms * EAR_RATE_HZ // 1000, np.int16)


def hiss(ms: int, dbfs: float, seed: int = 0) -> Pcm:
    """White noise of that RMS level at EAR_RATE_HZ."""
    n_samples = ms * EAR_RATE_HZ // 1000
    noise = np.random.default_rng(seed).normal(0, 32767 * 10 ** (dbfs / 20), n_samples)
    pcm: Pcm = np.clip(np.rint(noise), -32768, 32767).astype(np.int16)
    return pcm


def frames_of(pcm: Pcm, frame_samples: int = 320, start_sample: int = 0) -> Iterator[AudioFrame]:
    """Cut into frames as they would arrive, 20 ms each by default; the last one may be shorter."""
    for at in range(0, len(pcm), frame_samples):
        part = pcm[at : at + frame_samples]
        start = start_sample + at
        yield AudioFrame(part, start, (start + len(part)) * 1_000_000_000 // EAR_RATE_HZ)


def wav_bytes(pcm: Pcm, rate_hz: int) -> bytes:
    """A WAV file of int16 mono."""
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm.tobytes())
    return held.getvalue()
