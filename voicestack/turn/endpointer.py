"""When the user starts and stops: windows of p_speech in, edges of speech out, all in media time.

The rule is Silero's own (`get_speech_timestamps`): speech begins at `threshold` and goes on until p_speech
falls under `threshold - 0.15`, so that a value near the threshold does not flicker. Silence is counted in
samples and not by a clock, so that jitter, or a client that sends a whole file at once, changes nothing.
"""

from dataclasses import dataclass

HYSTERESIS = 0.15
"""Silero VAD, `utils_vad.py`: neg_threshold = threshold - 0.15."""


@dataclass(frozen=True, slots=True)
class EndpointRules:
    """What counts as a start and as an end, in samples of the ear's rate.

    Attributes:
        threshold: p_speech from which a window is speech, 0..1.
        min_speech_samples: Speech shorter than this is a click, not a start.
        soft_end_samples: Silence after which a draft may begin.
        silence_samples: Silence that ends the utterance.
    """

    threshold: float
    min_speech_samples: int
    soft_end_samples: int
    silence_samples: int


@dataclass(frozen=True, slots=True)
class Started:
    """Speech began at `start_sample`."""

    start_sample: int


@dataclass(frozen=True, slots=True)
class Paused:
    """A soft end: no speech since `speech_end_sample`."""

    speech_end_sample: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """Speech went on after a soft end."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The utterance is over; its last speech lies before `speech_end_sample`."""

    speech_end_sample: int


Edge = Started | Paused | Resumed | Ended


class Endpointer:
    """Follows one stream. `rules` may be exchanged between two windows, even in mid-utterance."""

    def __init__(self, rules: EndpointRules) -> None:
        self.rules = rules
        self.speaking = False
        self._paused = False
        self._speech_end_sample = 0
        self._run_start_sample: int | None = None
        self._last_end_sample = 0

    def push(self, p_speech: float, end_sample: int) -> Edge | None:
        """Take the next window's opinion; `end_sample` is where the window ends."""
        start_sample, self._last_end_sample = self._last_end_sample, end_sample
        if not self.speaking:
            return self._await_speech(p_speech, start_sample, end_sample)
        floor = self.rules.threshold if self._paused else self.rules.threshold - HYSTERESIS
        if p_speech >= max(floor, 0.01):
            self._speech_end_sample = end_sample
            if self._paused:
                self._paused = False
                return Resumed()
            return None
        silence_samples = end_sample - self._speech_end_sample
        if silence_samples >= self.rules.silence_samples:
            return self.end()
        if silence_samples >= self.rules.soft_end_samples and not self._paused:
            self._paused = True
            return Paused(self._speech_end_sample)
        return None

    def _await_speech(self, p_speech: float, start_sample: int, end_sample: int) -> Edge | None:
        if p_speech < self.rules.threshold:
            self._run_start_sample = None
            return None
        if self._run_start_sample is None:
            self._run_start_sample = start_sample
        if end_sample - self._run_start_sample < self.rules.min_speech_samples:
            return None
        started = Started(self._run_start_sample)
        self.speaking, self._paused = True, False
        self._run_start_sample, self._speech_end_sample = None, end_sample
        return started

    def end(self) -> Ended:
        """End the utterance now, whatever the silence."""
        self.speaking = self._paused = False
        self._run_start_sample = None
        return Ended(self._speech_end_sample)
