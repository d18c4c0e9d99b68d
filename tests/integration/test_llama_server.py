"""The real llama-server under supervision, with the client that talks to it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.core.errors import ConfigError, StageUnavailable
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.engines.chat_body import LlmSettings
from voicestack.engines.chat_template import DEAF
from voicestack.engines.llama_server import (
    LlamaOptions,
    LlamaServer,
    command,
    default_threads,
    environment,
    fast_model,
    packaged_model,
)
from voicestack.engines.openai_llm import OpenAiLlm
from voicestack.ports import LlmDelta, LlmRequest

SECOND_NS = 1_000_000_000
SYSTEM = Message("system", "You are a friendly assistant. Answer in one short sentence.")
LONG = " ".join(f"Fact {n} is that the number {n * 7} is liked." for n in range(25))


@dataclass
class Stack:
    server: LlamaServer
    llm: OpenAiLlm
    http: httpx.AsyncClient

    async def slots(self) -> list[dict[str, Any]]:
        slots: list[dict[str, Any]] = (await self.http.get("http://localhost/slots")).json()
        return slots

    async def is_busy(self) -> bool:
        return any(slot["is_processing"] for slot in await self.slots())

    async def idle(self, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while await self.is_busy():  # noqa: ASYNC110 - it is about another process
                await asyncio.sleep(0.002)


@asynccontextmanager
async def running(*, context_tokens: int = 2048) -> AsyncIterator[Stack]:
    clock = SystemClock()
    server = LlamaServer(clock=clock, options=LlamaOptions(slots=2, context_tokens=context_tokens))
    settings = LlmSettings(temperature=0.0, slots=2, first_token_ms=30_000, token_gap_ms=10_000)
    llm = OpenAiLlm(server.url, "smollm2", clock=clock, settings=settings, child=server.child)
    transport = httpx.AsyncHTTPTransport(uds=server.url.removeprefix("unix:"), verify=False)
    async with httpx.AsyncClient(transport=transport) as http, Scope() as scope:
        scope.start(server.run(), name="llama-server")
        await server.child.ready(60 * SECOND_NS)
        yield Stack(server, llm, http)
    await llm.close()


def ask(*texts: str, session: str = "s1", draft: bool = False) -> LlmRequest:
    """A conversation in which the user begins."""
    spoken = (Message("agent" if n % 2 else "user", text) for n, text in enumerate(texts))
    return LlmRequest(SessionId(session), TurnId(1), (SYSTEM, *spoken), draft=draft)


async def drain(deltas: AsyncIterator[LlmDelta]) -> None:
    async for _ in deltas:
        pass


async def whole(llm: OpenAiLlm, request: LlmRequest) -> tuple[str, LlmDelta]:
    async with aclosing(llm.reply(request)) as deltas:
        got = [delta async for delta in deltas]
    return "".join(delta.text for delta in got), got[-1]


def cached(last: LlmDelta) -> int:
    assert last.usage is not None
    return last.usage.cached_tokens


def uncached(last: LlmDelta) -> int:
    assert last.usage is not None
    return last.usage.input_tokens - last.usage.cached_tokens


def test_closing_an_answer_frees_the_slot_at_once() -> None:
    async def main() -> None:
        async with running() as stack:
            async with aclosing(stack.llm.reply(ask("tell me a long story about a dog"))) as deltas:
                for _ in range(5):
                    await anext(deltas)
                assert await stack.is_busy()
            await stack.idle(within_s=0.5)

    asyncio.run(main())


def test_closing_during_the_prompt_stops_it_and_keeps_what_was_read() -> None:
    async def main() -> None:
        async with running() as stack:
            await whole(stack.llm, ask("hello"))
            async with asyncio.timeout(60), aclosing(stack.llm.reply(ask(LONG))) as deltas:
                reading = asyncio.timeout(0.5)
                with pytest.raises(TimeoutError):
                    async with reading:
                        await anext(deltas)
            await stack.idle(within_s=5.0)
            _, last = await whole(stack.llm, ask(LONG))
            assert cached(last) > 60

    asyncio.run(main())


def test_the_conversation_so_far_is_in_the_kv() -> None:
    async def main() -> None:
        async with running() as stack:
            answer, _ = await whole(stack.llm, ask("what is the capital of france"))
            follow_up = ask("what is the capital of france", answer, "and of italy")
            for stranger in ("s2", "s2"):
                await whole(stack.llm, ask("why is the sky blue", session=stranger))
            _, last = await whole(stack.llm, follow_up)
            assert uncached(last) < 16  # the new question, and the marks around it

    asyncio.run(main())


def test_a_prime_leaves_only_the_last_word_to_be_read() -> None:
    async def main() -> None:
        async with running() as stack:
            await stack.llm.prime(ask("what is the capital city of the beautiful country of"))
            _, last = await whole(
                stack.llm, ask("what is the capital city of the beautiful country of france")
            )
            assert uncached(last) < 12
            await stack.llm.prime(ask("how tall is the highest mountain"))
            _, last = await whole(stack.llm, ask("how tall is the highest mountain"))
            assert uncached(last) == 1

    asyncio.run(main())


def test_a_reply_does_not_wait_for_the_prime_of_somebody_else() -> None:
    async def main() -> None:
        async with running() as stack:
            await whole(stack.llm, ask("hello", session="s2"))
            async with Scope() as scope:
                long_prime = scope.start(stack.llm.prime(ask(LONG, session="s1")), name="prime")
                await asyncio.sleep(0.2)
                await whole(stack.llm, ask("hello", session="s2"))
                assert long_prime.done()
            _, last = await whole(stack.llm, ask(LONG, session="s1"))
            assert uncached(last) > 64

    asyncio.run(main())


def test_a_long_conversation_is_cut_when_the_server_says_that_it_is_too_long() -> None:
    async def main() -> None:
        async with running(context_tokens=256) as stack:
            text, _ = await whole(stack.llm, ask(LONG, "I see.", "what is the capital of france"))
            assert "Paris" in text

    asyncio.run(main())


def test_killed_in_mid_answer_it_fails_at_once_and_the_next_reply_waits_for_it() -> None:
    async def main() -> None:
        async with running() as stack:
            pid = stack.server.child.pid
            assert pid is not None
            async with aclosing(stack.llm.reply(ask("tell me a long story about a dog"))) as deltas:
                await anext(deltas)
                os.kill(pid, signal.SIGKILL)
                with pytest.raises(StageUnavailable):
                    await asyncio.wait_for(drain(deltas), 1.0)
            text, _ = await whole(stack.llm, ask("what is the capital of france"))
            assert "Paris" in text
            assert stack.server.n_restarts == 1
            assert stack.server.child.pid != pid

    asyncio.run(main())


def test_nothing_is_left_behind() -> None:
    async def main() -> tuple[int | None, Path]:
        async with running() as stack:
            socket = Path(stack.server.url.removeprefix("unix:"))
            assert socket.parent.stat().st_mode & 0o777 == 0o700
            return stack.server.child.pid, socket

    pid, socket = asyncio.run(main())
    assert not Path(f"/proc/{pid}").exists()
    assert not socket.parent.exists()


def test_a_template_that_does_not_know_functions_is_noticed() -> None:
    """The packaged model's is one."""

    async def main() -> None:
        async with running() as stack:
            assert await stack.llm.faults() == [DEAF]

    asyncio.run(main())


