"""A program with the `openai` package."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import websockets
from openai import AsyncOpenAI
from program import BRIEF, TALKATIVE, URL, microphone, run, sound

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
LISTEN = {
    "transcription": {"model": "whisper-1"},
    "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
}


class Call:
    """One connection, and what came over it."""

    def __init__(self, connection: Any) -> None:
        self.wire = connection
        self.said = ""
        self.user = ""
        self.audio = b""

    async def until(self, *kinds: str) -> Any:
        """Read on to the next event of one of these types."""
        async for event in self.wire:
            match event.type:
                case "response.output_audio_transcript.delta" | "response.output_text.delta":
                    self.said += event.delta
                case "response.output_audio.delta":
                    self.audio += base64.b64decode(event.delta)
                case "conversation.item.input_audio_transcription.completed":
                    self.user = event.transcript
                case "error":
                    raise RuntimeError(event.error.message)
            if event.type in kinds:
                return event
        raise RuntimeError(f"the connection was closed before {kinds}")

    async def append(self, pcm: bytes) -> None:
        await self.wire.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())

    async def type_text(self, text: str) -> None:
        part = {"type": "input_text", "text": text}
        await self.wire.conversation.item.create(item={"type": "message", "role": "user", "content": [part]})
        await self.wire.response.create()


@asynccontextmanager
async def calling(model: str, **session: Any) -> AsyncIterator[Call]:
    """Connect and configure. The test finds a connection by its model."""
    client = AsyncOpenAI(api_key="sk-local", base_url=URL)
    async with client.realtime.connect(model=model) as connection:
        call = Call(connection)
        await call.until("session.created")
        await connection.session.update(session={"type": "realtime", "instructions": BRIEF, **session})
        await call.until("session.updated")
        yield call


async def connect() -> dict[str, Any]:
    client = AsyncOpenAI(api_key="sk-local", base_url=URL)
    async with client.realtime.connect(model="connect") as connection:
        created = await Call(connection).until("session.created")
        await connection.session.update(session={"type": "realtime", "instructions": BRIEF})
        updated = await Call(connection).until("session.updated")
        detection = updated.session.audio.input.turn_detection
        return {
            "model": created.session.model,
            "instructions": updated.session.instructions,
            "interrupts": detection.interrupt_response,
        }


async def voice_turn() -> dict[str, Any]:
    async with calling("voice_turn", audio={"input": LISTEN}) as call, microphone(call.append) as mic:
        await mic.say("capital")
        await call.until("response.done")
        return {"user": call.user, "agent": call.said, **sound(call.audio)}


async def barge_in() -> dict[str, Any]:
    settings = {"instructions": TALKATIVE, "audio": {"input": LISTEN}}
    async with calling("barge_in", **settings) as call, microphone(call.append) as mic:
        await mic.say("elephants")
        first = await call.until("response.output_audio.delta")
        while len(call.audio) < 48 * 700:
            await call.until("response.output_audio.delta")
        await mic.say("time")
        await call.until("response.done")
        said = len(call.said)
        await call.wire.conversation.item.truncate(item_id=first.item_id, content_index=0, audio_end_ms=500)
        await call.until("conversation.item.truncated")
        await call.wire.conversation.item.retrieve(item_id=first.item_id)
        await call.until("conversation.item.retrieved")
        while len(call.said) == said:
            await call.until("response.output_audio_transcript.delta")
        return {"next": call.said[said:]}


async def text_turn() -> dict[str, Any]:
    async with calling("text_turn", output_modalities=["text"]) as call:
        await call.type_text("What is the capital of France?")
        await call.until("response.done")
        return {"agent": call.said}


async def tool_call() -> dict[str, Any]:
    async with calling("tool_call", tools=[WEATHER]) as call:
        await call.type_text("What is the weather in Paris?")
        asked = await call.until("response.function_call_arguments.done", "response.done")
        if asked.type == "response.done":
            raise RuntimeError(f"no call, but {call.said!r}")
        await call.until("response.done")
        output = {"type": "function_call_output", "call_id": asked.call_id, "output": "sunny, 21 degrees"}
        await call.wire.conversation.item.create(item=output)
        await call.wire.response.create()
        await call.until("response.done")
        return {"name": asked.name, "arguments": json.loads(asked.arguments), "agent": call.said}


async def reconnect() -> dict[str, Any]:
    async with calling("reconnect", output_modalities=["text"]) as call:
        await call.type_text("What is the capital of Spain?")
        try:
            while True:
                await call.until("the network is lost")
        except (websockets.ConnectionClosed, RuntimeError) as error:
            lost = type(error).__name__
    async with calling("reconnect", output_modalities=["text"]) as call:
        await call.type_text("What is the capital of France?")
        await call.until("response.done")
        return {"lost": lost, "agent": call.said}


run(
    connect=connect,
    voice_turn=voice_turn,
    barge_in=barge_in,
    text_turn=text_turn,
    tool_call=tool_call,
    reconnect=reconnect,
)
