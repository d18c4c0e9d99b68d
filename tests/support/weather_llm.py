"""A language model that calls a tool exactly when it should: behind the API that vLLM and llama.cpp speak.

The model of the embedded profile is too small to be relied on for that.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def weather_llm() -> AsyncIterator[str]:
    """It listens within the block, at the URL that is yielded."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        body = json.loads(await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0])))
        writer.write(HEAD)
        for delta in deltas(body):
            writer.write(b"data: " + json.dumps({"choices": [delta]}).encode() + b"\n\n")
        writer.write(b"data: [DONE]\n\n")
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def deltas(body: dict[str, Any]) -> list[dict[str, Any]]:
    """A call when there is a tool and no output of it since the user spoke; else words."""
    last = body["messages"][-1]
    tools = body.get("tools")
    if tools and last["role"] == "user":
        call = {"index": 0, "id": "call_1", "type": "function"}
        name = tools[0]["function"]["name"]
        pieces: list[dict[str, Any]] = [
            {"tool_calls": [{**call, "function": {"name": name, "arguments": ""}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '"Paris"}'}}]},
        ]
        reason = "tool_calls"
    else:
        text = f"It is {last['content']}" if last["role"] == "tool" else "Hello there."
        pieces, reason = [{"content": f"{word} "} for word in text.split()], "stop"
    all_deltas = [{"index": 0, "delta": piece, "finish_reason": None} for piece in pieces]
    return [*all_deltas, {"index": 0, "delta": {}, "finish_reason": reason}]
