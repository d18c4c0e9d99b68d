"""What a careless or hostile client sends: a clear error, the session lives, nothing is lost or leaked."""

import asyncio
import base64
import contextlib
import json
import time
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.dialogue import Dialogue, converse, speech
from tests.support.server import SCRIPTED, with_server
from voicestack.core.notes import ReplyEnded


def url(port: int, path: str = "/v1/realtime?model=m") -> str:
    return f"ws://127.0.0.1:{port}{path}"


async def next_event(ws: ClientConnection, *kinds: str) -> dict[str, Any]:
    """The next event of one of these types."""
    while True:
        event: dict[str, Any] = json.loads(await ws.recv())
        if event["type"] in kinds:
            return event


async def close_code(ws: ClientConnection) -> int | None:
    """Read on until the server closes; the code that it gave."""
    with pytest.raises(ConnectionClosed) as closed:
        await next_event(ws, "never")
    return None if closed.value.rcvd is None else closed.value.rcvd.code


async def still_converses(ws: ClientConnection) -> None:
    """A typed turn goes through from end to end."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    await ws.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await ws.send(json.dumps({"type": "response.create", "response": {"output_modalities": ["text"]}}))
    done = await next_event(ws, "response.done", "error")
    assert done["type"] == "response.done", done
    assert done["response"]["status"] == "completed"


def append(data: bytes) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(data).decode()})


BAD_FRAMES: list[str | bytes] = [
    b"\x00\x01\x02 binary",
    "{not json",
    "[]",
    '"text"',
    "null",
    "{}",
    '{"type": 7}',
    '{"type": "no.such.event", "event_id": "mine"}',
    '{"type": "input_audio_buffer.append"}',
    '{"type": "input_audio_buffer.append", "audio": 5}',
    '{"type": "input_audio_buffer.append", "audio": "***"}',
    append(b"\x01\x02\x03"),
    '{"type": "session.update"}',
    '{"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection":'
    ' {"type": "server_vad", "threshold": NaN}}}}}',
    '{"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection":'
    ' {"type": "server_vad", "threshold": "high"}}}}}',
    '{"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection":'
    ' {"type": "server_vad", "silence_duration_ms": -5}}}}}',
    '{"type": "session.update", "session": {"type": "realtime", "audio": {"output": {"speed": 1e400}}}}',
    '{"type": "conversation.item.create", "item": {"type": "message", "role": "nobody", "content": []}}',
    '{"type": "conversation.item.truncate", "item_id": "none", "content_index": 0, "audio_end_ms": 1}',
    '{"type": "conversation.item.delete", "item_id": "none"}',
    '{"type": "conversation.item.retrieve", "item_id": "none"}',
    '{"type": "response.create", "response": {"max_output_tokens": -1}}',
    "[" * 100_000,
]


def test_every_bad_frame_is_answered_with_an_error_and_the_session_lives() -> None:
    async def script(port: int) -> None:
        async with connect(url(port), max_size=None) as ws:
            await next_event(ws, "session.created")
            for frame in BAD_FRAMES:
                await ws.send(frame)
                event = json.loads(await ws.recv())
                assert event["type"] == "error", (frame[:80], event)
                assert set(event["error"]) == {"type", "code", "message", "param", "event_id"}
                assert event["error"]["code"], frame[:80]
                assert event["error"]["message"]
            await still_converses(ws)

    with_server(script)


def test_invalid_utf8_fails_the_connection_as_rfc6455_wants() -> None:
    async def script(port: int) -> None:
        async with connect(url(port)) as ws:
            await next_event(ws, "session.created")
            await ws.send(b"\xff\xfe", text=True)
            assert await close_code(ws) == 1007
        async with connect(url(port)) as ws:
            await still_converses(ws)

    with_server(script)


def test_the_largest_append_is_heard_and_a_larger_one_refused() -> None:
    """15 MiB are 5.4 minutes of audio in one message."""

    async def script(port: int) -> None:
        async with connect(url(port), max_size=None, ping_interval=None) as big, connect(url(port)) as other:
            tone = np.tile(np.append(speech(1000), np.zeros(16_000, dtype=np.int16)), 246)
            data = tone.tobytes()[: 15 * 1024 * 1024]
            await next_event(big, "session.created")
            await big.send(append(data))
            await still_converses(other)  # nobody else waits for it
            event = await next_event(big, "input_audio_buffer.committed", "error")
            assert event["type"] == "input_audio_buffer.committed", event
            await big.send(append(data + bytes(1024)))
            event = await next_event(big, "error")
            assert "15" in event["error"]["message"]

    with_server(script, timeout_s=90)


def test_a_message_beyond_all_limits_closes_the_connection_and_no_other() -> None:
    async def script(port: int) -> None:
        async with connect(url(port), max_size=None) as ws, connect(url(port)) as other:
            await next_event(ws, "session.created")
            with contextlib.suppress(ConnectionClosed):
                await ws.send("x" * 22 * 1024 * 1024)
            assert await close_code(ws) in (1009, None)  # None: reset while it was still sending
            await still_converses(other)

    with_server(script)


def test_a_client_that_never_reads_is_cut_off_and_costs_bounded_memory() -> None:
    async def script(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        key = base64.b64encode(b"0" * 16).decode()
        writer.write(
            f"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        retrieve = b'{"type":"nonsense"}'
        frame = bytes([0x81, 0x80 | len(retrieve), 0, 0, 0, 0]) + retrieve
        deadline = time.monotonic() + 20
        try:
            while time.monotonic() < deadline:  # every frame is answered with an error of 200 bytes
                writer.write(frame * 500)
                await asyncio.wait_for(writer.drain(), 5)
            raise AssertionError("it was never cut off")
        except (ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()
        async with connect(url(port)) as ws:
            await still_converses(ws)

    with_server(script, sets=[*SCRIPTED, "server.write_buffer_limit_bytes=65536"])


def test_a_thousand_connects_at_once() -> None:
    """Those beyond the limit are told why, with 1013; the session that was there goes on."""

    async def script(port: int) -> None:
        async def one() -> str:
            try:
                async with connect(url(port), open_timeout=20) as ws:
                    first = json.loads(await ws.recv())
                    if first["type"] == "session.created":
                        return "served"
                    assert first["error"]["code"] == "overloaded"
                    assert await close_code(ws) == 1013
                    return "turned away"
            except (ConnectionError, OSError):
                return "refused"

        async with connect(url(port)) as ws:
            await next_event(ws, "session.created")
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one()) for _ in range(1000)]
            outcomes = [task.result() for task in tasks]
            assert outcomes.count("served") >= 1
            assert outcomes.count("served") + outcomes.count("turned away") == 1000
            await still_converses(ws)
        async with connect(url(port)) as ws:
            await still_converses(ws)

    with_server(script, sets=[*SCRIPTED, "server.max_sessions=10"], timeout_s=90)


def test_wrong_paths_and_plain_http() -> None:
    async def script(port: int) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            assert (await http.get("/healthz")).text == "ok\n"
            ready = (await http.get("/readyz")).json()
            assert ready["ready"] is True
            assert ready["synthetic_turn_ms"] > 0
            assert "voicestack_stage_seconds_bucket" in (await http.get("/metrics")).text
            assert (await http.get("/nowhere")).status_code == 404
            assert (await http.get("/v1/realtime")).status_code in (400, 404, 426)
        with pytest.raises(InvalidStatus, match="404"):
            await connect(url(port, "/elsewhere"))

    with_server(script)


def test_beta_clients_are_told() -> None:
    async def script(port: int) -> None:
        async with connect(url(port), additional_headers={"OpenAI-Beta": "realtime=v1"}) as ws:
            event = json.loads(await ws.recv())
            assert event["error"]["code"] == "beta_api_shape_disabled"
            assert await close_code(ws) == 4000

    with_server(script)


def test_an_hour_of_silence_costs_nothing_and_the_next_question_is_answered() -> None:
    async def script(d: Dialogue) -> None:
        silence = np.zeros(16_000, dtype=np.int16)
        for _ in range(3500):
            d.peer.say_now(silence)
            await asyncio.sleep(1)
        assert d.peer.notes() == []
        assert len(d.session.ears._recent) < 5
        await d.peer.say(speech(640))
        await d.peer.be_silent(4000)

    d = converse(script)
    assert [n.status for n in d.peer.notes(ReplyEnded) if isinstance(n, ReplyEnded)] == ["completed"]
