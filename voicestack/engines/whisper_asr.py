"""How are the user's words recognised by Whisper, which only knows whole windows? In windows that overlap.

While the user speaks, the window is decoded again and again as it grows, and words that stay the same are
agreed. At a pause it is decoded with care; when nothing is said after that, those are the final words too,
and the end of the utterance costs nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import replace

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.core.audio import AudioFrame
from voicestack.core.errors import StageError, StageOverloaded
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.queues import QueueReading
from voicestack.engines.listening import Listening
from voicestack.engines.whisper_model import WhisperSettings
from voicestack.engines.whisper_pace import Pace, PaceRules, pace
from voicestack.engines.whisper_pool import WhisperPool
from voicestack.engines.whisper_utterance import Ask, Say, Utterance
from voicestack.engines.whisper_window import Urgency, Window
from voicestack.engines.worker import Worker
from voicestack.ports import Pause, Transcript

PARTIAL_MS = 2_000
"""Partial words that come later than this are not worth the work: newer ones are wanted."""
P_LANGUAGE = 0.7
"""A language as probable as this is that of the whole utterance. Whisper's own threshold to stop looking is
0.5 (faster-whisper, `language_detection_threshold`); one window is little to go by."""


class WhisperAsr:
    """Satisfies `ports.Asr`. Run `run` in a task of its own, for as long as anybody may speak.

    Args:
        clock: For the supervision of the processes.
        settings: What each process loads; one per device.
        rules: How often, and how long, windows are.
        language: As ISO 639-1, for utterances without a hint; empty to find out.
        batch_max: Windows in one pass at most.
        deadline_ms: Settled and final words that take longer are given up.
        n_utterances_max: At the same time; more are refused.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        settings: Sequence[WhisperSettings],
        rules: PaceRules | None = None,
        language: str = "",
        batch_max: int = 16,
        deadline_ms: int = 10_000,
        n_utterances_max: int = 256,
    ) -> None:
        self._pool = WhisperPool(clock=clock, settings=settings, batch_max=batch_max)
        self._rules, self._language, self._deadline_ms = rules or PaceRules(), language, deadline_ms
        self._n_utterances_max = n_utterances_max
        self._open: set[Utterance] = set()
        self._n_utterances = self._n_at_once = 0

    @property
    def workers(self) -> Sequence[Worker]:
        """The processes, for metrics."""
        return self._pool.workers

    async def run(self) -> None:
        """Keep the processes running until cancelled."""
        await self._pool.run()

    async def ready(self, within_ns: int) -> None:
        """Wait until an utterance would be heard at once.

        Raises:
            StageUnavailable: that takes longer than `within_ns`, or will never be.
        """
        await self.workers[0].ready(within_ns)

    def figures(self) -> Mapping[str, float]:
        """What `WhisperPool.figures` has, and the `utterances` that are over.

        Of those, the final words of `at_once` were known when the end came, or were on their way.
        """
        return {
            **self._pool.figures(),
            "utterances": float(self._n_utterances),
            "at_once": float(self._n_at_once),
            "utterances_open": float(len(self._open)),
            "cadence_ms": self._pace().cadence_s * 1000,
        }

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        """See `ports.Asr`. Hints take the place of the language and the prompt that are set.

        Raises:
            StageTimeout: settled or final words took too long.
            StageOverloaded: too many utterances are open, or too many windows wait.
            StageUnavailable: the process died, and so did the next, or the model does not know the language.
        """
        if len(self._open) >= self._n_utterances_max:
            raise StageOverloaded(f"{len(self._open)} utterances are open already", stage="asr")
        utterance = Utterance()
        self._open.add(utterance)
        try:
            hints = replace(hints, language=hints.language or self._language)
            hearing = _Hearing(self._pool, utterance, hints, self._deadline_ms)
            async with Scope() as scope:
                scope.start(hearing.listening.listen(sounds), name="whisper-listen")
                while not utterance.is_over:
                    step = utterance.next_step(self._pace())
                    if isinstance(step, Say):
                        if utterance.is_over:
                            self._count(hearing)
                        yield replace(step.transcript, language=hearing.language)
                    elif isinstance(step, Ask):
                        hearing.ask(step, self._pace(), scope)
                    else:
                        await hearing.listening.news()
        finally:
            self._open.discard(utterance)

    def queues(self) -> Sequence[QueueReading]:
        """See `ports.Queued`."""
        return self._pool.queues()

    def _pace(self) -> Pace:
        n_speaking = sum(utterance.has_begun for utterance in self._open)
        return pace(self._rules, -(-n_speaking // len(self.workers)), self._pool.cost_s)

    def _count(self, hearing: "_Hearing") -> None:
        self._n_utterances += 1
        self._n_at_once += not hearing.asked_after_end


class _Hearing:
    """What goes on at the same time for one utterance: listening, and having windows understood.

    Attributes:
        language: Of its last window, as ISO 639-1; empty as long as nothing is understood.
        asked_after_end: Whether a window was asked for when nothing more could come.
    """

    def __init__(self, pool: WhisperPool, utterance: Utterance, hints: Hints, deadline_ms: int) -> None:
        self._pool, self._utterance = pool, utterance
        self._wanted, self._prompt, self._deadline_ms = hints.language, hints.prompt, deadline_ms
        self.language = ""
        self.listening = Listening(utterance)
        self._asking: asyncio.Task[None] | None = None
        self.asked_after_end = False

    def ask(self, ask: Ask, now: Pace, scope: Scope) -> None:
        """Have a window understood; the one that is under way is taken back."""
        if self._asking is not None and not self._asking.done():
            self._asking.cancel()
            self._pool.superseded()
        self.asked_after_end = self.asked_after_end or ask.urgency is Urgency.FINAL
        window = Window(
            self._utterance.window(ask),
            ask.urgency,
            PARTIAL_MS if ask.urgency is Urgency.PARTIAL else self._deadline_ms,
            self._utterance.context,
            self._wanted,
            self._prompt,
        )
        self._asking = scope.start(self._understand(window, ask, now), name="whisper-ask")

    async def _understand(self, window: Window, ask: Ask, now: Pace) -> None:
        try:
            understood = await self._pool.understand(window)
        except StageError as error:
            self.listening.error = error
        else:
            if self._utterance.asked is ask:
                self._utterance.take(None if understood is None else understood.words, now)
            if understood is not None:
                self.language = understood.language
                if not self._wanted and understood.p_language >= P_LANGUAGE:
                    self._wanted = understood.language
        self.listening.changed()
