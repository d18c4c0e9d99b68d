"""How does the agent speak without a model? With eSpeak NG in a worker process: robotic, but at once."""

import asyncio
import json
import re
import unicodedata
from collections.abc import AsyncGenerator, Mapping
from contextlib import closing

import numpy as np

from voicestack.aio.clock import Clock
from voicestack.aio.expiry import Expiry
from voicestack.core.audio import NO_AUDIO, SpokenFrame
from voicestack.core.errors import StageOverloaded, StageTimeout
from voicestack.core.queues import QueueReading
from voicestack.engines.espeak_worker import DEFAULT_VOICE, N_CHARS, RATE_HZ
from voicestack.engines.worker import Stream, Worker
from voicestack.ports import SpeechRequest

MAX_PIECE_CHARS = 160
"""About 10 s of speech. A longer text is said in pieces, so that others need not wait for all of it."""
RESTART_NS = 2_000_000_000
"""A worker that died is back within a second; a phrase waits for it."""
HUNG_S = 5.0
"""A worker that says nothing for so long is ended. A piece takes about 15 ms."""
MAX_OPEN = 64
"""Pieces that the worker is given at a time: of so many the last one waits for a second."""

_VOICE = re.compile(r"[A-Za-z0-9-]+(\+[A-Za-z0-9 ]+)?")


class EspeakTts:
    """Satisfies `ports.Tts`. Run `run` in a task of its own, for as long as phrases are wanted.

    Args:
        clock: For the supervision of the worker.
        voice: What the voice "default", and every voice that eSpeak NG does not know, means.
        rate_wpm: Words a minute at speed 1.0.
    """

    def __init__(self, *, clock: Clock, voice: str = DEFAULT_VOICE, rate_wpm: int = 170) -> None:
        self.worker = Worker("voicestack.engines.espeak_worker", name="espeak", stage="tts", clock=clock)
        self._voice = voice
        self._rate_wpm = rate_wpm
        self._expiry = Expiry("tts", clock)
        self._n_refused = 0

    @property
    def rate_hz(self) -> int:
        """22 050: eSpeak NG's own rate."""
        return RATE_HZ

    def figures(self) -> Mapping[str, float]:
        """See `ports.Measured`: phrases that nobody wanted any more when they could have been said."""
        return {"espeak_expired_total": self._expiry.n_expired}

    async def run(self) -> None:
        """Keep the worker running until cancelled."""
        await self.worker.run()

    async def ready(self, within_ns: int) -> None:
        """Wait until a phrase would be said at once.

        Raises:
            StageUnavailable: that takes longer than `within_ns`, or will never be.
        """
        await self.worker.ready(within_ns)

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        """See `ports.Tts`. Frames of 20 ms, the last one shorter.

        Raises:
            StageUnavailable: the worker is down, or died.
            StageExpired: nobody wants the first sound any more.
            StageOverloaded: it has too much to say already.
            StageTimeout: it hung.
        """
        begin_by = request.begin_by
        for piece in pieces(request.text):
            if not any(map(str.isalnum, piece)):
                yield SpokenFrame(NO_AUDIO, piece)
                continue
            async with self._expiry.within(begin_by):
                await self.worker.ready(RESTART_NS)
            if self.worker.n_streams >= MAX_OPEN:
                self._n_refused += 1
                raise StageOverloaded(f"{MAX_OPEN} pieces wait for eSpeak NG", stage="tts")
            with closing(self.worker.open(self._wish(piece, request))) as stream:
                n_said = 0
                async with self._expiry.within(begin_by):
                    answer = await self._next(stream)
                begin_by = None
                while answer is not None:
                    (n_chars,) = N_CHARS.unpack_from(answer)
                    pcm = np.frombuffer(answer, dtype="<i2", offset=N_CHARS.size)
                    yield SpokenFrame(pcm, piece[n_said:n_chars])
                    n_said = n_chars
                    answer = await self._next(stream)

    def queues(self) -> list[QueueReading]:
        """See `ports.Queued`. The worker says a little of every piece in turn: none waits to begin."""
        return [QueueReading("tts", refused={"full": self._n_refused}, n_busy=self.worker.n_streams)]

    async def _next(self, stream: Stream) -> bytes | None:
        try:
            async with asyncio.timeout(HUNG_S):
                return await anext(stream, None)
        except TimeoutError:
            self.worker.kill()
            raise StageTimeout("eSpeak NG does not answer", stage="tts") from None

    def _wish(self, text: str, request: SpeechRequest) -> bytes:
        known = request.voice != "default" and _VOICE.fullmatch(request.voice)
        wish = {
            "text": sayable(text),
            "voice": request.voice if known else self._voice,
            "rate_wpm": round(self._rate_wpm * request.speed),
        }
        return json.dumps(wish).encode()


def pieces(text: str, max_chars: int = MAX_PIECE_CHARS) -> list[str]:
    """Cut into pieces of at most `max_chars`, before white space where there is any."""
    cut = []
    while len(text) > max_chars:
        space = max(text.rfind(" ", 1, max_chars), text.rfind("\n", 1, max_chars))
        end = space if space > 0 else max_chars
        cut.append(text[:end])
        text = text[end:]
    return [*cut, text] if text else cut


def sayable(text: str) -> str:
    """The same number of characters, without those that are commands to eSpeak NG or no text at all."""
    return "".join(" " if unicodedata.category(char) in ("Cc", "Cs", "Cn", "Co") else char for char in text)
