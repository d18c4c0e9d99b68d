"""What would a conversation do with engines that are exact? Deterministic engines for tests and benches.

They satisfy the same contracts as the real ones. Every delay goes through `asyncio.sleep`, so that a virtual
event loop controls it; a delay of 0 does not sleep at all.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

import numpy as np

from voicestack.core.audio import EAR_RATE_HZ, NO_AUDIO, AudioFrame, Pcm, SpokenFrame, ms_to_samples
from voicestack.core.errors import StageError, StageUnavailable
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.history import Message
from voicestack.core.ids import SessionId
from voicestack.core.notes import Usage
from voicestack.core.tools import CallDelta, ToolCall
from voicestack.ports import (
    Certainty,
    LlmDelta,
    LlmRequest,
    Pause,
    SpeechRequest,
    SpeechWindow,
    Transcript,
)

VAD_WINDOW_SAMPLES = 512
"""The window of Silero VAD at 16 kHz, so that `EnergyVad` delivers opinions in the same rhythm."""

WORD_MS = 250
"""Audio that `ScriptedAsr` wants to hear for each word of a partial: 240 words a minute, a fast speaker."""

TTS_FRAME_MS = 20
TTS_AMPLITUDE = 32767 * 10 ** (-12 / 20)
"""Peak of the tone that `ScriptedTts` speaks with: -12 dBFS."""

_WORD = re.compile(r"\s*\S+(?:\s+\Z)?|\s+\Z")
"""A word with the white space before it; the last one also has what follows."""


def words_of(text: str) -> list[str]:
    """Cut into words that carry the white space before them; joined they are `text` again."""
    return _WORD.findall(text)


class EnergyVad:
    """Satisfies `ports.Vad`: whatever is loud is speech.

    Args:
        threshold_dbfs: RMS level of a window, relative to full scale, from which p_speech is 1.0, else 0.0.
    """

    def __init__(self, threshold_dbfs: float = -45.0) -> None:
        self._energy_at_least = VAD_WINDOW_SAMPLES * (32767 * 10 ** (threshold_dbfs / 20)) ** 2

    def open(self, on_window: Callable[[SpeechWindow], None]) -> "EnergyVadStream":
        """Begin a session. `on_window` is called from within `push`."""
        return EnergyVadStream(self._energy_at_least, on_window)


class EnergyVadStream:
    """One session of `EnergyVad`. A gap in media time restarts the window."""

    def __init__(self, energy_at_least: float, on_window: Callable[[SpeechWindow], None]) -> None:
        self._energy_at_least = energy_at_least
        self._on_window: Callable[[SpeechWindow], None] | None = on_window
        self._end_sample: int | None = None
        self._n_filled = 0
        self._energy = 0.0

    def push(self, frame: AudioFrame) -> None:
        """Take the next frame and say at once what its windows are."""
        if frame.start_sample != self._end_sample:
            self._n_filled, self._energy = 0, 0.0
        self._end_sample = frame.end_sample
        at = 0
        while at < len(frame.pcm) and self._on_window is not None:
            part = frame.pcm[at : at + VAD_WINDOW_SAMPLES - self._n_filled].astype(np.float32)
            at += len(part)
            self._n_filled += len(part)
            self._energy += float(part @ part)
            if self._n_filled == VAD_WINDOW_SAMPLES:
                p_speech = 1.0 if self._energy >= self._energy_at_least else 0.0
                self._n_filled, self._energy = 0, 0.0
                self._on_window(SpeechWindow(p_speech, frame.start_sample + at))

    def close(self) -> None:
        """No opinion comes after this."""
        self._on_window = None


class ScriptedAsr:
    """Satisfies `ports.Asr`: the n-th utterance has the n-th text, cycling.

    A `|` in a text marks where the user hesitates: the k-th pause settles on the first k pieces only, a
    pause after the last piece and the end settle on all of it. Without a `|` every pause settles on the
    whole text. Partials have one more word for every `WORD_MS` of audio, up to the piece being spoken.

    Args:
        texts: At least one. An empty text is an utterance without words.
        settle_ms: From a `Pause` to its SETTLED.
        final_ms: From the end of the audio to the FINAL.

    Attributes:
        n_utterances: So far.
        hints: What came with each of them; they change nothing.
    """

    def __init__(self, texts: Sequence[str], *, settle_ms: float = 0, final_ms: float = 0) -> None:
        self._texts = tuple(texts)
        self._settle_ms = settle_ms
        self._final_ms = final_ms
        self.n_utterances = 0
        self.hints: list[Hints] = []

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        """See `ports.Asr`. The utterance is counted when the first transcript is asked for."""
        pieces = _pieces(self._texts[self.n_utterances % len(self._texts)])
        self.n_utterances += 1
        self.hints.append(hints)
        n_samples = n_pauses = n_words = 0
        async for sound in sounds:
            reached = pieces[min(n_pauses, len(pieces) - 1)]
            if isinstance(sound, Pause):
                await _delay(self._settle_ms)
                yield Transcript(" ".join(reached), Certainty.SETTLED)
                n_pauses += 1
                n_words = len(reached)
                n_samples = n_words * WORD_MS * EAR_RATE_HZ // 1000
                continue
            n_samples += len(sound.pcm)
            n_now = min(n_samples * 1000 // (WORD_MS * EAR_RATE_HZ), len(reached))
            if n_now > n_words:
                n_words = n_now
                text = " ".join(reached[:n_words])
                yield Transcript(text, Certainty.PARTIAL, sure=text)
        await _delay(self._final_ms)
        yield Transcript(" ".join(pieces[-1]), Certainty.FINAL)


def _pieces(text: str) -> list[list[str]]:
    """The words said by the first, second, ... hesitation and by the end."""
    said: list[str] = []
    pieces = []
    for piece in text.split("|"):
        said = said + piece.split()
        pieces.append(said)
    return pieces


ScriptedAnswer = str | ToolCall | tuple[str | ToolCall, ...]
"""What `ScriptedLlm` says and calls in one reply."""


class ScriptedLlm:
    """Satisfies `ports.Llm`: says what it is told to say, one word (a token) at a time.

    Everything public may be read, and `fail_after_tokens` and `n_failures` changed, while it is in use.

    Args:
        answers: A reply to a conversation with n messages of the user or with results of calls is
            `answers[(n - 1) % len(answers)]`, so that a draft, its retry and the real thing say the same; or
            a function of the messages. An answer is a text, a call, or several of them in a tuple; calls are
            made whatever the request's toolbox says.
        first_token_ms: From the request to the first token.
        token_ms: From one token to the next.
        fail_after_tokens: Raise `error` in place of the token after so many. None never fails.
        error: What to raise; StageUnavailable if not given.
        n_failures: Requests that fail before it recovers. None for all of them.

    Attributes:
        requests: What `reply` was asked, in order of the first `anext`.
        primes: What `prime` was asked.
        closed: Those of `requests` whose generator has ended, in whatever way.
        aborted: Those of `closed` that ended before the answer was complete: closed, cancelled or failed.
        released: Sessions that are over.
    """

    def __init__(
        self,
        answers: Sequence[ScriptedAnswer] | Callable[[tuple[Message, ...]], ScriptedAnswer],
        *,
        first_token_ms: float = 0,
        token_ms: float = 0,
        fail_after_tokens: int | None = None,
        error: StageError | None = None,
        n_failures: int | None = None,
    ) -> None:
        self._answers = answers if callable(answers) else tuple(answers)
        self._first_token_ms = first_token_ms
        self._token_ms = token_ms
        self._error = error or StageUnavailable("the scripted LLM fails here", stage="llm")
        self.fail_after_tokens = fail_after_tokens
        self.n_failures = n_failures
        self.requests: list[LlmRequest] = []
        self.primes: list[LlmRequest] = []
        self.closed: list[LlmRequest] = []
        self.aborted: list[LlmRequest] = []
        self.released: list[SessionId] = []

    async def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        """See `ports.Llm`. Usage counts one token a word, and nothing as cached.

        Raises:
            StageError: `error`, after `fail_after_tokens` tokens.
        """
        self.requests.append(request)
        complete = False
        try:
            answer = self._answer(request.messages)
            tokens = _deltas(answer.removeprefix(request.begun) if isinstance(answer, str) else answer)
            wanted = tokens if request.max_tokens is None else tokens[: request.max_tokens]
            await _delay(self._first_token_ms)
            for n, token in enumerate(wanted):
                if n:
                    await _delay(self._token_ms)
                self._fail_if_due(n)
                yield token
            self._fail_if_due(len(wanted))
            n_input = sum(len(message.text.split()) for message in request.messages)
            usage = Usage(input_tokens=n_input, output_tokens=len(wanted))
            complete = True
            yield LlmDelta(truncated=len(wanted) < len(tokens), usage=usage)
        finally:
            self.closed.append(request)
            if not complete:
                self.aborted.append(request)

    async def prime(self, request: LlmRequest) -> None:
        """See `ports.Llm`. It is noted, and changes nothing."""
        self.primes.append(request)

    def release(self, session: SessionId) -> None:
        """See `ports.Llm`."""
        self.released.append(session)

    def _answer(self, messages: tuple[Message, ...]) -> ScriptedAnswer:
        if callable(self._answers):
            return self._answers(messages)
        n_asked = sum(message.role in ("user", "tool") for message in messages)
        return self._answers[max(0, n_asked - 1) % len(self._answers)]

    def _fail_if_due(self, n_tokens: int) -> None:
        if n_tokens != self.fail_after_tokens or self.n_failures == 0:
            return
        if self.n_failures is not None:
            self.n_failures -= 1
        raise self._error


def _deltas(answer: ScriptedAnswer) -> list[LlmDelta]:
    """A delta for every word; a call without arguments is one piece."""
    deltas = []
    n_calls = 0
    for part in answer if isinstance(answer, tuple) else (answer,):
        if isinstance(part, str):
            deltas += [LlmDelta(word) for word in words_of(part)]
            continue
        pieces = words_of(part.arguments) or ["{}"]
        deltas += [LlmDelta(call=CallDelta(n_calls, part.call_id, part.name, piece)) for piece in pieces]
        n_calls += 1
    return deltas


class ScriptedTts:
    """Satisfies `ports.Tts`: every phrase is a tone, as long as the phrase has characters.

    Args:
        rate_hz: Sample rate, a multiple of 50.
        ms_per_char: Audio per character, white space included, at speed 1.0.
        first_audio_ms: From the request to the first frame; the others follow as fast as they are taken.
        tone_hz: Whole number, so that one second of tone repeats without a click.

    Attributes:
        requests: What `speak` was asked.
        closed: Those of `requests` whose generator has ended, in whatever way.
    """

    def __init__(
        self,
        rate_hz: int = 24_000,
        *,
        ms_per_char: float = 50,
        first_audio_ms: float = 0,
        tone_hz: int = 440,
    ) -> None:
        self._rate_hz = rate_hz
        self._ms_per_char = ms_per_char
        self._first_audio_ms = first_audio_ms
        self._frames = _one_second(rate_hz, tone_hz)
        self.requests: list[SpeechRequest] = []
        self.closed: list[SpeechRequest] = []

    @property
    def rate_hz(self) -> int:
        """Sample rate of what `speak` yields."""
        return self._rate_hz

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        """See `ports.Tts`. Frames of 20 ms, the last one shorter; their arrays are read-only."""
        self.requests.append(request)
        try:
            await _delay(self._first_audio_ms)
            frame_samples = len(self._frames[0])
            samples_per_char = ms_to_samples(self._ms_per_char, self._rate_hz) / request.speed
            words = words_of(request.text)
            n_samples = int(len(request.text) * samples_per_char)
            if n_samples == 0:
                yield SpokenFrame(NO_AUDIO, request.text)
            n_chars = n_said = 0
            for start in range(0, n_samples, frame_samples):
                end = min(start + frame_samples, n_samples)
                first = n_said
                while n_said < len(words) and int((n_chars + len(words[n_said])) * samples_per_char) <= end:
                    n_chars += len(words[n_said])
                    n_said += 1
                pcm = self._frames[start // frame_samples % len(self._frames)]
                yield SpokenFrame(pcm[: end - start], "".join(words[first:n_said]))
        finally:
            self.closed.append(request)


def _one_second(rate_hz: int, tone_hz: int) -> list[Pcm]:
    """One second of tone, cut into frames."""
    tone = np.sin(2 * np.pi * tone_hz * np.arange(rate_hz) / rate_hz)
    pcm = np.rint(TTS_AMPLITUDE * tone).astype(np.int16)
    pcm.setflags(write=False)
    return list(pcm.reshape(-1, ms_to_samples(TTS_FRAME_MS, rate_hz)))


async def _delay(ms: float) -> None:
    if ms > 0:
        await asyncio.sleep(ms / 1000)
