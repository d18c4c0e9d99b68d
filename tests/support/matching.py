"""Which of several sentences does a recording hold? For voices that our recogniser hardly understands.

Each sentence is spoken by the same voice and laid beside the recording: spectra in mel bands, warped in time
(dynamic time warping), so that speed, pauses, level and an even colouring of the sound make no difference.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from voicestack.core.audio import EAR_RATE_HZ, Pcm
from voicestack.core.resample import Resampler

WINDOW_SAMPLES, HOP_SAMPLES = 512, 256
N_BANDS = 26
LOWEST_HZ, HIGHEST_HZ = 100.0, 7000.0
SILENT_DB = 35.0
"""Frames so far below the loudest are pauses."""

Features = NDArray[np.float64]


def features(pcm: Pcm, rate_hz: int) -> Features:
    """A row for every 16 ms of sound: log energy in mel bands, each with mean 0. Pauses are left out."""
    heard = pcm if rate_hz == EAR_RATE_HZ else Resampler(rate_hz, EAR_RATE_HZ).push(pcm)
    n_frames = max(0, (len(heard) - WINDOW_SAMPLES) // HOP_SAMPLES + 1)
    at = np.arange(n_frames)[:, None] * HOP_SAMPLES + np.arange(WINDOW_SAMPLES)
    power = np.abs(np.fft.rfft(heard[at] * np.hanning(WINDOW_SAMPLES), axis=1)) ** 2
    levels_db = 10 * np.log10(power.sum(axis=1) + 1)
    spoken = levels_db > levels_db.max(initial=0) - SILENT_DB
    bands = np.log(power[spoken] @ _mel_bands().T + 1e3)
    centred: Features = bands - bands.mean(axis=0)
    return centred


def _mel_bands() -> Features:
    low_mel, high_mel = (2595 * float(np.log10(1 + edge_hz / 700)) for edge_hz in (LOWEST_HZ, HIGHEST_HZ))
    mels = np.linspace(low_mel, high_mel, N_BANDS + 2)
    edges_hz = 700 * (10 ** (mels / 2595) - 1)
    bins_hz = np.fft.rfftfreq(WINDOW_SAMPLES, 1 / EAR_RATE_HZ)
    low, middle, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    triangles: Features = np.clip(
        np.minimum((bins_hz - low) / (middle - low), (high - bins_hz) / (high - middle)), 0, 1
    )
    return triangles


def distance(one: Features, other: Features) -> float:
    """The mean distance of two sounds along the best way through both."""
    if not len(one) or not len(other):
        return float("inf")
    each = np.sqrt(((one[:, None, :] - other[None, :, :]) ** 2).mean(axis=2))
    cost = np.full((len(one) + 1, len(other) + 1), np.inf)
    cost[0, 0] = 0.0
    for row in range(1, len(one) + 1):
        for column in range(1, len(other) + 1):
            before = min(cost[row - 1, column], cost[row, column - 1], cost[row - 1, column - 1])
            cost[row, column] = each[row - 1, column - 1] + before
    return float(cost[-1, -1]) / (len(one) + len(other))


def distances(recording: Pcm, rate_hz: int, sentences: Mapping[str, tuple[Pcm, int]]) -> dict[str, float]:
    """How far a recording is from each sentence, spoken as (samples, rate)."""
    heard = features(recording, rate_hz)
    return {words: distance(heard, features(*spoken)) for words, spoken in sentences.items()}
