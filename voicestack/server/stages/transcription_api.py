"""`POST /v1/audio/transcriptions`: what is said in this file?"""

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from starlette.requests import Request

from voicestack.core.errors import PeerProtocolError
from voicestack.core.hints import Hints, hints_of
from voicestack.server.stages.endpoint import SSE, Reply, while_here
from voicestack.server.stages.listening import Listener, Recording
from voicestack.server.stages.transcripts import MEDIA_TYPES, written
from voicestack.server.stages.upload import Upload, sound_of, uploaded
from voicestack.server.stages.wire import TextDelta, TextDone, TranscriptionWish


@dataclass(frozen=True, slots=True)
class TranscriptionApi:
    """The endpoint.

    Attributes:
        listener: The engines, and how fast they may go.
        languages: What the recogniser knows, as ISO 639-1; empty if that does not matter to it.
        max_upload_bytes: Largest file.
        max_audio_s: Longest sound.
        has_words: Whether the recogniser tells where single words are.
    """

    listener: Listener
    languages: Sequence[str]
    max_upload_bytes: int
    max_audio_s: int
    has_words: bool = False

    async def answer(self, request: Request, reply: Reply) -> None:
        """Answer one request.

        Raises:
            VoiceStackError: it cannot be served.
            ClientDisconnect: the client hung up.
        """
        async with uploaded(request, max_file_bytes=self.max_upload_bytes) as upload:
            hints = hints_of(upload.wish.language, upload.wish.prompt)
            self._check(upload.wish, hints)
            blocks = sound_of(upload.file, max_audio_s=self.max_audio_s)
            recording = Recording(self.listener, blocks, hints)
            async with while_here(request):
                if upload.wish.stream:
                    await self._stream(recording, reply)
                else:
                    await self._write(recording, upload, reply)

    async def _stream(self, recording: Recording, reply: Reply) -> None:
        """One delta per piece. Until the first is known nothing is begun, so that an error has a status."""
        text = ""
        async with aclosing(recording.pieces()) as pieces:
            async for piece in pieces:
                if not reply.has_begun:
                    await reply.begin(SSE)
                delta = f" {piece.text}" if text else piece.text
                text += delta
                await reply.event(TextDelta(delta=delta))
        if not reply.has_begun:
            await reply.begin(SSE)
        await reply.event(TextDone(text=text))

    async def _write(self, recording: Recording, upload: Upload, reply: Reply) -> None:
        async with aclosing(recording.pieces()) as pieces:
            said = [piece async for piece in pieces]
        kind = upload.wish.response_format
        found = Counter(piece.language for piece in said if piece.language).most_common(1)
        language = found[0][0] if found else upload.wish.language or next(iter(self.languages), "")
        with_words = "word" in upload.wish.timestamp_granularities
        body = written(kind, said, recording.duration_s, language, with_words=with_words)
        await reply.whole(body.encode(), MEDIA_TYPES[kind])

    def _check(self, wish: TranscriptionWish, hints: Hints) -> None:
        if wish.stream and wish.response_format not in ("json", "text"):
            message = f"'{wish.response_format}' needs the whole transcript; leave 'stream' out."
            raise PeerProtocolError(message, code="unsupported_value", param="response_format")
        if "word" in wish.timestamp_granularities and not self.has_words:
            message = "The recogniser does not tell where single words are; 'segment' is there."
            raise PeerProtocolError(message, code="unsupported_value", param="timestamp_granularities")
        if self.languages and hints.language and hints.language not in self.languages:
            message = f"The recogniser knows only: {', '.join(self.languages)}."
            raise PeerProtocolError(message, code="unsupported_language", param="language")
