"""What does a server elsewhere tell of itself, and how is it asked for an answer? Over real connections."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from tests.support.chat_server import ChatServer, Mode
from tests.support.replicas import Log, member, roster
from voicestack.aio.clock import SystemClock
from voicestack.cli.bench_server import free_port
from voicestack.core.errors import StageExpired, StageOverloaded, StageUnavailable
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.rungs import Rung
from voicestack.engines import replica_ping
from voicestack.engines.chat_body import LlmSettings
from voicestack.engines.openai_llm import OpenAiLlm
from voicestack.engines.replica_ping import ReplicaPing
from voicestack.engines.scripted import ScriptedLlm
from voicestack.fleet.llm_pool import LlmPool
from voicestack.ports import LlmRequest

ASKED = LlmRequest(SessionId("talk-7"), TurnId(1), (Message("user", "Who is it?"),))


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer("It is me, over there.").serving() as found:
        yield found


def remote(url: str) -> OpenAiLlm:
    settings = LlmSettings(dialect="auto", tells_session=True)
    return OpenAiLlm(url, "any", clock=SystemClock(), settings=settings)


async def said(llm: OpenAiLlm | LlmPool, asked: LlmRequest) -> str:
    async with aclosing(llm.reply(asked)) as deltas:
        return "".join([delta.text async for delta in deltas])


def test_a_server_is_asked_for_what_it_has(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_ping, "LIMIT_S", 0.5)

    async def script() -> None:
        ping = ReplicaPing(server.url, clock=SystemClock())
        pong = await ping.ping()
        assert pong.state == "warm"
        assert pong.rtt_ms is not None
        assert 0 < pong.rtt_ms < 500
        assert server.looked_at == ["/readyz", "/health"]
        await ping.ping()
        assert server.looked_at == ["/readyz", "/health", "/health"], "it has no /readyz"
        server.statuses["/health"] = 503
        assert (await ping.ping()).state == "cold"
        server.statuses["/health"] = 0
        late = await ping.ping()
        assert (late.state, late.is_sure) == ("down", False)
        await ping.close()
        server.statuses |= {"/readyz": 503}
        other = ReplicaPing(server.url, clock=SystemClock())
        assert (await other.ping()).state == "cold", "a voicestack that is not warm"
        await other.close()
        nobody = ReplicaPing(f"http://127.0.0.1:{free_port()}/v1", clock=SystemClock())
        gone = await nobody.ping()
        assert (gone.state, gone.is_sure, gone.rtt_ms) == ("down", True, None)
        await nobody.close()

    asyncio.run(script())


def test_the_conversation_is_named_so_that_its_prompt_is_found_again(server: ChatServer) -> None:
    async def script() -> None:
        llm = remote(server.url)
        assert await said(llm, ASKED) == server.answer
        assert server.bodies[0]["prompt_cache_key"] == "talk-7"
        await llm.close()

    asyncio.run(script())


@pytest.mark.parametrize(
    ("mode", "error", "n_failures"),
    [("full", StageOverloaded, 0), ("late", StageExpired, 0), ("refuses", StageUnavailable, 1)],
)
def test_what_another_server_refuses_is_understood(
    server: ChatServer, mode: Mode, error: type[Exception], n_failures: int
) -> None:
    async def script() -> None:
        llm = remote(server.url)
        server.mode = mode
        with pytest.raises(error):
            await said(llm, ASKED)
        pool = LlmPool(
            roster([member("b", llm, clock=SystemClock())], clock=SystemClock()), clock=SystemClock()
        )
        with pytest.raises(error):
            await said(pool, ASKED)
        assert pool.replicas()[0].failures == n_failures
        await llm.close()

    asyncio.run(script())


def test_a_server_that_is_gone_is_replaced_at_once() -> None:
    async def script() -> None:
        llm = remote(f"http://127.0.0.1:{free_port()}/v1")
        log, clock = Log(), SystemClock()
        members = [member("b", llm, clock=clock), member("c", ScriptedLlm(["Here."]), clock=clock)]
        pool = LlmPool(roster(members, clock=clock), clock=clock)
        pool.roster.stay("talk-7", "b")
        assert await said(pool, replace(ASKED, trail=log)) == "Here."
        assert [(use.replica, use.won) for use in log.uses] == [("b", False), ("c", True)]
        assert log.rungs == [(Rung.SHED, "failed")]
        await llm.close()

    asyncio.run(script())
