"""What must be asked about an utterance next? Its sound so far, what is agreed of it, and who waits for more.

It decides and does nothing: the engine feeds it sound and answers, and does what `next_step` says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np

from voicestack.core.audio import EAR_RATE_HZ, Pcm
from voicestack.core.heard import HeardWord, sentence
from voicestack.engines.agreement import Agreement
from voicestack.engines.hallucinations import LEVEL_SAMPLES, SILENCE_DBFS, level_dbfs, levels_dbfs
from voicestack.engines.whisper_pace import Pace
from voicestack.engines.whisper_window import Urgency
from voicestack.ports import Certainty, Transcript

MAX_SAMPLES = EAR_RATE_HZ * 28
"""Longest window. Whisper hears 30 s; what is longer is cut, and the rest is the next window."""
PRE_ROLL_SAMPLES = EAR_RATE_HZ * 300 // 1000
"""Sound that is kept from before the first audible one, as `prefix_padding_ms` has it."""
PAUSE_SAMPLES = EAR_RATE_HZ * 60 // 1000
"""What lies so shortly before a pause is silence as it sounds here: the VAD took 64 ms to be certain."""
LOUDER_DB = 10.0
"""Speech is so much louder than the silence ..."""
SPAN_DB = 25.0
"""... and no more than this below the louder part of the speech before, of which ..."""
LOOK_BACK_SAMPLES = EAR_RATE_HZ * 5
"""... these 5 s count."""
RESUMED_SAMPLES = EAR_RATE_HZ * 40 // 1000
"""Speech goes on when it is so loud for so long; a click is shorter."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Have this window understood.

    Attributes:
        urgency: Who waits for it.
        start_sample, end_sample: Where it lies in the utterance.
        torn: The sound goes on behind it, but it cannot be longer.
    """

    urgency: Urgency
    start_sample: int
    end_sample: int
    torn: bool


@dataclass(frozen=True, slots=True)
class Say:
    """Yield this."""

    transcript: Transcript = field(repr=False)


class Wait(Enum):
    """There is nothing to do until more is known."""

    FOR_MORE = "more"


@dataclass(frozen=True, slots=True)
class _Settled:
    """What was understood of everything before `end_sample`."""

    end_sample: int
    words: tuple[HeardWord, ...]


class Agreeing(Protocol):
    """What becomes of the answers to windows: see `agreement.Agreement`, or `whole_answers.WholeAnswers`."""

    start_s: float

    @property
    def words(self) -> tuple[HeardWord, ...]:
        """All words so far."""
        ...

    @property
    def sure(self) -> str:
        """What stays of the text."""
        ...

    @property
    def context(self) -> str:
        """What was said before the window."""
        ...

    def hear(self, words: Sequence[HeardWord], end_s: float) -> None:
        """Take what the window that ends there was understood as."""
        ...

    def move_up(self, end_s: float, window_s: float) -> None:
        """The window may begin later now, if it is longer than `window_s`."""
        ...

    def tear(self, end_s: float) -> None:
        """The window must begin later."""
        ...


class Utterance:
    """One utterance.

    Args:
        agreement: What its words are made of; those of a recogniser of windows, if not given.

    Attributes:
        asked: The window that is being understood now.
        is_over: Whether the last transcript has been given out.
    """

    def __init__(self, agreement: Agreeing | None = None) -> None:
        self.asked: Ask | None = None
        self.is_over = False
        self._agreement: Agreeing = agreement or Agreement()
        self._pcm = bytearray()
        self._base_sample = 0  # of the first sample in _pcm
        self._begun = False  # whether there has been anything to hear
        self._ended = False
        self._unasked_sample = 0  # up to where windows have been asked for
        self._audible_sample = 0  # end of the last frame in which there was anything to hear
        self._pauses: list[int] = []  # places of the pauses that have not been answered
        self._resumes_dbfs = np.inf  # from which level on speech goes on; inf while it has not stopped
        self._n_loud_samples = 0
        self._settled: _Settled | None = None
        self._said = ""

    @property
    def end_sample(self) -> int:
        """Samples so far."""
        return self._base_sample + len(self._pcm) // 2

    @property
    def has_begun(self) -> bool:
        """Whether there has been anything to hear."""
        return self._begun

    @property
    def context(self) -> str:
        """What was said before the window."""
        return self._agreement.context

    def hear(self, pcm: Pcm) -> None:
        """Take the next samples: int16 at EAR_RATE_HZ."""
        self._pcm += pcm.astype("<i2").tobytes()
        level = level_dbfs(pcm)
        if level > SILENCE_DBFS:
            self._audible_sample = self.end_sample
            self._begun = True
        if not self._begun:
            self._forget_before(self.end_sample - PRE_ROLL_SAMPLES)
            self._unasked_sample = self._base_sample
            self._agreement.start_s = self._base_sample / EAR_RATE_HZ
        self._n_loud_samples = self._n_loud_samples + len(pcm) if level > self._resumes_dbfs else 0
        if self._n_loud_samples >= RESUMED_SAMPLES:
            self._resumes_dbfs = np.inf

    def pause(self) -> None:
        """The user fell silent here."""
        self._pauses.append(self.end_sample)
        levels = levels_dbfs(self._between(self.end_sample - LOOK_BACK_SAMPLES, self.end_sample))
        if len(levels):
            silence = float(levels[-(PAUSE_SAMPLES // LEVEL_SAMPLES) :].mean())
            loud = float(np.quantile(levels, 0.9))
            self._resumes_dbfs = max(SILENCE_DBFS, silence + LOUDER_DB, loud - SPAN_DB)
            self._n_loud_samples = 0

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True

    def window(self, ask: Ask) -> Pcm:
        """The sound that is asked about."""
        return self._between(ask.start_sample, ask.end_sample)

    def next_step(self, pace: Pace) -> Ask | Say | Wait:
        """What to do now. An Ask takes the place of one that is under way."""
        if self._ended or self._pauses:
            return self._answer()
        if self.asked is not None:
            return Wait.FOR_MORE
        news = self._agreement_words()
        if news is not None:
            return news
        end = self.end_sample
        if self._audible_sample > self._unasked_sample and self._speaks:
            n_new = end - self._unasked_sample
            if n_new >= pace.cadence_s * EAR_RATE_HZ:
                return self._ask(Urgency.PARTIAL, end)
        return Wait.FOR_MORE

    def take(self, words: tuple[HeardWord, ...] | None, pace: Pace) -> None:
        """The window that was asked about is understood; None: nobody had the time."""
        ask, self.asked = self.asked, None
        assert ask is not None
        if words is None:
            return
        shift_s, end_s = ask.start_sample / EAR_RATE_HZ, ask.end_sample / EAR_RATE_HZ
        self._agreement.hear(
            [HeardWord(w.text, w.start_s + shift_s, w.end_s + shift_s, w.p_right) for w in words], end_s
        )
        if ask.torn:
            self._agreement.tear(end_s)
        else:
            if ask.urgency is not Urgency.PARTIAL:
                self._settled = _Settled(ask.end_sample, self._agreement.words)
            self._agreement.move_up(end_s, pace.window_s)
        self._forget_before(self._start_sample)

    def _answer(self) -> Ask | Say | Wait:
        """Somebody waits for the words up to a pause, or to the end."""
        words = self._known()
        if words is not None:
            if self._pauses:
                del self._pauses[0]  # a pause that a newer one overtook has the newer one's words
                return Say(self._transcript(words, Certainty.SETTLED))
            self.is_over = True
            return Say(self._transcript(words, Certainty.FINAL))
        urgency = Urgency.FINAL if self._ended else Urgency.SETTLED
        if self.asked is not None and not self.asked.torn and self._covers(self.asked):
            return Wait.FOR_MORE
        if self.asked is not None and self.asked.torn:
            return Wait.FOR_MORE  # it must be understood before what follows it
        return self._ask(urgency, self.end_sample if self._ended else self._pauses[-1])

    def _known(self) -> tuple[HeardWord, ...] | None:
        """The words up to where somebody waits for them, if no window need be understood for that."""
        if not self._begun:
            return ()
        target = self.end_sample if self._ended else self._pauses[-1]
        if self._settled is not None and self._reaches(self._settled.end_sample, target):
            return self._settled.words
        return None

    def _covers(self, ask: Ask) -> bool:
        target = self.end_sample if self._ended else self._pauses[-1]
        return ask.urgency is not Urgency.PARTIAL and self._reaches(ask.end_sample, target)

    def _reaches(self, end_sample: int, target: int) -> bool:
        """Whether nothing was said between the two places."""
        if end_sample >= target or self._audible_sample <= end_sample:
            return True
        # A new pause says that somebody spoke before it. After the last one, we have listened.
        newest_pause = max(self._pauses, default=end_sample)
        return self._ended and not self._speaks and end_sample >= newest_pause

    @property
    def _speaks(self) -> bool:
        """Whether the user speaks, as far as can be told: not since a pause, unless it got loud again."""
        return self._resumes_dbfs == np.inf

    def _agreement_words(self) -> Say | None:
        text = sentence(self._agreement.words)
        if text == self._said:
            return None
        return Say(self._transcript(self._agreement.words, Certainty.PARTIAL))

    def _transcript(self, words: tuple[HeardWord, ...], certainty: Certainty) -> Transcript:
        self._said = sentence(words)
        return Transcript(self._said, certainty, self._agreement.sure, words)

    @property
    def _start_sample(self) -> int:
        return round(self._agreement.start_s * EAR_RATE_HZ)

    def _ask(self, urgency: Urgency, end_sample: int) -> Ask:
        start = self._start_sample
        end = min(end_sample, start + MAX_SAMPLES)
        self.asked = Ask(urgency, start, end, torn=end < end_sample)
        self._unasked_sample = end
        return self.asked

    def _between(self, start_sample: int, end_sample: int) -> Pcm:
        first = max(0, start_sample - self._base_sample)
        last = max(0, end_sample - self._base_sample)
        return np.frombuffer(bytes(self._pcm[2 * first : 2 * last]), "<i2")

    def _forget_before(self, sample: int) -> None:
        n_old = sample - self._base_sample
        if n_old > 0:
            del self._pcm[: 2 * n_old]
            self._base_sample += n_old
