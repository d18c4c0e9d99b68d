"""How a session listens: frames in, events of speech and words out.

Ears own the utterance: the audio kept from before its start, the recognition that runs while it is spoken,
and the three ways in which it ends (silence, the peer's commit, audio that stops coming).
"""

from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from voicestack.aio.clock import Clock, Timer
from voicestack.aio.prefetch import Channel, Full
from voicestack.aio.scope import Scope
from voicestack.core.audio import EAR_RATE_HZ, AudioFrame, Pcm, ms_to_samples, samples_to_ms
from voicestack.core.errors import StageError, StageUnavailable
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.ids import UtteranceId
from voicestack.core.settings import ServerVad
from voicestack.ports import PAUSE, Asr, Certainty, Pause, SpeechWindow, Vad
from voicestack.turn.endpointer import Ended, Endpointer, EndpointRules, Paused, Resumed, Started
from voicestack.turn.events import (
    SpeechEnded,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    WordsHeard,
    WordsSettled,
)

SpeechEvent = SpeechStarted | SpeechPaused | SpeechResumed | SpeechEnded | WordsSettled | WordsHeard

MAX_UTTERANCE_FRAMES = 15_000
"""Frames that may wait for the recogniser: five minutes at 20 ms. Beyond it the utterance is not heard."""
AHEAD_SAMPLES = EAR_RATE_HZ // 10
"""Audio that is taken before the VAD has judged it. Who speaks in real time is 32 ms ahead of Silero VAD; who
sends a recording at once is held back, or its beginning would be forgotten when its start is found."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """How to listen, beside what the peer sets.

    Attributes:
        soft_end_ms: Silence after which a draft may begin.
        min_speech_ms: Speech shorter than this does not start an utterance.
        stall_ms: When no audio comes for so long in mid-utterance, it has ended.
    """

    soft_end_ms: int = 96
    min_speech_ms: int = 64
    stall_ms: int = 1000


class Listener(Protocol):
    """Whoever the ears report to."""

    def on_speech(self, event: SpeechEvent, sample: int) -> None:
        """Something happened at media time `sample`; for `WordsHeard`, how many samples they took."""
        ...

    def on_partial(self, utterance: UtteranceId, text: str, sure: str) -> None:
        """The utterance sounds like this so far; the beginning in `sure` will stay so."""
        ...

    def on_unheard(self, utterance: UtteranceId, error: StageError) -> None:
        """The utterance cannot be transcribed; its `WordsHeard` follows and is empty."""
        ...


@dataclass(slots=True)
class _Utterance:
    id: UtteranceId
    sounds: Channel[AudioFrame | Pause]
    start_sample: int
    by_vad: bool
    next_sample: int  # first sample that has not been given to the recogniser
    overflow: bool = False


class Ears:
    """The listening half of a session. Call `hear` for every frame, in order.

    `keep` is given what belongs to an utterance, in pieces.
    """

    def __init__(
        self,
        vad: Vad,
        asr: Asr,
        clock: Clock,
        scope: Scope,
        listener: Listener,
        hearing: Hearing,
        keep: Callable[[UtteranceId, Pcm], None],
    ) -> None:
        self._asr, self._clock, self._scope, self._listener = asr, clock, scope, listener
        self._hearing, self._keep = hearing, keep
        self._detection: ServerVad | None = ServerVad()
        self._hints = NO_HINTS
        self._endpointer = Endpointer(self._rules(ServerVad()))
        self._vad = vad.open(scope.guarded(self._on_window))
        self._recent: deque[AudioFrame] = deque()  # for the prefix, and to know when a sample arrived
        self._early: deque[AudioFrame] = deque()  # what came faster than it can be judged
        self._judged_to = 0  # media time up to which the VAD has an opinion
        self._n_utterances = 0
        self._current: _Utterance | None = None
        self._recognising: set[Channel[AudioFrame | Pause]] = set()
        self._heard_to = 0  # media time up to which audio belongs to earlier utterances
        self._n_samples = 0
        self._arrived_ns = 0  # of the newest frame
        self._stall_timer: Timer | None = None

    @property
    def n_samples(self) -> int:
        """Media time: samples that have come in."""
        return self._n_samples

    @property
    def buffered_ms(self) -> int:
        """Audio of the utterance that is being collected."""
        return 0 if self._current is None else self._audio_ms(self._current)

    @property
    def waiting_ms(self) -> float:
        """Audio that waits for the recogniser."""
        sounds = (sound for channel in self._recognising for sound in channel.waiting())
        n_samples = sum(len(sound.pcm) for sound in sounds if isinstance(sound, AudioFrame))
        return n_samples * 1000 / EAR_RATE_HZ

    def configure(self, detection: ServerVad | None, hints: Hints) -> None:
        """Listen with these settings from now on; an open utterance is not lost, and keeps its hints."""
        self._hints = hints
        was_manual, is_manual = self._detection is None, detection is None
        if was_manual != is_manual:
            self._take_early()
            self._judged_to = self._n_samples  # nothing was asked about what came until now
            if self._current is not None:
                self.commit()  # who began it is not there any more to end it
        self._detection = detection
        if detection is not None:
            self._endpointer.rules = self._rules(detection)

    def hear(self, frame: AudioFrame) -> None:
        """Take the next frame."""
        if not self._early and not self._is_ahead():
            self._take(frame)
            return
        self._early.append(frame)
        if len(self._early) > MAX_UTTERANCE_FRAMES:
            self._take(self._early.popleft())

    def _take(self, frame: AudioFrame) -> None:
        self._n_samples, self._arrived_ns = frame.end_sample, frame.arrived_ns
        self._recent.append(frame)
        self._forget_old()
        if self._detection is None and self._current is None:
            self._open(frame.start_sample, by_vad=False)
        if self._current is not None:
            self._give(self._current, frame)
        if self._detection is not None:
            self._vad.push(frame)

    def commit(self) -> bool:
        """End the open utterance at once. Returns False when there is none."""
        self._take_early()
        if self._current is None:
            return False
        if self._endpointer.speaking:
            self._endpointer.end()
        self._close(self._n_samples)
        return True

    def clear(self) -> None:
        """Forget what has been collected and not committed."""
        self._early.clear()
        self._heard_to = self._n_samples
        self._recent.clear()
        if self._current is not None and not self._current.by_vad:
            self._current.overflow = True  # nobody is told what it held
            self._current.sounds.close()
            self._current = None

    def close(self) -> None:
        """The session is over."""
        self._vad.close()
        self._early.clear()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
        if self._current is not None:
            self._current.sounds.close()

    def _on_window(self, window: SpeechWindow) -> None:
        self._judged_to = window.end_sample
        if self._detection is not None:
            self._judge(window, self._detection)
        while self._early and not self._is_ahead():
            self._take(self._early.popleft())

    def _judge(self, window: SpeechWindow, detection: ServerVad) -> None:
        edge = self._endpointer.push(window.p_speech, window.end_sample)
        match edge:
            case Started(start_sample=start):
                prefix = ms_to_samples(detection.prefix_padding_ms, EAR_RATE_HZ)
                utterance = self._open(max(start - prefix, self._heard_to), by_vad=True)
                now_ns = self._clock.now_ns()
                event = SpeechStarted(now_ns, utterance.id)
                self._listener.on_speech(event, utterance.start_sample)
                self._watch_for_stall(now_ns)
            case Paused(speech_end_sample=end) if self._current:
                self._put(self._current, PAUSE)
                paused = SpeechPaused(self._clock.now_ns(), self._current.id, self._arrival_ns(end))
                self._listener.on_speech(paused, window.end_sample)
            case Resumed() if self._current:
                resumed = SpeechResumed(self._clock.now_ns(), self._current.id)
                self._listener.on_speech(resumed, window.end_sample)
            case Ended(speech_end_sample=end) if self._current:
                self._close(end)

    def _open(self, start_sample: int, *, by_vad: bool) -> _Utterance:
        self._n_utterances += 1
        utterance = _Utterance(
            UtteranceId(self._n_utterances),
            Channel(MAX_UTTERANCE_FRAMES, name="asr"),
            start_sample,
            by_vad,
            next_sample=start_sample,
        )
        self._current = utterance
        for frame in self._recent:
            self._give(utterance, frame)
        self._scope.start(self._recognise(utterance), name=f"asr-{utterance.id}")
        return utterance

    def _close(self, speech_end_sample: int) -> None:
        """End the open utterance; its recognition finishes by itself."""
        utterance, self._current = self._current, None
        assert utterance is not None
        utterance.sounds.close()
        self._heard_to = self._n_samples
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        event = SpeechEnded(self._clock.now_ns(), utterance.id, self._arrival_ns(speech_end_sample))
        self._listener.on_speech(event, self._n_samples)

    def _give(self, utterance: _Utterance, frame: AudioFrame) -> None:
        """Pass the part of the frame on that the recogniser has not had yet."""
        if frame.end_sample <= utterance.next_sample:
            return
        skip = max(0, utterance.next_sample - frame.start_sample)
        utterance.next_sample = frame.end_sample
        if skip:
            frame = AudioFrame(frame.pcm[skip:], frame.start_sample + skip, frame.arrived_ns)
        self._keep(utterance.id, frame.pcm)
        self._put(utterance, frame)

    def _put(self, utterance: _Utterance, sound: AudioFrame | Pause) -> None:
        try:
            utterance.sounds.put(sound)
        except Full:
            utterance.overflow = True
            utterance.sounds.close()

    async def _recognise(self, utterance: _Utterance) -> None:
        text, lost = "", False
        self._recognising.add(utterance.sounds)
        try:
            async with aclosing(self._asr.transcribe(utterance.sounds, self._hints)) as transcripts:
                async for transcript in transcripts:
                    text = transcript.text
                    if transcript.certainty is Certainty.PARTIAL:
                        self._listener.on_partial(utterance.id, text, transcript.sure)
                    elif transcript.certainty is Certainty.SETTLED:
                        settled = WordsSettled(self._clock.now_ns(), utterance.id, text)
                        self._listener.on_speech(settled, utterance.next_sample)
            if utterance.overflow and utterance.by_vad:
                raise StageUnavailable("the recogniser is minutes behind", stage="asr")
        except StageError as error:
            text, lost = "", True
            await self._ended(utterance)
            self._listener.on_unheard(utterance.id, error)
        finally:
            self._recognising.discard(utterance.sounds)
        if utterance.overflow and not utterance.by_vad:
            return  # it was cleared
        heard = WordsHeard(self._clock.now_ns(), utterance.id, text, lost)
        self._listener.on_speech(heard, utterance.next_sample - utterance.start_sample)

    async def _ended(self, utterance: _Utterance) -> None:
        """Read on until the utterance is over: a dead recogniser does not stop the user."""
        async for _ in utterance.sounds:
            pass

    def _watch_for_stall(self, now_ns: int) -> None:
        self._stall_timer = self._clock.call_at(now_ns + self._hearing.stall_ms * 1_000_000, self._on_stall)

    def _on_stall(self) -> None:
        self._stall_timer = None
        if self._current is None:
            return
        quiet_ns = self._clock.now_ns() - self._arrived_ns
        if quiet_ns >= self._hearing.stall_ms * 1_000_000 and not self._early:
            self.commit()
        else:
            self._watch_for_stall(self._clock.now_ns() if self._early else self._arrived_ns)

    def _is_ahead(self) -> bool:
        """Whether more than AHEAD_SAMPLES wait to be judged. Gaps in media time count for nothing."""
        if self._detection is None:
            return False
        n_samples = 0
        for frame in reversed(self._recent):
            if frame.end_sample <= self._judged_to or n_samples > AHEAD_SAMPLES:
                break
            n_samples += min(len(frame.pcm), frame.end_sample - self._judged_to)
        return n_samples > AHEAD_SAMPLES

    def _take_early(self) -> None:
        """Take what was held back, judged or not: somebody says himself where the utterance ends."""
        while self._early:
            self._take(self._early.popleft())

    def _arrival_ns(self, sample: int) -> int:
        """When the frame with the sample before media time `sample` arrived."""
        for frame in reversed(self._recent):
            if frame.start_sample < sample:
                return frame.arrived_ns
        return self._recent[0].arrived_ns if self._recent else self._clock.now_ns()

    def _forget_old(self) -> None:
        detection = self._detection or ServerVad()
        keep_ms = max(detection.prefix_padding_ms + 500, detection.silence_duration_ms + 500)
        oldest = self._n_samples - ms_to_samples(keep_ms, EAR_RATE_HZ)
        while self._recent and self._recent[0].end_sample <= oldest:
            self._recent.popleft()

    def _rules(self, detection: ServerVad) -> EndpointRules:
        silence_ms = detection.silence_duration_ms
        return EndpointRules(
            threshold=detection.threshold,
            min_speech_samples=ms_to_samples(self._hearing.min_speech_ms, EAR_RATE_HZ),
            soft_end_samples=ms_to_samples(min(self._hearing.soft_end_ms, silence_ms), EAR_RATE_HZ),
            silence_samples=ms_to_samples(silence_ms, EAR_RATE_HZ),
        )

    def _audio_ms(self, utterance: _Utterance) -> int:
        return samples_to_ms(utterance.next_sample - utterance.start_sample, EAR_RATE_HZ)
