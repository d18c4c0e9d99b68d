"""Does libopus do what is asked of it, and survive what comes from the network?"""

import ctypes
import gc
import random
import weakref

import numpy as np
import pytest

from tests.support.speech import utterances
from voicestack.core.audio import EAR_RATE_HZ, Pcm
from voicestack.core.errors import ConfigError
from voicestack.core.resample import Resampler
from voicestack.transports import opus
from voicestack.transports.opus import OpusDecoder, OpusEncoder
from voicestack.transports.opus_packet import fec_ticks, frame_ticks, packet_ticks

PLAY_RATE_HZ = 24_000
PACKET_SAMPLES = EAR_RATE_HZ // 50

# opus_defines.h
STEREO, FORCE_CHANNELS, FRAME_DURATION, DTX = 2, 4022, 4040, 4016
FRAMES_OF_MS = {2.5: 5001, 5: 5002, 10: 5003, 20: 5004, 40: 5005, 60: 5006, 80: 5007, 100: 5008, 120: 5009}


def speech_packets(**options: float) -> list[bytes]:
    encoder = OpusEncoder(PLAY_RATE_HZ, **options)  # type: ignore[arg-type]
    pcm = Resampler(EAR_RATE_HZ, PLAY_RATE_HZ).push(utterances()[0].pcm)
    n_samples = encoder.packet_samples
    return [encoder.encode(pcm[i : i + n_samples]) for i in range(0, len(pcm) - n_samples, n_samples)]


def foreign_packet(ms: float, *, n_channels: int = 1, application: int = 2048) -> bytes:
    """A packet of another shape than ours."""
    lib = opus._library()
    state = ctypes.c_void_p(lib.opus_encoder_create(48_000, n_channels, application, None))
    n_samples = int(48 * ms)
    tone = np.repeat(np.sin(np.arange(n_samples) / 20) * 9000, n_channels).astype(np.int16)
    packet = ctypes.create_string_buffer(4000)
    n_bytes = lib.opus_encode(state, tone.tobytes(), n_samples, packet, 4000)
    lib.opus_encoder_destroy(state)
    assert n_bytes > 0
    return packet.raw[:n_bytes]


