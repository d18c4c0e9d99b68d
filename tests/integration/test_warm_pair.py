"""A server that dies, and its spare: real processes, killed."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import sleepy_vllm
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.core.answers import LlmAnswer
from voicestack.core.errors import StageUnavailable
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.marks import Mark
from voicestack.core.settings import SessionSettings
from voicestack.engines.chat_body import LlmSettings
from voicestack.engines.child import Child
from voicestack.engines.openai_llm import OpenAiLlm
from voicestack.engines.scripted import EnergyVad, ScriptedAsr, ScriptedTts
from voicestack.engines.vllm_sleep import VllmSleeper
from voicestack.engines.warm_pair import Phase, WarmPair
from voicestack.ports import LlmRequest
from voicestack.server.readiness import synthetic_turn
from voicestack.session.tuning import Engines, Tuning

SECOND_NS = 1_000_000_000
PROMPT = [{"role": "system", "content": "You are a friendly assistant."}]
REQUEST = LlmRequest(SessionId("s1"), TurnId(1), (Message("user", "What is the capital of France?"),))
ANSWER = "It is Paris, of course."


@dataclass
class Stack:
    pair: WarmPair
    llm: OpenAiLlm
    sleepers: tuple[VllmSleeper, VllmSleeper]

    async def whole(self, into: list[str] | None = None) -> str:
        got = [] if into is None else into
        async with aclosing(self.llm.reply(REQUEST)) as deltas:
            async for delta in deltas:
                got.append(delta.text)
        return "".join(got)

    def kill(self, which: int) -> None:
        pid = self.sleepers[which].child.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    async def ask(self, which: int, method: str, path: str, body: object = None) -> dict[str, Any]:
        transport = httpx.AsyncHTTPTransport(uds=str(self.sleepers[which].socket), verify=False)
        async with httpx.AsyncClient(transport=transport) as http:
            answer = await http.request(method, f"http://x{path}", content=json.dumps(body) if body else None)
            found: dict[str, Any] = answer.json()
            return found

    async def until(self, *phases: Phase) -> None:
        async with asyncio.timeout(20):
            while self.pair.pair.phases != phases:  # noqa: ASYNC110 - it is about other processes
                await asyncio.sleep(0.01)


def sleeper(folder: Path, which: int, ways: tuple[str, ...]) -> VllmSleeper:
    socket = folder / f"{which}.sock"
    command = (sys.executable, "-I", "-S", sleepy_vllm.__file__, str(socket), *ways)

    async def probe(_process: asyncio.subprocess.Process) -> None:
        transport = httpx.AsyncHTTPTransport(uds=str(socket), verify=False)
        async with httpx.AsyncClient(transport=transport) as http:
            while True:
                try:
                    await http.get("http://x/health")
                except httpx.TransportError:
                    await asyncio.sleep(0.01)
                else:
                    return

    child = Child(command, name=f"vllm-{which}", stage="llm", clock=SystemClock(), probe=probe)
    return VllmSleeper(child, child.run, socket, model="m", prompt=PROMPT)


@asynccontextmanager
async def running(*ways: str) -> AsyncIterator[Stack]:
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as name:
        sleepers = (sleeper(Path(name), 0, ways), sleeper(Path(name), 1, ways))
        pair = WarmPair(sleepers, Path(name) / "pair" / "serving.sock", clock=clock)
        llm = OpenAiLlm(pair.url, "m", clock=clock, settings=LlmSettings(first_token_ms=20_000), child=pair)
        async with Scope() as scope:
            scope.start(pair.run(), name="pair")
            await pair.ready(20 * SECOND_NS)
            stack = Stack(pair, llm, sleepers)
            await stack.until(Phase.SERVING, Phase.ASLEEP)
            yield stack
        await llm.close()
        assert not Path(name, "pair").exists()


def test_one_serves_and_the_other_sleeps() -> None:
    async def main() -> None:
        async with running() as stack:
            assert await stack.whole() == ANSWER
            assert not await stack.sleepers[0].is_sleeping()
            assert await stack.sleepers[1].is_sleeping()
            assert stack.pair.figures()["spares_asleep"] == 1
            assert {"import", "weights", "listen", "total"} <= stack.pair.phases_s().keys()

    asyncio.run(main())


def test_the_spare_takes_over_and_the_dead_one_becomes_the_spare() -> None:
    answers: list[LlmAnswer] = []

    async def main() -> None:
        async with running() as stack:
            stack.llm.measures.on_answer.append(answers.append)
            await stack.whole()
            await stack.whole()
            stack.kill(0)
            # Asked while nothing serves, or, if its death is not known yet, sent to a socket that is dead.
            assert await stack.whole() == ANSWER
            await stack.until(Phase.ASLEEP, Phase.SERVING)
            assert await stack.whole() == ANSWER
            seen = await stack.ask(1, "GET", "/seen")
            primed, asked, again = seen["bodies"]
            assert primed["messages"] == PROMPT
            assert primed["max_tokens"] == 1
            assert (
                asked["messages"]
                == again["messages"]
                == [{"role": "user", "content": "What is the capital of France?"}]
            )
            figures = stack.pair.figures()
            assert figures["takeovers_total"] == 1
            assert figures["pair_restarts_total"] == 1
            assert 0 < figures["wake_last_ms"] <= figures["takeover_last_ms"]
            assert stack.pair.n_restarts == 1

    asyncio.run(main())
    assert [answer.cold for answer in answers] == ["first", "", "first", ""]


def test_a_reply_that_has_begun_fails_and_the_next_try_is_answered_by_the_spare() -> None:
    async def main() -> None:
        async with running() as stack:
            await stack.ask(0, "POST", "/ways", {"dies_after": 2})
            got: list[str] = []
            with pytest.raises(StageUnavailable) as caught:
                await stack.whole(got)
            assert got == ["It", " is"]
            assert caught.value.retryable
            assert await stack.whole() == ANSWER
            await stack.until(Phase.ASLEEP, Phase.SERVING)

    asyncio.run(main())


@pytest.mark.parametrize("dies_after", [0, 1])
def test_a_turn_of_which_nothing_was_heard_is_answered_all_the_same(dies_after: int) -> None:
    """Before the first token the engine asks again; after it, the session does."""

    async def main() -> None:
        async with running() as stack:
            await stack.ask(0, "POST", "/ways", {"dies_after": dies_after})
            engines = Engines(
                EnergyVad(), ScriptedAsr(["what is the capital of france"]), stack.llm, ScriptedTts()
            )
            marks = await synthetic_turn(engines, SystemClock(), SessionSettings(), Tuning())
            assert Mark.FIRST_SENT in marks.at_ns
            await stack.until(Phase.ASLEEP, Phase.SERVING)
            assert stack.pair.figures()["takeovers_total"] == 1

    asyncio.run(main())


def test_a_spare_that_dies_asleep_is_nobodys_loss() -> None:
    async def main() -> None:
        async with running() as stack:
            stack.kill(1)
            assert await stack.whole() == ANSWER
            await stack.until(Phase.SERVING, Phase.DOWN)
            await stack.until(Phase.SERVING, Phase.ASLEEP)
            assert stack.pair.n_restarts == 0

    asyncio.run(main())


def test_a_spare_that_does_not_wake_is_started_again_and_somebody_serves() -> None:
    async def main() -> None:
        async with running() as stack:
            await stack.ask(1, "POST", "/ways", {"wake_fails": 1})
            stack.kill(0)
            assert await stack.whole() == ANSWER
            async with asyncio.timeout(20):
                while set(stack.pair.pair.phases) != {Phase.SERVING, Phase.ASLEEP}:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert stack.sleepers[1].child.n_restarts >= 1
            assert await stack.whole() == ANSWER

    asyncio.run(main())


def test_a_server_that_cannot_sleep_says_what_it_was_asked() -> None:
    async def main() -> None:
        async with running() as stack:
            await stack.ask(0, "POST", "/ways", {"can_sleep": 0})
            with pytest.raises(StageUnavailable, match=r"POST /sleep\?level=1: HTTP 404"):
                await stack.sleepers[0].sleep()

    asyncio.run(main())
