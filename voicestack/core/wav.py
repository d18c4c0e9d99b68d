"""What is in a WAV file, and how does one begin whose end is not known yet?

PCM of 8, 16, 24 and 32 bits, floats of 32 and 64 bits, A-law and mu-law, any number of channels. The standard
library's `wave` reads neither floats nor G.711, and trusts sizes that a program that streams cannot know.
"""

import struct
from dataclasses import dataclass

import numpy as np

from voicestack.core.audio import Pcm
from voicestack.core.errors import PeerProtocolError
from voicestack.core.g711 import decode_a_law, decode_mu_law

_PCM, _FLOAT, _A_LAW, _MU_LAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
"""WAVE format tags (RFC 2361, mmreg.h)."""

UNKNOWN_BYTES = 0xFFFFFFFF
"""What programs that write to a pipe put where a size belongs."""

MAX_CHANNELS = 64

_FORMAT = struct.Struct("<HHIIHH")
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")


@dataclass(frozen=True, slots=True)
class WavSound:
    """Where the samples of a WAV file are, and how they are written.

    Attributes:
        rate_hz: Sample rate, as the file says.
        n_channels: 1..MAX_CHANNELS.
        coding: How one sample is written: "u8", "s16", "s24", "s32", "f32", "f64", "a_law" or "mu_law".
        start_bytes: Where the samples begin in the file.
        end_bytes: Where they end; only whole sample frames lie between.
    """

    rate_hz: int
    n_channels: int
    coding: str
    start_bytes: int
    end_bytes: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return _WIDTHS[self.coding] * self.n_channels

    @property
    def n_samples(self) -> int:
        """Samples of one channel."""
        return (self.end_bytes - self.start_bytes) // self.frame_bytes

    def mono(self, block: bytes | memoryview) -> Pcm:
        """The samples in a block of whole sample frames, the channels averaged."""
        samples = _decode(self.coding, np.frombuffer(block, np.uint8))
        if self.n_channels > 1:
            samples = samples.reshape(-1, self.n_channels).mean(axis=1)
        mono: Pcm = np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
        return mono


_CODINGS = {
    (_PCM, 8): "u8",
    (_PCM, 16): "s16",
    (_PCM, 24): "s24",
    (_PCM, 32): "s32",
    (_FLOAT, 32): "f32",
    (_FLOAT, 64): "f64",
    (_A_LAW, 8): "a_law",
    (_MU_LAW, 8): "mu_law",
}
_WIDTHS = {coding: bits // 8 for (_, bits), coding in _CODINGS.items()}


def is_wav(head: bytes | memoryview) -> bool:
    """Whether a file that begins so says that it is a WAV file."""
    return bytes(head[:4]) == b"RIFF" and bytes(head[8:12]) == b"WAVE"


def find_sound(file: bytes | memoryview) -> WavSound:
    """Find the samples of a whole WAV file. Sizes that are unknown or too large mean "to the end".

    Raises:
        PeerProtocolError: it is no WAV file, or its samples are written in some other way
            (`invalid_audio`).
    """
    if not is_wav(file):
        raise _invalid("it does not begin like one")
    fields: tuple[int, int, int] | None = None
    at = 12
    while at + 8 <= len(file):
        name, n_bytes = bytes(file[at : at + 4]), int.from_bytes(file[at + 4 : at + 8], "little")
        at += 8
        if name == b"fmt ":
            fields = _fields(bytes(file[at : at + min(n_bytes, 40)]))
        elif name == b"data":
            if fields is None:
                raise _invalid("its samples come before their description")
            return _sound(fields, at, n_bytes, len(file))
        at += n_bytes + n_bytes % 2
    raise _invalid("it holds no samples")


def stream_header(rate_hz: int) -> bytes:
    """The 44 bytes that begin a WAV file of 16-bit mono samples whose length is not known."""
    return _header(rate_hz, UNKNOWN_BYTES, UNKNOWN_BYTES)


def wav_file(pcm: Pcm, rate_hz: int) -> bytes:
    """A whole WAV file of 16-bit mono samples."""
    data = pcm.astype("<i2", copy=False).tobytes()
    return _header(rate_hz, _HEADER.size - 8 + len(data), len(data)) + data


def _header(rate_hz: int, n_file_bytes: int, n_data_bytes: int) -> bytes:
    description = (16, _PCM, 1, rate_hz, rate_hz * 2, 2, 16)
    return _HEADER.pack(b"RIFF", n_file_bytes, b"WAVE", b"fmt ", *description, b"data", n_data_bytes)


def _fields(chunk: bytes) -> tuple[int, int, int]:
    """Format tag with bits, channels and rate, of a `fmt ` chunk, as (tag << 8 | bits, channels, rate)."""
    if len(chunk) < _FORMAT.size:
        raise _invalid("its description is too short")
    tag, n_channels, rate_hz, _, _, n_bits = _FORMAT.unpack_from(chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        tag = int.from_bytes(chunk[24:26], "little")
    return tag << 8 | n_bits & 0xFF, n_channels, rate_hz


def _sound(fields: tuple[int, int, int], start_bytes: int, n_bytes: int, file_bytes: int) -> WavSound:
    kind, n_channels, rate_hz = fields
    coding = _CODINGS.get((kind >> 8, kind & 0xFF))
    if coding is None:
        raise _invalid(f"its samples have format {kind >> 8} with {kind & 0xFF} bits")
    if not 1 <= n_channels <= MAX_CHANNELS or rate_hz == 0:
        raise _invalid(f"it has {n_channels} channels at {rate_hz} Hz")
    there = file_bytes - start_bytes
    wanted = there if n_bytes in (0, UNKNOWN_BYTES) else min(n_bytes, there)
    whole = wanted - wanted % (_WIDTHS[coding] * n_channels)
    return WavSound(rate_hz, n_channels, coding, start_bytes, start_bytes + whole)


def _decode(
    coding: str, data: np.ndarray[tuple[int], np.dtype[np.uint8]]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Samples as floats of 16-bit scale."""
    match coding:
        case "u8":
            return (data.astype(np.float64) - 128) * 256
        case "s16":
            return data.view("<i2").astype(np.float64)
        case "s24":
            parts = data.reshape(-1, 3).astype(np.int32)
            value = parts[:, 0] << 8 | parts[:, 1] << 16 | parts[:, 2] << 24  # the sign is the top bit of 32
            return value.astype(np.float64) / 65536
        case "s32":
            return data.view("<i4").astype(np.float64) / 65536
        case "a_law":
            return decode_a_law(data).astype(np.float64)
        case "mu_law":
            return decode_mu_law(data).astype(np.float64)
        case _:
            floats = data.view("<f4" if coding == "f32" else "<f8").astype(np.float64)
            return np.nan_to_num(np.clip(floats, -1.0, 1.0)) * 32767


def _invalid(why: str) -> PeerProtocolError:
    return PeerProtocolError(f"The WAV file cannot be read: {why}.", code="invalid_audio", param="file")
