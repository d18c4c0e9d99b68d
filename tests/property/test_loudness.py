"""Is loudness that of BS.1770, and does the limiter keep every sample below its ceiling?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.engines.loudness import CEILING, TARGET_LUFS, Floats, gain_for, limited, loudness_lufs


def tone(frequency_hz: float, rate_hz: int, *, amplitude: float = 1.0, duration_s: float = 2.0) -> Floats:
    return amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(int(duration_s * rate_hz)) / rate_hz)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 48_000])
def test_a_full_scale_tone_of_997_hz_has_minus_three_lufs(rate_hz: int) -> None:
    """BS.1770-5, annex 1: 0 dBFS at 997 Hz in one channel is -3.01 LKFS."""
    assert loudness_lufs(tone(997, rate_hz), rate_hz) == pytest.approx(-3.01, abs=0.05)
    assert loudness_lufs(tone(997, rate_hz, amplitude=0.1), rate_hz) == pytest.approx(-23.01, abs=0.05)


def test_it_is_weighted_like_the_ear() -> None:
    loud = {hz: loudness_lufs(tone(hz, 48_000), 48_000) + 3.01 for hz in (30, 100, 997, 4_000, 10_000)}
    assert loud[30] < -4 < loud[100] < -0.5  # the high-pass
    assert loud[4_000] == pytest.approx(3.3, abs=0.3)  # the shelf
    assert loud[10_000] == pytest.approx(3.3, abs=0.3)


def test_pauses_do_not_count() -> None:
    said = tone(997, 16_000, amplitude=0.1)
    with_pauses = np.concatenate([np.zeros(48_000), said, np.zeros(48_000)])
    assert loudness_lufs(with_pauses, 16_000) == pytest.approx(loudness_lufs(said, 16_000), abs=0.8)


def test_silence_and_clicks_are_left_alone() -> None:
    assert loudness_lufs(np.zeros(16_000), 16_000) == -np.inf
    assert gain_for(np.zeros(16_000), 16_000) == 1.0
    assert gain_for(np.zeros(0), 16_000) == 1.0
    assert gain_for(tone(997, 16_000, amplitude=1e-3), 16_000) == pytest.approx(10.0)  # 20 dB at most


@given(st.floats(0.02, 0.9), st.floats(150, 3_000), st.sampled_from([16_000, 22_050]))
@settings(max_examples=40, deadline=None)
def test_the_gain_makes_every_voice_as_loud(amplitude: float, frequency_hz: float, rate_hz: int) -> None:
    sound = tone(frequency_hz, rate_hz, amplitude=amplitude)
    assert loudness_lufs(sound * gain_for(sound, rate_hz), rate_hz) == pytest.approx(TARGET_LUFS, abs=0.01)


@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(1, 900)), max_size=12),
    st.sampled_from([8_000, 16_000, 22_050]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_no_sample_is_above_the_ceiling(parts: list[tuple[float, int]], rate_hz: int, seed: int) -> None:
    """However loud and sudden; and the clip behind the limiter has nothing to do."""
    rng = np.random.default_rng(seed)
    sound = np.concatenate([np.zeros(0), *(level * rng.uniform(-1, 1, n) for level, n in parts)])
    out = limited(sound, rate_hz)
    assert len(out) == len(sound)
    assert np.abs(out.astype(np.int32)).max(initial=0) <= round(CEILING * 32_767)
    clipped = np.abs(out.astype(np.int32)) >= round(CEILING * 32_767)
    assert clipped.sum() <= 0.02 * len(out) + 2 * len(parts)  # it is turned down, not cut off


@given(st.floats(0.0, 0.88), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_what_is_not_too_loud_is_left_as_it_is(level: float, seed: int) -> None:
    sound = level * np.random.default_rng(seed).uniform(-1, 1, 3_000)
    assert np.array_equal(limited(sound, 22_050), np.rint(sound * 32_767).astype(np.int16))


def test_a_peak_turns_down_its_surroundings_only() -> None:
    rate_hz = 16_000
    sound = 0.5 * tone(997, rate_hz, duration_s=1.0)
    sound[8_000] = 3.0
    out = limited(sound, rate_hz) / 32_767
    far = np.abs(np.arange(len(sound)) - 8_000) > 12 * rate_hz // 1000
    assert np.allclose(out[far], sound[far], atol=1e-4)
    assert out[8_000] == pytest.approx(CEILING, abs=0.02)
