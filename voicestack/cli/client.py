"""How does a program hold a spoken conversation with a Realtime server?

`call()` opens the connection; inside it a `Caller` streams a microphone that is never switched off, plays
what arrives, and lets its user say things and wait for answers. `talk` and all benches are built on it.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from websockets.exceptions import ConnectionClosed

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.cli.conversation import Conversation
from voicestack.cli.dialing import FULL_CLOSE, OPEN_TIMEOUT_S, Link, MediaLink, NoServer, Refused, dial
from voicestack.cli.speaker import (
    CALL_RATE_HZ,
    FRAME_MS,
    FRAME_SAMPLES,
    Mouth,
    Piece,
    Speaker,
    Timeline,
    append_message,
)
from voicestack.cli.waveform import first_audible
from voicestack.core.audio import Pcm

FULL_CODE = "overloaded"
"""Comes before FULL_CLOSE."""

_POLL_S = 0.01
"""How often a wait looks again. No measurement depends on it: all stamps are taken on arrival."""


def session_update(
    *, turns: bool = True, silence_ms: int | None = None, max_output_tokens: int | None = None
) -> dict[str, Any]:
    """The `session.update` of a voice call that wants to read what was heard.

    Args:
        turns: Whether the server decides when the user has finished; if not, the client commits.
        silence_ms: Silence that ends a turn; None for the protocol's default (500).
        max_output_tokens: Longest answer; None for the server's limit.
    """
    detection: dict[str, Any] | None = {"type": "server_vad"} if turns else None
    if detection is not None and silence_ms is not None:
        detection["silence_duration_ms"] = silence_ms
    session: dict[str, Any] = {
        "type": "realtime",
        "audio": {"input": {"turn_detection": detection, "transcription": {"model": "default"}}},
    }
    if max_output_tokens is not None:
        session["max_output_tokens"] = max_output_tokens
    return {"type": "session.update", "session": session}


class Caller:
    """One side of a call.

    Args:
        link: The open connection.
        clock: Stamps arrivals and paces the microphone.
        on_line: Is told each finished line of the dialogue.
    """

    def __init__(
        self, link: Link, clock: Clock, on_line: Callable[[str, str], None] = lambda _who, _text: None
    ) -> None:
        self._link = link
        self._clock = clock
        self.timeline = Timeline(clock.now_ns())
        self.mouth = Mouth()
        self.speaker = Speaker(self.timeline)
        self._media = link if isinstance(link, MediaLink) else None
        self.conversation = Conversation(self.speaker, on_line, server_plays=self._media is not None)
        if self._media is not None:
            self.speaker.tolerance_samples = FRAME_SAMPLES
            self._media.attach(self.speaker, self.conversation.item_playing)
        self.late_ms: list[float] = []
        """For each frame sent, how long after it was due: the harness's own error."""

    async def listen(self) -> None:
        """Take everything the server sends, until it hangs up.

        Raises:
            NoServer: it did.
        """
        try:
            while True:
                message = await self._link.recv()
                at_ns = self._clock.now_ns()
                for answer in self.conversation.receive(orjson.loads(message), at_ns):
                    await self._link.send(orjson.dumps(answer).decode())
        except ConnectionClosed as gone:
            raise _hung_up(gone) from gone

    async def stream(self) -> None:
        """Send the microphone, 20 ms at a time, each frame when its last sample has been spoken."""
        while True:
            due_ns = self.timeline.ns_of(self.mouth.next_sample) + FRAME_MS * 1_000_000
            await asyncio.sleep(max(0.0, (due_ns - self._clock.now_ns()) / 1e9))
            frame = self.mouth.frame()
            self.late_ms.append((self._clock.now_ns() - due_ns) / 1e6)
            await self._speak(frame)

    async def stream_from(self, microphone: AsyncIterator[Pcm]) -> None:
        """Send what a real microphone captures, as it comes."""
        async for pcm in microphone:
            if not self.mouth.next_sample:
                self.mouth.next_sample = max(0, self.now_sample() - len(pcm))
            self.mouth.record(pcm)
            await self._speak(pcm)

    async def _speak(self, pcm: Pcm) -> None:
        if self._media is not None:
            self._media.speak(pcm)
        else:
            await self.send(append_message(pcm))

    async def send(self, message: str | Mapping[str, Any]) -> None:
        """Send one client event.

        Raises:
            NoServer: nobody is there any more.
        """
        text = message if isinstance(message, str) else orjson.dumps(message).decode()
        try:
            await self._link.send(text)
        except ConnectionClosed as gone:
            raise _hung_up(gone) from gone

    def say(self, pcm: Pcm) -> Piece:
        """Speak next. `pcm` is int16 mono at CALL_RATE_HZ. Returns where on the timeline it lies."""
        return self.mouth.say(pcm)

    def now_sample(self) -> int:
        """Where the timeline is now."""
        return self.timeline.sample_at(self._clock.now_ns())

    async def until(self, is_true: Callable[[], bool], *, by_sample: float = math.inf) -> bool:
        """Wait for a condition, at most until a point of the timeline. Returns whether it came true."""
        while not is_true():
            if self.now_sample() >= by_sample:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    def is_settled(self) -> bool:
        """Whether the agent has answered everything it heard, and has been heard to the end."""
        return self.conversation.is_settled(self._clock.now_ns())


