"""A server that behaves like vLLM as far as voicestack sees it, and as badly as a test wants.

A program, so that it can be killed: `python sleepy_vllm.py SOCKET [KEY=VALUE ...]`. It speaks the routes that
are used of vLLM, on a Unix socket, and writes a log like vLLM's on stderr. Imports only the standard library,
so that it starts in a tenth of a second.
"""

import asyncio
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter

LOG = (
    "(EngineCore pid=1) INFO 11-28 14:02:29 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config",
    "(Worker pid=2) INFO 11-28 14:02:50 [cpu_model_runner.py:68] Starting to load model x...",
    "(Worker pid=2) INFO 11-28 14:02:51 [default_loader.py:501] Loading weights took 1.01 seconds",
    "(EngineCore pid=1) INFO 11-28 14:02:56 [core.py:402] "
    "init engine (profile, create kv cache, warmup model) took 3.10 s",
)


@dataclass
class Ways:
    """How it behaves. Each can be set on the command line, and while it runs by POST /ways.

    Attributes:
        first_ms: To the first token of an answer.
        gap_ms: Between tokens.
        words: What it says.
        full: Answer 503.
        dies_after: Die after so many tokens of an answer, all in all; -1 for never.
        wake_fails: Answer 500 to /wake_up.
        can_sleep: Whether there are the routes of the sleep mode.
    """

    first_ms: float = 0.0
    gap_ms: float = 0.0
    words: str = "It is Paris, of course."
    full: int = 0
    dies_after: int = -1
    wake_fails: int = 0
    can_sleep: int = 1

    def set(self, name: str, value: str) -> None:
        setattr(self, name, type(getattr(self, name))(value))


@dataclass
class FakeVllm:
    """See the module."""

    ways: Ways = field(default_factory=Ways)
    asleep: bool = False
    n_tokens: int = 0
    n_running: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)

    async def serve(self, socket: str) -> asyncio.Server:
        return await asyncio.start_unix_server(self._connection, socket)

    async def serve_tcp(self) -> asyncio.Server:
        return await asyncio.start_server(self._connection, "127.0.0.1", 0)

    async def _connection(self, reader: Reader, writer: Writer) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, path, _ = head.split("\r\n")[0].split(" ")
                length = 0
                for line in head.split("\r\n")[1:]:
                    if line.lower().startswith("content-length:"):
                        length = int(line.split(":")[1])
                body = await reader.readexactly(length)
                await self._answer(writer, f"{method} {path}", body)
        writer.close()

    async def _answer(self, writer: Writer, asked: str, body: bytes) -> None:
        match asked:
            case "GET /health":
                await _say(writer, 200, {})
            case "POST /ways":
                for name, value in json.loads(body).items():
                    self.ways.set(name, str(value))
                await _say(writer, 200, {})
            case "GET /seen":
                seen = {
                    "pid": os.getpid(),
                    "bodies": self.seen,
                    "running": self.n_running,
                    "asleep": self.asleep,
                }
                await _say(writer, 200, seen)
            case "POST /sleep?level=1" if self.ways.can_sleep:
                self.asleep = True
                await _say(writer, 200, {})
            case "POST /wake_up" if self.ways.can_sleep:
                self.asleep = self.asleep and bool(self.ways.wake_fails)
                await _say(writer, 500 if self.ways.wake_fails else 200, {})
            case "GET /is_sleeping" if self.ways.can_sleep:
                await _say(writer, 200, {"is_sleeping": self.asleep})
            case "POST /v1/chat/completions":
                await self._complete(writer, json.loads(body))
            case _:
                await _say(writer, 404, {"detail": "Not Found"})

    async def _complete(self, writer: Writer, body: dict[str, Any]) -> None:
        self.seen.append(body)
        if self.ways.full or self.asleep:
            about = "The engine is currently busy; try again on a different instance."
            await _say(writer, 503, {"error": {"message": about}})
            return
        self.n_running += 1
        try:
            await self._stream(writer, body)
        finally:
            self.n_running -= 1

    async def _stream(self, writer: Writer, body: dict[str, Any]) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await writer.drain()
        await asyncio.sleep(self.ways.first_ms / 1e3)
        words = self.ways.words.split(" ")[: body.get("max_tokens", 100)]
        for n, word in enumerate(words):
            if n:
                await asyncio.sleep(self.ways.gap_ms / 1e3)
            if self.n_tokens == self.ways.dies_after:
                os._exit(1)
            self.n_tokens += 1
            text = word if n == 0 else f" {word}"
            await _event(
                writer, {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
            )
        await _event(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        usage = {
            "prompt_tokens": 40,
            "completion_tokens": len(words),
            "prompt_tokens_details": {"cached_tokens": 32},
        }
        await _event(writer, {"choices": [], "usage": usage})
        writer.write(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def _event(writer: Writer, fields_: dict[str, Any]) -> None:
    writer.write(_chunk(b"data: " + json.dumps(fields_).encode() + b"\n\n"))
    await writer.drain()


async def _say(writer: Writer, status: int, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    await writer.drain()


async def main(socket: str, *ways: str) -> None:
    fake = FakeVllm()
    for one in ways:
        name, _, value = one.partition("=")
        fake.ways.set(name, value)
    sys.stderr.write("\n".join(LOG) + "\n")
    sys.stderr.flush()
    with suppress(FileNotFoundError):
        os.unlink(socket)
    server = await fake.serve(socket)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