def test_a_missing_model_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"no file /nowhere/model\.gguf"):
        LlamaServer(clock=SystemClock(), model="/nowhere/model.gguf")


def test_the_fast_model_is_made_once(tmp_path: Path) -> None:
    made = Path(fast_model(Path(packaged_model()), tmp_path))
    assert made.parent == tmp_path
    assert made.stat().st_size > 140_000_000
    written_ns = made.stat().st_mtime_ns
    assert fast_model(Path(packaged_model()), tmp_path) == str(made)
    assert made.stat().st_mtime_ns == written_ns


def test_without_a_cache_the_model_is_used_as_it_is(tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.touch()
    assert fast_model(Path(packaged_model()), no_folder) == packaged_model()


def test_command_line() -> None:
    line = command("llama-server", "m.gguf", Path("/run/x.sock"), LlamaOptions(slots=3, context_tokens=1000))
    assert line[line.index("--ctx-size") + 1] == "3000"
    assert line[line.index("--parallel") + 1] == "3"
    assert "--no-jinja" in line
    assert "--no-jinja" not in command("b", "m", Path("s"), LlamaOptions(plain_chat=False))


def test_threads() -> None:
    assert [default_threads(n) for n in (1, 2, 3, 4, 5, 64)] == [1, 2, 2, 3, 4, 4]


def test_the_server_is_not_changed_by_variables_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_ARG_CTX_SIZE", "64")
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    assert "LLAMA_ARG_CTX_SIZE" not in environment()
    assert environment()["GOMP_SPINCOUNT"] == "5"
