"""What does someone hear whose client plays audio the moment it arrives?

The timeline counts samples at 24 kHz from the start of the call. A piece of audio plays when it arrives, or
after what is queued already; a queue that runs dry is silence. There is no buffer beyond that, so the
waveform shows every delay of the server, and nothing is added by the client.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from voicestack.core.audio import Pcm

CALL_RATE_HZ = 24_000
"""Both directions of a call, `audio/pcm` of the Realtime protocol."""

FRAME_MS = 20
FRAME_SAMPLES = CALL_RATE_HZ * FRAME_MS // 1000


def append_message(pcm: Pcm) -> str:
    """The client event that carries some user audio at CALL_RATE_HZ."""
    audio = base64.b64encode(pcm.astype("<i2").tobytes()).decode("ascii")
    return f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}'


@dataclass(slots=True)
class Piece:
    """Some audio on the timeline. `start_sample` is when it is heard, `pcm` what of it is heard."""

    item_id: str
    start_sample: int
    pcm: Pcm

    @property
    def end_sample(self) -> int:
        """When it is over."""
        return self.start_sample + len(self.pcm)


class Timeline:
    """Samples of the call's clock.

    Args:
        started_ns: Monotonic time of sample 0.
    """

    def __init__(self, started_ns: int) -> None:
        self.started_ns = started_ns

    def sample_at(self, at_ns: int) -> int:
        """The sample that is being played at an instant."""
        return (at_ns - self.started_ns) * CALL_RATE_HZ // 1_000_000_000

    def ns_of(self, sample: int) -> int:
        """The instant at which a sample is played."""
        return self.started_ns + sample * 1_000_000_000 // CALL_RATE_HZ


class Tap(Protocol):
    """Gets the same audio as the speaker: a sound device."""

    def push(self, pcm: Pcm) -> None:
        """Play this next."""
        ...

    def flush(self) -> None:
        """Fall silent."""
        ...


class Speaker:
    """The agent's audio as it is heard.

    Attributes:
        tap: Also gets everything; None when nobody listens.
        tolerance_samples: Silence within an item that is no gap yet. What arrives packet by packet leaves
            holes of a fraction of a millisecond; what arrives ahead of its time leaves none.
        n_gaps: How often the audio of one item ran dry before it went on.
        gap_samples: The silence that this made.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self._pieces: list[Piece] = []
        self.tap: Tap | None = None
        self.tolerance_samples = 0
        self.n_gaps = 0
        self.gap_samples = 0

    @property
    def end_sample(self) -> int:
        """When everything that is queued will have been played."""
        return self._pieces[-1].end_sample if self._pieces else 0

    def push(self, item_id: str, pcm: Pcm, at_ns: int) -> None:
        """Queue audio that arrived at `at_ns`."""
        if not len(pcm):
            return
        now = self.timeline.sample_at(at_ns)
        start = max(now, self.end_sample)
        n_hole = start - self.end_sample
        is_same = bool(self._pieces and item_id) and self._pieces[-1].item_id == item_id
        if is_same and n_hole > self.tolerance_samples:
            self.n_gaps += 1
            self.gap_samples += n_hole
        self._pieces.append(Piece(item_id, start, pcm))
        if self.tap is not None:
            self.tap.push(pcm)

    def claim(self, item_id: str, since_ns: int) -> None:
        """Name what has been pushed without a name since an instant: audio can be faster than its event."""
        since = self.timeline.sample_at(since_ns)
        for piece in reversed(self._pieces):
            if piece.item_id or piece.start_sample < since:
                break
            piece.item_id = item_id

    def flush(self, at_ns: int) -> int:
        """Fall silent. Returns how many queued samples will not be heard."""
        now = self.timeline.sample_at(at_ns)
        n_dropped = 0
        while self._pieces and self._pieces[-1].end_sample > now:
            last = self._pieces[-1]
            n_kept = max(0, now - last.start_sample)
            n_dropped += len(last.pcm) - n_kept
            last.pcm = last.pcm[:n_kept]
            if n_kept:
                break
            self._pieces.pop()
        if self.tap is not None:
            self.tap.flush()
        return n_dropped

    def is_silent(self, at_ns: int) -> bool:
        """Whether the queue is empty."""
        return self.end_sample <= self.timeline.sample_at(at_ns)

    def played_ms(self, item_id: str, at_ns: int) -> int:
        """How much of an item has been heard, whole milliseconds of its own audio."""
        now = self.timeline.sample_at(at_ns)
        n_played = sum(
            min(len(piece.pcm), max(0, now - piece.start_sample))
            for piece in self._pieces
            if piece.item_id == item_id
        )
        return n_played * 1000 // CALL_RATE_HZ

    def _heard(self, item_id: str | None, start_sample: int) -> Iterator[Piece]:
        for piece in self._pieces:
            if piece.end_sample > start_sample and item_id in (None, piece.item_id):
                yield piece

    def render(self, start_sample: int = 0, end_sample: int | None = None, item_id: str | None = None) -> Pcm:
        """The waveform from `start_sample` to `end_sample` (default: the end), of one item or of all."""
        end = self.end_sample if end_sample is None else end_sample
        out = np.zeros(max(0, end - start_sample), dtype=np.int16)
        for piece in self._heard(item_id, start_sample):
            skip = max(0, start_sample - piece.start_sample)
            at = piece.start_sample + skip - start_sample
            sound = piece.pcm[skip : skip + max(0, len(out) - at)]
            out[at : at + len(sound)] = sound
        return out


class Mouth:
    """The user's audio: what is said when, and silence between.

    A frame is sent when its last sample has been spoken, as a microphone does; so the frame's own 20 ms are
    part of every latency measured here.
    """

    def __init__(self) -> None:
        self._said: list[Piece] = []
        self.next_sample = 0
        """The first sample that has not been captured."""

    @property
    def end_sample(self) -> int:
        """When the last word is over."""
        return self._said[-1].end_sample if self._said else 0

    def say(self, pcm: Pcm) -> Piece:
        """Speak next, after what is still to be said. `pcm` is int16 mono at CALL_RATE_HZ."""
        piece = Piece("user", max(self.next_sample, self.end_sample), pcm)
        self._said.append(piece)
        return piece

    def record(self, pcm: Pcm) -> None:
        """Take what a real microphone captured."""
        self._said.append(Piece("user", self.next_sample, pcm))
        self.next_sample += len(pcm)

    def frame(self) -> Pcm:
        """Capture the next 20 ms."""
        frame = self.render(self.next_sample, self.next_sample + FRAME_SAMPLES)
        self.next_sample += FRAME_SAMPLES
        return frame

    def render(self, start_sample: int = 0, end_sample: int | None = None) -> Pcm:
        """The waveform from `start_sample` to `end_sample` (default: what has been captured)."""
        end = self.next_sample if end_sample is None else end_sample
        out = np.zeros(max(0, end - start_sample), dtype=np.int16)
        for piece in reversed(self._said):
            if piece.end_sample <= start_sample:
                break
            skip = max(0, start_sample - piece.start_sample)
            at = piece.start_sample + skip - start_sample
            sound = piece.pcm[skip : skip + max(0, len(out) - at)]
            out[at : at + len(sound)] = sound
        return out
