"""A language model over HTTP that does as it is told: answers, waits, breaks off or refuses."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import orjson

Mode = Literal["ok", "stuck", "half", "refuses", "full", "late"]
MODELS = b'{"object":"list","data":[{"id":"told","object":"model","owned_by":"tests"}]}'

REFUSALS = {"refuses": (500, "x"), "full": (503, "overloaded"), "late": (504, "deadline_exceeded")}


class ChatServer:
    """One server.

    Attributes:
        mode: `ok` answers at once, `stuck` never, `half` says all but two words and no more, `refuses` says
            500, `full` and `late` what another voicestack says then.
        answer: What it says.
        bodies: Requests for an answer of more than one token, so far.
        statuses: What it answers when somebody looks at these paths; 404 at others, and nothing at all for 0.
        looked_at: Paths that somebody looked at.
    """

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.mode: Mode = "ok"
        self.port = 0
        self.bodies: list[dict[str, object]] = []
        self.statuses: dict[str, int] = {"/health": 200, "/v1/models": 200}
        self.looked_at: list[str] = []

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self.port}/v1"

    @contextmanager
    def serving(self) -> Iterator["ChatServer"]:
        """It, for the length of the block: on a loop of its own, beside the test's."""
        is_up, loop = threading.Event(), asyncio.new_event_loop()
        ending = asyncio.Event()

        async def serve() -> None:
            async with await asyncio.start_server(self._serve, "127.0.0.1", self.port) as server:
                self.port = server.sockets[0].getsockname()[1]
                is_up.set()
                await ending.wait()

        def run() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())

        thread = threading.Thread(target=run, name="chat-server")
        thread.start()
        try:
            assert is_up.wait(10)
            yield self
        finally:
            loop.call_soon_threadsafe(ending.set)
            thread.join(10)
            assert not thread.is_alive()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            lengths = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
            body = await reader.readexactly(sum(lengths))
            if head.startswith(b"GET"):
                await self._look(head.split(b" ")[1].decode(), reader, writer)
            else:
                await self._chat(orjson.loads(body), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _look(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.looked_at.append(path)
        if status := self.statuses.get(path, 404):
            await _answer(writer, status, MODELS)
        else:
            await reader.read()

    async def _chat(
        self, asked: dict[str, object], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        mode = self.mode
        if asked.get("max_tokens") != 1:
            self.bodies.append(asked)
        if mode in REFUSALS:
            status, code = REFUSALS[mode]
            await _answer(writer, status, b'{"error":{"message":"no","code":"%s"}}' % code.encode())
            return
        if mode == "stuck":
            await reader.read()  # until nobody waits any more
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        words = self.answer.split(" ")
        for n, word in enumerate(words[:-2] if mode == "half" else words):
            _event(writer, {"choices": [{"index": 0, "delta": {"content": (" " if n else "") + word}}]})
        await writer.drain()
        if mode == "half":
            await reader.read()
            return
        _event(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        _event(writer, {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": len(words)}})
        writer.write(b"data: [DONE]\n\n")
        await writer.drain()


def _event(writer: asyncio.StreamWriter, event: dict[str, object]) -> None:
    writer.write(b"data: " + orjson.dumps(event) + b"\n\n")


async def _answer(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    writer.write(head.encode() + b"connection: close\r\n\r\n" + body)
    await writer.drain()
