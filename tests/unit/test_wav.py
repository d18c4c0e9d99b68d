"""Are WAV files read as they were written, by whatever program?"""

import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestack.core.audio import Pcm
from voicestack.core.errors import PeerProtocolError
from voicestack.core.g711 import encode_a_law, encode_mu_law
from voicestack.core.wav import UNKNOWN_BYTES, find_sound, is_wav, stream_header

TONE: Pcm = np.rint(12000 * np.sin(np.arange(800) / 5)).astype(np.int16)


def chunk(name: bytes, data: bytes, n_bytes: int | None = None) -> bytes:
    padding = b"\0" * (len(data) % 2)
    return name + struct.pack("<I", len(data) if n_bytes is None else n_bytes) + data + padding


def wav(tag: int, n_bits: int, data: bytes, *, channels: int = 1, rate: int = 8000, **how: object) -> bytes:
    width = n_bits // 8 * channels
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * width, width, n_bits)
    if how.get("extensible"):
        guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
        fmt = struct.pack("<H", 0xFFFE) + fmt[2:] + struct.pack("<HHI", 22, n_bits, 0) + guid
    size = how.get("data_bytes")
    body = chunk(b"fmt ", fmt) + chunk(b"LIST", b"odd") + chunk(b"data", data, size)  # type: ignore[arg-type]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def read(file: bytes) -> Pcm:
    sound = find_sound(file)
    return sound.mono(file[sound.start_bytes : sound.end_bytes])


def s24(pcm: Pcm) -> bytes:
    return b"".join((int(sample) * 256).to_bytes(3, "little", signed=True) for sample in pcm)


EXACT = {
    "s16": wav(1, 16, TONE.astype("<i2").tobytes()),
    "s24": wav(1, 24, s24(TONE)),
    "s32": wav(1, 32, (TONE.astype("<i4") * 65536).tobytes()),
    "f32": wav(3, 32, (TONE / 32767).astype("<f4").tobytes()),
    "f64": wav(3, 64, (TONE / 32767).astype("<f8").tobytes()),
    "extensible": wav(1, 16, TONE.astype("<i2").tobytes(), extensible=True),
    "extensible float": wav(3, 32, (TONE / 32767).astype("<f4").tobytes(), extensible=True),
    "length unknown": wav(1, 16, TONE.astype("<i2").tobytes(), data_bytes=UNKNOWN_BYTES),
    "length never filled in": wav(1, 16, TONE.astype("<i2").tobytes(), data_bytes=0),
    "cut off": wav(1, 16, TONE.astype("<i2").tobytes(), data_bytes=1_000_000),
    "half a sample too much": wav(1, 16, TONE.astype("<i2").tobytes() + b"\1", data_bytes=UNKNOWN_BYTES)[:-1],
}


@pytest.mark.parametrize("name", EXACT)
def test_samples_are_exact(name: str) -> None:
    assert np.array_equal(read(EXACT[name]), TONE)


@pytest.mark.parametrize(
    ("tag", "data", "most"),
    [
        (6, encode_a_law(TONE).tobytes(), 260),
        (7, encode_mu_law(TONE).tobytes(), 260),
        (1, ((TONE.astype(np.int32) >> 8) + 128).astype(np.uint8).tobytes(), 256),
    ],
)
def test_eight_bits_are_as_good_as_they_can_be(tag: int, data: bytes, most: int) -> None:
    assert np.abs(read(wav(tag, 8, data)).astype(int) - TONE).max() <= most


def test_channels_are_averaged() -> None:
    stereo = np.stack([TONE, -TONE, np.full_like(TONE, 300)], axis=1).astype("<i2").tobytes()
    assert np.array_equal(read(wav(1, 16, stereo, channels=3)), np.full_like(TONE, 100))


@given(st.binary(max_size=400).map(lambda data: data[: len(data) // 4 * 4]), st.sampled_from([1, 2]))
def test_what_the_standard_library_writes_is_read(data: bytes, channels: int) -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, 2, 44_100, 0, "NONE", ""))
        writer.writeframes(data)
    sound = find_sound(file.getvalue())
    assert (sound.rate_hz, sound.n_channels) == (44_100, channels)
    assert sound.n_samples == len(data) // 2 // channels
    expected = np.frombuffer(data, "<i2").reshape(-1, channels).mean(axis=1)
    assert np.array_equal(read(file.getvalue()), np.rint(expected))


def test_a_stream_header_is_read_by_others_and_by_us() -> None:
    file = stream_header(24_000) + TONE.astype("<i2").tobytes()
    assert np.array_equal(read(file), TONE)
    assert find_sound(file).rate_hz == 24_000
    with wave.open(io.BytesIO(file)) as reader:
        assert (reader.getframerate(), reader.getnchannels(), reader.getsampwidth()) == (24_000, 1, 2)
        assert reader.readframes(len(TONE)) == TONE.astype("<i2").tobytes()


BAD = {
    "nothing": b"",
    "something else": b"OggS" + bytes(40),
    "no samples": wav(1, 16, b"")[:44],
    "no description": b"RIFF\0\0\0\0WAVE" + chunk(b"data", b"abcd"),
    "a short description": b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", b"\1\0") + chunk(b"data", b"abcd"),
    "12 bits": wav(1, 12, b"abcd"),
    "ADPCM": wav(2, 4, b"abcd"),
    "no channels": wav(1, 16, b"abcd", channels=0),
    "a thousand channels": wav(1, 16, b"abcd", channels=1000),
    "no rate": wav(1, 16, b"abcd", rate=0),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_says_so(name: str) -> None:
    with pytest.raises(PeerProtocolError) as raised:
        find_sound(BAD[name])
    assert (raised.value.wire_code, raised.value.param) == ("invalid_audio", "file")


@given(st.binary(max_size=200), st.integers(0, 60))
def test_no_file_breaks_the_reader(noise: bytes, at: int) -> None:
    file = EXACT["s24"][:at] + noise + EXACT["s24"][at + len(noise) :]
    try:
        sound = find_sound(file)
    except PeerProtocolError:
        return
    assert is_wav(file)
    assert 0 <= sound.start_bytes <= sound.end_bytes <= len(file)
    assert len(sound.mono(file[sound.start_bytes : sound.end_bytes])) == sound.n_samples


def test_floats_beyond_full_scale_clip_and_nonsense_is_silence() -> None:
    data = np.array([2.0, -2.0, np.nan, np.inf], "<f4").tobytes()
    assert read(wav(3, 32, data)).tolist() == [32767, -32767, 0, 32767]
