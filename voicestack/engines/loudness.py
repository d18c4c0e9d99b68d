"""How loud is a voice, and how is it made as loud as the others without clipping?

Loudness is that of ITU-R BS.1770-5 for one channel. A voice's gain is measured once; the limiter after it
turns down only what would be too loud.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicestack.core.audio import Pcm

Floats = NDArray[np.floating[Any]]
Complex = NDArray[np.complexfloating[Any, Any]]

TARGET_LUFS = -20.0
"""AES TD1008 recommends -16 to -20 for streamed speech. The lower end: speech has peaks 12 to 16 dB above its
loudness, so that the limiter rarely has to act."""
CEILING = 0.89
"""-1 dBFS, as EBU R 128 has it for what will be encoded with loss."""
MAX_GAIN_DB, MIN_GAIN_DB = 20.0, -20.0
"""A voice that is further off is broken, and is not made worse."""

_BLOCK_S, _STEP_S = 0.4, 0.1
_ABSOLUTE_LUFS, _RELATIVE_LU = -70.0, -10.0
_OFFSET_LUFS = -0.691
_TAIL_S = 0.25
"""The high-pass of the K weighting has died away by 100 dB after that."""


def k_weighting(frequency_hz: Floats, rate_hz: int) -> Complex:
    """The response of the K-weighting filter (BS.1770-5, annex 1) at a rate other than its 48 kHz.

    The two biquads are the bilinear transforms of the analogue prototypes that B. De Man derived from the
    standard's coefficients ("Evaluation of Implementations of the EBU R128 Loudness Measurement", AES 145).
    """
    z = np.exp(-2j * np.pi * frequency_hz / rate_hz)
    k, q = np.tan(np.pi * 1681.9744509555319 / rate_hz), 0.7071752369554193
    high, low = 10 ** (3.99984385397 / 20), 10 ** (3.99984385397 / 20 * 0.499666774155)
    shelf = (high + low * k / q + k * k) + 2 * (k * k - high) * z + (high - low * k / q + k * k) * z**2
    shelf /= (1 + k / q + k * k) + 2 * (k * k - 1) * z + (1 - k / q + k * k) * z**2
    k, q = np.tan(np.pi * 38.13547087613982 / rate_hz), 0.5003270373253953
    one = 1 + k / q + k * k
    pass_ = (1 - 2 * z + z**2) / (1 + 2 * (k * k - 1) / one * z + (1 - k / q + k * k) / one * z**2)
    response: Complex = np.multiply(shelf, pass_)
    return response


def loudness_lufs(sound: Floats, rate_hz: int) -> float:
    """Integrated loudness with both gates; -inf for silence.

    Args:
        sound: Full scale +-1, shape (n_samples,). Shorter than 0.4 s is one block.
        rate_hz: Its rate.
    """
    n = len(sound) + int(_TAIL_S * rate_hz)
    spectrum = np.fft.rfft(sound, n) * k_weighting(np.fft.rfftfreq(n, 1 / rate_hz), rate_hz)
    weighted = np.fft.irfft(spectrum, n)[: len(sound)]
    block, step = int(_BLOCK_S * rate_hz), int(_STEP_S * rate_hz)
    energy = np.concatenate([[0.0], np.cumsum(weighted**2)])
    starts = np.arange(0, max(len(sound) - block, 0) + 1, step)
    ends = np.minimum(starts + block, len(sound))
    powers = (energy[ends] - energy[starts]) / np.maximum(ends - starts, 1)
    loud = powers[powers > _power(_ABSOLUTE_LUFS)]
    if not len(loud):
        return -np.inf
    loud = loud[loud > loud.mean() * 10 ** (_RELATIVE_LU / 10)]
    return float(_OFFSET_LUFS + 10 * np.log10(loud.mean()))


def gain_for(sound: Floats, rate_hz: int) -> float:
    """The factor that brings a sample of a voice to TARGET_LUFS; 1.0 for silence."""
    lufs = loudness_lufs(sound, rate_hz)
    if not np.isfinite(lufs):
        return 1.0
    gain_db = min(max(TARGET_LUFS - lufs, MIN_GAIN_DB), MAX_GAIN_DB)
    return float(10 ** (gain_db / 20))


def limited(sound: Floats, rate_hz: int) -> Pcm:
    """The sound as 16-bit samples, no sample above CEILING.

    Where it would be, the gain falls within 5 ms and recovers likewise; everything else is left as it is. A
    gain per block of 1 ms is the least that the blocks around need, so that its moving average, drawn as a
    line from block to block, never exceeds what the block itself needs.

    Args:
        sound: Full scale +-1, shape (n_samples,); may exceed it.
        rate_hz: Its rate.
    """
    if len(sound) and np.abs(sound).max() > CEILING:
        sound = sound * _limiter_gain(sound, max(1, rate_hz // 1000))
    return np.rint(np.clip(sound, -CEILING, CEILING) * 32_767).astype(np.int16)


def _limiter_gain(sound: Floats, block_samples: int, *, reach: int = 5) -> Floats:
    n_blocks = -(-len(sound) // block_samples)
    padded = np.zeros(n_blocks * block_samples)
    padded[: len(sound)] = np.abs(sound)
    needed = np.minimum(1.0, CEILING / np.maximum(padded.reshape(n_blocks, -1).max(axis=1), 1e-9))
    around = np.pad(needed, reach, constant_values=1.0)
    least = np.lib.stride_tricks.sliding_window_view(around, 2 * reach + 1).min(axis=1)
    around = np.pad(least, reach - 1, mode="edge")
    smooth = np.lib.stride_tricks.sliding_window_view(around, 2 * reach - 1).mean(axis=1)
    middles = (np.arange(n_blocks) + 0.5) * block_samples
    gain: Floats = np.interp(np.arange(len(sound)), middles, smooth)
    return gain


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET_LUFS) / 10))
