"""What does a listener hear when packets are lost, late, doubled, broken, or from somebody else?"""

import random
from dataclasses import dataclass, field

import numpy as np
import pytest

from voicestack.core.audio import NO_AUDIO, Pcm
from voicestack.transports.jitter import (
    MAX_GAP_TICKS,
    MAX_WAIT_NS,
    MIN_WAIT_NS,
    JitterBuffer,
    Lost,
    Played,
    RtpPacket,
    Silent,
)
from voicestack.transports.opus import OpusEncoder
from voicestack.transports.opus_packet import fec_ticks, packet_ticks
from voicestack.transports.rtp_listening import MADE_UP_SAMPLES, HeardPcm, RtpEar

MS = 1_000_000
TICKS, SAMPLES = 960, 320
BAD = b"\xff\x00"


@dataclass
class FakeDecoder:
    """Hears the packet's third byte in every sample; 1000 where it recovers, 2000 where it makes up."""

    broken: set[bytes] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    closed: bool = False

    def decode(self, packet: bytes) -> Pcm:
        self.asked.append("decode")
        return NO_AUDIO if packet in self.broken else np.full(SAMPLES, packet[2], np.int16)

    def recover(self, next_packet: bytes, n_samples: int) -> Pcm:
        self.asked.append("recover")
        return np.full(n_samples, 1000, np.int16)

    def conceal(self, n_samples: int) -> Pcm:
        self.asked.append("conceal")
        return np.full(n_samples, 2000, np.int16)

    def close(self) -> None:
        self.closed = True


def plain(n: int) -> bytes:
    """SILK, 20 ms. The second bit of the second byte is the flag of FEC."""
    return bytes((0x48, 0x00, n))


def with_fec(n: int) -> bytes:
    return bytes((0x48, 0x40, n))


def test_the_packets_are_what_they_are_said_to_be() -> None:
    assert packet_ticks(plain(1)) == packet_ticks(with_fec(1)) == TICKS
    assert (fec_ticks(plain(1)), fec_ticks(with_fec(1))) == (0, TICKS)
    assert packet_ticks(BAD) == 0


def run(ear: RtpEar, packets: dict[int, bytes], start_ms: int = 0) -> list[HeardPcm]:
    """Packets by number, each 20 ms after the one before; the timer rings where it is set."""
    heard = []
    for n, payload in packets.items():
        at_ns = (start_ms + 20 * n) * MS
        if (wake_at_ns := ear.wake_at_ns) is not None and wake_at_ns < at_ns:
            heard += ear.expire(wake_at_ns)
        heard += ear.push(n, n * TICKS, payload, at_ns)
    while (wake_at_ns := ear.wake_at_ns) is not None:
        heard += ear.expire(wake_at_ns)
    return heard


