"""What does a telephone network make of a sample? ITU-T G.711 mu-law and A-law, by table.

The tables follow the reference implementation in ITU-T G.191 (Software Tool Library), to the bit.
"""

import numpy as np
from numpy.typing import NDArray

from voicestack.core.audio import Pcm

Codes = NDArray[np.uint8]
"""G.711 bytes, shape (n_samples,)."""

_ALL_SAMPLES = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int64)
"""Every sample, in the order of its bits read as an unsigned number."""

_ALL_CODES = np.arange(256)


def _log2(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The position of the highest set bit; exact for 1 .. 2**53."""
    return np.frexp(values)[1].astype(np.int64) - 1


def _magnitude(n_bits: int) -> NDArray[np.int64]:
    """The `n_bits` high bits of all samples without their sign; the reference complements negative ones."""
    return np.where(_ALL_SAMPLES < 0, ~_ALL_SAMPLES, _ALL_SAMPLES) >> (16 - n_bits)


def _make_mu_law_codes() -> Codes:
    biased = np.minimum(_magnitude(14) + 33, 8191)
    segment = _log2(biased) - 5
    code = (segment << 4) | ((biased >> (segment + 1)) & 15)
    codes: Codes = (~code & 0x7F | np.where(_ALL_SAMPLES < 0, 0, 0x80)).astype(np.uint8)
    return codes


def _make_mu_law_samples() -> Pcm:
    code = ~_ALL_CODES & 0x7F
    magnitude = ((((code & 15) * 2 + 33) << (code >> 4)) - 33) << 2
    samples: Pcm = np.where(_ALL_CODES & 0x80, magnitude, -magnitude).astype(np.int16)
    return samples


def _make_a_law_codes() -> Codes:
    magnitude = _magnitude(12)
    segment = np.maximum(_log2(np.maximum(magnitude, 1)) - 3, 0)
    code = (segment << 4) | ((magnitude >> np.maximum(segment - 1, 0)) & 15)
    codes: Codes = ((code | np.where(_ALL_SAMPLES < 0, 0, 0x80)) ^ 0x55).astype(np.uint8)
    return codes


def _make_a_law_samples() -> Pcm:
    code = (_ALL_CODES ^ 0x55) & 0x7F
    segment = code >> 4
    mantissa = (code & 15) * 2 + 1 + np.where(segment > 0, 32, 0)
    magnitude = (mantissa << np.maximum(segment - 1, 0)) << 3
    samples: Pcm = np.where(_ALL_CODES & 0x80, magnitude, -magnitude).astype(np.int16)
    return samples


_MU_LAW_CODES, _MU_LAW_SAMPLES = _make_mu_law_codes(), _make_mu_law_samples()
_A_LAW_CODES, _A_LAW_SAMPLES = _make_a_law_codes(), _make_a_law_samples()


def encode_mu_law(pcm: Pcm) -> Codes:
    """Samples to mu-law (PCMU), one byte a sample. 14 bits count; beyond +-32635 it clips."""
    return _MU_LAW_CODES.take(pcm.view(np.uint16))


def decode_mu_law(codes: Codes) -> Pcm:
    """Mu-law (PCMU) to samples, the middle of each interval, at most +-32124."""
    return _MU_LAW_SAMPLES.take(codes)


def encode_a_law(pcm: Pcm) -> Codes:
    """Samples to A-law (PCMA), one byte a sample. 12 bits and the sign count."""
    return _A_LAW_CODES.take(pcm.view(np.uint16))


def decode_a_law(codes: Codes) -> Pcm:
    """A-law (PCMA) to samples, the middle of each interval, at most +-32256."""
    return _A_LAW_SAMPLES.take(codes)
