"""Whatever a network does to packets: order, completeness, a bounded wait, and bounded memory."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voicestack.core.audio import Pcm
from voicestack.transports.jitter import (
    MAX_GAP_TICKS,
    MAX_HELD,
    MAX_WAIT_NS,
    MIN_WAIT_NS,
    Heard,
    JitterBuffer,
    Lost,
    Played,
    RtpPacket,
    Silent,
)
from voicestack.transports.opus_packet import packet_ticks
from voicestack.transports.rtp_listening import RtpEar

MS = 1_000_000
TICKS = 960
START_NS = 10**12


@dataclass
class Listener:
    """Pushes packets as they arrive, lets the timer ring when it should, and keeps the books.

    Attributes:
        heard: (instant, what) in order.
    """

    buffer: JitterBuffer = field(default_factory=JitterBuffer)
    heard: list[tuple[int, Heard]] = field(default_factory=list)

    def take(self, packet: RtpPacket) -> list[Heard]:
        self.wait_until(packet.arrived_ns)
        heard = self.buffer.push(packet)
        self.heard += ((packet.arrived_ns, what) for what in heard)
        return heard

    def wait_until(self, at_ns: int) -> None:
        while (wake_at_ns := self.buffer.wake_at_ns) is not None and wake_at_ns < at_ns:
            assert self.buffer.expire(wake_at_ns - 1) == [], "it is not due"
            heard = self.buffer.expire(wake_at_ns)
            assert heard, "woken for nothing"
            self.heard += ((wake_at_ns, what) for what in heard)

    def finish(self) -> None:
        self.wait_until(1 << 62)

    @property
    def played(self) -> list[RtpPacket]:
        return [what.packet for _, what in self.heard if isinstance(what, Played)]


@dataclass(frozen=True)
class Fate:
    """What becomes of one packet.

    Attributes:
        delay_ms: On the way, None for ever.
        copy_ms: A second one comes so much later, None for none.
        pause_ticks: Before the packet, the sender sent nothing.
        ms: Of audio.
    """

    delay_ms: float | None
    copy_ms: float | None = None
    pause_ticks: int = 0
    ms: int = 20


fates = st.builds(
    Fate,
    delay_ms=st.one_of(st.none(), st.just(0.0), st.floats(0, 15), st.floats(0, 250)),
    copy_ms=st.one_of(st.none(), st.none(), st.floats(0, 200)),
    pause_ticks=st.sampled_from((0, 0, 0, 0, 1, 960, 19_200, MAX_GAP_TICKS)),
    ms=st.sampled_from((20, 20, 20, 10, 60, 120)),
)
paths = st.lists(fates, max_size=60)
numbers = st.one_of(st.integers(0, 65535), st.integers(65500, 65535))
timestamps = st.one_of(st.integers(0, 2**32 - 1), st.integers(2**32 - 50_000, 2**32 - 1))


def sent(path: list[Fate], number: int, timestamp: int) -> list[RtpPacket]:
    """The packets of a path, as they arrive. The first one has no delay."""
    packets = []
    ticks, at_ns = 0, START_NS
    for n, fate in enumerate([Fate(0.0), *path]):
        ticks += fate.pause_ticks
        at_ns += fate.pause_ticks * 1_000_000_000 // 48_000
        if fate.delay_ms is not None:
            packet = RtpPacket(
                (number + n) % 2**16,
                (timestamp + ticks) % 2**32,
                n.to_bytes(2, "big"),
                at_ns + int(fate.delay_ms * MS),
                48 * fate.ms,
            )
            packets.append(packet)
            if fate.copy_ms is not None:
                late_ns = packet.arrived_ns + int(fate.copy_ms * MS)
                packets.append(
                    RtpPacket(packet.sequence, packet.timestamp, packet.payload, late_ns, packet.n_ticks)
                )
        ticks += 48 * fate.ms
        at_ns += fate.ms * MS
    return sorted(packets, key=lambda packet: packet.arrived_ns)


@settings(max_examples=400, deadline=None)
@given(paths, numbers, timestamps)
def test_every_tick_is_heard_once_and_in_order(path: list[Fate], number: int, timestamp: int) -> None:
    listener = Listener()
    arrivals = sent(path, number, timestamp)
    for packet in arrivals:
        listener.take(packet)
    listener.finish()
    at = timestamp
    n_lost_ticks = 0
    for _, what in listener.heard:
        if isinstance(what, Played):
            assert what.packet.timestamp == at % 2**32
            at += what.packet.n_ticks
        else:
            gap = (what.successor.timestamp - at) % 2**32
            assert what.n_ticks == min(gap, MAX_GAP_TICKS) > 0
            n_lost_ticks += what.n_ticks
            at += gap
    order = [int.from_bytes(packet.payload, "big") for packet in listener.played]
    assert order == sorted(set(order))
    figures = listener.buffer.figures
    assert figures.n_received == len(arrivals)
    assert figures.n_received == len(order) + figures.n_late + figures.n_duplicate
    assert figures.n_lost == order[-1] + 1 - len(order)
    if figures.n_lost == 0:
        assert not any(isinstance(what, Lost) for _, what in listener.heard)


@settings(max_examples=400, deadline=None)
@given(paths, numbers)
@example([Fate(70.0), Fate(45.0), Fate(None), Fate(0.0), Fate(0.0)], 65_534)
def test_nobody_waits_longer_than_the_bound(path: list[Fate], number: int) -> None:
    listener = Listener()
    for packet in sent(path, number, 0):
        listener.take(packet)
        assert MIN_WAIT_NS <= listener.buffer.wait_ns <= MAX_WAIT_NS
    listener.finish()
    for at_ns, what in listener.heard:
        packet = what.packet if isinstance(what, Played) else what.successor
        assert 0 <= at_ns - packet.arrived_ns <= MAX_WAIT_NS


@settings(max_examples=200, deadline=None)
@given(paths, numbers)
def test_after_any_loss_the_delay_is_zero_again(path: list[Fate], number: int) -> None:
    listener = Listener()
    rest = [Fate(0.0)] * 20
    arrivals = sent([*path, *rest], number, 0)
    for packet in arrivals:
        listener.take(packet)
    listener.finish()
    calm_ns = max(p.arrived_ns for p in arrivals if int.from_bytes(p.payload) <= len(path) + 1)
    waits = {
        int.from_bytes(what.packet.payload): at_ns - what.packet.arrived_ns
        for at_ns, what in listener.heard
        if isinstance(what, Played)
    }
    for packet in arrivals:
        n = int.from_bytes(packet.payload)
        if n > len(path) and packet.arrived_ns > calm_ns + MAX_WAIT_NS:
            assert waits[n] == 0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.booleans(), max_size=80), numbers)
def test_pure_loss_costs_one_packet_time(arrives: list[bool], number: int) -> None:
    """Without reordering a hole is given up when the second packet after it is here."""
    listener = Listener()
    for packet in sent([Fate(0.0 if here else None) for here in arrives], number, 0):
        listener.take(packet)
    listener.finish()
    for at_ns, what in listener.heard:
        packet = what.packet if isinstance(what, Played) else what.successor
        assert at_ns - packet.arrived_ns <= MIN_WAIT_NS
    n_gaps = sum(isinstance(what, Lost) for _, what in listener.heard)
    assert n_gaps == sum(a and not b for a, b in zip(arrives, [True, *arrives], strict=False))


anything = st.builds(
    RtpPacket,
    sequence=st.integers(0, 65535),
    timestamp=st.integers(0, 2**32 - 1),
    payload=st.just(b"x" * 1200),
    arrived_ns=st.just(0),
    n_ticks=st.sampled_from((0, 120, 960, 5760)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(anything, st.integers(0, 30 * MS)), max_size=200), st.booleans())
def test_packets_out_of_the_blue_do_no_harm(steps: list[tuple[RtpPacket, int]], rings: bool) -> None:
    """An enemy's packets, or a broken sender's, with a timer that rings or never does."""
    buffer = JitterBuffer()
    now_ns = START_NS
    n_out = 0
    for packet, later_ns in steps:
        now_ns += later_ns
        heard = buffer.expire(now_ns) if rings else []
        heard += buffer.push(
            RtpPacket(packet.sequence, packet.timestamp, packet.payload, now_ns, packet.n_ticks)
        )
        assert len(buffer._held) <= MAX_HELD
        assert len(buffer._missed) <= MAX_HELD
        assert all(0 < what.n_ticks <= MAX_GAP_TICKS for what in heard if isinstance(what, Lost | Silent))
        n_out += sum(isinstance(what, Played) for what in heard)
    assert n_out <= len(steps)


@settings(max_examples=60, deadline=None)
@given(numbers, st.integers(1, 4000))
def test_a_burst_behind_a_hole_is_not_kept(number: int, n_packets: int) -> None:
    """All at one instant, in descending order: the worst that can be done to the memory."""
    buffer = JitterBuffer()
    n_last = min(n_packets, 2999)
    n_played = 0
    for n in (0, *range(n_last, 1, -1), n_last + 1):
        heard = buffer.push(RtpPacket((number + n) % 2**16, n * TICKS, b"", START_NS, TICKS))
        n_played += sum(isinstance(what, Played) for what in heard)
        assert len(buffer._held) <= MAX_HELD
    n_played += sum(isinstance(what, Played) for what in buffer.expire(START_NS + MAX_WAIT_NS))
    assert buffer.wake_at_ns is None
    assert n_played + buffer.figures.n_late == buffer.figures.n_received


TOC_OF_MS = {10: 0x40, 20: 0x48, 60: 0x58, 120: 0x59}
"""First byte of an Opus packet (SILK, wide band; the longest is two frames)."""


class Tone:
    """A decoder that hears 1 in every packet, and -2, or less of it, in what was lost."""

    def decode(self, packet: bytes) -> Pcm:
        return np.full(packet_ticks(packet) // 3, 1, np.int16)

    def recover(self, next_packet: bytes, n_samples: int) -> Pcm:
        return np.full(n_samples, -2, np.int16)

    def conceal(self, n_samples: int) -> Pcm:
        return np.full(n_samples, -2, np.int16)

    def close(self) -> None: ...


@settings(max_examples=200, deadline=None)
@given(paths, numbers, timestamps, st.integers(0, 255))
def test_samples_are_as_many_as_were_said(path: list[Fate], number: int, timestamp: int, flags: int) -> None:
    """To the ear, too: no sample more or less than media time, whatever is recovered or made up."""
    ear = RtpEar(Tone())
    audio: list[tuple[int, Pcm, int]] = []

    def expire_before(at_ns: int) -> None:
        while (wake_at_ns := ear.wake_at_ns) is not None and wake_at_ns < at_ns:
            audio.extend((wake_at_ns, *heard) for heard in ear.expire(wake_at_ns))

    ticks_of = {}
    for packet in sent(path, number, timestamp):
        toc = TOC_OF_MS[packet.n_ticks // 48]
        payload = bytes((toc, flags, *packet.payload))
        expire_before(packet.arrived_ns)
        heard = ear.push(packet.sequence, packet.timestamp, payload, packet.arrived_ns)
        audio.extend((packet.arrived_ns, *piece) for piece in heard)
        ticks_of[(packet.timestamp - timestamp) % 2**32] = packet.n_ticks
    expire_before(1 << 62)
    n_samples = sum(len(pcm) for _, pcm, _ in audio)
    last = max(ticks_of)
    gaps = sorted(ticks_of)
    n_cut = sum(max(0, b - a - ticks_of[a] - MAX_GAP_TICKS) for a, b in pairwise(gaps))
    figures = ear.figures
    if not ear.jitter.n_late:
        assert n_samples == (last + ticks_of[last] - n_cut) // 3
    assert figures.n_samples == n_samples
    made = figures.n_recovered_samples + figures.n_concealed_samples + figures.n_silent_samples
    assert sum(int((pcm == 1).sum()) for _, pcm, _ in audio) == n_samples - made
    instants = [arrived_ns for _, _, arrived_ns in audio]
    assert instants == sorted(instants)
    assert all(0 <= at_ns - arrived_ns <= MAX_WAIT_NS for at_ns, _, arrived_ns in audio)
