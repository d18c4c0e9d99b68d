"""The few sentences that must be there at once, whatever has happened to the engines.

They are made when a session begins, in its voice, and kept for all sessions of the process: when the TTS is
the stage that fails, an apology can still be heard.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import replace

from voicestack.core.audio import SpokenFrame
from voicestack.core.errors import StageError
from voicestack.ports import SpeechRequest, Tts

log = logging.getLogger(__name__)

MAX_SENTENCES = 256
"""Some ten voices. A sentence of two seconds at 24 kHz is 100 kB."""

Frames = tuple[SpokenFrame, ...]


class Prompts:
    """Sentences, spoken. One for all sessions of a process."""

    def __init__(self) -> None:
        self._made: OrderedDict[SpeechRequest, Frames] = OrderedDict()  # the longest unused first

    async def prepare(self, tts: Tts, texts: Iterable[str], voice: SpeechRequest) -> None:
        """Make those that are not there yet. A failure is logged: the TTS is asked again next time."""
        for text in texts:
            wanted = replace(voice, text=text, follows=True)
            if not text or wanted in self._made:
                continue
            try:
                async with aclosing(tts.speak(wanted)) as frames:
                    self._keep(wanted, tuple([frame async for frame in frames]))
            except StageError as error:
                log.warning("a prepared sentence could not be made: %s", error)
                return

    def frames(self, text: str, voice: SpeechRequest) -> Frames:
        """The sentence in this voice, or else in any; empty if it was never made."""
        wanted = replace(voice, text=text)
        if wanted in self._made:
            self._made.move_to_end(wanted)
            return self._made[wanted]
        return next((made for one, made in self._made.items() if one.text == text), ())

    def _keep(self, wanted: SpeechRequest, frames: Frames) -> None:
        if not any(len(frame.pcm) for frame in frames):
            return
        self._made[wanted] = frames
        while len(self._made) > MAX_SENTENCES:
            self._made.popitem(last=False)
