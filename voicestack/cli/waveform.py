"""Where in a recording can a listener hear something? And what a WAV file says.

Audible means: the RMS of a 10 ms window is above -45 dBFS (0 dBFS is full scale, 32768), the measure of the
latency bench. One window is enough for the end of speech; a beginning takes three in a row, so that a click
is not an answer. Inside the deciding window the first (last) sample above the same level is reported, so that
the result is not rounded to the window grid.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicestack.core.audio import Pcm

AUDIBLE_DBFS = -45.0
WINDOW_MS = 10
N_ONSET_WINDOWS = 3
"""Windows in a row that make a beginning."""

_AUDIBLE = 32768.0 * 10 ** (AUDIBLE_DBFS / 20)
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_RESAMPLE_MARGIN_S = 0.05


class BadWav(ValueError):
    """The bytes are not a WAV file that can be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A recording: mono int16, shape (n_samples,), and its rate."""

    pcm: Pcm
    rate_hz: int

    @property
    def duration_ms(self) -> float:
        """How long it lasts."""
        return len(self.pcm) * 1000 / self.rate_hz


def _audible_windows(pcm: Pcm, rate_hz: int) -> tuple[NDArray[np.bool_], int]:
    """One flag per 10 ms window (the last one filled up with silence), and the window's length in samples."""
    n_window = rate_hz * WINDOW_MS // 1000
    padded = np.zeros(-(-len(pcm) // n_window) * n_window, dtype=np.float64)
    padded[: len(pcm)] = pcm
    power = (padded.reshape(-1, n_window) ** 2).mean(axis=1)
    return power > _AUDIBLE**2, n_window


def first_audible(pcm: Pcm, rate_hz: int) -> int | None:
    """Index of the first sample that a listener would notice, None when there is none."""
    loud, n_window = _audible_windows(pcm, rate_hz)
    if len(loud) < N_ONSET_WINDOWS:
        return None
    runs = np.convolve(loud.astype(np.int64), np.ones(N_ONSET_WINDOWS, dtype=np.int64), mode="valid")
    onsets = np.flatnonzero(runs == N_ONSET_WINDOWS)
    if not len(onsets):
        return None
    start = int(onsets[0]) * n_window
    window = np.abs(pcm[start : start + n_window].astype(np.int32))
    return start + int(np.flatnonzero(window > _AUDIBLE)[0])


def last_audible(pcm: Pcm, rate_hz: int) -> int | None:
    """Index of the last sample that a listener would notice, None when there is none."""
    loud, n_window = _audible_windows(pcm, rate_hz)
    ends = np.flatnonzero(loud)
    if not len(ends):
        return None
    start = int(ends[-1]) * n_window
    window = np.abs(pcm[start : start + n_window].astype(np.int32))
    return start + int(np.flatnonzero(window > _AUDIBLE)[-1])


def stereo(left: Pcm, right: Pcm) -> NDArray[np.int16]:
    """Two voices on one clock, shape (n_samples, 2); the shorter one ends in silence."""
    both = np.zeros((max(len(left), len(right)), 2), dtype=np.int16)
    both[: len(left), 0] = left
    both[: len(right), 1] = right
    return both


def resample(pcm: Pcm, from_hz: int, to_hz: int) -> Pcm:
    """A whole recording at another rate: band-limited by FFT, no delay, `round(n * to / from)` samples.

    The recording is set in silence first, because the FFT takes it for periodic. Any pair of rates works.
    """
    if from_hz == to_hz or not len(pcm):
        return pcm.copy()
    step = math.gcd(from_hz, to_hz)
    n_margin = round(from_hz * _RESAMPLE_MARGIN_S)
    n_blocks = -(-(len(pcm) + n_margin) // (from_hz // step))
    n_from, n_to = n_blocks * (from_hz // step), n_blocks * (to_hz // step)
    spectrum = np.fft.rfft(pcm.astype(np.float64), n_from)
    out = np.fft.irfft(spectrum[: n_to // 2 + 1], n_to) * (n_to / n_from)
    wanted = out[: round(len(pcm) * to_hz / from_hz)]
    return np.clip(np.rint(wanted), -32768, 32767).astype(np.int16)


def encode_wav(pcm: NDArray[np.int16], rate_hz: int) -> bytes:
    """A 16-bit PCM WAV file; `pcm` has shape (n_samples,) or (n_samples, n_channels)."""
    n_channels = 1 if pcm.ndim == 1 else pcm.shape[1]
    data = pcm.astype("<i2").tobytes()
    fmt = struct.pack("<HHIIHH", _PCM, n_channels, rate_hz, rate_hz * n_channels * 2, n_channels * 2, 16)
    return b"RIFF%sWAVEfmt %s%sdata%s%s" % (
        struct.pack("<I", 36 + len(data)),
        struct.pack("<I", len(fmt)),
        fmt,
        struct.pack("<I", len(data)),
        data,
    )


def decode_wav(data: bytes) -> Sound:
    """Read a WAV file: PCM of 8, 16, 24 or 32 bits or float of 32 or 64, any rate; channels are averaged.

    A data chunk that promises more than there is (a recording that was cut off) gives what is there.

    Raises:
        BadWav: it is something else, or holds no sound.
    """
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise BadWav("not a WAV file (no RIFF/WAVE header)")
    chunks = _chunks(data)
    fmt, body = chunks.get(b"fmt "), chunks.get(b"data")
    if fmt is None or len(fmt) < 16:
        raise BadWav("the WAV file has no format chunk")
    if not body:
        raise BadWav("the WAV file holds no sound")
    kind, n_channels, rate_hz, _, _, n_bits = struct.unpack_from("<HHIIHH", fmt)
    if kind == _EXTENSIBLE and len(fmt) >= 26:
        kind = struct.unpack_from("<H", fmt, 24)[0]
    if not n_channels or not 1000 <= rate_hz <= 768_000:
        raise BadWav(f"the WAV file claims {n_channels} channels at {rate_hz} Hz")
    samples = _samples(body, kind, n_bits)
    n_frames = len(samples) // n_channels
    if not n_frames:
        raise BadWav("the WAV file holds no sound")
    mono = samples[: n_frames * n_channels].reshape(n_frames, n_channels).mean(axis=1)
    return Sound(np.clip(np.rint(mono), -32768, 32767).astype(np.int16), rate_hz)


def _chunks(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        name, n_bytes = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        found.setdefault(name, data[at + 8 : at + 8 + n_bytes])
        at += 8 + n_bytes + n_bytes % 2
    return found


def _samples(body: bytes, kind: int, n_bits: int) -> NDArray[np.float64]:
    """All channels interleaved, scaled to the range of int16."""
    n_bytes = n_bits // 8
    whole = body[: len(body) // n_bytes * n_bytes] if n_bytes else b""
    if kind == _FLOAT and n_bits in (32, 64):
        floats = np.frombuffer(whole, dtype=f"<f{n_bytes}").astype(np.float64)
        return np.nan_to_num(floats, nan=0.0, posinf=1.0, neginf=-1.0) * 32767.0
    if kind != _PCM or n_bits not in (8, 16, 24, 32):
        raise BadWav(f"the WAV file is compressed (format {kind}, {n_bits} bits); convert it to PCM")
    if n_bits == 8:
        return (np.frombuffer(whole, dtype=np.uint8).astype(np.float64) - 128.0) * 256.0
    if n_bits == 24:
        wide = np.zeros((len(whole) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(whole, dtype=np.uint8).reshape(-1, 3)
        return wide.reshape(-1).view("<i4").astype(np.float64) / 65536.0
    scale = 1.0 if n_bits == 16 else 65536.0
    return np.frombuffer(whole, dtype=f"<i{n_bytes}").astype(np.float64) / scale
