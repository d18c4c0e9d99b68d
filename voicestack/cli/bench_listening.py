"""What does a bad network leave of an utterance, and how much later is it heard? Offline, in no time.

Speech is encoded as a browser would, sent along a path of `bench_impair`, and put together again by the very
code that listens to a caller. There is no clock and no socket: instants are computed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from voicestack.cli.bench_impair import Impairment, Path
from voicestack.cli.bench_stats import Summary, summarise
from voicestack.core.audio import EAR_RATE_HZ, NO_AUDIO, Pcm
from voicestack.core.resample import Resampler
from voicestack.transports.jitter import JitterFigures
from voicestack.transports.opus import PACKET_MS, OpusEncoder
from voicestack.transports.opus_packet import TICKS_HZ
from voicestack.transports.rtp_listening import EarFigures, HeardPcm, RtpEar

SEND_RATE_HZ = 48_000
_PACKET_NS = PACKET_MS * 1_000_000
_PACKET_TICKS = PACKET_MS * TICKS_HZ // 1000
_PACKET_SAMPLES = PACKET_MS * EAR_RATE_HZ // 1000
_NEVER_NS = 1 << 62


@dataclass(frozen=True, slots=True)
class Listening:
    """What became of some speech.

    Attributes:
        pcm: As it was heard: int16 mono at EAR_RATE_HZ.
        wait_ms: Of each piece: from the arrival of its packet (or of the one that showed it to be lost) until
            it was heard. What the jitter buffer costs.
        behind_ms: Of each 20 ms: from when it was said until it was heard, less the path's fixed delay. What
            the network and the jitter buffer cost together.
        packets: The jitter buffer's own figures.
        ear: Those of what was heard.
    """

    pcm: Pcm
    wait_ms: Summary
    behind_ms: Summary
    packets: JitterFigures
    ear: EarFigures

    @property
    def p_concealed(self) -> float:
        """Share of the audio that was made up."""
        return self.ear.n_concealed_samples / self.ear.n_samples

    @property
    def p_recovered(self) -> float:
        """Share of the audio that came from FEC."""
        return self.ear.n_recovered_samples / self.ear.n_samples


def listen_through(
    pcm: Pcm, impairment: Impairment, *, seed: int = 1, p_expected_loss: float = 0.1
) -> Listening:
    """Send speech along a path and listen.

    Args:
        pcm: int16 mono at EAR_RATE_HZ, at least one packet of it.
        impairment: Of the path.
        seed: Of the path.
        p_expected_loss: What the sender's encoder provides for; 0 for no FEC.

    Raises:
        ValueError: there is less than a packet of speech.
    """
    ear = RtpEar()
    waits_ms: list[float] = []
    behind_ms: list[float] = []
    heard: list[Pcm] = []
    n_samples = 0
    for now_ns, audio in _conversation(ear, _sent(pcm, p_expected_loss), Path(impairment, seed)):
        for piece, arrived_ns in audio:
            heard.append(piece)
            waits_ms.append((now_ns - arrived_ns) / 1e6)
            for _ in range(0, len(piece), _PACKET_SAMPLES):
                n_samples += _PACKET_SAMPLES
                said_ns = n_samples * 1_000_000_000 // EAR_RATE_HZ
                behind_ms.append((now_ns - said_ns) / 1e6 - impairment.delay_ms)
    ear.close()
    wait, behind = summarise(waits_ms), summarise(behind_ms)
    if wait is None or behind is None:
        raise ValueError("nothing was sent")
    return Listening(np.concatenate([NO_AUDIO, *heard]), wait, behind, ear.jitter, ear.figures)


def _sent(pcm: Pcm, p_expected_loss: float) -> list[bytes]:
    encoder = OpusEncoder(SEND_RATE_HZ, complexity=9, p_expected_loss=p_expected_loss)
    loud = Resampler(EAR_RATE_HZ, SEND_RATE_HZ).push(pcm)
    ends = range(encoder.packet_samples, len(loud) + 1, encoder.packet_samples)
    packets = [encoder.encode(loud[end - encoder.packet_samples : end]) for end in ends]
    encoder.close()
    return packets


def _conversation(ear: RtpEar, packets: list[bytes], path: Path) -> Iterator[tuple[int, list[HeardPcm]]]:
    """Every instant at which something happens, and what is heard then.

    The first packet always arrives, without jitter: before it nothing is known to be lost.
    """
    first_ns = _PACKET_NS + round(path.impairment.delay_ms * 1e6)
    arrivals = []
    for n in range(len(packets)):
        arrival_ns = path.arrival_ns((n + 1) * _PACKET_NS) if n else first_ns
        if arrival_ns is not None:
            arrivals.append((arrival_ns, n))
    for arrival_ns, n in [*sorted(arrivals), (_NEVER_NS, -1)]:
        while (wake_at_ns := ear.wake_at_ns) is not None and wake_at_ns < arrival_ns:
            yield wake_at_ns, ear.expire(wake_at_ns)
        if n >= 0:
            yield arrival_ns, ear.push(n, n * _PACKET_TICKS, packets[n], arrival_ns)
