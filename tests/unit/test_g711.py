"""Do the G.711 tables agree with the Recommendation?"""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicestack.core.audio import Pcm
from voicestack.core.g711 import Codes, decode_a_law, decode_mu_law, encode_a_law, encode_mu_law

EVERY_SAMPLE = np.arange(-32768, 32768).astype(np.int16)
EVERY_CODE = np.arange(256).astype(np.uint8)

Law = tuple[Callable[[Pcm], Codes], Callable[[Codes], Pcm]]
LAWS: list[Law] = [(encode_mu_law, decode_mu_law), (encode_a_law, decode_a_law)]


def mu_law_of(code: int) -> tuple[int, int]:
    """Sample of a mu-law byte, and the lowest magnitude of its interval (G.711 tables 2a and 2b)."""
    segment, step = ((code ^ 0xFF) & 0x7F) >> 4, (code ^ 0xFF) & 15
    low = (32 + 2 * step) * 2**segment - 33
    middle = (33 + 2 * step) * 2**segment - 33
    return (1 if code & 0x80 else -1) * middle * 4, max(0, low * 4)


def a_law_of(code: int) -> tuple[int, int]:
    """Sample of an A-law byte, and the lowest magnitude of its interval (G.711 tables 1a and 1b)."""
    segment, step = ((code ^ 0x55) & 0x7F) >> 4, (code ^ 0x55) & 15
    width = 2 * 2 ** max(segment - 1, 0)
    low = step * width + (16 * width if segment else 0)
    return (1 if code & 0x80 else -1) * (2 * low + width) * 4, low * 8


@pytest.mark.parametrize(("law", "table"), [(LAWS[0], mu_law_of), (LAWS[1], a_law_of)])
def test_every_byte_and_every_sample(law: Law, table: Callable[[int], tuple[int, int]]) -> None:
    encode, decode = law
    rows = [(*table(code), code) for code in range(256)]
    assert decode(EVERY_CODE).tolist() == [sample for sample, _, _ in rows]
    for positive in (True, False):
        side = sorted((low, code) for _, low, code in rows if bool(code & 0x80) == positive)
        lows = np.array([low for low, _ in side])
        samples = EVERY_SAMPLE[EVERY_SAMPLE >= 0] if positive else EVERY_SAMPLE[EVERY_SAMPLE < 0]
        magnitudes = samples.astype(int) if positive else ~samples.astype(int)
        expected = np.array([code for _, code in side])[np.searchsorted(lows, magnitudes, side="right") - 1]
        np.testing.assert_array_equal(encode(samples), expected)


def test_values_printed_in_the_recommendation() -> None:
    """End points and the first segment; the tables count in 14 (mu-law) and 13 bits (A-law)."""
    mu_law = decode_mu_law(np.array([0x80, 0x8F, 0xFF, 0xFE, 0xF0, 0xEF, 0x00, 0x7F], np.uint8))
    assert (mu_law // 4).tolist() == [8031, 4191, 0, 2, 30, 33, -8031, 0]
    a_law = decode_a_law(np.array([0x80 ^ 0x55, 0x8F ^ 0x55, 0xFF ^ 0x55, 0x7F ^ 0x55], np.uint8))
    assert (a_law // 8).tolist() == [1, 31, 4032, -4032]
    assert encode_mu_law(np.array([0, 32767, -32768], np.int16)).tolist() == [0xFF, 0x80, 0x00]
    assert encode_a_law(np.array([0, 32767, -32768], np.int16)).tolist() == [0xD5, 0xAA, 0x2A]


@pytest.mark.parametrize("law", LAWS)
def test_a_byte_survives_the_round_trip(law: Law) -> None:
    encode, decode = law
    again = encode(decode(EVERY_CODE))
    changed = EVERY_CODE[again != EVERY_CODE].tolist()
    assert changed == ([0x7F] if encode is encode_mu_law else [])  # mu-law has two zeros
    np.testing.assert_array_equal(decode(again), decode(EVERY_CODE))


@pytest.mark.parametrize(("law", "bias", "clip"), [(LAWS[0], 132, 32635), (LAWS[1], 0, 32767)])
@given(sample=st.integers(-32768, 32767))
def test_a_sample_comes_back_about_the_same(law: Law, bias: int, clip: int, sample: int) -> None:
    encode, decode = law
    back = int(decode(encode(np.array([sample], np.int16)))[0])
    magnitude = min(abs(sample), clip)
    half_step = max((magnitude + bias) / 32, 8)
    assert abs(abs(back) - magnitude) <= half_step + 4
    assert back * sample >= 0
