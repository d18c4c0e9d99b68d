"""Is vLLM kept running, and asked in its dialect? With a stand-in; `tests/contract` has a real one."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.vllm_stand_in import interpreter
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.cli.main import run_command as voicestack
from voicestack.config.vllm import VllmSection
from voicestack.core.errors import ConfigError, StageOverloaded, StageUnavailable
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.engines.chat_body import LlmSettings
from voicestack.engines.child import Child
from voicestack.engines.openai_llm import OpenAiLlm
from voicestack.engines.vllm_server import VllmServer
from voicestack.ports import LlmRequest

LIMIT_S = 30.0


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", "/ours")


def made(folder: Path, **changes: Any) -> VllmServer:
    (folder / "model").mkdir(exist_ok=True)
    given = {"python": str(interpreter(folder)), "model": str(folder / "model")} | changes
    section = VllmSection(**given)
    return VllmServer(clock=SystemClock(), section=section, models=folder, context_tokens=2048)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not holds():  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(server: VllmServer) -> AsyncIterator[Child]:
    async with Scope() as scope:
        scope.start(server.run(), name="vllm")
        await until(lambda: server.is_ready)
        yield server.child


def test_it_is_started_with_what_it_knows_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server = made(tmp_path, max_requests=7, queue_requests=3)
        async with running(server):
            folder = Path(server.url.removeprefix("unix:")).parent
            assert folder.stat().st_mode & 0o077 == 0  # nobody else's business
            python_path, words = json.loads((tmp_path / "arguments").read_text())
            await until(lambda: server.figures().get("prompt_tokens") == 12)
        assert python_path is None
        assert words[words.index("--max-num-seqs") + 1] == "7"
        assert words[words.index("--max-num-queued-reqs") + 1] == "10"
        assert "--scheduling-policy" not in words
        assert not folder.exists()

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    assert f"vLLM 0.30.0: {tmp_path}/python -m vllm.entrypoints" in caplog.text
    assert "does not know" in caplog.text
    assert "--scheduling-policy" in caplog.text


def test_it_is_started_again(tmp_path: Path) -> None:
    async def main() -> None:
        server = made(tmp_path)
        async with running(server) as child:
            first = child.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(lambda: not server.is_ready)
            await child.ready(within_ns=int(LIMIT_S * 1e9))
            assert child.pid != first
            assert server.n_restarts == 1

    asyncio.run(main())


def test_the_probe_can_wait_for_more(tmp_path: Path) -> None:
    asked: list[bool] = []

    async def main() -> None:
        (tmp_path / "model").mkdir()
        section = VllmSection(python=str(interpreter(tmp_path)), model=str(tmp_path / "model"))

        async def probe() -> None:
            asked.append(server.is_ready)

        server = VllmServer(
            clock=SystemClock(), section=section, models=tmp_path, context_tokens=2048, probe=probe
        )
        async with running(server):
            assert asked == [False]

    asyncio.run(main())


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="voicestack models pull qwen3-8b"):
        made(tmp_path, model="qwen3-8b")
    with pytest.raises(ConfigError, match="adapter 'sales'"):
        made(tmp_path, loras={"sales": str(tmp_path / "nowhere")})
    (tmp_path / "broken.gguf").write_bytes(b"no")
    with pytest.raises(ConfigError, match=r"broken\.gguf cannot be written"):
        made(tmp_path, model=str(tmp_path / "broken.gguf")).line()


def test_a_measured_rate_is_a_limit_of_the_next_start(tmp_path: Path) -> None:
    server = made(tmp_path)
    assert not [word for word in server.line().left_out if "queued-tokens" in word]
    server.metrics.prefill_tokens_per_s = 30_000
    server._keep_rate()
    assert "--max-num-queued-tokens" in made(tmp_path).line().left_out


def test_the_command_line_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path)
    sets = [
        "--set=llm.engine=vllm",
        f"--set=vllm.python={tmp_path / 'python'}",
        f"--set=vllm.model={tmp_path / 'model'}",
    ]
    assert voicestack(["serve", "--show-llm-command", *sets]) == 0
    shown = capsys.readouterr().out
    assert f"{tmp_path}/python -m vllm.entrypoints.openai.api_server --model {tmp_path}/model" in shown
    assert "this vLLM does not know" in shown
    assert voicestack(["serve", "--show-llm-command", *sets, "--set=llm.model=sales"]) == 2
    assert "vllm.loras" in capsys.readouterr().err


# --- the dialect ------------------------------------------------------------------------------------------

REQUEST = LlmRequest(SessionId("s"), TurnId(1), (Message("user", "hi"),), draft=True)
SETTINGS = LlmSettings(dialect="auto", first_token_ms=10_000)
BUSY = "The engine is currently busy and cannot accept new requests."


class Server:
    """Answers requests as told and keeps them."""

    def __init__(self, owner: str = "vllm", refusals: list[tuple[int, str]] | None = None) -> None:
        self.owner, self.refusals = owner, refusals or []
        self.gets: list[str] = []
        self.bodies: list[dict[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, body = 200, json.dumps({"data": [{"id": "m", "owned_by": self.owner}]})
        if head.startswith("GET"):
            self.gets.append(head.split()[1])
        else:
            length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
            self.bodies.append(json.loads(await reader.readexactly(length)))
            if self.refusals:
                status, message = self.refusals.pop(0)
                body = json.dumps({"error": {"message": message}})
            else:
                answer = {"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]}
                body = f"data: {json.dumps(answer)}\n\ndata: [DONE]\n\n"
        writer.write(
            f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        await writer.drain()
        writer.close()


class Up:
    """Stands for a `Child` that is always ready."""

    is_ready = True

    async def ready(self, within_ns: int) -> None:
        return None

    def on_exit(self, callback: Callable[[str], None]) -> None:
        return None


@asynccontextmanager
async def asking(
    server: Server, settings: LlmSettings = SETTINGS, child: Any = None
) -> AsyncIterator[OpenAiLlm]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    llm = OpenAiLlm(f"http://127.0.0.1:{port}", "m", clock=SystemClock(), settings=settings, child=child)
    try:
        yield llm
    finally:
        await llm.close()
        listening.close()


async def said(llm: OpenAiLlm, request: LlmRequest = REQUEST) -> str:
    return "".join([delta.text async for delta in llm.reply(request)])


@pytest.mark.parametrize(("owner", "priority"), [("vllm", 2), ("llamacpp", None)])
def test_a_server_is_asked_once_whether_it_is_vllm(owner: str, priority: int | None) -> None:
    server = Server(owner)

    async def main() -> None:
        async with asking(server) as llm:
            assert await said(llm) == await said(llm) == "Hello"
            await llm.prime(REQUEST)

    asyncio.run(main())
    assert server.gets == ["/v1/models"]
    assert [body.get("priority") for body in server.bodies[:2]] == [priority, priority]
    assert server.bodies[2].get("priority") == (3 if priority else None)
    assert server.bodies[2]["max_tokens"] == 1


def test_a_server_that_is_known_is_not_asked() -> None:
    server = Server("nobody")

    async def main() -> None:
        async with asking(server, replace(SETTINGS, dialect="vllm")) as llm:
            await said(llm, replace(REQUEST, draft=False))

    asyncio.run(main())
    assert server.gets == []
    assert "priority" not in server.bodies[0]


def test_a_full_server_is_not_waited_for_although_it_is_ours() -> None:
    server = Server(refusals=[(503, BUSY)] * 3)

    async def main() -> None:
        async with asking(server, child=Up()) as llm:
            with pytest.raises(StageOverloaded):
                await said(llm)

    asyncio.run(main())
    assert len(server.bodies) == 1


def test_one_that_loads_its_model_is_waited_for_if_it_is_ours() -> None:
    async def main() -> None:
        async with asking(Server(refusals=[(503, "Loading model")] * 2), child=Up()) as llm:
            assert await said(llm) == "Hello"
        async with asking(Server(refusals=[(503, "Loading model")])) as llm:
            with pytest.raises(StageUnavailable):
                await said(llm)

    asyncio.run(main())


def test_a_vllm_without_priorities_is_asked_again_without() -> None:
    refused = (400, "Got priority 2 but Priority scheduling is not enabled.")
    server = Server(refusals=[refused])

    async def main() -> None:
        async with asking(server) as llm:
            assert await said(llm) == "Hello"
            assert await said(llm) == "Hello"

    asyncio.run(main())
    assert [body.get("priority") for body in server.bodies] == [2, None, None]
