"""The unmodified `openai` package holds a conversation with the server."""

import asyncio
import base64
from typing import Any

import numpy as np
from openai import AsyncOpenAI

from tests.support.realtime_check import check_server_event
from tests.support.server import with_server
from voicestack.core.audio import Pcm
from voicestack.core.resample import Resampler
from voicestack.server.readiness import question

CHUNK = 480 * 2
"""20 ms at 24 kHz, in bytes."""


def at_24k(pcm: Pcm) -> bytes:
    return Resampler(16_000, 24_000).push(pcm).tobytes()


async def speak(connection: Any, pcm: bytes) -> None:
    """In real time, in 20 ms pieces."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    for n, i in enumerate(range(0, len(pcm), CHUNK)):
        await asyncio.sleep(max(0.0, start_s + (n + 1) * 0.02 - loop.time()))
        await connection.input_audio_buffer.append(audio=base64.b64encode(pcm[i : i + CHUNK]).decode())


def silence(ms: int) -> bytes:
    return bytes(ms * 48)


async def until(connection: Any, kind: str, seen: list[Any]) -> Any:
    """Read on to the next event of that type; everything that is read is checked strictly and kept."""
    async for event in connection:
        seen.append(event)
        check_server_event(event.to_dict())
        assert event.type != "error", event
        if event.type == kind:
            return event
    raise AssertionError(f"the connection was closed before {kind}")


def client(port: int) -> AsyncOpenAI:
    return AsyncOpenAI(api_key="sk-local", base_url=f"http://127.0.0.1:{port}/v1")


def transcript(seen: list[Any]) -> str:
    return "".join(e.delta for e in seen if e.type == "response.output_audio_transcript.delta")


def test_a_spoken_turn_with_server_vad() -> None:
    async def script(port: int) -> None:
        seen: list[Any] = []
        async with client(port).realtime.connect(model="voicestack-1") as connection:
            await until(connection, "session.created", seen)
            await connection.session.update(
                session={
                    "type": "realtime",
                    "instructions": "Be brief.",
                    "audio": {
                        "input": {
                            "transcription": {"model": "whisper-1"},
                            "turn_detection": {"type": "server_vad", "silence_duration_ms": 200},
                        }
                    },
                }
            )
            updated = await until(connection, "session.updated", seen)
            assert updated.session.audio.input.turn_detection.prefix_padding_ms == 300
            assert updated.session.audio.input.turn_detection.interrupt_response is True
            await speak(connection, at_24k(question()) + silence(600))
            done = await until(connection, "response.done", seen)
            assert done.response.status == "completed"
            kinds = [e.type for e in seen if ".delta" not in e.type]
            assert kinds[2:] == [
                "input_audio_buffer.speech_started",
                "input_audio_buffer.speech_stopped",
                "input_audio_buffer.committed",
                "conversation.item.added",
                "conversation.item.done",
                "conversation.item.input_audio_transcription.completed",
                "response.created",
                "response.output_item.added",
                "conversation.item.added",
                "response.content_part.added",
                "response.output_audio.done",
                "response.output_audio_transcript.done",
                "response.content_part.done",
                "conversation.item.done",
                "response.output_item.done",
                "response.done",
            ]
            audio = b"".join(
                base64.b64decode(e.delta) for e in seen if e.type == "response.output_audio.delta"
            )
            assert np.abs(np.frombuffer(audio, dtype="<i2")).max() > 3000
            said = done.response.output[0].content[0].transcript
            assert said == transcript(seen) == "That is a good question, and the answer is quite simple."

    with_server(script)


def test_a_typed_turn_in_text() -> None:
    async def script(port: int) -> None:
        seen: list[Any] = []
        async with client(port).realtime.connect(model="voicestack-1") as connection:
            await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
            await connection.conversation.item.create(
                item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
            )
            await connection.response.create()
            done = await until(connection, "response.done", seen)
            assert done.response.output[0].content[0].text.startswith("That is a good question")
            assert done.response.usage.output_tokens > 0
            assert not [e for e in seen if e.type == "response.output_audio.delta"]

    with_server(script)


def test_barge_in_truncate_and_retrieve() -> None:
    async def script(port: int) -> None:
        seen: list[Any] = []
        async with client(port).realtime.connect(model="voicestack-1") as connection:
            await speak(connection, at_24k(question()) + silence(700))
            await until(connection, "response.output_audio_transcript.delta", seen)
            await speak(connection, at_24k(question())[: 48 * 400])
            done = await until(connection, "response.done", seen)
            assert done.response.status == "cancelled"
            assert done.response.status_details.reason == "turn_detected"
            item = done.response.output[0]
            assert item.status == "incomplete"
            await connection.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=260)
            truncated = await until(connection, "conversation.item.truncated", seen)
            assert truncated.item_id == item.id
            await connection.conversation.item.retrieve(item_id=item.id)
            retrieved = await until(connection, "conversation.item.retrieved", seen)
            heard = retrieved.item.content[0].transcript
            assert heard == "That"  # 50 ms a character: "That" ends at 200 ms, "is" at 350 ms
            await speak(connection, silence(600))
            assert (await until(connection, "response.done", seen)).response.status == "completed"

    with_server(script)


def test_cancel_and_errors_that_do_not_end_the_session() -> None:
    async def script(port: int) -> None:
        async with client(port).realtime.connect(model="voicestack-1") as connection:
            await connection.response.cancel(event_id="e1")
            await connection.send({"type": "no.such.event", "event_id": "e2"})  # type: ignore[arg-type]
            await connection.input_audio_buffer.commit(event_id="e3")
            errors = []
            async for event in connection:
                if event.type == "error":
                    errors.append((event.error.event_id, event.error.code))
                if len(errors) == 3:
                    break
            assert errors == [
                ("e1", "response_cancel_not_active"),
                ("e2", "invalid_value"),
                ("e3", "input_audio_buffer_commit_empty"),
            ]
            await connection.conversation.item.create(
                item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
            )
            await connection.response.create()
            seen: list[Any] = []
            await until(connection, "response.output_audio.delta", seen)
            await connection.response.cancel()
            done = await until(connection, "response.done", seen)
            assert done.response.status_details.reason == "client_cancelled"

    with_server(script)
