"""A program with the `openai-agents` package."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from agents import Tool, function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession
from program import BRIEF, TALKATIVE, URL, microphone, run, sound

calls: list[str] = []


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    calls.append(city)
    return "sunny, 21 degrees"


class Call:
    """One session, and what it told."""

    def __init__(self, session: RealtimeSession) -> None:
        self.session = session
        self.audio = b""
        self.said = ""
        self.user = ""
        self.instructions = ""

    async def until(self, *kinds: str) -> str:
        """Read on to the next event of one of these types, of the session or of its model."""
        async for event in self.session:
            kind: str = event.type
            if event.type == "audio":
                self.audio += event.audio.data
            elif event.type == "error":
                raise RuntimeError(event.error)
            elif event.type == "raw_model_event":
                kind = event.data.type
                self._model_event(event.data)
            if kind in kinds:
                return kind
        raise RuntimeError(f"the session ended before {kinds}")

    def _model_event(self, event: Any) -> None:
        if event.type == "transcript_delta":
            self.said += event.delta
        elif event.type == "input_audio_transcription_completed":
            self.user = event.transcript
        elif event.type == "raw_server_event" and event.data["type"] == "session.updated":
            self.instructions = event.data["session"]["instructions"]


@asynccontextmanager
async def calling(model: str, instructions: str = BRIEF, tools: Sequence[Tool] = ()) -> AsyncIterator[Call]:
    """A session with every default of the library. The test finds its connection by the model in the URL."""
    agent = RealtimeAgent(name="Guide", instructions=instructions, tools=list(tools))
    address = f"{URL.replace('http', 'ws', 1)}/realtime?model={model}"
    session = await RealtimeRunner(agent).run(model_config={"url": address, "api_key": "sk-local"})
    async with session:
        yield Call(session)


async def connect() -> dict[str, Any]:
    async with calling("connect") as call:
        while not call.instructions:
            await call.until("raw_server_event")
        return {"instructions": call.instructions}


async def voice_turn() -> dict[str, Any]:
    async with calling("voice_turn") as call, microphone(call.session.send_audio) as mic:
        await mic.say("capital")
        await call.until("turn_ended")
        return {"user": call.user, "agent": call.said, **sound(call.audio)}


async def barge_in() -> dict[str, Any]:
    async with (
        calling("barge_in", instructions=TALKATIVE) as call,
        microphone(call.session.send_audio) as mic,
    ):
        await mic.say("elephants")
        while len(call.audio) < 48 * 700:
            await call.until("audio")
        interrupting = asyncio.create_task(mic.say("time"))
        await call.until("audio_interrupted")
        await call.until("turn_ended")
        said = len(call.said)
        await interrupting
        while len(call.said) == said:
            await call.until("transcript_delta")
        return {"next": call.said[said:]}


async def text_turn() -> dict[str, Any]:
    async with calling("text_turn") as call:
        await call.session.send_message("What is the capital of France?")
        await call.until("turn_ended")
        return {"agent": call.said}


async def tool_call() -> dict[str, Any]:
    async with calling("tool_call", tools=[get_weather]) as call:
        await call.session.send_message("What is the weather in Paris?")
        await call.until("turn_ended")
        if not call.said:
            await call.until("turn_ended")
        return {"name": get_weather.name, "arguments": {"city": calls[0]}, "agent": call.said}


async def reconnect() -> dict[str, Any]:
    try:
        async with calling("reconnect") as call:
            await call.session.send_message("What is the capital of Spain?")
            await call.until("the network is lost")
    except Exception as error:  # noqa: BLE001 (whatever the library raises)
        lost = type(error).__name__
    async with calling("reconnect") as call:
        await call.session.send_message("What is the capital of France?")
        await call.until("turn_ended")
        return {"lost": lost, "agent": call.said}


run(
    connect=connect,
    voice_turn=voice_turn,
    barge_in=barge_in,
    text_turn=text_turn,
    tool_call=tool_call,
    reconnect=reconnect,
)
