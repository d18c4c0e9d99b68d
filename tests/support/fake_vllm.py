"""A program that behaves like vLLM's server, to a client that only sees its log, its HTTP and its metrics.

Run it as `python -m vllm.entrypoints.openai.api_server` with what `install` writes on the path. Its answers
are words, a fixed time apart; the time of the first depends on how much of the prompt it has seen before. The
environment sets its behaviour: FAKE_VLLM is JSON with the keys of `DEFAULTS`.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

DEFAULTS: dict[str, Any] = {
    "token_ms": 1.0,  # between two tokens
    "prefill_ms": 2.0,  # of a prompt whose beginning is cached
    "cold_ms": 30.0,  # more, for a prompt whose beginning is not
    "full_at": 0,  # requests at once from which it answers 503; 0 for never
    "dies_with": "",  # it ends before it is ready when its command line has this word
    "says_nothing": "",  # it answers without text when its command line has this word
}

LOG = """\
INFO [api_server.py] vLLM API server version 0.0
INFO [core.py] Initializing a V1 LLM engine (v0.0)
INFO [gpu_model_runner.py] Starting to load model
INFO [gpu_model_runner.py] Model loading took 0.1 GiB memory and 0.01 seconds
INFO [monitor.py] torch.compile took 0.01 s in total
INFO [kv_cache_utils.py] GPU KV cache size: 1,000 tokens
INFO [gpu_model_runner.py] Graph capturing finished in 0 secs, took 0.01 GiB
INFO [core.py] init engine (profile, create kv cache, warmup model) took 0.03 seconds
"""


def install(folder: Path) -> None:
    """Write a package `vllm` there that is this program."""
    package = folder / "vllm"
    api = package / "entrypoints" / "openai"
    api.mkdir(parents=True)
    for each in (package, package / "entrypoints", api):
        (each / "__init__.py").write_text("")
    (package / "_version.py").write_text("__version__ = version = '0.0+fake'\n")
    (api / "api_server.py").write_text("from tests.support.fake_vllm import main\nmain()\n")


class FakeVllm:
    """The state of one server."""

    def __init__(self, arguments: list[str], behaviour: dict[str, Any]) -> None:
        self._options = arguments
        self._behaviour = behaviour
        self._prefixes: set[str] = set()
        self._n_running = 0
        self._n_drafts = 0
        self._is_asleep = False

    @property
    def port(self) -> int:
        return int(self._options[self._options.index("--port") + 1])

    @property
    def _drafts(self) -> bool:
        return "--speculative-config" in self._options

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")).strip():
                method, path, _ = head.decode().split(" ", 2)
                lengths = [
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ]
                body = await reader.readexactly(lengths[0]) if lengths else b""
                await self._answer(method, path, body, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, method: str, path: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        name = path.partition("?")[0]
        if name == "/v1/chat/completions":
            await self._chat(json.loads(body), writer)
        elif name == "/metrics":
            _plain(writer, 200, self._metrics())
        elif name == "/health":
            _plain(writer, 200, "")
        elif name in ("/sleep", "/wake_up") and method == "POST" and "--enable-sleep-mode" in self._options:
            self._is_asleep = name == "/sleep"
            await asyncio.sleep(0.01)
            _plain(writer, 200, "")
        else:
            _plain(writer, 404, "no")

    def _metrics(self) -> str:
        return (
            f'vllm:spec_decode_num_drafts_total{{engine="0"}} {float(self._n_drafts)}\n'
            f'vllm:spec_decode_num_draft_tokens_total{{engine="0"}} {3.0 * self._n_drafts}\n'
            f'vllm:spec_decode_num_accepted_tokens_total{{engine="0"}} {1.5 * self._n_drafts}\n'
        )

    async def _chat(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if self._behaviour["full_at"] and self._n_running >= self._behaviour["full_at"]:
            _plain(writer, 503, json.dumps({"error": {"message": "the engine is currently busy"}}))
            return
        self._n_running += 1
        try:
            await self._stream(request, writer)
        finally:
            self._n_running -= 1

    async def _stream(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        messages = request["messages"]
        prefix = messages[0]["content"]
        n_prefix = len(prefix.split())
        n_input = sum(len(message["content"].split()) for message in messages) + 10
        is_known = prefix in self._prefixes
        self._prefixes.add(prefix)
        wait_ms = self._behaviour["prefill_ms"] + (0 if is_known else self._behaviour["cold_ms"])
        await asyncio.sleep(wait_ms / 1e3)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        is_mute = bool(self._behaviour["says_nothing"]) and self._behaviour["says_nothing"] in " ".join(
            self._options
        )
        n_tokens = 0 if is_mute else request["max_tokens"]
        at_once = 2 if self._drafts else 1
        for n in range(0, n_tokens, at_once):
            self._n_drafts += self._drafts
            words = "".join(f" word{k}" for k in range(n, min(n + at_once, n_tokens)))
            _event(writer, {"choices": [{"delta": {"content": words}, "finish_reason": None}]})
            await writer.drain()
            await asyncio.sleep(self._behaviour["token_ms"] / 1e3)
        _event(writer, {"choices": [{"delta": {}, "finish_reason": "length"}]})
        usage = {
            "prompt_tokens": n_input,
            "completion_tokens": n_tokens,
            "prompt_tokens_details": {"cached_tokens": n_prefix if is_known else 0},
        }
        _event(writer, {"choices": [], "usage": usage})
        _chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")


def _event(writer: asyncio.StreamWriter, event: dict[str, Any]) -> None:
    _chunk(writer, b"data: " + json.dumps(event).encode() + b"\n\n")


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


def _plain(writer: asyncio.StreamWriter, status: int, body: str) -> None:
    data = body.encode()
    writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(data), data))


async def _run(server: FakeVllm) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", server.port)
    await ended.wait()
    listening.close()


def main() -> None:
    """Be a server until somebody ends it."""
    behaviour = DEFAULTS | json.loads(os.environ.get("FAKE_VLLM", "{}"))
    sys.stdout.write(LOG)
    sys.stdout.flush()
    command = " ".join(sys.argv)
    if behaviour["dies_with"] and behaviour["dies_with"] in command:
        sys.stdout.write("ValueError: this will never work\n")
        sys.exit(1)
    asyncio.run(_run(FakeVllm(sys.argv, behaviour)))