def _hung_up(gone: ConnectionClosed) -> NoServer:
    """Why there is no call any more."""
    kind = Refused if gone.rcvd is not None and gone.rcvd.code == FULL_CLOSE else NoServer
    return kind(f"The server hung up: {gone}.")


@dataclass(frozen=True, slots=True)
class Wait:
    """What a user waited for an answer, on the waveform.

    `ms` runs from the last audible sample of the user to the first one of the agent, None when nothing was
    heard. `early` means that the agent could be heard before the user had finished: a false cut-off.
    """

    ms: float | None
    early: bool


def wait_for_answer(speaker: Speaker, said: Piece, last_speech_sample: int) -> Wait:
    """Measure the answer to something that was said.

    Args:
        speaker: What the agent was heard to say; nothing of it may be older than `said`'s own answer.
        said: The user's words on the timeline.
        last_speech_sample: Index into `said.pcm` of the last sample that a listener would call speech.
    """
    end = said.start_sample + last_speech_sample
    if first_audible(speaker.render(said.start_sample, end), CALL_RATE_HZ) is not None:
        return Wait(None, early=True)
    first = first_audible(speaker.render(end), CALL_RATE_HZ)
    return Wait(None if first is None else first * 1000 / CALL_RATE_HZ, early=False)


async def _configured(caller: Caller, url: str) -> None:
    seen = caller.conversation
    limit = CALL_RATE_HZ * OPEN_TIMEOUT_S
    if not await caller.until(lambda: seen.configured or bool(seen.errors), by_sample=limit):
        raise NoServer(f"The server at {url} does not answer session.update.")
    if not seen.configured:
        kind = Refused if seen.errors[0].get("code") == FULL_CODE else NoServer
        raise kind(f"The server at {url} refuses the session: {seen.errors[0].get('message')}")


@asynccontextmanager
async def call(
    url: str,
    clock: Clock,
    *,
    update: Mapping[str, Any],
    on_line: Callable[[str, str], None] = lambda _who, _text: None,
    microphone: AsyncIterator[Pcm] | None = None,
    dial: Callable[[str], Awaitable[Link]] = dial,
) -> AsyncIterator[Caller]:
    """A call in progress: configured, with the microphone open.

    Args:
        url: The server, as the user wrote it.
        clock: The clock of the call.
        update: The `session.update` to begin with, see `session_update`.
        on_line: Is told each finished line of the dialogue.
        microphone: Frames at CALL_RATE_HZ to send instead of what `Caller.say` is given.
        dial: Opens the connection.

    Raises:
        NoServer: it cannot be reached, or hung up before the end of the block.
    """
    link = await dial(url)
    try:
        async with Scope() as scope:
            caller = Caller(link, clock, on_line)
            await caller.send(update)
            scope.start(caller.listen(), name="listen")
            voice = caller.stream() if microphone is None else caller.stream_from(microphone)
            scope.start(voice, name="microphone")
            await _configured(caller, url)
            yield caller
    except BaseExceptionGroup as several:  # the same end of the call may be noticed in two places at once
        ends, others = several.split(NoServer)
        if ends is None or others is not None:
            raise
        raise ends.exceptions[0] from None
    finally:
        await link.close()
