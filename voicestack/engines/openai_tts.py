"""How does a voice behind an OpenAI-compatible server speak? Phrase by phrase, over `/v1/audio/speech`.

The sound is read as fast as the server makes it, and not as fast as it is played, so that the server is free
again for others. The API tells nothing about words; see `spoken_stream` for how they are placed.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace

import httpx
import numpy as np
import orjson

from voicestack.aio.clock import Clock, SystemClock
from voicestack.aio.expiry import Expiry
from voicestack.aio.scope import Scope
from voicestack.core.audio import NO_AUDIO, SpokenFrame
from voicestack.core.deadline import Deadline
from voicestack.core.errors import StageError, StageRejected, StageTimeout, StageUnavailable
from voicestack.engines.espeak_tts import pieces, sayable
from voicestack.engines.spoken_stream import SpokenStream
from voicestack.engines.stage_client import StageClient
from voicestack.ports import SpeechRequest

RATE_HZ = 24_000
"""Of `response_format: "pcm"`, as OpenAI's reference has it: 24 kHz, 16 bits, mono, no header."""
MAX_PIECE_CHARS = 1_000
"""A longer text is said in pieces. OpenAI takes 4096 characters; a minute of speech is enough to hold."""
MAX_SOUND_S = 300.0
"""No piece takes so long to say: the server has lost its way."""
SPEED_MIN, SPEED_MAX = 0.25, 4.0
"""OpenAI's limits."""
LETTERS_PER_S = 17.0
"""What a voice is thought to say until it has been measured: 170 words a minute, with six characters each."""
NEWEST_RATIO = 0.3
"""Weight of the newest phrase in the mean pace of a voice."""
CAUTION = 0.95
"""The estimate is a little slow: a word that was not heard must not count as heard."""
_NOT_PCM = re.compile(
    r"text/|application/json|audio/(mpeg|x?-?wav|wave|ogg|opus|flac|aac|mp4)", re.IGNORECASE
)
_NOT_SAMPLES = (
    b"RIFF",
    b"OggS",
    b"fLaC",
    b"ID3\x03",
    b"ID3\x04",
    b"<!DO",
    b"<!do",
    b"<htm",
    b"<?xm",
    b'{"er',
)
"""How files and pages begin that servers send under any name. As samples they would be a bang; a sound begins
with any of them once in 400 million times."""


@dataclass(frozen=True, slots=True)
class SpeechServer:
    """What is asked of the server.

    Attributes:
        model: Its name of the model.
        voice: What the voice "default" means, and any other that is not in `voices`.
        voices: Names that are passed on.
        rate_hz: Sample rate of what it sends as `pcm`.
        first_ms: Longest wait for the first sound.
        gap_ms: Longest wait for more.
    """

    model: str
    voice: str
    voices: Collection[str] = ()
    rate_hz: int = RATE_HZ
    first_ms: int = 5_000
    gap_ms: int = 2_000


