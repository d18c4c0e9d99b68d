"""The adapter against a real MCP server in another process: lists, calls, limits, refusals, losses."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial

import pytest
from mcp import Client

from tests.support.mcp_server import TOKEN, Served, mcp_server
from voicestack.aio.scope import Scope
from voicestack.core.errors import StageError, StageRejected, StageTimeout, StageUnavailable
from voicestack.core.served import ToolOutcome, ToolServer, ToolSource
from voicestack.engines.mcp_tools import LEFT_OUT, McpLimits, McpServers
from voicestack.session.links import Link

Script = Callable[[ToolServer], Awaitable[None]]


def use(
    served: Served,
    script: Script,
    *,
    limits: McpLimits | None = None,
    url: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> None:
    async def run() -> None:
        source = ToolSource("t", url or served.url, tuple(headers))
        async with asyncio.timeout(30), Scope() as scope:
            link = Link(source, McpServers([served.place], limits), scope)
            async with link.server() as server:
                await script(server)
            link.close()
        await all_ended()

    asyncio.run(run())


async def all_ended() -> None:
    """Nothing is left running. What the `mcp` package drops, the loop closes in tasks of its own."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    _, running = await asyncio.wait(others, timeout=10) if others else (None, ())
    assert not running, running


async def nothing(server: ToolServer) -> None:
    pytest.fail("it was let in")


@pytest.mark.parametrize(("kind", "options"), [("http", ()), ("http", ("json",)), ("sse", ())])
def test_list_and_call(kind: str, options: tuple[str, ...]) -> None:
    async def script(server: ToolServer) -> None:
        tools = {tool.name: tool for tool in await server.tools()}
        assert list(tools) == ["add", "open_door", "fail", "long", "slow", "grow", "called"]
        assert tools["add"].description == "Adds two numbers."
        assert tools["add"].is_read_only
        assert not tools["open_door"].is_read_only
        assert set(tools["add"].parameters["properties"]) == {"a", "b"}
        assert await server.call("add", '{"a": 2, "b": 3}') == ToolOutcome("5")
        assert await server.call("open_door", "") == ToolOutcome("The door is open.")

    with mcp_server(kind, *options) as served:
        use(served, script)


def test_what_tools_and_servers_find_wrong_is_an_outcome() -> None:
    async def script(server: ToolServer) -> None:
        for name, arguments, kind, words in (
            ("fail", "{}", "tool_execution_error", "the oven is cold"),
            ("add", '{"a": "two"}', "tool_execution_error", "a"),
            ("add", "[1, 2]", "tool_execution_error", "not a JSON object"),
            ("add", '{"a": ', "tool_execution_error", "not a JSON object"),
        ):
            outcome = await server.call(name, arguments)
            assert outcome.failure is not None
            assert outcome.failure.kind == kind
            assert words in outcome.failure.message
        unknown = await server.call("nobody", "{}")
        assert unknown.failure is not None
        assert await server.call("add", '{"a": 2, "b": 3}') == ToolOutcome("5"), "and it goes on"

    with mcp_server() as served:
        use(served, script)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("kind", ["http", "sse"])
def test_a_server_says_that_its_tools_have_changed(
    kind: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicestack.engines.mcp_tools.Client", partial(Client, mode=mode))

    async def script(server: ToolServer) -> None:
        heard = asyncio.Event()

        async def watch() -> None:
            async with aclosing(server.changes()) as changes:
                async for _ in changes:
                    heard.set()

        async with Scope() as scope:
            scope.start(watch(), name="watch")
            await asyncio.sleep(0.3)  # it asks to be told
            assert await server.call("grow", "{}") == ToolOutcome("grown")
            await heard.wait()
        assert "later" in [tool.name for tool in await server.tools()]

    with mcp_server(kind) as served:
        use(served, script)


def test_limits() -> None:
    async def script(server: ToolServer) -> None:
        cut = await server.call("long", '{"n_chars": 5000}')
        assert len(cut.output) == 1000
        assert cut.output.endswith(LEFT_OUT)
        with pytest.raises(StageRejected, match="more than 3 tools"):
            await server.tools()

    with mcp_server("http", "json") as served:
        use(served, script, limits=McpLimits(max_output_chars=1000, max_tools=3))


@pytest.mark.parametrize("options", [(), ("json",)])
def test_an_answer_that_is_too_long_is_not_read(options: tuple[str, ...]) -> None:
    async def script(server: ToolServer) -> None:
        with pytest.raises(StageError):
            await server.call("long", '{"n_chars": 3000000}')

    with mcp_server("http", *options) as served:
        use(served, script)


def test_a_call_that_takes_too_long_is_given_up_and_others_are_not() -> None:
    async def script(server: ToolServer) -> None:
        with pytest.raises(StageTimeout):
            await server.call("slow", "{}")
        assert await server.call("called", "{}") == ToolOutcome("slow")

    with mcp_server() as served:
        use(served, script, limits=McpLimits(call_ms=500))


def test_keys() -> None:
    async def script(server: ToolServer) -> None:
        assert len(await server.tools()) == 7

    with mcp_server("http", "locked") as served:
        use(served, script, headers=[("Authorization", f"Bearer {TOKEN}")])
        with pytest.raises(StageRejected, match="401"):
            use(served, nothing, headers=[("Authorization", "Bearer wrong")])
        with pytest.raises(StageRejected, match="401"):
            use(served, nothing)


def test_servers_that_are_none() -> None:
    with mcp_server() as served:
        with pytest.raises(StageRejected, match="404"):
            use(served, nothing, url=f"{served.place}/elsewhere")
        with pytest.raises(StageRejected, match=r"mcp\.allowed_hosts"):
            use(served, nothing, url=f"http://localhost:{served.port}/mcp")
        served.die()
        with pytest.raises(StageUnavailable):
            use(served, nothing)


def test_compressed_answers_are_refused() -> None:
    with mcp_server("http", "json", "gzip") as served, pytest.raises(StageError):
        use(served, nothing)


def test_a_server_that_dies() -> None:
    with mcp_server() as served:

        async def script(server: ToolServer) -> None:
            assert await server.call("add", '{"a": 2, "b": 3}') == ToolOutcome("5")
            served.die()
            with pytest.raises(StageUnavailable):
                await server.call("add", '{"a": 2, "b": 3}')

        use(served, script, limits=McpLimits(call_ms=5000))
