"""A server whose language model cools off, and says so: the heartbeat, readiness and the figures together."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import websockets

from tests.support.server import SCRIPTED, with_server
from tests.support.sleepy_python import write_python
from tests.support.sleepy_vllm import FakeVllm
from voicestack.aio.clock import SystemClock
from voicestack.cli.bench_server import http_get
from voicestack.config.load import load
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError
from voicestack.server.assembly import Connected
from voicestack.server.assembly_llm import llm_of
from voicestack.server.keep_warm import HEARTBEAT_S, heartbeat_of, warmth_of


@contextmanager
def model() -> Iterator[tuple[FakeVllm, str]]:
    """On a loop and a thread of its own: the server under test counts the tasks of its loop."""
    fake, url, stop = FakeVllm(), Future[str](), asyncio.Event()

    async def serve() -> None:
        server = await fake.serve_tcp()
        url.set_result(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        await stop.wait()
        server.close()

    with asyncio.Runner() as runner, ThreadPoolExecutor(1) as thread:
        served = thread.submit(runner.run, serve())
        try:
            yield fake, url.result(timeout=10)
        finally:
            runner.get_loop().call_soon_threadsafe(stop.set)
            served.result(timeout=10)


async def until_ready(port: int, wanted: int) -> str:
    async with asyncio.timeout(20):
        while True:
            status, body = await http_get(port, "/readyz")
            if status == wanted:
                return body
            await asyncio.sleep(0.02)


async def figure(port: int, name: str) -> float:
    _, page = await http_get(port, "/metrics")
    return next(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(name + " "))


async def type_a_question(port: int) -> None:
    async with websockets.connect(f"ws://127.0.0.1:{port}/v1/realtime?model=voicestack") as ws:
        await ask(ws)


def serve_with(url: str, *sets: str) -> list[str]:
    return [*SCRIPTED, "llm.engine=openai", f"llm.url={url}", "llm.model=m", *sets]


async def cool_off_and_warm_up_again(fake: FakeVllm, port: int) -> None:
    # Warmed with conversations of three lengths, then with the default instructions.
    lengths = [len(body["messages"]) for body in fake.seen[:9]]
    assert lengths[0] < lengths[3] < lengths[6]
    assert all(body["messages"][0]["content"].startswith("You are a friendly") for body in fake.seen)
    fake.ways.first_ms = 300.0
    body = await until_ready(port, 503)
    assert "heartbeat took" in json.loads(body)["reason"]
    assert "the budget is 150 ms" in json.loads(body)["reason"]
    fake.ways.first_ms = 0.0
    await until_ready(port, 200)
    assert (
        await figure(port, 'voicestack_engine_counts_total{engine="llm_heartbeat",figure="heartbeats_slow"}')
        >= 1
    )
    fake.ways.full = 1
    await until_ready(port, 503)
    fake.ways.full = 0
    await until_ready(port, 200)
    assert await figure(port, 'voicestack_engine_counts_total{engine="llm",figure="full"}') >= 1
    assert await figure(port, 'voicestack_start_phase_seconds{phase="warm_up",process="server"}') > 0
    assert await figure(port, 'voicestack_start_phase_seconds{phase="first_turn",process="server"}') > 0
    # None of all that was a user's.
    answered = 'voicestack_llm_replies_total{kind="committed",outcome="answered"}'
    assert await figure(port, answered) == 0
    await type_a_question(port)
    assert await figure(port, answered) == 1
    assert await figure(port, 'voicestack_llm_first_token_seconds_count{warmth="warm"}') == 1


def test_a_model_that_cools_off_is_noticed_and_forgiven() -> None:
    with model() as (fake, url):
        sets = serve_with(url, "llm.heartbeat_s=0.1", "llm.heartbeat_budget_ms=150")
        with_server(partial(cool_off_and_warm_up_again, fake), sets=sets)


def test_a_vllm_that_is_killed_under_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is real but vLLM itself: its command line, two processes, the takeover, the same session."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "model").mkdir()

    async def script(port: int) -> None:
        taken_over = 'voicestack_engine_counts_total{engine="llm",figure="takeovers"}'
        await until_asleep(port)
        async with websockets.connect(f"ws://127.0.0.1:{port}/v1/realtime?model=voicestack") as ws:
            assert await ask(ws) == "It is Paris, of course."
            os.kill(await serving_pid(tmp_path), signal.SIGKILL)
            assert await ask(ws) == "It is Paris, of course."
        assert await figure(port, taken_over) == 1
        await until_ready(port, 200)
        await until_asleep(port)

    sets = [
        *SCRIPTED,
        "llm.engine=vllm",
        f"vllm.python={write_python(tmp_path)}",
        f"vllm.model={tmp_path / 'model'}",
        "vllm.spare=true",
        "vllm.gpu_memory_ratio=0.45",
    ]
    with_server(script, sets=sets, timeout_s=60)
    first, second, *_ = (tmp_path / "lines").read_text().splitlines()
    assert "dev=1" in first
    assert "--enable-sleep-mode" in first
    assert "--gpu-memory-utilization 0.45" in second


async def serving_pid(folder: Path) -> int:
    """Of the server that was started first."""
    socket = (folder / "lines").read_text().splitlines()[0].split("--uds ")[1].split()[0]
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=socket, verify=False)) as http:
        return int((await http.get("http://x/seen")).json()["pid"])


async def until_asleep(port: int) -> None:
    async with asyncio.timeout(20):
        while await figure(port, 'voicestack_engine_figure{engine="llm",figure="spares_asleep"}') < 1:  # noqa: ASYNC110 - it is about another process
            await asyncio.sleep(0.05)


async def ask(ws: websockets.ClientConnection) -> str:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello!"}]}
    await ws.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await ws.send(json.dumps({"type": "response.create"}))
    async for message in ws:
        event = json.loads(message)
        if event["type"] == "response.done":
            assert event["response"]["status"] == "completed", event
            return str(event["response"]["output"][0]["content"][0]["transcript"])
    raise AssertionError("the session has ended")


def config(*sets: str) -> Config:
    return load("embedded", env={}, sets=sets).config


HOSTED = ("llm.engine=openai", "llm.url=http://127.0.0.1:1/v1", "llm.model=m")


def beats(*sets: str) -> bool:
    async def main() -> bool:
        clock = SystemClock()
        llm, _ = llm_of(config(*sets), clock)
        found = heartbeat_of(config(*sets), llm, clock)
        if isinstance(llm, Connected):
            await llm.close()
        return found is not None

    return asyncio.run(main())


def test_who_beats_without_being_told_to() -> None:
    """llama.cpp does not get slower by idling, and a hosted model costs money."""
    assert not beats()
    assert not beats(*HOSTED)
    assert beats(*HOSTED, "llm.heartbeat_s=5")
    assert not beats(*HOSTED, "llm.heartbeat_s=0")
    assert HEARTBEAT_S == {"vllm": 5.0}


def test_the_embedded_model_is_only_primed_in_each_slot() -> None:
    warmth = warmth_of(config("llm.slots=3"), None)
    assert (tuple(warmth.history_tokens), warmth.n_places) == ((), 3)
    assert warmth.doubt() is None


def test_a_spare_needs_room_on_the_gpu() -> None:
    with pytest.raises(ConfigError, match=r"gpu_memory_ratio.*0\.48"):
        config("llm.engine=vllm", "vllm.spare=true")
    assert config("llm.engine=vllm", "vllm.spare=true", "vllm.gpu_memory_ratio=0.45").vllm.spare
