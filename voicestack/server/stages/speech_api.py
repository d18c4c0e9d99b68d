"""`POST /v1/audio/speech`: say this text."""

import base64
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from starlette.requests import Request

from voicestack.core.audio import Pcm
from voicestack.core.deadline import Deadline
from voicestack.core.errors import PeerProtocolError, StageError
from voicestack.core.phrases import Phrases, speakable
from voicestack.core.resample import Resampler
from voicestack.core.wav import stream_header
from voicestack.ports import SpeechRequest, Tts
from voicestack.server.stages.admission import Pace
from voicestack.server.stages.codec import encoded
from voicestack.server.stages.endpoint import SSE, Reply, limited, uploading, while_here
from voicestack.server.stages.wire import (
    SPEECH_RATE_HZ,
    AudioDelta,
    AudioDone,
    SpeechFormat,
    SpeechWish,
    wish_of,
)

JSON_BYTES_PER_CHAR = 12
"""A character outside the basic plane, as an escaped pair of surrogates."""
JSON_BYTES = 65_536
"""What everything but the text may take: `instructions` have 4096 characters at OpenAI."""

MEDIA_TYPES: dict[SpeechFormat, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


@dataclass(frozen=True, slots=True)
class SpeechApi:
    """The endpoint.

    Attributes:
        tts: The voice.
        pace: How fast it may go.
        max_input_chars: Longest text.
    """

    tts: Tts
    pace: Pace
    max_input_chars: int

    async def answer(self, request: Request, reply: Reply) -> None:
        """Answer one request. Nothing is begun before there is sound: an error has a status until then.

        Raises:
            VoiceStackError: it cannot be served, or breaks off.
            ClientDisconnect: the client hung up.
        """
        wish = await self._wish(request)
        phrases = spoken_phrases(wish.input)
        if not phrases:
            raise PeerProtocolError(
                "There is nothing in the text to say.", code="invalid_value", param="input"
            )
        async with while_here(request), aclosing(self._file(wish, phrases, reply.deadline)) as parts:
            async for part in parts:
                if not reply.has_begun:
                    sse = wish.stream_format == "sse"
                    await reply.begin(SSE if sse else MEDIA_TYPES[wish.response_format])
                if wish.stream_format == "sse":
                    await reply.event(AudioDelta(audio=base64.b64encode(part).decode()))
                else:
                    await reply.write(part)
            if wish.stream_format == "sse":
                await reply.event(AudioDone())

    async def _wish(self, request: Request) -> SpeechWish:
        max_bytes = self.max_input_chars * JSON_BYTES_PER_CHAR + JSON_BYTES
        async with uploading(), aclosing(limited(request, max_bytes)) as parts:
            body = b"".join([part async for part in parts])
        wish = wish_of(SpeechWish, body)
        if len(wish.input) > self.max_input_chars:
            message = f"The text has {len(wish.input)} characters; {self.max_input_chars} is the most."
            raise PeerProtocolError(message, code="string_above_max_length", param="input")
        return wish

    def _file(
        self, wish: SpeechWish, phrases: Sequence[str], deadline: Deadline | None
    ) -> AsyncGenerator[bytes, None]:
        sound = self._sound(wish, phrases, deadline)
        match wish.response_format:
            case "pcm":
                return sound
            case "wav":
                return _with_header(sound)
            case kind:
                return encoded(kind, sound)

    async def _sound(
        self, wish: SpeechWish, phrases: Sequence[str], deadline: Deadline | None
    ) -> AsyncGenerator[bytes, None]:
        """s16le mono at SPEECH_RATE_HZ, as it is spoken."""
        resampler = Resampler(self.tts.rate_hz, SPEECH_RATE_HZ)
        n_samples = 0
        for phrase in phrases:
            follows = n_samples > 0
            request = SpeechRequest(phrase, wish.voice, wish.speed, follows=follows, deadline=deadline)
            async with aclosing(self.tts.speak(request)) as frames:
                async for frame in frames:
                    if len(frame.pcm):
                        n_samples += len(frame.pcm)
                        await self.pace.spend(len(frame.pcm) / self.tts.rate_hz)
                        yield _bytes(resampler.push(frame.pcm))
        if n_samples == 0:
            raise StageError("the voice said nothing", stage="tts")
        if rest := _bytes(resampler.flush()):
            yield rest


def spoken_phrases(text: str) -> list[str]:
    """The text as a voice says it, phrase by phrase."""
    phrases = Phrases()
    cut = [*phrases.push(text), *phrases.end()]
    return [said for said in (speakable(phrase).strip() for phrase in cut) if said]


async def _with_header(sound: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    header = stream_header(SPEECH_RATE_HZ)
    async with aclosing(sound) as parts:
        async for part in parts:
            yield header + part
            header = b""


def _bytes(pcm: Pcm) -> bytes:
    return pcm.astype("<i2", copy=False).tobytes()
