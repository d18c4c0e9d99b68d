"""What does the user say? From RTP packets with Opus in them to samples without a hole.

What is lost is taken from its successor's FEC, else made up, and after 100 ms of that silent: a codec that
goes on for longer drones, and a recogniser hears words in it. A sender that announces silence and then sends
nothing (DTX) is heard to be silent while it is, and not when it speaks again: somebody waits for the pause.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from voicestack.core.audio import EAR_RATE_HZ, NO_AUDIO, Pcm
from voicestack.transports.jitter import Heard, JitterBuffer, JitterFigures, Lost, Played, RtpPacket
from voicestack.transports.opus import OpusDecoder
from voicestack.transports.opus_packet import TICKS_HZ, fec_ticks, packet_ticks

MADE_UP_SAMPLES = EAR_RATE_HZ // 10
"""So much in a row is made up; the last fifth of it fades out."""
FADE_SAMPLES = MADE_UP_SAMPLES // 5
TICKS_PER_SAMPLE = TICKS_HZ // EAR_RATE_HZ

DTX_BYTES = 2
"""A packet of at most so many bytes says that silence follows, and that nothing more may be sent."""
QUIET_SAMPLES = EAR_RATE_HZ // 50
QUIET_NS = 20_000_000
"""Announced silence is heard in pieces of this length."""
QUIET_MARGIN_NS = 20_000_000
"""So much later than a packet would be here. A word that ends the silence must not be overtaken by it."""
MAX_QUIET_SAMPLES = EAR_RATE_HZ
"""It ends an utterance; who is silent for longer need not be heard to be."""

HeardPcm = tuple[Pcm, int]
"""int16 mono at EAR_RATE_HZ, and when the packet was here that it is from, or that showed it to be lost."""


class Decoder(Protocol):
    """What is needed of `OpusDecoder`."""

    def decode(self, packet: bytes) -> Pcm:
        """The next packet; empty if it cannot be used."""
        ...

    def recover(self, next_packet: bytes, n_samples: int) -> Pcm:
        """What was lost just before it."""
        ...

    def conceal(self, n_samples: int) -> Pcm:
        """Something that goes on as it was."""
        ...

    def close(self) -> None:
        """It is over."""
        ...


@dataclass(slots=True)
class EarFigures:
    """What became of the audio, in samples at EAR_RATE_HZ.

    Attributes:
        n_samples: All that was heard.
        n_recovered_samples: Of these, from FEC: what was said, a little coarser.
        n_concealed_samples: Of these, made up or muted, because they were lost or could not be decoded.
        n_silent_samples: Of these, not sent (DTX).
        n_bad: Packets that are not Opus.
    """

    n_samples: int = 0
    n_recovered_samples: int = 0
    n_concealed_samples: int = 0
    n_silent_samples: int = 0
    n_bad: int = 0


class RtpEar:
    """One user's packets to samples.

    Call `push` with every packet, and `expire` at `wake_at_ns`. Both return audio in order; the instants that
    go with it never go back.

    Raises:
        ConfigError: there is no libopus.
    """

    def __init__(self, decoder: Decoder | None = None) -> None:
        self._decoder = OpusDecoder(EAR_RATE_HZ) if decoder is None else decoder
        self._buffer = JitterBuffer()
        self._ssrc: int | None = None
        self._n_odd_ticks = 0  # a gap may end between two samples
        self._n_made_up_samples = 0  # in a row
        self._heard_ns = 0
        self._quiet_at_ns: int | None = None  # when the next piece of announced silence is due
        self._n_quiet_samples = 0  # in a row
        self.figures = EarFigures()

    @property
    def jitter(self) -> JitterFigures:
        """What happened to the packets."""
        return self._buffer.figures

    @property
    def wake_at_ns(self) -> int | None:
        """When to call `expire`; None while there is no need."""
        return self._quiet_at_ns if self._buffer.wake_at_ns is None else self._buffer.wake_at_ns

    def push(
        self, sequence: int, timestamp: int, payload: bytes, arrived_ns: int, *, ssrc: int = 0
    ) -> list[HeardPcm]:
        """Take a packet as it comes. Every packet may be anything."""
        heard: list[Heard] = []
        if ssrc != self._ssrc:
            heard += self._buffer.restart()
            self._ssrc = ssrc
        n_ticks = packet_ticks(payload)
        self.figures.n_bad += n_ticks == 0 and payload != b""
        packet = RtpPacket(sequence % 2**16, timestamp % 2**32, payload, arrived_ns, n_ticks)
        return self._hear(heard + self._buffer.push(packet))

    def expire(self, now_ns: int) -> list[HeardPcm]:
        """Wait no longer for what has been waited for long enough; go on with silence that was announced."""
        audio = self._hear(self._buffer.expire(now_ns))
        while self._quiet_at_ns is not None and now_ns >= self._quiet_at_ns:
            audio.append(self._quiet(self._quiet_at_ns))
        return audio

    def close(self) -> None:
        """The user is gone."""
        self._decoder.close()

    def _hear(self, heard: list[Heard]) -> list[HeardPcm]:
        audio: list[HeardPcm] = []
        for what in heard:
            if isinstance(what, Played):
                packet, pcm = what.packet, self._decoded(what.packet)
            elif isinstance(what, Lost):
                packet, pcm = what.successor, self._recovered(self._samples(what.n_ticks), what.successor)
            else:
                packet, pcm = what.successor, np.zeros(self._samples(what.n_ticks), dtype=np.int16)
                self.figures.n_silent_samples += len(pcm)
            self._heard_ns = max(self._heard_ns, packet.arrived_ns)
            if len(pcm):
                self.figures.n_samples += len(pcm)
                audio.append((pcm, self._heard_ns))
        if heard:
            self._n_quiet_samples = 0
            is_dtx = len(packet.payload) <= DTX_BYTES
            self._quiet_at_ns = packet.arrived_ns + QUIET_NS + QUIET_MARGIN_NS if is_dtx else None
        if self._buffer.wake_at_ns is not None:
            self._quiet_at_ns = None
        return audio

    def _quiet(self, due_ns: int) -> HeardPcm:
        """Another piece of announced silence."""
        self._buffer.skip(QUIET_SAMPLES * TICKS_PER_SAMPLE)
        self._n_quiet_samples += QUIET_SAMPLES
        self._quiet_at_ns = due_ns + QUIET_NS if self._n_quiet_samples < MAX_QUIET_SAMPLES else None
        self._heard_ns = max(self._heard_ns, due_ns)
        self.figures.n_samples += QUIET_SAMPLES
        self.figures.n_silent_samples += QUIET_SAMPLES
        return np.zeros(QUIET_SAMPLES, dtype=np.int16), self._heard_ns

    def _samples(self, n_ticks: int) -> int:
        n_samples, self._n_odd_ticks = divmod(n_ticks + self._n_odd_ticks, TICKS_PER_SAMPLE)
        return n_samples

    def _decoded(self, packet: RtpPacket) -> Pcm:
        pcm = self._decoder.decode(packet.payload)
        n_samples = packet.n_ticks // TICKS_PER_SAMPLE
        if len(pcm) != n_samples:  # its first bytes were all right, the rest was not
            self.figures.n_bad += 1
            return self._made_up(n_samples)
        self._n_made_up_samples = 0
        return pcm

    def _recovered(self, n_samples: int, successor: RtpPacket) -> Pcm:
        n_known_samples = fec_ticks(successor.payload) // TICKS_PER_SAMPLE
        if not 0 < n_known_samples <= n_samples:
            return self._made_up(n_samples)
        before = self._made_up(n_samples - n_known_samples)
        known = self._decoder.recover(successor.payload, n_known_samples)
        self.figures.n_recovered_samples += n_known_samples
        self._n_made_up_samples = 0
        return np.concatenate((before, known))

    def _made_up(self, n_samples: int) -> Pcm:
        self.figures.n_concealed_samples += n_samples
        at, self._n_made_up_samples = self._n_made_up_samples, self._n_made_up_samples + n_samples
        n_audible = min(n_samples, MADE_UP_SAMPLES - at)
        if n_audible <= 0:
            return np.zeros(n_samples, dtype=np.int16) if n_samples else NO_AUDIO
        left = np.arange(MADE_UP_SAMPLES - at, MADE_UP_SAMPLES - at - n_audible, -1) / FADE_SAMPLES
        pcm = np.zeros(n_samples, dtype=np.int16)
        pcm[:n_audible] = self._decoder.conceal(n_audible) * np.minimum(left, 1.0)
        return pcm