class OpenAiTts:
    """Satisfies `ports.Tts`.

    Args:
        url: See `StageClient`.
        server: What is asked of it.
        api_key: Bearer token.
        clock: Tells what is left of a turn; the machine's, if not given.
    """

    def __init__(
        self, url: str, server: SpeechServer, *, api_key: str | None = None, clock: Clock | None = None
    ) -> None:
        self._client = StageClient(url, stage="tts", api_key=api_key)
        self._expiry = Expiry("tts", clock or SystemClock())
        self._server = server
        self._letters_per_s: dict[str, float] = {}  # by voice, at speed 1.0

    @property
    def rate_hz(self) -> int:
        """What the server sends."""
        return self._server.rate_hz

    def figures(self) -> Mapping[str, float]:
        """See `StageClient.figures`; `expired` phrases were not begun in time."""
        return {**self._client.figures(), "expired_total": self._expiry.n_expired}

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        """See `ports.Tts`. Frames of 20 ms, the last one of a piece shorter.

        What fails before there is anything to hear is tried once more, where that may help.

        Raises:
            StageOverloaded: the server takes nothing more for now.
            StageTimeout: it does not answer, or not go on, in time.
            StageExpired: nobody wants the first sound any more.
            StageUnavailable: it is gone, also in mid-phrase.
            StageRejected: it will never serve this.
        """
        for piece in pieces(request.text, MAX_PIECE_CHARS):
            if not any(map(str.isalnum, piece)):
                yield SpokenFrame(NO_AUDIO, piece)
                continue
            async with aclosing(self._say(piece, request)) as frames:
                async for frame in frames:
                    yield frame
            request = replace(request, follows=True)

    async def _say(self, piece: str, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        voice = request.voice if request.voice in self._server.voices else self._server.voice
        speed = min(max(request.speed, SPEED_MIN), SPEED_MAX)
        pace = self._letters_per_s.get(voice, LETTERS_PER_S)
        stream = SpokenStream(piece, self.rate_hz, CAUTION * pace * speed)
        reading = _Reading(self._client, self._server, stream, self._expiry, request.begin_by)
        async with Scope() as scope:
            scope.start(reading.read(self._wish(piece, voice, speed)), name="tts-read")
            while not reading.is_over:
                await reading.news()
                while (frame := stream.next()) is not None:
                    yield frame
        if measured := stream.measured_letters_per_s:
            self._letters_per_s[voice] = pace + NEWEST_RATIO * (measured / speed - pace)

    def _wish(self, piece: str, voice: str, speed: float) -> bytes:
        wish = {
            "model": self._server.model,
            "voice": voice,
            "input": sayable(piece),
            "response_format": "pcm",
        }
        # Models that cannot change their speed refuse the field.
        return orjson.dumps(wish if speed == 1.0 else wish | {"speed": speed})


class _Reading:
    """The sound of one piece on its way here.

    Attributes:
        is_over: Whether all of it is in the stream.
    """

    def __init__(
        self,
        client: StageClient,
        server: SpeechServer,
        stream: SpokenStream,
        expiry: Expiry,
        begin_by: Deadline | None,
    ) -> None:
        self._client, self._server, self._stream = client, server, stream
        self._expiry, self._begin_by = expiry, begin_by
        self._changed = asyncio.Event()
        self._error: StageError | None = None
        self.is_over = False

    async def read(self, wish: bytes) -> None:
        """Fill the stream. What goes wrong is raised by `news`."""
        try:
            try:
                await self._read(wish)
            except StageError as error:
                if self._stream.has_begun or not self._client.may_retry(error):
                    raise
                await self._read(wish)
            self._stream.end()
            self.is_over = True
        except StageError as error:
            self._error = error
        self._changed.set()

    async def news(self) -> None:
        """Wait until there is more sound, or no more.

        Raises:
            StageError: the rest will not come.
        """
        await self._changed.wait()
        self._changed.clear()
        if self._error is not None:
            raise self._error

    async def _read(self, wish: bytes) -> None:
        try:
            async with (
                self._expiry.within(self._begin_by) as wanted,
                asyncio.timeout(self._server.first_ms / 1e3) as limit,
            ):
                await self._receive(wish, limit, wanted)
        except TimeoutError:
            what = "go on" if self._stream.has_begun else "answer"
            raise StageTimeout(f"{self._client.url} does not {what}", stage="tts") from None

    async def _receive(self, wish: bytes, limit: asyncio.Timeout, wanted: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        max_bytes = int(MAX_SOUND_S * self._server.rate_hz) * 2
        n_bytes, rest = 0, b""
        headers = {"Content-Type": "application/json", **self._expiry.headers(self._begin_by)}
        async with self._client.post("/audio/speech", content=wish, headers=headers) as response:
            _check_kind(response)
            async for data in response.aiter_raw():
                if not n_bytes and data.startswith(_NOT_SAMPLES):
                    raise StageRejected("the server sends a file where PCM was asked for", stage="tts")
                n_bytes += len(data)
                if n_bytes > max_bytes:
                    raise StageUnavailable(f"{self._client.url} does not stop speaking", stage="tts")
                sound = rest + data
                n_whole = len(sound) - len(sound) % 2
                rest = sound[n_whole:]  # half a sample; at the end there is no other half
                self._stream.push(np.frombuffer(sound[:n_whole], "<i2"))
                if self._stream.has_begun:
                    wanted.reschedule(None)
                    limit.reschedule(loop.time() + self._server.gap_ms / 1e3)
                self._changed.set()
        if not self._stream.has_begun:
            raise StageUnavailable(f"{self._client.url} says nothing", stage="tts")


def _check_kind(response: httpx.Response) -> None:
    kind = response.headers.get("content-type", "")
    if _NOT_PCM.match(kind):
        raise StageRejected(f"the server sends '{kind[:40]}' where PCM was asked for", stage="tts")
