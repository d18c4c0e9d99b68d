import struct

import numpy as np
import pytest
from numpy.typing import NDArray

from voicestack.cli.waveform import (
    BadWav,
    decode_wav,
    encode_wav,
    first_audible,
    last_audible,
    resample,
    stereo,
)
from voicestack.core.audio import Pcm

RATE_HZ = 24_000


def tone(n_samples: int, rate_hz: int = RATE_HZ, hz: float = 440.0, dbfs: float = -12.0) -> Pcm:
    level = 32767 * 10 ** (dbfs / 20) * np.sqrt(2)
    wave: NDArray[np.float64] = level * np.sin(2 * np.pi * hz * np.arange(n_samples) / rate_hz)
    return wave.astype(np.int16)


def square(n_samples: int, level: int = 5000) -> Pcm:
    return np.where(np.arange(n_samples) // 20 % 2 == 0, level, -level).astype(np.int16)


def placed(sound: Pcm, start: int, n_samples: int) -> Pcm:
    out = np.zeros(n_samples, dtype=np.int16)
    out[start : start + len(sound)] = sound
    return out


@pytest.mark.parametrize("start", [0, 1, 239, 240, 4801, 11_000])
def test_the_bounds_of_a_sound_are_found_to_the_sample(start: int) -> None:
    pcm = placed(square(4800), start, 24_000)
    assert first_audible(pcm, RATE_HZ) == start
    assert last_audible(pcm, RATE_HZ) == start + 4799


def test_silence_and_faint_noise_are_not_audible() -> None:
    faint = tone(24_000, dbfs=-46.0)
    for pcm in (np.zeros(24_000, dtype=np.int16), faint, faint[:0]):
        assert first_audible(pcm, RATE_HZ) is None
        assert last_audible(pcm, RATE_HZ) is None


def test_just_above_the_threshold_is_audible() -> None:
    assert first_audible(tone(24_000, dbfs=-44.0), RATE_HZ) is not None


def test_a_click_is_no_beginning_but_may_be_an_end() -> None:
    pcm = placed(square(240, 20_000), 2400, 24_000) + placed(square(4800), 12_000, 24_000)
    assert first_audible(pcm, RATE_HZ) == 12_000
    only_click = placed(square(240, 20_000), 2400, 24_000)
    assert first_audible(only_click, RATE_HZ) is None
    assert last_audible(only_click, RATE_HZ) == 2639


def test_sound_up_to_the_last_sample_of_an_odd_length() -> None:
    pcm = placed(square(1007), 24_000 - 1007 + 13, 24_013)[:24_013]
    assert last_audible(pcm, RATE_HZ) == 24_012


@pytest.mark.parametrize("from_hz", [8000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_resampling_keeps_length_pitch_level_and_place(from_hz: int) -> None:
    n_samples = from_hz  # a second
    source = placed(tone(n_samples // 2, from_hz, dbfs=-18.0), n_samples // 5, n_samples)
    out = resample(source, from_hz, RATE_HZ)
    assert len(out) == RATE_HZ
    wanted = placed(tone(RATE_HZ // 2, dbfs=-18.0), RATE_HZ // 5, RATE_HZ)
    middle = slice(RATE_HZ // 3, RATE_HZ // 3 * 2)  # away from the edges, where the band limit rings
    error = out[middle].astype(float) - wanted[middle]
    assert np.sqrt((error**2).mean()) < 0.003 * np.sqrt((wanted[middle].astype(float) ** 2).mean())


def test_resampling_removes_what_the_lower_rate_cannot_carry() -> None:
    out = resample(tone(48_000, 48_000, hz=15_000.0), 48_000, 16_000)
    assert np.abs(out[1000:-1000]).max() < 33  # 60 dB below


def test_resampling_to_the_same_rate_is_a_copy() -> None:
    source = tone(100)
    out = resample(source, RATE_HZ, RATE_HZ)
    assert np.array_equal(out, source)
    assert out is not source


def wav(kind: int, n_channels: int, rate_hz: int, n_bits: int, body: bytes, extra: bytes = b"") -> bytes:
    block = n_channels * n_bits // 8
    fmt = struct.pack("<HHIIHH", kind, n_channels, rate_hz, rate_hz * block, block, n_bits) + extra
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt
    chunks += b"LIST" + struct.pack("<I", 3) + b"abc\0"  # an odd chunk is padded
    chunks += b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


SAMPLES: NDArray[np.int64] = np.array([0, 256, -256, 32_512, -32_768])


@pytest.mark.parametrize(
    "data",
    [
        wav(1, 1, 16_000, 16, SAMPLES.astype("<i2").tobytes()),
        wav(1, 1, 16_000, 8, (SAMPLES // 256 + 128).astype(np.uint8).tobytes()),
        wav(1, 1, 16_000, 24, b"".join(int(s * 256).to_bytes(3, "little", signed=True) for s in SAMPLES)),
        wav(1, 1, 16_000, 32, (SAMPLES * 65536).astype("<i4").tobytes()),
        wav(3, 1, 16_000, 32, (SAMPLES / 32767).astype("<f4").tobytes()),
        wav(3, 1, 16_000, 64, (SAMPLES / 32767).astype("<f8").tobytes()),
        wav(
            0xFFFE,
            1,
            16_000,
            16,
            SAMPLES.astype("<i2").tobytes(),
            struct.pack("<HHIH", 22, 16, 4, 1) + bytes(14),
        ),
        wav(1, 2, 16_000, 16, np.repeat(SAMPLES, 2).astype("<i2").tobytes()),
    ],
    ids=["16", "8", "24", "32", "float32", "float64", "extensible", "stereo"],
)
def test_every_width_is_read(data: bytes) -> None:
    sound = decode_wav(data)
    assert sound.rate_hz == 16_000
    assert sound.pcm.tolist() == SAMPLES.tolist()


def test_channels_are_averaged() -> None:
    body = np.array([100, 300, -100, 100], dtype="<i2").tobytes()
    assert decode_wav(wav(1, 2, 8000, 16, body)).pcm.tolist() == [200, 0]


def test_what_is_written_can_be_read() -> None:
    left, right = tone(1000), square(700)
    both = decode_wav(encode_wav(stereo(left, right), RATE_HZ))
    assert both.rate_hz == RATE_HZ
    assert len(both.pcm) == 1000
    assert decode_wav(encode_wav(left, RATE_HZ)).pcm.tolist() == left.tolist()
    assert stereo(left, right)[700:, 1].tolist() == [0] * 300


def test_a_recording_that_was_cut_off_gives_what_is_there() -> None:
    data = encode_wav(tone(1000), RATE_HZ)
    assert len(decode_wav(data[:-501]).pcm) == 749


NAN = wav(3, 1, 16_000, 32, np.array([np.nan, np.inf, -np.inf], dtype="<f4").tobytes())


def test_floats_that_are_no_numbers_do_no_harm() -> None:
    assert decode_wav(NAN).pcm.tolist() == [0, 32767, -32767]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "RIFF"),
        (b"hello, I am a text file", "RIFF"),
        (b"RIFF\0\0\0\0WAVE", "format"),
        (wav(1, 1, 16_000, 16, b""), "no sound"),
        (wav(1, 1, 16_000, 16, b"\0"), "no sound"),
        (wav(1, 0, 16_000, 16, b"\0\0"), "0 channels"),
        (wav(1, 1, 0, 16, b"\0\0"), "0 Hz"),
        (wav(7, 1, 8000, 8, b"\0\0"), "compressed"),
        (wav(1, 1, 8000, 12, b"\0\0"), "12 bits"),
        (wav(3, 1, 8000, 16, b"\0\0"), "16 bits"),
        (wav(1, 1, 8000, 0, b"\0\0"), "0 bits"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadWav, match=reason):
        decode_wav(data)
