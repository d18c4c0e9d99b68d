"""Who recognised what the user said? A recogniser in front of a recogniser, which says so."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from voicestack.core.audio import AudioFrame
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.turn_record import Use
from voicestack.ports import Asr, Certainty, Pause, Transcript


class Witness:
    """Satisfies `ports.Asr`.

    Args:
        asr: Does the work.
        saw: Is told of each recogniser whose words count, before the words are passed on.
    """

    def __init__(self, asr: Asr, saw: Callable[[Use], None]) -> None:
        self._asr, self._saw = asr, saw

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        """See `ports.Asr`."""
        async with aclosing(self._asr.transcribe(sounds, hints)) as transcripts:
            async for transcript in transcripts:
                if transcript.use is not None and transcript.certainty is Certainty.FINAL:
                    self._saw(transcript.use)
                yield transcript