def summary(heard: list[HeardPcm]) -> list[tuple[int, int, int]]:
    """(first sample, number of samples, milliseconds of arrival)"""
    return [(int(pcm[0]), len(pcm), at_ns // MS) for pcm, at_ns in heard]


def test_packets_in_order_are_heard_at_once() -> None:
    ear = RtpEar(FakeDecoder())
    for n in range(5):
        assert summary(ear.push(n, n * TICKS, plain(n), 20 * n * MS)) == [(n, SAMPLES, 20 * n)]
        assert ear.wake_at_ns is None


def test_a_lost_packet_is_taken_from_its_successor() -> None:
    ear = RtpEar(FakeDecoder())
    heard = run(ear, {0: plain(0), 2: with_fec(2), 3: plain(3)})
    assert summary(heard) == [(0, 320, 0), (1000, 320, 40), (2, 320, 40), (3, 320, 60)]
    assert (ear.figures.n_recovered_samples, ear.figures.n_concealed_samples) == (320, 0)
    assert ear.jitter.n_lost == 1


def test_without_fec_it_is_made_up() -> None:
    ear = RtpEar(FakeDecoder())
    heard = run(ear, {0: plain(0), 2: plain(2)})
    assert summary(heard) == [(0, 320, 0), (2000, 320, 40), (2, 320, 40)]
    assert (ear.figures.n_recovered_samples, ear.figures.n_concealed_samples) == (0, 320)


def test_of_a_longer_loss_the_end_is_recovered() -> None:
    ear = RtpEar(FakeDecoder())
    (_, (lost, _), _) = run(ear, {0: plain(0), 4: with_fec(4)})
    assert (lost[: 2 * SAMPLES] == 2000).all()
    assert (lost[2 * SAMPLES :] == 1000).all()
    assert len(lost) == 3 * SAMPLES


def test_what_is_made_up_falls_silent() -> None:
    decoder = FakeDecoder()
    ear = RtpEar(decoder)
    (_, (lost, _), _) = run(ear, {0: plain(0), 30: plain(30)})
    assert len(lost) == 29 * SAMPLES
    assert (lost[: MADE_UP_SAMPLES * 4 // 5] == 2000).all()
    assert (np.diff(lost[MADE_UP_SAMPLES * 4 // 5 : MADE_UP_SAMPLES]) < 0).all()
    assert not lost[MADE_UP_SAMPLES:].any()
    again = run(ear, {31: plain(31), 33: plain(33)})
    assert (again[1][0] == 2000).all(), "after a packet it may be made up again"


def test_losses_with_nothing_decodable_between_them_are_one_loss() -> None:
    ear = RtpEar(FakeDecoder(broken={plain(7)}))
    heard = run(
        ear, {0: plain(0), 1: plain(7), 5: plain(7), 6: plain(7), 7: plain(7), 8: plain(7), 9: plain(9)}
    )
    made_up = np.concatenate([pcm for pcm, _ in heard[1:-1]])
    assert len(made_up) == 8 * SAMPLES
    assert np.count_nonzero(made_up) == MADE_UP_SAMPLES
    assert ear.figures.n_bad == 5


def test_silence_that_was_not_sent_is_silence() -> None:
    ear = RtpEar(FakeDecoder())
    heard = ear.push(0, 0, plain(1), 0)
    heard += ear.push(1, 20 * TICKS, plain(2), 400 * MS)
    assert summary(heard) == [(1, 320, 0), (0, 19 * 320, 400), (2, 320, 400)]
    assert ear.figures.n_silent_samples == 19 * 320
    assert ear.figures.n_concealed_samples == 0
    heard = ear.push(2, 48_000 * 3600, plain(3), 3600_000 * MS)
    assert summary(heard)[0] == (0, MAX_GAP_TICKS // 3, 3600_000), "an hour is not filled"


def test_a_packet_without_audio_makes_no_silence() -> None:
    """Padding has a sequence number, and says nothing about time."""
    ear = RtpEar(FakeDecoder())
    heard = run(ear, {0: plain(1)})
    heard += ear.push(1, 123_456, b"", 20 * MS)
    heard += ear.push(2, TICKS, plain(2), 21 * MS)
    assert summary(heard) == [(1, 320, 0), (2, 320, 21)]
    assert ear.figures.n_bad == 0


def test_what_is_not_opus_is_made_up() -> None:
    ear = RtpEar(FakeDecoder())
    heard = run(ear, {0: plain(1), 1: BAD, 2: plain(2)})
    assert summary(heard) == [(1, 320, 0), (2000, 320, 40), (2, 320, 40)]
    assert ear.figures.n_bad == 1


def test_announced_silence_is_heard_while_it_lasts() -> None:
    ear = RtpEar(FakeDecoder(broken={b"\x48"}))
    ear.push(0, 0, plain(1), 0)
    assert ear.wake_at_ns is None
    ear.push(1, TICKS, b"\x48", 20 * MS)
    assert ear.wake_at_ns == 60 * MS
    assert ear.expire(59 * MS) == []
    assert summary(ear.expire(60 * MS)) == [(0, 320, 60)]
    assert ear.wake_at_ns == 80 * MS
    assert summary(ear.expire(105 * MS)) == [(0, 320, 80), (0, 320, 100)]
    heard = ear.push(2, 7 * TICKS, plain(2), 140 * MS)
    assert summary(heard) == [(0, 2 * 320, 140), (2, 320, 140)], "the rest of it"
    assert ear.wake_at_ns is None


def test_announced_silence_does_not_cut_off_a_word() -> None:
    """The packet that ends it was on the way for longer than the one that announced it."""
    ear = RtpEar(FakeDecoder(broken={b"\x48"}))
    ear.push(0, 0, b"\x48", 0)
    assert len(ear.expire(200 * MS)) == 9
    assert summary(ear.push(1, 5 * TICKS, plain(2), 201 * MS)) == [(2, 320, 201)]
    assert summary(ear.push(2, 6 * TICKS, plain(3), 202 * MS)) == [(3, 320, 202)]


def test_announced_silence_ends_with_a_hole_or_after_a_second() -> None:
    ear = RtpEar(FakeDecoder(broken={b"\x48"}))
    ear.push(0, 0, b"\x48", 0)
    assert ear.push(2, 2 * TICKS, plain(2), 39 * MS) == []
    assert ear.wake_at_ns == 59 * MS
    assert len(ear.expire(200 * MS)) == 2
    ear.push(3, 3 * TICKS, b"\x48", 60 * MS)
    assert len(ear.expire(10_000 * MS)) == 50
    assert ear.wake_at_ns is None


def test_announced_silence_waits_for_what_a_hole_hides() -> None:
    ear = RtpEar(FakeDecoder(broken={b"\x48"}))
    ear.push(0, 0, b"\x48", 0)
    assert ear.push(2, 2 * TICKS, plain(2), 35 * MS) == []
    assert ear.expire(45 * MS) == []
    assert summary(ear.push(1, TICKS, plain(1), 46 * MS))[0] == (1, 320, 46)


def test_each_announced_silence_has_its_second() -> None:
    ear = RtpEar(FakeDecoder(broken={b"\x48"}))
    for n in range(3):
        ear.push(n, n * 800 * 48, b"\x48", n * 800 * MS)
        assert len(ear.expire((n * 800 + 799) * MS)) == 38


def test_an_overtaken_packet_is_heard_in_its_place() -> None:
    ear = RtpEar(FakeDecoder())
    ear.push(0, 0, plain(0), 0)
    assert ear.push(2, 2 * TICKS, plain(2), 40 * MS) == []
    assert ear.wake_at_ns == 40 * MS + MIN_WAIT_NS
    heard = ear.push(1, TICKS, plain(1), 45 * MS)
    assert summary(heard) == [(1, 320, 45), (2, 320, 45)], "time does not go back"
    assert ear.wake_at_ns is None
    assert (ear.jitter.n_reordered, ear.jitter.n_lost) == (1, 0)


def test_what_comes_after_its_place_was_given_up_is_dropped() -> None:
    ear = RtpEar(FakeDecoder())
    heard = run(ear, {0: plain(0), 2: plain(2)})
    assert ear.push(1, TICKS, plain(1), 70 * MS) == []
    assert (ear.jitter.n_late, ear.jitter.n_lost) == (1, 1)
    assert ear.push(1, TICKS, plain(1), 71 * MS) == []
    assert (ear.jitter.n_late, ear.jitter.n_duplicate) == (1, 1)
    assert sum(len(pcm) for pcm, _ in heard) == 3 * SAMPLES


def test_another_sender_begins_at_once() -> None:
    ear = RtpEar(FakeDecoder())
    ear.push(0, 0, plain(0), 0, ssrc=1)
    assert ear.push(2, 2 * TICKS, plain(2), 40 * MS, ssrc=1) == []
    heard = ear.push(60_000, 7, plain(9), 50 * MS, ssrc=2)
    assert summary(heard) == [(2000, 320, 40), (2, 320, 40), (9, 320, 50)]
    assert ear.jitter.n_restarts == 1
    assert summary(ear.push(60_001, 967, plain(8), 70 * MS, ssrc=2)) == [(8, 320, 70)]


def test_instants_and_samples_are_complete_for_odd_gaps() -> None:
    ear = RtpEar(FakeDecoder())
    at = 0
    n_samples = 0
    for n in range(300):
        at += n % 7
        n_samples += sum(len(pcm) for pcm, _ in ear.push(n, at, plain(n % 50), 20 * n * MS))
        at += TICKS
    assert n_samples == at // 3


def test_it_closes_its_decoder() -> None:
    decoder = FakeDecoder()
    RtpEar(decoder).close()
    assert decoder.closed


def test_real_opus_with_everything_that_can_be_wrong() -> None:
    rng = random.Random(3)
    encoder = OpusEncoder(24_000)
    noise = np.random.default_rng(3)
    packets = [encoder.encode(noise.normal(0, 3000, 480).astype(np.int16)) for _ in range(600)]
    ear = RtpEar()
    last_ns = n_samples = 0
    for n in range(len(packets)):
        now_ns = 20 * n * MS
        heard = ear.expire(now_ns)
        payload = rng.choice((packets[n],) * 8 + (b"", BAD, rng.randbytes(40)))
        if rng.random() > 0.1:
            heard += ear.push(n + rng.choice((0,) * 9 + (1, -1, 777, 30_000)), n * TICKS, payload, now_ns)
        for pcm, at_ns in heard:
            assert pcm.dtype == np.int16
            assert at_ns >= last_ns
            last_ns = at_ns
            n_samples += len(pcm)
    ear.close()
    assert ear.figures.n_samples == n_samples > 300 * SAMPLES
    assert ear.push(600, 600 * TICKS, packets[0], 10**12), "closed is silent, and does not crash"


# --- the buffer alone -------------------------------------------------------------------------------------


def packet(number: int, at_ms: float, timestamp: int | None = None, n_ticks: int = TICKS) -> RtpPacket:
    ticks = number * TICKS if timestamp is None else timestamp
    return RtpPacket(number % 2**16, ticks % 2**32, b"", int(at_ms * MS), n_ticks)


def test_the_wait_grows_with_what_was_overtaken_and_shrinks_with_time() -> None:
    buffer = JitterBuffer()
    buffer.push(packet(0, 0))
    assert buffer.wait_ns == MIN_WAIT_NS
    buffer.push(packet(2, 40))
    buffer.expire(60 * MS)
    buffer.push(packet(1, 75))  # 35 ms after it was missed
    assert buffer.wait_ns == pytest.approx(40 * MS, abs=MS)
    buffer.push(packet(4, 80))
    assert buffer.wake_at_ns == pytest.approx(120 * MS, abs=MS)
    assert buffer.expire(119 * MS) == []
    assert buffer.push(packet(3, 119)) == [Played(packet(3, 119)), Played(packet(4, 80))]
    buffer.push(packet(6, 120))
    buffer.expire(180 * MS)
    buffer.push(packet(5, 220))
    assert buffer.wait_ns == MAX_WAIT_NS
    buffer.push(packet(7, 10_220))
    assert buffer.wait_ns == pytest.approx(40 * MS, abs=MS)
    buffer.push(packet(8, 40_000))
    assert buffer.wait_ns == MIN_WAIT_NS


def test_what_cannot_be_awaited_does_not_count() -> None:
    buffer = JitterBuffer()
    buffer.push(packet(0, 0))
    buffer.push(packet(2, 40))
    buffer.expire(60 * MS)
    buffer.push(packet(1, 300))
    assert buffer.wait_ns == MIN_WAIT_NS


def test_numbers_wrap() -> None:
    buffer = JitterBuffer()
    heard = []
    for n in range(65_530, 65_550):
        ticks = 2**32 - 5 * TICKS + (n - 65_530) * TICKS
        heard += buffer.push(packet(n, n, ticks))
    assert len(heard) == 20
    assert all(isinstance(what, Played) for what in heard)


def test_a_sender_that_numbers_anew_is_believed_at_the_second_packet() -> None:
    buffer = JitterBuffer()
    buffer.push(packet(0, 0))
    assert buffer.push(packet(30_000, 20, 5)) == []
    assert buffer.push(packet(1, 21)) == [Played(packet(1, 21))], "it was a stray"
    assert buffer.push(packet(30_001, 22, 5)) == []
    assert buffer.push(packet(30_002, 42, 965)) == [
        Played(packet(30_001, 22, 5)),
        Played(packet(30_002, 42, 965)),
    ]
    assert (buffer.figures.n_restarts, buffer.figures.n_late) == (1, 1)


def test_strays_that_do_not_follow_each_other_are_not_believed() -> None:
    buffer = JitterBuffer()
    buffer.push(packet(0, 0))
    for n in (30_000, 20_000, 50_000):
        assert buffer.push(packet(n, 20)) == []
    assert buffer.push(packet(1, 21)) == [Played(packet(1, 21))]
    assert (buffer.figures.n_restarts, buffer.figures.n_late) == (0, 3)


def test_a_packet_does_for_a_timer_that_is_late() -> None:
    buffer = JitterBuffer()
    buffer.push(packet(0, 0))
    buffer.push(packet(2, 40))
    assert buffer.push(packet(5, 60)) == [Lost(TICKS, packet(2, 40)), Played(packet(2, 40))]
    assert buffer.push(packet(1, 130)) == [Lost(2 * TICKS, packet(5, 60)), Played(packet(5, 60))]


def test_what_is_here_when_the_timer_is_late_is_not_given_up() -> None:
    buffer = JitterBuffer()
    buffer.push(packet(0, 0))
    buffer.push(packet(2, 40))
    assert buffer.push(packet(1, 63)) == [Played(packet(1, 63)), Played(packet(2, 40))]


def test_a_timestamp_that_goes_back_is_believed() -> None:
    buffer = JitterBuffer()
    buffer.push(packet(0, 0, 50_000))
    assert buffer.push(packet(1, 20, 10_000)) == [Played(packet(1, 20, 10_000))]
    follows = packet(2, 40, 10_000 + 2 * TICKS)
    assert buffer.push(follows) == [Silent(TICKS, follows), Played(follows)]


def test_two_holes_are_two_losses() -> None:
    buffer = JitterBuffer()
    buffer.push(packet(0, 0))
    buffer.push(packet(2, 40))
    buffer.push(packet(5, 50))
    assert buffer.expire(60 * MS) == [Lost(TICKS, packet(2, 40)), Played(packet(2, 40))]
    assert buffer.wake_at_ns == 70 * MS
    assert buffer.expire(70 * MS) == [Lost(2 * TICKS, packet(5, 50)), Played(packet(5, 50))]
    assert buffer.figures.n_lost == 3


def test_jitter_is_that_of_rfc_3550() -> None:
    buffer = JitterBuffer()
    for n in range(200):
        buffer.push(packet(n, 20 * n + (8 if n % 2 else 0)))
    assert buffer.figures.jitter_ns == pytest.approx(8 * MS, rel=0.01)


def test_a_new_timestamp_is_not_jitter() -> None:
    buffer = JitterBuffer()
    buffer.push(packet(0, 0, 0))
    buffer.push(packet(1, 20, 2**31))
    assert buffer.figures.jitter_ns == 0
