"""In which order was it said? Puts RTP packets in order for a listener that wants order, not pace.

A recogniser has no loudspeaker to keep busy. So a packet that is in order is passed on the instant it is
here, and nothing is held back in advance. Only a hole makes the packets behind it wait, for 20 to 60 ms,
depending on how late overtaken packets have been on this path; then the hole is given up, and everything
behind it goes at once. However much is lost, the next packet in order waits for nothing.

No clock, no I/O, no codec: instants come with the packets, their lengths from whoever can read them.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from voicestack.transports.opus_packet import TICKS_HZ

MIN_WAIT_NS = 20_000_000
"""One packet: a neighbour that was overtaken is here when the next one comes."""
MAX_WAIT_NS = 60_000_000
"""Longer than this a word is better guessed than awaited."""
WAIT_MARGIN_NS = 5_000_000
"""On top of the latest that was seen."""
WAIT_DECAY_NS_PER_S = 2_000_000
"""What a path that behaves is waited for less: from 60 to 20 ms in 20 s."""

MAX_DROPOUT = 3000
MAX_MISORDER = 100
"""Packets ahead and behind that still belong to the same run of numbers (RFC 3550, appendix A.1)."""
MAX_GAP_TICKS = TICKS_HZ
"""The longest silence or loss that is filled, 1 s: it ends an utterance, and more of it says no more."""
MAX_HELD = 128
"""Packets that wait behind holes. 60 ms are 24 of the shortest; more come only after a stall."""
_MAX_MISSED = 128
"""Given-up packets of which it is remembered when they were missed, to see how late they come."""


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One packet as it came in.

    Attributes:
        sequence: 0 .. 65535.
        timestamp: Of the first sample, ticks of TICKS_HZ, 0 .. 2**32 - 1.
        payload: What the codec made.
        arrived_ns: Monotonic.
        n_ticks: Length; 0 if it holds no audio, or nothing that the codec can read.
    """

    sequence: int
    timestamp: int
    payload: bytes
    arrived_ns: int
    n_ticks: int


@dataclass(frozen=True, slots=True)
class Played:
    """The next packet. Its audio follows on what was heard before."""

    packet: RtpPacket


@dataclass(frozen=True, slots=True)
class Lost:
    """Audio that will not come: `n_ticks` of it, 1 .. MAX_GAP_TICKS. `successor` follows, and may know it."""

    n_ticks: int
    successor: RtpPacket


@dataclass(frozen=True, slots=True)
class Silent:
    """The sender has sent nothing for so long on purpose: 1 .. MAX_GAP_TICKS. `successor` follows."""

    n_ticks: int
    successor: RtpPacket


Heard = Played | Lost | Silent


@dataclass(slots=True)
class JitterFigures:
    """What has happened on the way.

    Attributes:
        n_received: All packets, whatever became of them.
        n_lost: Given up. Those that came after all are counted in `n_late`, too.
        n_late: Dropped because their place had been given up, they are older than the first, or stray.
        n_duplicate: Dropped because their like was here already.
        n_reordered: Overtaken by another packet, and still in time.
        n_restarts: The sender has begun to number anew.
        jitter_ns: Interarrival jitter (RFC 3550, section 6.4.1).
    """

    n_received: int = 0
    n_lost: int = 0
    n_late: int = 0
    n_duplicate: int = 0
    n_reordered: int = 0
    n_restarts: int = 0
    jitter_ns: float = 0.0


