"""What is said in a recording? It is cut at silences by the running VAD, and the recogniser hears the pieces.

One piece is with the recogniser at a time: memory, and the time for which a decoder is taken, are bounded
by the longest piece, however long the recording.
"""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np

from voicestack.aio.clock import Clock
from voicestack.core.audio import EAR_RATE_HZ, NO_AUDIO, AudioFrame, Pcm
from voicestack.core.errors import StageError
from voicestack.core.heard import HeardWord
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.ports import Asr, Certainty, Pause, Transcript, Vad
from voicestack.server.stages.admission import Pace
from voicestack.server.stages.opinions import FRAME_SAMPLES, Opinions
from voicestack.turn.endpointer import Ended, Endpointer, EndpointRules, Paused, Started

RULES = EndpointRules(
    threshold=0.5,
    min_speech_samples=EAR_RATE_HZ * 64 // 1000,
    soft_end_samples=EAR_RATE_HZ * 200 // 1000,
    silence_samples=EAR_RATE_HZ * 500 // 1000,
)
"""The Realtime API's `server_vad`, with a soft end that lies between words and not within one."""
PREFIX_SAMPLES = EAR_RATE_HZ * 300 // 1000
"""`prefix_padding_ms` of the Realtime API's `server_vad`."""
LONG_SAMPLES = EAR_RATE_HZ * 15
"""A piece longer than this ends at the next soft end ..."""
LONGEST_SAMPLES = EAR_RATE_HZ * 28
"""... and here in any case: Whisper's window is 30 s, and PocketSphinx takes 4 s for so much."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some words with the place where they are said.

    Attributes:
        text: The words.
        start_s, end_s: Seconds from the beginning of the recording.
        p_speech: Mean opinion of the VAD, 0..1.
        words: Single words with their places, from a recogniser that has them; also from the beginning of the
            recording.
        language: Of the words, as ISO 639-1; empty if the recogniser does not say.
    """

    text: str
    start_s: float
    end_s: float
    p_speech: float
    words: tuple[HeardWord, ...] = ()
    language: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """The engines that listen.

    Attributes:
        vad: Finds where something is said.
        asr: Says what.
        clock: Stamps the frames.
        pace: How fast it may go.
    """

    vad: Vad
    asr: Asr
    clock: Clock
    pace: Pace


class Recording:
    """One recording on its way to the recogniser.

    Args:
        listener: Who listens.
        blocks: The sound, at EAR_RATE_HZ.
        hints: What the recogniser may go by.
    """

    def __init__(
        self, listener: Listener, blocks: AsyncGenerator[Pcm, None], hints: Hints = NO_HINTS
    ) -> None:
        self._listener, self._blocks, self._hints = listener, blocks, hints
        self._endpointer = Endpointer(RULES)
        self._recent: deque[AudioFrame] = deque()
        self._n_samples = 0
        self._taken_to = 0  # samples that belong to earlier pieces
        self._start = self._end = self._n_opinions = 0
        self._first = 0  # the sample with which the recogniser begins
        self._p_sum = 0.0

    @property
    def duration_s(self) -> float:
        """Seconds that were read so far; at the end, all of it."""
        return self._n_samples / EAR_RATE_HZ

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The pieces with words in them, in order, as soon as they are known.

        Raises:
            StageError: an engine failed.
            VoiceStackError: what the blocks raise.
        """
        opinions = Opinions(self._listener.vad)
        try:
            async with aclosing(self._frames()) as frames, aclosing(opinions.of(frames)) as judged:
                while await self._speech_begins(judged):
                    async with aclosing(self._sounds(judged)) as sounds:
                        final = await self._final(sounds)
                    if final.text.strip():
                        yield self._piece(final)
        finally:
            opinions.close()

    async def _frames(self) -> AsyncGenerator[AudioFrame, None]:
        """The blocks, cut into frames of FRAME_SAMPLES; the last one is filled up with silence."""
        rest = NO_AUDIO
        async with aclosing(self._blocks) as blocks:
            async for block in blocks:
                self._n_samples += len(block)
                await self._listener.pace.spend(len(block) / EAR_RATE_HZ)
                rest = np.concatenate([rest, block])
                n_whole = len(rest) - len(rest) % FRAME_SAMPLES
                for at in range(0, n_whole, FRAME_SAMPLES):
                    yield self._frame(rest[at : at + FRAME_SAMPLES], self._n_samples - len(rest) + at)
                rest = rest[n_whole:]
        if len(rest):
            start = self._n_samples - len(rest)
            yield self._frame(np.pad(rest, (0, FRAME_SAMPLES - len(rest))), start)

    def _frame(self, pcm: Pcm, start_sample: int) -> AudioFrame:
        return AudioFrame(pcm, start_sample, self._listener.clock.now_ns())

    async def _speech_begins(self, judged: AsyncIterator[tuple[AudioFrame, float]]) -> bool:
        """Read on to where speech begins. False when the recording is over."""
        async for frame, p_speech in judged:
            self._recent.append(frame)
            edge = self._endpointer.push(p_speech, frame.end_sample)
            if isinstance(edge, Started):
                self._start = max(edge.start_sample - PREFIX_SAMPLES, self._taken_to)
                self._end, self._p_sum, self._n_opinions = frame.end_sample, p_speech, 1
                return True
            oldest = frame.end_sample - PREFIX_SAMPLES - RULES.min_speech_samples
            while self._recent[0].end_sample <= oldest:
                self._recent.popleft()
        return False

    async def _sounds(
        self, judged: AsyncIterator[tuple[AudioFrame, float]]
    ) -> AsyncGenerator[AudioFrame | Pause, None]:
        """The frames of the piece that has begun, to its end."""
        while self._recent and self._recent[0].end_sample <= self._start:
            self._recent.popleft()
        self._first = self._recent[0].start_sample if self._recent else self._start
        while self._recent:
            yield self._recent.popleft()
        async for frame, p_speech in judged:
            self._p_sum += p_speech
            self._n_opinions += 1
            self._taken_to = frame.end_sample
            edge = self._endpointer.push(p_speech, frame.end_sample)
            if isinstance(edge, Ended):
                self._end = edge.speech_end_sample
                yield frame
                return
            self._end = frame.end_sample
            yield frame
            n_samples = frame.end_sample - self._start
            if n_samples >= LONGEST_SAMPLES or (n_samples >= LONG_SAMPLES and isinstance(edge, Paused)):
                self._end = min(self._endpointer.end().speech_end_sample, frame.end_sample)
                return
        self._end = min(self._end, self._n_samples)

    def _piece(self, final: Transcript) -> Piece:
        first_s = self._first / EAR_RATE_HZ
        words = [replace(w, start_s=w.start_s + first_s, end_s=w.end_s + first_s) for w in final.words]
        p_speech = self._p_sum / max(1, self._n_opinions)
        start_s, end_s = self._start / EAR_RATE_HZ, self._end / EAR_RATE_HZ
        return Piece(final.text.strip(), start_s, end_s, p_speech, tuple(words), final.language)

    async def _final(self, sounds: AsyncGenerator[AudioFrame | Pause, None]) -> Transcript:
        """What the recogniser makes of the piece.

        Only final words count: those before may change, and what was sent cannot be taken back.
        """
        final: Transcript | None = None
        async with aclosing(self._listener.asr.transcribe(sounds, self._hints)) as transcripts:
            async for transcript in transcripts:
                if transcript.certainty is Certainty.FINAL:
                    final = transcript
        if final is None:
            raise StageError("the recogniser ended without final words", stage="asr")
        return final
