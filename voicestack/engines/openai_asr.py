"""How are the user's words recognised behind an OpenAI-compatible server? Over `/v1/audio/transcriptions`.

The API takes a whole sound. At each pause it gets what was heard so far; when nothing is said after that,
those are the final words too, and the end of the utterance costs nothing. Partial words while the user
speaks cost a request each, and are there for those who want them.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from voicestack.aio.clock import Clock, SystemClock
from voicestack.aio.scope import Scope
from voicestack.core.audio import EAR_RATE_HZ, AudioFrame, Pcm
from voicestack.core.deadline import Deadline
from voicestack.core.errors import StageError, StageRejected, StageTimeout, StageUnavailable
from voicestack.core.heard import HeardWord
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.wav import wav_file
from voicestack.engines.listening import Listening
from voicestack.engines.stage_client import StageClient
from voicestack.engines.whisper_pace import Pace
from voicestack.engines.whisper_utterance import Ask, Say, Utterance
from voicestack.engines.whisper_window import Urgency
from voicestack.engines.whole_answers import WholeAnswers
from voicestack.ports import Pause, Transcript

MAX_ANSWER_BYTES = 1_000_000
"""Half a minute of speech is a thousand characters."""


@dataclass(frozen=True, slots=True)
class ListeningServer:
    """What is asked of the server.

    Attributes:
        model: Its name of the model.
        language: ISO 639-1, for utterances without a hint; empty to let it find out.
        partial_ms: New sound before an unfinished utterance is sent; 0 for never.
        window_s: Length from which a sound is not sent again after a pause.
        deadline_ms: Longest wait for an answer. The server is told, and drops what is not done by then.
        due_ms: Within so much it is wanted; later than that the turn goes on without it.
    """

    model: str
    language: str = ""
    partial_ms: int = 0
    window_s: float = 20.0
    deadline_ms: int = 5_000
    due_ms: int = 3_000


class OpenAiAsr:
    """Satisfies `ports.Asr`.

    Args:
        url: See `StageClient`.
        server: What is asked of it.
        api_key: Bearer token.
        clock: Tells what is left of a wait; the machine's, if not given.
    """

    def __init__(
        self, url: str, server: ListeningServer, *, api_key: str | None = None, clock: Clock | None = None
    ) -> None:
        self._client = StageClient(url, stage="asr", api_key=api_key)
        self._server, self._clock = server, clock or SystemClock()

    def figures(self) -> Mapping[str, float]:
        """See `StageClient.figures`."""
        return self._client.figures()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        """See `ports.Asr`. Silence is not sent. What fails of partial words is left out.

        A hint takes the place of the language that is set; a prompt goes before what was understood earlier.
        A server that refuses a request with hints is asked once more without.

        Raises:
            StageOverloaded: the server takes nothing more for now.
            StageTimeout: settled or final words took too long.
            StageUnavailable: it is gone, or does not answer with words.
            StageRejected: it will never serve this.
        """
        utterance = Utterance(WholeAnswers())
        cadence_s = self._server.partial_ms / 1e3 or math.inf
        hints = replace(hints, language=hints.language or self._server.language)
        hearing = _Hearing(self._client, self._server, utterance, hints, self._clock)
        async with Scope() as scope:
            scope.start(hearing.listening.listen(sounds), name="asr-listen")
            while not utterance.is_over:
                step = utterance.next_step(Pace(cadence_s, self._server.window_s))
                if isinstance(step, Say):
                    yield replace(step.transcript, words=(), language=hearing.language)
                elif isinstance(step, Ask):
                    hearing.ask(step, scope)
                else:
                    await hearing.listening.news()


class _Hearing:
    """What goes on at the same time for one utterance: listening, and asking the server."""

    def __init__(
        self,
        client: StageClient,
        server: ListeningServer,
        utterance: Utterance,
        hints: Hints,
        clock: Clock,
    ) -> None:
        self._client, self._server, self._utterance, self._hints = client, server, utterance, hints
        self._clock = clock
        self.listening = Listening(utterance)
        self._asking: asyncio.Task[None] | None = None

    @property
    def language(self) -> str:
        """What the server was told, as ISO 639-1; empty: nothing."""
        return self._hints.language

    def ask(self, ask: Ask, scope: Scope) -> None:
        """Send a window; the one that is under way is taken back."""
        if self._asking is not None:
            self._asking.cancel()
        pcm, context = self._utterance.window(ask), self._utterance.context
        self._asking = scope.start(self._understand(ask, pcm, context), name="asr-ask")

    async def _understand(self, ask: Ask, pcm: Pcm, context: str) -> None:
        is_partial = ask.urgency is Urgency.PARTIAL
        # What was understood of half a word must not stay: a window moves up at pauses only.
        pace = Pace(math.inf, math.inf if is_partial else self._server.window_s)
        words: tuple[HeardWord, ...] | None = None
        try:
            text = await self._answer(pcm, context, retry=not is_partial)
            span_s = ask.start_sample / EAR_RATE_HZ, ask.end_sample / EAR_RATE_HZ
            words = (HeardWord(f" {text}", *span_s, 1.0),) if text else ()
        except StageError as error:
            if not is_partial or ask.torn:
                self.listening.error = error
        if self._utterance.asked is ask and self.listening.error is None:
            self._utterance.take(words, pace)
        self.listening.changed()

    async def _answer(self, pcm: Pcm, context: str, *, retry: bool) -> str:
        deadline = _deadline_of(self._server, self._clock.now_ns())
        try:
            async with asyncio.timeout(self._server.deadline_ms / 1e3):
                try:
                    return await self._ask(pcm, context, deadline)
                except StageError as error:
                    if not self._has_other_way(error) and not (retry and self._client.may_retry(error)):
                        raise
                    return await self._ask(pcm, context, deadline)
        except TimeoutError:
            message = f"no words within {self._server.deadline_ms} ms"
            raise StageTimeout(message, stage="asr") from None

    def _has_other_way(self, error: StageError) -> bool:
        """Whether it may be a hint that the server will not have; then it is left out from now on."""
        plain = Hints(self._server.language)
        if not isinstance(error, StageRejected) or self._hints == plain:
            return False
        self._hints = plain
        return True

    async def _ask(self, pcm: Pcm, context: str, deadline: Deadline) -> str:
        wish = {"model": self._server.model, "response_format": "json"}
        prompt = f"{self._hints.prompt} {context}".strip()
        wish |= {"language": self._hints.language} if self._hints.language else {}
        wish |= {"prompt": prompt} if prompt else {}
        files: dict[str, Any] = {"file": ("speech.wav", wav_file(pcm, EAR_RATE_HZ), "audio/wav")}
        answer = bytearray()
        sent = {"headers": deadline.headers(self._clock.now_ns()), "data": wish, "files": files}
        async with self._client.post("/audio/transcriptions", **sent) as response:
            async for data in response.aiter_raw():
                answer += data
                if len(answer) > MAX_ANSWER_BYTES:
                    raise StageUnavailable(f"{self._client.url} does not stop", stage="asr")
        return text_of(bytes(answer))


def _deadline_of(server: ListeningServer, now_ns: int) -> Deadline:
    """Of words that are asked for now."""
    limit_ns = now_ns + server.deadline_ms * 1_000_000
    return Deadline(min(now_ns + server.due_ms * 1_000_000, limit_ns), limit_ns)


def text_of(answer: bytes) -> str:
    """The words in the server's answer. Raises StageUnavailable: there are none."""
    try:
        text = orjson.loads(answer)["text"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        text = None
    if not isinstance(text, str):
        # Its words are not shown: they are the user's.
        raise StageUnavailable(f"no transcription: {len(answer)} bytes", stage="asr")
    return text.strip()
