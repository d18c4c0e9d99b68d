"""A program with `livekit-agents` and its OpenAI plugin."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities
from livekit.plugins.openai.realtime import RealtimeModel
from program import BRIEF, TALKATIVE, URL, microphone, run, sound

RATE_HZ = 24_000
cities: list[str] = []


@function_tool
async def get_weather(city: str) -> str:
    """The weather in a city."""
    cities.append(city)
    return "sunny, 21 degrees"


class Ears(AudioInput):
    """Where a room's participant would be: takes what the microphone sends."""

    def __init__(self) -> None:
        super().__init__(label="microphone")
        self._frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    async def hear(self, pcm: bytes) -> None:
        self._frames.put_nowait(rtc.AudioFrame(pcm, RATE_HZ, 1, len(pcm) // 2))

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.get()


class Loudspeaker(AudioOutput):
    """Plays in real time, and says how far it got."""

    def __init__(self) -> None:
        super().__init__(
            label="loudspeaker", capabilities=AudioOutputCapabilities(pause=False), sample_rate=RATE_HZ
        )
        self.played = b""
        self._began_s = 0.0
        self._length_s = 0.0
        self._end: asyncio.TimerHandle | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._length_s:
            self._began_s = time.monotonic()
            self.on_playback_started(created_at=time.time())
        self._length_s += frame.duration
        self.played += bytes(frame.data)

    def flush(self) -> None:
        super().flush()
        if self._length_s and self._end is None:
            left_s = self._began_s + self._length_s - time.monotonic()
            self._end = asyncio.get_running_loop().call_later(max(0.0, left_s), self._finish, False)

    def clear_buffer(self) -> None:
        if self._length_s:
            self._finish(True)

    def _finish(self, is_interrupted: bool) -> None:
        if self._end is not None:
            self._end.cancel()
        position_s = min(self._length_s, time.monotonic() - self._began_s)
        self._end, self._length_s = None, 0.0
        self.on_playback_finished(playback_position=position_s, interrupted=is_interrupted)


class Call:
    """One session, and what it told."""

    def __init__(self, session: AgentSession) -> None:
        self.session = session
        self.ears, self.loudspeaker = Ears(), Loudspeaker()
        session.input.audio, session.output.audio = self.ears, self.loudspeaker
        self.user = ""
        self.instructions = ""
        self.n_reconnections = 0
        self.failure: Exception | None = None
        self._has_changed = asyncio.Event()
        session.on("user_input_transcribed", self._on_user)
        session.on("conversation_item_added", lambda _: self._has_changed.set())
        session.on("close", self._on_close)

    def watch(self) -> None:
        """Listen to the model's session as well, once there is one."""
        self.model = self.session.current_agent.realtime_llm_session
        self.model.on("openai_server_event_received", self._on_server_event)
        self.model.on("session_reconnected", self._on_reconnected)

    def _on_user(self, event: Any) -> None:
        self.user = event.transcript if event.is_final else self.user
        self._has_changed.set()

    def _on_close(self, event: Any) -> None:
        if event.error:
            self.failure = RuntimeError(str(event.error))
        self._has_changed.set()

    def _on_server_event(self, event: dict[str, Any]) -> None:
        if event["type"] == "session.updated":
            self.instructions = event["session"]["instructions"]
        self._has_changed.set()

    def _on_reconnected(self, _: Any) -> None:
        self.n_reconnections += 1
        self._has_changed.set()

    async def until(self, is_true: Callable[[], object]) -> None:
        while not is_true():
            if self.failure:
                raise self.failure
            self._has_changed.clear()
            await self._has_changed.wait()

    def said(self) -> list[str]:
        """The agent's messages, as the session's history holds them."""
        items = self.session.history.items
        return [i.text_content or "" for i in items if i.type == "message" and i.role == "assistant"]


@asynccontextmanager
async def calling(model: str, instructions: str = BRIEF, tools: Sequence[Any] = ()) -> AsyncIterator[Call]:
    """A session with every default of the library. The test finds its connection by the model."""
    async with aiohttp.ClientSession() as http:
        llm = RealtimeModel(base_url=URL, api_key="sk-local", model=model, http_session=http)
        # no loudspeaker here that a microphone could hear, so no time to learn its echo
        session: AgentSession = AgentSession(llm=llm, aec_warmup_duration=None)
        call = Call(session)
        await session.start(Agent(instructions=instructions, tools=list(tools)))
        call.watch()
        try:
            yield call
        finally:
            await session.aclose()


async def connect() -> dict[str, Any]:
    async with calling("connect") as call:
        await call.until(lambda: call.instructions)
        return {"instructions": call.instructions}


async def voice_turn() -> dict[str, Any]:
    async with calling("voice_turn") as call, microphone(call.ears.hear) as mic:
        await mic.say("capital")
        await call.until(lambda: call.said() and call.user)
        return {"user": call.user, "agent": call.said()[0], **sound(call.loudspeaker.played)}


async def barge_in() -> dict[str, Any]:
    async with calling("barge_in", instructions=TALKATIVE) as call, microphone(call.ears.hear) as mic:
        await mic.say("elephants")
        await call.until(lambda: len(call.loudspeaker.played) > 48 * 700)
        await mic.say("time")
        await call.until(lambda: len(call.said()) == 2)
        return {"next": call.said()[1]}


async def text_turn() -> dict[str, Any]:
    async with calling("text_turn") as call:
        await call.session.generate_reply(user_input="What is the capital of France?")
        return {"agent": call.said()[0]}


async def tool_call() -> dict[str, Any]:
    async with calling("tool_call", tools=[get_weather]) as call:
        await call.session.generate_reply(user_input="What is the weather in Paris?")
        await call.until(call.said)
        return {"name": get_weather.info.name, "arguments": {"city": cities[0]}, "agent": call.said()[-1]}


async def reconnect() -> dict[str, Any]:
    async with calling("reconnect") as call:
        await call.session.generate_reply(user_input="What is the capital of Spain?")
        await call.until(lambda: call.n_reconnections)
        # It replays the conversation; a question before that is through would go in front of it.
        await call.until(lambda: len(call.model.chat_ctx.items) >= 2)
        await call.session.generate_reply(user_input="What is the capital of France?")
        return {"lost": "reconnected by the library", "agent": call.said()[-1]}


run(
    connect=connect,
    voice_turn=voice_turn,
    barge_in=barge_in,
    text_turn=text_turn,
    tool_call=tool_call,
    reconnect=reconnect,
)
