"""Recordings that the peer puts into the conversation: heard like speech, answered only when asked for."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.core.audio import EAR_RATE_HZ, AudioFrame, Pcm, samples_to_ms
from voicestack.core.commands import Command
from voicestack.core.errors import StageError
from voicestack.core.hints import Hints
from voicestack.core.history import History
from voicestack.core.ids import ItemId
from voicestack.core.notes import Note, UserSaid, UserUnheard
from voicestack.ports import Asr, Pause

FRAME_SAMPLES = EAR_RATE_HZ // 50
LEAD_SAMPLES = EAR_RATE_HZ // 4
"""Silence around a recording: recognisers expect some, and a recording may be cut close."""


class Dictations:
    """Finds the words of recordings, each in a task of its own.

    Args:
        asr: Hears them.
        clock: Says when they arrived.
        scope: Owns the tasks.
        history: Gets the words.
        tell: Reaches the peer.
        obey: Given what the peer asked for meanwhile, when every recording has its words.
    """

    def __init__(
        self,
        asr: Asr,
        clock: Clock,
        scope: Scope,
        history: History,
        tell: Callable[[Note], None],
        obey: Callable[[Command], None],
    ) -> None:
        self._asr, self._clock, self._scope = asr, clock, scope
        self._history, self._tell, self._obey = history, tell, obey
        self._n_open = 0
        self._waiting: Command | None = None

    def delay(self, command: Command) -> bool:
        """Keep the command, in place of an earlier one, if words are still to come. Returns whether."""
        if self._n_open:
            self._waiting = command
        return self._n_open > 0

    def forget(self) -> bool:
        """Drop the command that waits. Returns whether there was one."""
        waited, self._waiting = self._waiting is not None, None
        return waited

    def start(self, item_id: ItemId, pcm: Pcm, hints: Hints) -> None:
        """Find the words of the item, going by `hints`. `pcm` is int16 mono at EAR_RATE_HZ."""
        self._n_open += 1
        self._scope.start(self._hear(item_id, pcm, hints), name=f"dictation-{item_id}")

    async def _hear(self, item_id: ItemId, pcm: Pcm, hints: Hints) -> None:
        text = ""
        try:
            async with aclosing(self._asr.transcribe(self._sounds(pcm), hints)) as transcripts:
                async for transcript in transcripts:
                    text = transcript.text
        except StageError as error:
            text = ""
            self._tell(UserUnheard(item_id, error))
        if self._history.message(item_id) is not None:
            self._history.say(item_id, text)
        self._tell(UserSaid(item_id, text, samples_to_ms(len(pcm), EAR_RATE_HZ)))
        self._n_open -= 1
        command = self._waiting
        if not self._n_open and command is not None:
            self._waiting = None
            self._obey(command)

    async def _sounds(self, pcm: Pcm) -> AsyncIterator[AudioFrame | Pause]:
        silence = pcm[:0].copy()
        silence.resize(LEAD_SAMPLES)
        at = 0
        for part in (silence, pcm, silence):
            for start in range(0, len(part), FRAME_SAMPLES):
                frame = AudioFrame(part[start : start + FRAME_SAMPLES], at, self._clock.now_ns())
                at = frame.end_sample
                yield frame
