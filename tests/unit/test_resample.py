"""Is the sound the same at another rate, on time, and without what was not there?"""

from itertools import pairwise, permutations
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.core.audio import Pcm
from voicestack.core.resample import MAX_DELAY_S, Resampler, resample

RATES_HZ = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
PAIRS = list(permutations(RATES_HZ, 2))
AMPLITUDE = 30_000


def tone(hz: float, rate_hz: int, seconds: float = 0.4) -> Pcm:
    t = np.arange(int(rate_hz * seconds)) / rate_hz
    pcm: Pcm = np.rint(AMPLITUDE * np.sin(2 * np.pi * hz * t)).astype(np.int16)
    return pcm


def level_db(samples: np.ndarray) -> float:
    """RMS relative to the test tone."""
    return float(20 * np.log10(np.sqrt(np.mean(samples.astype(float) ** 2)) * np.sqrt(2) / AMPLITUDE + 1e-9))


def noise(n_samples: int, seed: int = 0) -> Pcm:
    return np.random.default_rng(seed).integers(-32768, 32768, n_samples).astype(np.int16)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PAIRS), st.integers(0, 3000), st.data())
def test_however_the_input_is_cut_the_output_is_bit_identical(
    pair: tuple[int, int], n_samples: int, data: st.DataObject
) -> None:
    pcm = noise(n_samples, seed=n_samples)
    whole, pieces = Resampler(*pair), Resampler(*pair)
    cuts = data.draw(st.lists(st.integers(0, n_samples), max_size=12).map(sorted))
    parts = [pieces.push(pcm[a:b]) for a, b in pairwise([0, *cuts, n_samples])]
    np.testing.assert_array_equal(np.concatenate(parts), whole.push(pcm))
    np.testing.assert_array_equal(pieces.flush(), whole.flush())


@pytest.mark.parametrize("pair", PAIRS)
def test_the_length_is_exact_after_every_push(pair: tuple[int, int]) -> None:
    resampler = Resampler(*pair)
    n_in = n_out = 0
    for n in [1, 2, 3, 480, 7, 0, 1000, 160] * 5:
        n_in += n
        n_out += len(resampler.push(np.zeros(n, np.int16)))
        assert n_out == ceil(n_in * pair[1] / pair[0])


@pytest.mark.parametrize("pair", PAIRS)
def test_twenty_ms_in_are_twenty_ms_out(pair: tuple[int, int]) -> None:
    resampler = Resampler(*pair)
    for _ in range(20):
        assert len(resampler.push(np.zeros(pair[0] // 50, np.int16))) == pair[1] // 50


@pytest.mark.parametrize("pair", PAIRS)
def test_the_sound_is_at_most_two_ms_late(pair: tuple[int, int]) -> None:
    from_hz, to_hz = pair
    pcm = np.zeros(from_hz // 10, np.int16)
    at = from_hz // 20
    pcm[at] = 32767
    resampler = Resampler(*pair)
    out = resampler.push(pcm).astype(float)
    centre_s = np.sum(np.arange(len(out)) * out) / np.sum(out) / to_hz  # centroid of a symmetric pulse
    delay_s = resampler.delay_samples / to_hz
    assert centre_s - at / from_hz == pytest.approx(delay_s, abs=0.02 / to_hz)
    assert delay_s <= MAX_DELAY_S == 0.002


def out_of_band_db(pair: tuple[int, int], hz: float) -> float:
    """What comes out that is not the tone itself."""
    from_hz, to_hz = pair
    out = resample(tone(hz, from_hz), *pair)[to_hz // 50 : -to_hz // 50].astype(float)
    angle = 2 * np.pi * hz * (np.arange(len(out)) + to_hz // 50) / to_hz
    if hz >= to_hz / 2:
        return level_db(out)
    waves = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    amplitudes = np.linalg.lstsq(waves, out, rcond=None)[0]
    assert np.hypot(*amplitudes) == pytest.approx(AMPLITUDE, rel=0.002)
    assert abs(np.arctan2(amplitudes[1], amplitudes[0])) < 0.002  # in time, once the delay is taken off
    return level_db(out - waves @ amplitudes)


@pytest.mark.parametrize("pair", PAIRS)
def test_aliases_and_images_are_60_db_down(pair: tuple[int, int]) -> None:
    nyquist_hz = min(pair) / 2
    tones = [300.0, nyquist_hz / 2, nyquist_hz - 1000]
    if pair[1] < pair[0]:
        tones += [float(hz) for hz in np.linspace(nyquist_hz, pair[0] / 2 - 1, 12)]
    assert max(out_of_band_db(pair, hz) for hz in tones) < -60


def test_equal_rates_change_nothing() -> None:
    pcm = noise(480)
    resampler = Resampler(24_000, 24_000)
    assert resampler.push(pcm) is pcm
    assert len(resampler.flush()) == resampler.delay_samples == 0


@pytest.mark.parametrize("pair", [(24_000, 16_000), (22_050, 24_000), (8_000, 16_000)])
def test_full_scale_does_not_wrap_around(pair: tuple[int, int]) -> None:
    square = np.where(np.arange(2000) // 50 % 2 == 0, 32767, -32768).astype(np.int16)
    out = resample(square, *pair).astype(int)
    halves = np.arange(len(out)) * pair[0] // pair[1] // 50 % 2
    assert np.mean((out < 0) == (halves == 1)) > 0.97
    assert (out.max(), out.min()) == (32767, -32768)


def test_flush_gives_the_rest_and_begins_anew() -> None:
    resampler = Resampler(24_000, 16_000)
    first = np.concatenate([resampler.push(noise(1001)), resampler.flush()])
    again = np.concatenate([resampler.push(noise(1001)), resampler.flush()])
    np.testing.assert_array_equal(first, again)
    assert len(first) == ceil(1001 * 2 / 3) + resampler.delay_samples


def test_a_long_recording_is_the_same_as_its_frames() -> None:
    pcm = noise(60_000)
    resampler = Resampler(24_000, 16_000)
    frames = [resampler.push(pcm[at : at + 480]) for at in range(0, len(pcm), 480)]
    whole = np.concatenate([*frames, resampler.flush()])
    np.testing.assert_array_equal(resample(pcm, 24_000, 16_000), whole[resampler.delay_samples :])