class JitterBuffer:
    """One stream of packets, put in order.

    Call `push` with every packet, and `expire` no earlier than `wake_at_ns` if nothing came before.
    """

    def __init__(self) -> None:
        self.figures = JitterFigures()
        self._next: int | None = None  # sequence number that is due, counted on beyond 65535
        self._first = 0
        self._media_ticks = 0  # timestamp that is due, modulo 2**32
        self._is_unsure = False  # the packet before had no length: what is missing then is not silence
        self._held: dict[int, RtpPacket] = {}
        self._missed: OrderedDict[int, int] = OrderedDict()  # given up: when it was first missed
        self._odd: RtpPacket | None = None  # far from the others; the first of a new run of numbers?
        self._reach_ns = MIN_WAIT_NS
        self._last: RtpPacket | None = None  # to arrive

    @property
    def wait_ns(self) -> int:
        """How long a packet behind a hole waits now: MIN_WAIT_NS .. MAX_WAIT_NS."""
        return self._reach_ns

    @property
    def wake_at_ns(self) -> int | None:
        """When `expire` has something to say, unless a packet comes before. None: not at all."""
        if not self._held:
            return None
        return min(packet.arrived_ns for packet in self._held.values()) + self._reach_ns

    def push(self, packet: RtpPacket) -> list[Heard]:
        """Take a packet as it comes. What can be heard now, in order."""
        self.figures.n_received += 1
        self._measure(packet)
        if self._next is None:
            self._begin(packet)
        assert self._next is not None
        distance = _signed(packet.sequence - self._next, 16)
        if not -MAX_MISORDER <= distance < MAX_DROPOUT:
            return self._far_off(packet)
        self.figures.n_late += self._odd is not None
        self._odd = None
        return self._place(self._next + distance, packet)

    def expire(self, now_ns: int) -> list[Heard]:
        """Give up what has been waited for long enough. What can be heard now, in order."""
        heard: list[Heard] = []
        while (wake_at_ns := self.wake_at_ns) is not None and now_ns >= wake_at_ns:
            heard += self._give_up()
        return heard

    def skip(self, n_ticks: int) -> None:
        """The listener has heard so much silence already, of the gap that will show in the next timestamp."""
        self._media_ticks = (self._media_ticks + n_ticks) % 2**32

    def restart(self) -> list[Heard]:
        """Another sender follows (another SSRC). What is still here of the one before."""
        heard: list[Heard] = []
        while self._held:
            heard += self._give_up()
        self.figures.n_restarts += self._next is not None
        self._next = self._odd = self._last = None
        self._missed.clear()
        return heard

    def _begin(self, packet: RtpPacket) -> None:
        self._next = self._first = packet.sequence
        self._media_ticks = packet.timestamp
        self._is_unsure = False

    def _far_off(self, packet: RtpPacket) -> list[Heard]:
        """A stray packet, or a sender that numbers anew? Two that follow each other are believed."""
        odd, self._odd = self._odd, packet
        if odd is None or _signed(packet.sequence - odd.sequence, 16) != 1:
            self.figures.n_late += odd is not None
            return []
        heard = self.restart()
        self._begin(odd)
        assert self._next is not None
        return heard + self._place(self._next, odd) + self._place(self._next, packet)

    def _place(self, number: int, packet: RtpPacket) -> list[Heard]:
        assert self._next is not None
        if number < self._next:
            self._note_late(number, packet)
            return self.expire(packet.arrived_ns)
        if number in self._held:
            self.figures.n_duplicate += 1
            return self.expire(packet.arrived_ns)
        if self._held and number < max(self._held):
            self.figures.n_reordered += 1
            self._note_wait(packet.arrived_ns - self._missed_at(number))
        self._held[number] = packet
        heard = list(self._in_order())
        while len(self._held) > MAX_HELD:
            heard += self._give_up()
        return heard + self.expire(packet.arrived_ns)

    def _missed_at(self, number: int) -> int:
        """When the first packet came that should have come after this one."""
        return min(packet.arrived_ns for after, packet in self._held.items() if after > number)

    def _note_late(self, number: int, packet: RtpPacket) -> None:
        missed_at_ns = self._missed.pop(number, None)
        if missed_at_ns is None:
            self.figures.n_duplicate += number >= self._first
            self.figures.n_late += number < self._first
        else:
            self.figures.n_late += 1
            self._note_wait(packet.arrived_ns - missed_at_ns)

    def _note_wait(self, late_ns: int) -> None:
        """So late a packet was after one that it should have preceded. What is hopeless is not waited for."""
        if late_ns <= 2 * MAX_WAIT_NS:
            self._reach_ns = max(self._reach_ns, min(late_ns + WAIT_MARGIN_NS, MAX_WAIT_NS))

    def _in_order(self) -> Iterator[Heard]:
        """Everything up to the first hole."""
        assert self._next is not None
        while (packet := self._held.pop(self._next, None)) is not None:
            self._next += 1
            if packet.n_ticks:
                yield from self._gap(packet, is_lost=self._is_unsure)
                self._media_ticks = (packet.timestamp + packet.n_ticks) % 2**32
                yield Played(packet)
            self._is_unsure = packet.n_ticks == 0

    def _give_up(self) -> list[Heard]:
        """The first hole will not be filled."""
        assert self._next is not None
        first = min(self._held)
        self.figures.n_lost += first - self._next
        missed_at_ns = self._missed_at(self._next)
        for number in range(max(self._next, first - _MAX_MISSED), first):
            self._missed[number] = missed_at_ns
        while len(self._missed) > _MAX_MISSED:
            self._missed.popitem(last=False)
        self._next = first
        self._is_unsure = True
        return list(self._in_order())

    def _gap(self, packet: RtpPacket, *, is_lost: bool) -> Iterator[Heard]:
        """What is missing before the packet. A timestamp that goes back is believed without a word."""
        n_ticks = min(_signed(packet.timestamp - self._media_ticks, 32), MAX_GAP_TICKS)
        if n_ticks > 0:
            yield Lost(n_ticks, packet) if is_lost else Silent(n_ticks, packet)

    def _measure(self, packet: RtpPacket) -> None:
        last, self._last = self._last, packet
        if last is None:
            return
        since_ns = packet.arrived_ns - last.arrived_ns
        decay_ns = max(0, since_ns) * WAIT_DECAY_NS_PER_S // 1_000_000_000
        self._reach_ns = max(MIN_WAIT_NS, self._reach_ns - decay_ns)
        n_ticks = _signed(packet.timestamp - last.timestamp, 32)
        if abs(n_ticks) <= MAX_GAP_TICKS:
            off_ns = abs(since_ns - n_ticks * 1_000_000_000 // TICKS_HZ)
            self.figures.jitter_ns += (off_ns - self.figures.jitter_ns) / 16


def _signed(difference: int, n_bits: int) -> int:
    """The shortest way round between two numbers that wrap: -2**(n_bits-1) .. 2**(n_bits-1) - 1."""
    half = 1 << (n_bits - 1)
    return (difference + half) % (2 * half) - half
