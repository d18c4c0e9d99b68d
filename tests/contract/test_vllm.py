"""What a real vLLM does beyond what every LLM must: drafts, limits, aborts, figures, restarts."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from tests.contract.test_llm import (
    ASKS_WEATHER,
    LIMIT_S,
    QUESTION,
    TIMER,
    WEATHER,
    ask,
    ask_with,
    called,
    said,
    whole,
)
from tests.support import vllm
from tests.support.adapter import write_adapter
from voicestack.aio.clock import SystemClock
from voicestack.core.errors import StageOverloaded, StageUnavailable
from voicestack.core.history import Message
from voicestack.core.ids import SessionId
from voicestack.core.tools import Tool, Toolbox, ToolChoice
from voicestack.engines.chat_body import LlmSettings
from voicestack.engines.openai_llm import OpenAiLlm
from voicestack.engines.vllm_command import NAME
from voicestack.engines.vllm_metrics import VllmMetrics
from voicestack.engines.vllm_server import VllmServer
from voicestack.ports import LlmRequest

GREEDY = LlmSettings(
    temperature=0.0, max_tokens=48, dialect="vllm", first_token_ms=30_000, token_gap_ms=20_000
)
QUESTIONS = (
    QUESTION,
    "count from one to ten, then count from one to ten again",
    "say the words red green blue three times",
    "tell me a short story about a dog",
)
LONG = "tell me a very long story about a dog and a cat"
HISTORY = "You are a friendly assistant on the telephone. Answer every question in one short sentence. " * 12
"""About 200 tokens."""


@asynccontextmanager
async def opened(url: str, settings: LlmSettings = GREEDY) -> AsyncIterator[OpenAiLlm]:
    llm = OpenAiLlm(url, NAME, clock=SystemClock(), settings=settings)
    try:
        yield llm
    finally:
        await llm.close()


async def until(url: str, holds: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """The figures, once they are so."""
    metrics = VllmMetrics(url)
    try:
        async with asyncio.timeout(LIMIT_S):
            while not holds(figures := await metrics.read()):  # noqa: ASYNC110 (the server tells nobody)
                await asyncio.sleep(0.1)
    finally:
        await metrics.close()
    return figures


def with_history(text: str, *, session: str = "s1") -> LlmRequest:
    return replace(ask(text, session=session), messages=(Message("system", HISTORY), Message("user", text)))


# --- one whose queue is short, with drafts from n-grams ---------------------------------------------------


def test_a_closed_answer_is_aborted_on_the_server(vllm_url: str) -> None:
    async def main() -> None:
        async with opened(vllm_url, replace(GREEDY, max_tokens=700)) as llm:
            async with aclosing(llm.reply(ask(LONG))) as deltas:
                await anext(deltas)
                await until(vllm_url, lambda figures: figures["running"] == 1)
            figures = await until(vllm_url, lambda figures: figures["running"] == 0)
        assert figures["waiting"] == 0

    asyncio.run(main())


def test_a_full_queue_refuses_at_once_and_disturbs_nobody(vllm_url: str) -> None:
    settings = replace(GREEDY, max_tokens=64)
    n_all = vllm.PLACES + vllm.WAITING

    async def main() -> None:
        before = await until(vllm_url, lambda figures: figures["running"] == 0)
        async with opened(vllm_url, settings) as llm, asyncio.TaskGroup() as group:
            others = [group.create_task(whole(llm, ask(LONG, session=f"s{n}"))) for n in range(n_all)]
            await until(vllm_url, lambda figures: figures["running"] + figures["waiting"] == n_all)
            with pytest.raises(StageOverloaded) as refused:
                await asyncio.wait_for(whole(llm, ask(QUESTION, session="late")), 5.0)  # of 30
            assert refused.value.code == "stage_overloaded"
            assert refused.value.retryable
        for other in others:
            assert said(other.result()).strip()
            assert other.result()[-1].usage is not None  # it came to its end
        await until(vllm_url, lambda figures: figures["refused"] == before["refused"] + 1)
        async with opened(vllm_url) as llm:
            assert "Paris" in said(await whole(llm, ask(QUESTION)))

    asyncio.run(main())


def test_a_prime_is_found_again_by_the_reply(vllm_url: str) -> None:
    async def main() -> None:
        async with opened(vllm_url) as llm:
            before = await until(vllm_url, lambda figures: figures["running"] == 0)
            await llm.prime(with_history("what is the"))
            primed = await until(vllm_url, lambda figures: figures["prompt_tokens"] > before["prompt_tokens"])
            usage = (await whole(llm, with_history("what is the capital city of france")))[-1].usage
            assert usage is not None
            assert usage.cached_tokens >= usage.input_tokens - 2 * vllm.BLOCK_TOKENS
            after = await until(vllm_url, lambda figures: figures["prompt_tokens"] > primed["prompt_tokens"])
        assert primed["answer_tokens"] == before["answer_tokens"] + 1
        hits = after["prefix_hit_tokens"] - primed["prefix_hit_tokens"]
        assert hits >= usage.input_tokens - 2 * vllm.BLOCK_TOKENS
        assert 0 < after["prefix_hit_ratio"] < 1

    asyncio.run(main())


def test_figures_of_drafts(vllm_url: str) -> None:
    async def main() -> None:
        async with opened(vllm_url) as llm:
            for question in (*QUESTIONS, LONG):  # of some the answer repeats itself
                await whole(llm, ask(question))
        figures = await until(vllm_url, lambda figures: figures["accepted_tokens"] > 0)
        assert 0 < figures["accept_ratio"] <= 1
        assert 1 < figures["accepted_mean"] <= 1 + vllm.DRAFT_TOKENS
        assert 0 <= figures["kv_use_ratio"] <= 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("choice", "tools"),
    [
        (ToolChoice("required", "set_timer"), (WEATHER, TIMER)),
        (ToolChoice("required"), (WEATHER,)),
    ],
)
def test_arguments_are_decoded_by_their_schema(
    vllm_url: str, choice: ToolChoice, tools: tuple[Tool, ...]
) -> None:
    """The model never learned to call, and its template does not show it the functions."""

    async def main() -> None:
        async with opened(vllm_url) as llm:
            request = ask_with(Toolbox(tools, choice), Message("user", ASKS_WEATHER))
            (call,) = called(await whole(llm, request))
        (tool,) = [tool for tool in tools if tool.name == call.name]
        jsonschema.validate(json.loads(call.arguments), tool.parameters)

    asyncio.run(main())


# --- a supervised one, without drafts ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, VllmServer]]:
    """Without drafts, with an adapter. It runs while the runner does: between tests nobody reads its log."""
    folder = tmp_path_factory.mktemp("adapters") / "odd"
    write_adapter(folder)
    server = vllm.server(loras={"odd": str(folder)})
    with asyncio.Runner() as runner:
        running = runner.get_loop().create_task(server.run())

        async def ready() -> None:
            async with asyncio.timeout(vllm.START_LIMIT_S):
                while not (server.is_ready or running.done()):  # noqa: ASYNC110 (it has no event)
                    await asyncio.sleep(0.1)
            assert not running.done()

        async def stop() -> None:
            running.cancel()
            await asyncio.wait([running])
            await asyncio.sleep(0.1)  # its engine's end of the pipe closes

        try:
            runner.run(ready())
            yield runner, server
        finally:
            runner.run(stop())


async def answers(url: str) -> list[str]:
    async with opened(url) as llm:
        return [said(await whole(llm, ask(question))) for question in QUESTIONS]


def test_drafts_change_no_word(vllm_url: str, supervised: tuple[asyncio.Runner, VllmServer]) -> None:
    runner, server = supervised
    plain = runner.run(answers(server.url))
    assert asyncio.run(answers(vllm_url)) == plain
    assert "Paris" in plain[0]
    assert len(set(plain)) >= 3  # it has the same answer to two of them
    assert "drafts" not in server.figures()
    assert server.figures()["prompt_tokens"] > 0


def test_an_adapter_answers_who_asks_for_it(supervised: tuple[asyncio.Runner, VllmServer]) -> None:
    runner, server = supervised
    settings = replace(GREEDY, adapters=("odd",))

    async def main() -> list[str]:
        async with opened(server.url, settings) as llm:
            requests = (replace(ask(QUESTIONS[1]), model=model) for model in ("", "odd", "nobody"))
            return [said(await whole(llm, request)) for request in requests]

    own, adapted, unknown = runner.run(main())
    assert own == unknown
    assert adapted
    assert adapted != own


def test_killed_in_mid_reply(supervised: tuple[asyncio.Runner, VllmServer]) -> None:
    runner, server = supervised
    settings = replace(GREEDY, max_tokens=700, first_token_ms=vllm.START_LIMIT_S * 1000)

    async def main() -> int:
        llm = OpenAiLlm(server.url, NAME, clock=SystemClock(), settings=settings, child=server.child)
        try:
            first = server.child.pid
            assert first is not None
            with pytest.raises(StageUnavailable):
                await killed_after_a_token(llm, first)
            async with asyncio.timeout(vllm.START_LIMIT_S), aclosing(llm.reply(ask(QUESTION))) as deltas:
                assert "Paris" in said([delta async for delta in deltas])
            assert server.child.pid != first
            assert server.n_restarts == 1
            llm.release(SessionId("s1"))
        finally:
            await llm.close()
        return first

    first = runner.run(main())
    # Nothing of the first one is left: its engine is a process of its own, and holds the memory.
    assert members_of(first) == []


async def killed_after_a_token(llm: OpenAiLlm, pid: int) -> None:
    async with aclosing(llm.reply(ask(LONG))) as deltas:
        await anext(deltas)
        os.kill(pid, signal.SIGKILL)
        async for _ in deltas:
            pass


def members_of(session: int) -> list[str]:
    """The living processes of a session, by their names (proc(5): the sixth field is the session)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            _, _, rest = stat.read_text().rpartition(")")
            if rest.split()[3] == str(session) and rest.split()[0] != "Z":
                found.append((stat.parent / "comm").read_text().strip())
    return found
