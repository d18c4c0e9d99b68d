"""What does someone hear whose client plays each audio packet the moment it arrives, and what with a buffer?

The waveform comes from the first: a packet plays when it arrives or after what is queued, a lost one is
concealed only where it left a hole, and one that comes after its successor is too late. So the waveform shows
the network's delay and nothing of a playout buffer's. What a buffer would make of the same packets is counted
afterwards, from their arrivals.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from voicestack.cli.rtc_peer import PACKET_SAMPLES, RTP_RATE_HZ, Heard
from voicestack.cli.speaker import FRAME_SAMPLES, Timeline
from voicestack.core.audio import NO_AUDIO, Pcm

_MAX_CONCEALED = 6
"""Packets in a row. Every concealment has faded to silence by then."""
_HALF_SEQUENCE, _HALF_TIMESTAMP = 1 << 15, 1 << 31


class Decoder(Protocol):
    """Opus to int16 mono at CALL_RATE_HZ."""

    def decode(self, packet: bytes) -> Pcm:
        """The sound of a packet."""
        ...

    def conceal(self, n_samples: int) -> Pcm:
        """A guess at what a lost packet held."""
        ...

    def recover(self, next_packet: bytes, n_samples: int) -> Pcm:
        """What the packet after a lost one tells about it."""
        ...


class Output(Protocol):
    """Where sound goes: `Speaker`."""

    timeline: Timeline

    @property
    def end_sample(self) -> int:
        """When everything that is queued will have been played."""
        ...

    def push(self, item_id: str, pcm: Pcm, at_ns: int) -> None:
        """Queue audio that arrived at `at_ns`."""
        ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a packet came. `sequence` and `timestamp` do not wrap."""

    sequence: int
    timestamp: int
    arrived_ns: int


class Counted:
    """Makes numbers that wrap into numbers that do not.

    Args:
        half: Half of their range.
    """

    def __init__(self, half: int) -> None:
        self._half = half
        self._last: int | None = None

    def __call__(self, value: int) -> int:
        """The number of this value that is nearest to the last one."""
        if self._last is None:
            self._last = value
        step = (value - self._last + self._half) % (2 * self._half) - self._half
        self._last += step
        return self._last


class Ear:
    """Packets in, sound out.

    Args:
        decoder: Of this stream alone.
        output: Plays what is heard.
    """

    def __init__(self, decoder: Decoder, output: Output) -> None:
        self._decoder = decoder
        self._output = output
        self._sequence_of, self._timestamp_of = Counted(_HALF_SEQUENCE), Counted(_HALF_TIMESTAMP)
        self._next: int | None = None
        self.arrivals: list[Arrival] = []

    def hear(self, packet: Heard, item_id: str) -> None:
        """Take a packet; what it holds belongs to the item."""
        sequence = self._sequence_of(packet.sequence)
        self.arrivals.append(Arrival(sequence, self._timestamp_of(packet.timestamp), packet.arrived_ns))
        if self._next is not None and sequence < self._next:
            return
        n_missing = 0 if self._next is None else sequence - self._next
        self._next = sequence + 1
        if n_missing:
            self._fill(packet, item_id, min(n_missing, _MAX_CONCEALED))
        self._output.push(item_id, self._decoder.decode(packet.payload), packet.arrived_ns)

    def _fill(self, packet: Heard, item_id: str, n_missing: int) -> None:
        """Conceal what is missing, as far as it left a hole."""
        guesses = [self._decoder.conceal(FRAME_SAMPLES) for _ in range(n_missing - 1)]
        guesses.append(self._decoder.recover(packet.payload, FRAME_SAMPLES))
        timeline, end = self._output.timeline, self._output.end_sample
        n_hole = max(0, timeline.sample_at(packet.arrived_ns) - end)
        sound = np.concatenate(guesses)[:n_hole] if n_hole else NO_AUDIO
        self._output.push(item_id, sound, timeline.ns_of(end))


def spurts(arrivals: Iterable[Arrival]) -> Iterator[list[Arrival]]:
    """Cut a stream at its pauses, where more time passes than packets; each packet once, in order of sending.

    A packet that came twice counts as it came first.
    """
    first: dict[int, Arrival] = {}
    for one in arrivals:
        first.setdefault(one.sequence, one)
    spurt: list[Arrival] = []
    for _, one in sorted(first.items()):
        if spurt:
            n_steps = one.sequence - spurt[-1].sequence
            if one.timestamp - spurt[-1].timestamp != n_steps * PACKET_SAMPLES:
                yield spurt
                spurt = []
        spurt.append(one)
    if spurt:
        yield spurt


def delays_ms(spurt: Sequence[Arrival]) -> list[float]:
    """For each packet, how much later than the earliest one it came, by the pace of playing."""
    behind_ns = [one.arrived_ns - one.timestamp * 1_000_000_000 // RTP_RATE_HZ for one in spurt]
    earliest_ns = min(behind_ns)
    return [(behind - earliest_ns) / 1e6 for behind in behind_ns]


@dataclass(frozen=True, slots=True)
class Playing:
    """What a client with a playout buffer of fixed size has to conceal of `n_sent` packets."""

    n_sent: int = 0
    n_lost: int = 0
    n_late: int = 0

    @property
    def concealed_share(self) -> float | None:
        """0..1; None when nothing was sent."""
        return (self.n_lost + self.n_late) / self.n_sent if self.n_sent else None

    def __add__(self, other: "Playing") -> "Playing":
        return Playing(self.n_sent + other.n_sent, self.n_lost + other.n_lost, self.n_late + other.n_late)


def played_with(arrivals: Sequence[Arrival], buffer_ms: float) -> Playing:
    """Play a stream through a buffer that begins each spurt `buffer_ms` after its first packet came.

    Packets lost before the first or after the last one that arrived are not known of.
    """
    every = list(spurts(arrivals))
    if not every:
        return Playing()
    n_late = 0
    for spurt in every:
        start = spurt[0]
        for one in spurt:
            due_ns = start.arrived_ns + (one.timestamp - start.timestamp) * 1_000_000_000 // RTP_RATE_HZ
            n_late += one.arrived_ns > due_ns + buffer_ms * 1e6
    n_sent = every[-1][-1].sequence - every[0][0].sequence + 1
    return Playing(n_sent, n_sent - sum(map(len, every)), n_late)
