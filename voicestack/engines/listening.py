"""How does one task take an utterance's sounds while another says what they mean? An alarm is between."""

import asyncio
from collections.abc import AsyncIterator

from voicestack.core.audio import AudioFrame
from voicestack.core.errors import VoiceStackError
from voicestack.engines.whisper_utterance import Utterance
from voicestack.ports import Pause


class Listening:
    """The sounds of one utterance, as they come.

    Attributes:
        error: Why there will be no words; set it and call `changed`.
    """

    def __init__(self, utterance: Utterance) -> None:
        self._utterance = utterance
        self._alarm = asyncio.Event()
        self.error: VoiceStackError | None = None

    async def listen(self, sounds: AsyncIterator[AudioFrame | Pause]) -> None:
        """Take sounds until there are no more. What goes wrong is raised by `news`."""
        try:
            async for sound in sounds:
                if isinstance(sound, Pause):
                    self._utterance.pause()
                else:
                    self._utterance.hear(sound.pcm)
                self.changed()
            self._utterance.end()
        except VoiceStackError as error:
            self.error = error
        self.changed()

    def changed(self) -> None:
        """Something else has changed, too."""
        self._alarm.set()

    async def news(self) -> None:
        """Wait until something has changed.

        Raises:
            VoiceStackError: there will be no words.
        """
        await self._alarm.wait()
        self._alarm.clear()
        if self.error is not None:
            raise self.error