def sized(n_bytes: int) -> bytes:
    """RFC 6716, section 3.2.1."""
    return bytes([n_bytes] if n_bytes < 252 else [252 + n_bytes % 4, (n_bytes - 252) // 4])


def shaped(rng: random.Random) -> bytes:
    """A valid packet of SILK or hybrid frames that hold anything: of two sizes, or with padding."""
    toc = rng.randrange(16) << 3 | rng.randrange(2) << 2
    first, second = (rng.randbytes(rng.choice((0, 1, 2, 251, 252, 253, 254, 255, 256))) for _ in range(2))
    if rng.random() < 0.5:
        return bytes([toc | 2]) + sized(len(first)) + first + second
    n_padding_bytes = rng.choice((0, 1, 253, 254, 255, 508, 509))
    length = bytes([255] * (n_padding_bytes // 254) + [n_padding_bytes % 254])
    padding = rng.randbytes(n_padding_bytes)  # zeros as a rule, which a reader has to skip all the same
    if rng.random() < 0.5:
        return bytes([toc | 3, 64 | 2]) + length + first + first + padding
    return bytes([toc | 3, 128 | 64 | 2]) + length + sized(len(first)) + first + second + padding


def likeness(a: Pcm, b: Pcm) -> float:
    """The best correlation coefficient at any delay of up to 15 ms."""
    best = 0.0
    for delay in range(EAR_RATE_HZ * 15 // 1000):
        n = min(len(a), len(b) - delay)
        best = max(best, float(np.corrcoef(a[:n], b[delay : delay + n])[0, 1]))
    return best


def test_speech_comes_out_as_it_went_in() -> None:
    decoder = OpusDecoder(EAR_RATE_HZ)
    packets = speech_packets()
    pcm = np.concatenate([decoder.decode(packet) for packet in packets])
    assert len(pcm) == len(packets) * PACKET_SAMPLES
    assert likeness(utterances()[0].pcm, pcm) > 0.85
    n_bits = 8 * sum(map(len, packets))
    assert n_bits / (len(packets) * 0.02) == pytest.approx(opus.BITRATE_BPS, rel=0.15)


def test_fec_brings_back_what_was_lost_and_a_guess_does_not() -> None:
    packets = speech_packets()
    undisturbed = OpusDecoder(EAR_RATE_HZ)
    whole = [undisturbed.decode(packet) for packet in packets]
    recovered: list[float] = []
    guessed: list[float] = []
    for lost in range(20, len(packets) - 1, 7):
        if not fec_ticks(packets[lost + 1]) or np.abs(whole[lost].astype(int)).max() < 1000:
            continue
        for into, use_fec in ((recovered, True), (guessed, False)):
            decoder = OpusDecoder(EAR_RATE_HZ)
            for packet in packets[:lost]:
                decoder.decode(packet)
            pcm = (
                decoder.recover(packets[lost + 1], PACKET_SAMPLES)
                if use_fec
                else decoder.conceal(PACKET_SAMPLES)
            )
            assert len(pcm) == PACKET_SAMPLES
            into.append(float(np.corrcoef(pcm, whole[lost])[0, 1]))
    assert len(recovered) > 5
    assert np.median(recovered) > 0.9
    assert np.median(guessed) < np.median(recovered) - 0.1


def test_fec_is_found_where_libopus_finds_it() -> None:
    with_fec, without = speech_packets(), speech_packets(p_expected_loss=0)
    assert np.mean([fec_ticks(packet) == 960 for packet in with_fec]) > 0.6
    assert not any(fec_ticks(packet) for packet in without)
    lib = opus._library()
    if not hasattr(lib, "opus_packet_has_lbrr"):
        pytest.skip("new in libopus 1.5")
    lib.opus_packet_has_lbrr.argtypes = (ctypes.c_char_p, ctypes.c_int32)
    rng = random.Random(1)
    for n in range(20_000):
        packet = shaped(rng) if n % 2 else rng.randbytes(rng.choice((1, 2, 3, 4, 5, 30, 300)))
        known = lib.opus_packet_has_lbrr(packet, len(packet))
        if known >= 0 and packet_ticks(packet):
            assert bool(fec_ticks(packet)) == bool(known), packet.hex()


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("application", [2048, 2049, 2051])
@pytest.mark.parametrize("ms", FRAMES_OF_MS)
def test_packets_of_every_shape_are_decoded(ms: float, application: int, n_channels: int) -> None:
    packet = foreign_packet(ms, n_channels=n_channels, application=application)
    assert packet_ticks(packet) == 48 * ms
    assert len(OpusDecoder(EAR_RATE_HZ).decode(packet)) == 16 * ms


def test_lengths_are_those_that_libopus_reads() -> None:
    lib = opus._library()
    lib.opus_packet_get_nb_samples.argtypes = (ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32)
    lib.opus_packet_get_samples_per_frame.argtypes = (ctypes.c_char_p, ctypes.c_int32)
    for first in range(256):
        for second in range(256):
            packet = bytes((first, second))
            assert packet_ticks(packet) == max(0, lib.opus_packet_get_nb_samples(packet, 2, 48_000))
        assert frame_ticks(packet) == lib.opus_packet_get_samples_per_frame(packet, 48_000)
    assert packet_ticks(b"") == frame_ticks(b"") == fec_ticks(b"") == 0
    assert packet_ticks(b"\x03") == 0


def test_nothing_in_a_packet_can_do_harm() -> None:
    rng = random.Random(2)
    decoder = OpusDecoder(EAR_RATE_HZ)
    real = speech_packets()
    n_used = 0
    for _ in range(3000):
        packet = rng.randbytes(rng.choice((0, 1, 2, 3, 10, 80, 1500)))
        if rng.random() < 0.5:
            damaged = bytearray(rng.choice(real))
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            packet = bytes(damaged[: rng.randint(0, len(damaged))])
        pcm = decoder.decode(packet)
        assert len(pcm) in (0, packet_ticks(packet) // 3)
        n_used += len(pcm) > 0
        n_samples = rng.choice((1, 40, 319, 320, 5000))
        assert len(decoder.recover(packet, n_samples)) == n_samples
        assert len(decoder.conceal(n_samples)) == n_samples
    assert n_used > 500
    assert len(decoder.decode(real[0])) == PACKET_SAMPLES


def test_what_is_made_up_fades() -> None:
    decoder = OpusDecoder(EAR_RATE_HZ)
    for packet in speech_packets()[:60]:
        pcm = decoder.decode(packet)
    assert len(decoder.conceal(0)) == 0
    made_up = decoder.conceal(EAR_RATE_HZ)
    assert np.abs(made_up[-1600:].astype(int)).max() < max(200, np.abs(pcm.astype(int)).max())


def test_states_are_freed_once_and_not_used_after() -> None:
    decoder, encoder = OpusDecoder(EAR_RATE_HZ), OpusEncoder(PLAY_RATE_HZ)
    packet = encoder.encode(np.zeros(480, np.int16))
    for codec in (decoder, encoder):
        codec.close()
        codec.close()
    assert len(decoder.decode(packet)) == 0
    assert not decoder.conceal(100).any()
    assert not decoder.recover(packet, 320).any()
    encoder.reset()
    with pytest.raises(ValueError, match="closed"):
        encoder.encode(np.zeros(480, np.int16))
    forgotten = OpusDecoder(EAR_RATE_HZ)
    gone = weakref.ref(forgotten)
    del forgotten
    gc.collect()
    assert gone() is None


def test_an_encoder_takes_whole_packets_only() -> None:
    encoder = OpusEncoder(PLAY_RATE_HZ)
    for n_samples in (0, 479, 481):
        with pytest.raises(ValueError, match="480"):
            encoder.encode(np.zeros(n_samples, np.int16))
    tone = (np.sin(np.arange(960) / 9) * 9000).astype(np.int16)
    first = encoder.encode(tone[::2])  # not contiguous
    encoder.encode(tone[:480])
    encoder.reset()
    assert encoder.encode(tone[::2]) == first, "reset to the state in which it was made"


def test_without_libopus_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    opus._library.cache_clear()
    monkeypatch.setattr(opus, "_candidates", lambda: iter(["libc.so.6", "libnot-there.so.0"]))
    with pytest.raises(ConfigError, match=r"`av`.*libopus0"):
        OpusDecoder(EAR_RATE_HZ)
    opus._library.cache_clear()


def test_the_system_s_libopus_does_too(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*opus._candidates()]
    assert any("av" in name for name in names[:-1]), "PyAV's comes first"
    try:
        ctypes.CDLL(names[-1])
    except OSError:
        pytest.skip("the system has none")
    opus._library.cache_clear()
    monkeypatch.setattr(opus, "_candidates", lambda: iter(names[-1:]))
    try:
        assert opus.library_version().startswith("libopus")
        packet = OpusEncoder(PLAY_RATE_HZ).encode(np.zeros(480, np.int16))
        assert len(OpusDecoder(EAR_RATE_HZ).decode(packet)) == PACKET_SAMPLES
    finally:
        opus._library.cache_clear()
