"""Conversations in which the agent calls servers of tools: on virtual time, and once with a real server."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import websockets

from tests.support.dialogue import SETTINGS, Dialogue, converse, speech
from tests.support.mcp_server import mcp_server
from tests.support.server import SCRIPTED, with_server
from voicestack.aio.clock import SystemClock
from voicestack.config.load import load
from voicestack.core.commands import AddItem, CancelReply, Configure, CreateReply
from voicestack.core.errors import ConfigError, StageError, StageTimeout, StageUnavailable
from voicestack.core.history import ApprovalItem, CallItem, Message, OutputItem, VerdictItem
from voicestack.core.ids import ItemId, SessionId
from voicestack.core.notes import (
    CallEnded,
    ItemAdded,
    Note,
    Problem,
    ReplyEnded,
    ReplyStarted,
    ToolAnswered,
    ToolCalled,
    ToolsAsked,
    ToolsListed,
    UserSilent,
)
from voicestack.core.served import EVERY_TOOL, Approval, ServedTool, ToolOutcome, ToolServer, ToolSource
from voicestack.core.settings import ReplyOptions, ServerVad
from voicestack.core.tools import CallDelta, Tool, Toolbox
from voicestack.engines.mcp_tools import McpServers
from voicestack.engines.scripted import ScriptedAsr
from voicestack.ports import LlmDelta, LlmRequest
from voicestack.server.assembly import assemble
from voicestack.session.served_tools import MAX_CHANGES, NOT_ALLOWED

FIND = ServedTool("find", "Finds.", {"type": "object"}, {"readOnlyHint": True})
ASKING = ToolSource("docs", "https://docs.example/mcp")
FREE = replace(ASKING, approval=Approval(never=EVERY_TOOL))
QUERY = '{"q": "x"}'


@dataclass(slots=True)
class FakeServers:
    """Satisfies `ports.ToolServers` and, as its own only server, `ports.ToolServer`.

    Attributes:
        list_s: From the request for the tools to the answer.
        call_s: The same of a call.
        error: What fails instead.
        calls: (tool, arguments) in order.
        n_open: Connections open now.
        n_connected: Connections ever made.
    """

    list_s: float = 0.05
    call_s: float = 0.3
    error: StageError | None = None
    tools_: Sequence[ServedTool] = (FIND,)
    calls: list[tuple[str, str]] = field(default_factory=list)
    n_open: int = 0
    n_connected: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def connect(self, source: ToolSource) -> AsyncIterator[ToolServer]:
        self.n_open += 1
        self.n_connected += 1
        try:
            yield self
        finally:
            self.n_open -= 1

    async def tools(self) -> tuple[ServedTool, ...]:
        await asyncio.sleep(self.list_s)
        if self.error is not None:
            raise self.error
        return tuple(self.tools_)

    async def changes(self) -> AsyncGenerator[None, None]:
        while True:
            await self.changed.wait()
            self.changed.clear()
            yield

    async def call(self, name: str, arguments: str) -> ToolOutcome:
        self.calls.append((name, arguments))
        await asyncio.sleep(self.call_s)
        if self.error is not None:
            raise self.error
        return ToolOutcome(f"{name} found it")


@dataclass(slots=True)
class FindingLlm:
    """Says `says` and calls `names` when the user has spoken; otherwise says what the last tool said."""

    says: str = ""
    names: Sequence[str] = ("find",)
    arguments: str = QUERY
    requests: list[LlmRequest] = field(default_factory=list)
    n_calls: int = 0

    async def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        self.requests.append(request)
        last = request.messages[-1] if request.messages else Message("user", "")
        offered = {tool.name for tool in request.toolbox.usable()}
        if last.role == "tool" or not offered:
            yield LlmDelta(f"So: {last.text}.")
            return
        if self.says:
            yield LlmDelta(self.says)
        await asyncio.sleep(0.02)
        for index, name in enumerate(self.names):
            self.n_calls += 1
            yield LlmDelta(call=CallDelta(index, f"call_{self.n_calls}", name, self.arguments))

    async def prime(self, request: LlmRequest) -> None:
        pass

    def release(self, session: SessionId) -> None:
        pass


def with_servers(*sources: ToolSource, tools: tuple[Tool, ...] = ()) -> Toolbox:
    return Toolbox(tools, servers=sources)


def notes(d: Dialogue, *kinds: type) -> list[Note]:
    return d.peer.notes(*kinds)


def names(d: Dialogue, *kinds: type) -> list[str]:
    return [type(note).__name__ for note in notes(d, *kinds)]


def outcomes(d: Dialogue) -> list[ToolOutcome | None]:
    answered = (n.item.remote for n in notes(d, ToolAnswered) if isinstance(n, ToolAnswered))
    return [remote.outcome for remote in answered if remote is not None]


def requested(d: Dialogue) -> list[ApprovalItem]:
    added = [n.item for n in notes(d, ItemAdded) if isinstance(n, ItemAdded)]
    return [item for item in added if isinstance(item, ApprovalItem)]


def last_words(d: Dialogue) -> str | None:
    ended = [n for n in notes(d, ReplyEnded) if isinstance(n, ReplyEnded)]
    return ended[-1].item.text if ended and ended[-1].item else None


async def asks(d: Dialogue, then_ms: float = 3000) -> None:
    await d.peer.be_silent(200)
    await d.peer.say(speech(640))
    await d.peer.be_silent(then_ms)


FREELY = replace(SETTINGS, toolbox=with_servers(FREE))
WITH_ASKING = replace(SETTINGS, toolbox=with_servers(ASKING))
ONE = ScriptedAsr(["where is it"])


def test_list_call_and_the_answer_that_the_peer_asks_for() -> None:
    servers, llm = FakeServers(), FindingLlm()

    async def script(d: Dialogue) -> None:
        await asks(d)
        d.peer.send(CreateReply())
        await d.peer.be_silent(3000)

    d = converse(script, llm=llm, asr=ONE, settings=FREELY, tool_servers=servers)
    assert names(d, ToolsAsked, ToolsListed, ReplyStarted, CallEnded, ToolCalled, ToolAnswered) == [
        *("ToolsAsked", "ToolsListed"),
        *("ReplyStarted", "CallEnded", "ToolCalled", "ToolAnswered"),
        "ReplyStarted",
    ]
    assert servers.calls == [("find", QUERY)], "once, although a draft wanted it too"
    assert last_words(d) == "So: find found it."
    assert [tool.name for tool in llm.requests[0].toolbox.tools] == ["find"]
    assert llm.requests[-1].messages[-1] == Message("tool", "find found it", call_id="call_1")
    assert (servers.n_open, servers.n_connected) == (0, 1)


def test_nothing_is_called_for_a_draft_that_is_discarded() -> None:
    servers = FakeServers()

    async def script(d: Dialogue) -> None:
        await d.peer.be_silent(200)
        await d.peer.say(speech(640))
        await d.peer.be_silent(160)  # the draft has written its call by then
        assert servers.calls == []
        await d.peer.say(speech(400))
        await d.peer.be_silent(2000)

    d = converse(
        script, llm=FindingLlm(), asr=ScriptedAsr(["where|is it"]), settings=FREELY, tool_servers=servers
    )
    assert d.figures.drafts[0] is False
    assert len(servers.calls) == 1


@pytest.mark.parametrize("continue_replies", [False, True])
def test_the_agent_goes_on_by_itself_only_where_nobody_else_asks(continue_replies: bool) -> None:
    async def script(d: Dialogue) -> None:
        await asks(d)

    d = converse(
        script,
        llm=FindingLlm(names=("find", "find")),
        asr=ONE,
        settings=FREELY,
        tool_servers=FakeServers(),
        continue_replies=continue_replies,
    )
    assert len(notes(d, ToolAnswered)) == 2
    assert len(notes(d, ReplyStarted)) == (2 if continue_replies else 1), "one answer to both"


def test_it_does_not_go_on_when_the_peer_has_a_function_to_call_or_asked_itself() -> None:
    both = replace(SETTINGS, toolbox=with_servers(FREE, tools=(Tool("mine"),)))

    async def by_voice(d: Dialogue) -> None:
        await asks(d)

    async def by_wish(d: Dialogue) -> None:
        await d.peer.be_silent(200)
        d.peer.send(CreateReply(ReplyOptions(tag="wish_1")))
        await d.peer.be_silent(3000)

    for script, settings, llm in (
        (by_voice, both, FindingLlm(names=("find", "mine"))),
        (by_wish, FREELY, FindingLlm()),
    ):
        d = converse(
            script, llm=llm, asr=ONE, settings=settings, tool_servers=FakeServers(), continue_replies=True
        )
        assert len(notes(d, ToolAnswered)) == 1
        assert len(notes(d, ReplyStarted)) == 1


def test_a_user_who_waits_for_a_served_tool_is_not_silent() -> None:
    detection = ServerVad(silence_duration_ms=200, idle_timeout_ms=5000)

    async def script(d: Dialogue) -> None:
        await asks(d, 14_000)
        assert names(d, UserSilent) == []
        await d.peer.be_silent(12_000)

    settings = replace(FREELY, turn_detection=detection)
    d = converse(
        script, asr=ONE, llm=FindingLlm("Wait."), settings=settings, tool_servers=FakeServers(call_s=12)
    )
    assert names(d, ToolAnswered) == ["ToolAnswered"]
    assert len(names(d, UserSilent)) >= 1, "when it is over it counts again"


def test_a_call_waits_for_the_peers_approval() -> None:
    servers = FakeServers()

    async def script(d: Dialogue) -> None:
        await asks(d)
        assert servers.calls == []
        (request,) = requested(d)
        assert (request.label, request.name, request.arguments) == ("docs", "find", QUERY)
        d.peer.send(AddItem(VerdictItem(ItemId("v"), request.id, approve=True)))
        d.peer.send(AddItem(VerdictItem(ItemId("w"), request.id, approve=True), event_id="again"))
        await d.peer.be_silent(3000)

    d = converse(
        script, llm=FindingLlm(), asr=ONE, settings=WITH_ASKING, tool_servers=servers, continue_replies=True
    )
    assert servers.calls == [("find", QUERY)]
    assert [p.event_id for p in notes(d, Problem) if isinstance(p, Problem)] == ["again"]
    assert last_words(d) == "So: find found it."
    (answered,) = notes(d, ToolAnswered)
    assert isinstance(answered, ToolAnswered)
    assert answered.item.remote is not None
    assert answered.item.remote.approval_id == requested(d)[0].id


def test_a_call_that_the_peer_does_not_allow_is_not_made_and_the_llm_knows() -> None:
    servers, llm = FakeServers(), FindingLlm()

    async def script(d: Dialogue) -> None:
        await asks(d)
        d.peer.send(AddItem(VerdictItem(ItemId("v"), requested(d)[0].id, approve=False, reason="Not now.")))
        d.peer.send(CreateReply())
        await d.peer.be_silent(1000)

    converse(script, llm=llm, asr=ONE, settings=WITH_ASKING, tool_servers=servers)
    assert servers.calls == []
    assert llm.requests[-1].messages[-1].text == f"Error: {NOT_ALLOWED} Not now."


def test_nothing_is_called_after_the_user_interrupted_before_the_approval() -> None:
    servers = FakeServers()

    async def script(d: Dialogue) -> None:
        await asks(d, then_ms=700)
        (request,) = requested(d)
        await d.peer.say(speech(400))  # into "Let me look that up"
        d.peer.send(AddItem(VerdictItem(ItemId("v"), request.id, approve=True), event_id="late"))
        await d.peer.be_silent(100)

    llm = FindingLlm(says="Let me look that up for you in the great book of everything.")
    d = converse(script, llm=llm, asr=ONE, settings=WITH_ASKING, tool_servers=servers)
    assert servers.calls == []
    assert outcomes(d) == [None]
    assert [p.event_id for p in notes(d, Problem) if isinstance(p, Problem)] == ["late"]


def test_a_call_on_its_way_goes_on_when_the_user_interrupts() -> None:
    servers, llm = FakeServers(call_s=1.0), FindingLlm(says="Let me look that up for you in the big book.")

    async def script(d: Dialogue) -> None:
        await asks(d, then_ms=700)
        d.peer.send(CancelReply())
        await d.peer.be_silent(2000)

    d = converse(script, llm=llm, asr=ONE, settings=FREELY, tool_servers=servers, continue_replies=True)
    assert outcomes(d) == [ToolOutcome("find found it")]
    assert len(notes(d, ReplyStarted)) == 1, "it was told to be silent"
    assert d.context()[-1] == ("tool", "find found it")


def test_a_wish_waits_for_the_tools_but_a_turn_does_not() -> None:
    servers, llm = FakeServers(list_s=2.0), FindingLlm()

    async def script(d: Dialogue) -> None:
        d.peer.send(CreateReply(event_id="wish"))
        await d.peer.be_silent(1000)
        assert llm.requests == []
        await d.peer.be_silent(2000)
        assert [tool.name for tool in llm.requests[0].toolbox.tools] == ["find"]

    converse(script, llm=llm, settings=FREELY, tool_servers=servers)

    async def by_voice(d: Dialogue) -> None:
        await asks(d)
        assert last_words(d) == "So: where is it."

    converse(by_voice, llm=FindingLlm(), asr=ONE, settings=FREELY, tool_servers=FakeServers(list_s=9.0))


def test_a_wish_with_a_server_of_its_own_and_one_that_is_taken_back() -> None:
    servers, llm = FakeServers(list_s=0.5), FindingLlm()
    wish = CreateReply(ReplyOptions(toolbox=with_servers(FREE), tag="wish_1"))

    async def script(d: Dialogue) -> None:
        d.peer.send(wish)
        d.peer.send(CancelReply())
        await d.peer.be_silent(1000)
        assert llm.requests == []
        d.peer.send(wish)
        await d.peer.be_silent(1000)

    d = converse(script, llm=llm, tool_servers=servers)
    assert len(notes(d, ToolsAsked)) == 1, "listed once"
    assert servers.calls == [("find", QUERY)]


def test_asides_have_no_served_tools() -> None:
    llm = FindingLlm()

    async def script(d: Dialogue) -> None:
        await d.peer.be_silent(200)
        d.peer.send(CreateReply(ReplyOptions(aside=True, entries=())))
        await d.peer.be_silent(1000)

    converse(script, llm=llm, settings=FREELY, tool_servers=FakeServers())
    assert llm.requests[0].toolbox.tools == ()


@pytest.mark.parametrize("error", [StageTimeout("t", stage="mcp"), StageUnavailable("u", stage="mcp")])
def test_a_server_that_does_not_list_its_tools(error: StageError) -> None:
    servers = FakeServers(error=error)

    async def script(d: Dialogue) -> None:
        await d.peer.be_silent(200)
        (listed,) = notes(d, ToolsListed)
        assert isinstance(listed, ToolsListed)
        assert listed.failed
        servers.error = None
        d.peer.send(Configure(FREELY))  # it is asked again when the peer says that it wants it
        await d.peer.be_silent(200)

    d = converse(script, settings=FREELY, tool_servers=servers)
    (problem,) = notes(d, Problem)
    assert isinstance(problem, Problem)
    assert "'docs'" in str(problem.error)
    assert "example" not in str(problem.error), "no address"
    assert [n.failed for n in notes(d, ToolsListed) if isinstance(n, ToolsListed)] == [True, False]
    assert d.figures.failures == [("mcp", error.code)]
    assert servers.n_connected == 2


def test_a_call_that_gets_no_answer_is_a_failure_that_the_llm_knows_of() -> None:
    servers, llm = FakeServers(), FindingLlm()

    async def script(d: Dialogue) -> None:
        await d.peer.be_silent(200)
        servers.error = StageUnavailable("https://docs.example is gone", stage="mcp")
        await asks(d)
        servers.error = None
        d.peer.send(CreateReply())
        await d.peer.be_silent(1000)

    d = converse(script, llm=llm, asr=ONE, settings=FREELY, tool_servers=servers)
    (outcome,) = outcomes(d)
    assert outcome is not None
    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.failure.code) == ("http_error", 502)
    assert "example" not in outcome.failure.message
    assert llm.requests[-1].messages[-1].text == f"Error: {outcome.failure.message}"


def test_tools_that_change_are_listed_again() -> None:
    servers = FakeServers()

    async def script(d: Dialogue) -> None:
        await d.peer.be_silent(500)
        for _ in range(3):  # several changes, one list
            servers.tools_ = (FIND, replace(FIND, name="seek"))
            servers.changed.set()
            await d.peer.be_silent(100)
        await d.peer.be_silent(2000)
        servers.changed.set()  # nothing is different
        await d.peer.be_silent(2000)
        servers.error = StageUnavailable("gone", stage="mcp")
        servers.tools_ = ()
        servers.changed.set()
        await d.peer.be_silent(2000)
        servers.error = None
        await asks(d)

    llm = FindingLlm()
    d = converse(script, asr=ONE, llm=llm, settings=FREELY, tool_servers=servers)
    listed = [n for n in notes(d, ToolsListed) if isinstance(n, ToolsListed)]
    assert [[tool.name for tool in note.item.tools] for note in listed] == [["find"], ["find", "seek"]]
    assert len(notes(d, ToolsAsked)) == 2
    assert {tool.name for tool in llm.requests[0].toolbox.tools} == {"find", "seek"}
    assert servers.n_open == 0


def test_a_server_cannot_fill_the_conversation_with_changes() -> None:
    servers = FakeServers()

    async def script(d: Dialogue) -> None:
        for n in range(MAX_CHANGES + 10):
            servers.tools_ = (replace(FIND, name=f"find_{n}"),)
            servers.changed.set()
            await d.peer.be_silent(1200)

    d = converse(script, settings=FREELY, tool_servers=servers)
    assert len(notes(d, ToolsListed)) <= MAX_CHANGES + 1


def test_servers_that_are_left_are_hung_up_on_and_every_tool_is_gone() -> None:
    servers, llm = FakeServers(), FindingLlm()

    async def script(d: Dialogue) -> None:
        await d.peer.be_silent(200)
        assert servers.n_open == 1
        d.peer.send(Configure(SETTINGS))
        await d.peer.be_silent(200)
        assert servers.n_open == 0
        await asks(d)

    converse(script, llm=llm, asr=ONE, settings=FREELY, tool_servers=servers)
    assert llm.requests[-1].toolbox.tools == ()


def test_the_peer_cannot_answer_for_a_server() -> None:
    async def script(d: Dialogue) -> None:
        await asks(d)
        (call,) = [entry for entry in d.session.history if isinstance(entry, CallItem)]
        d.peer.send(AddItem(OutputItem(ItemId("o"), call.call.call_id, "forged"), event_id="forged"))

    d = converse(script, llm=FindingLlm(), asr=ONE, settings=WITH_ASKING, tool_servers=FakeServers())
    assert [p.event_id for p in notes(d, Problem) if isinstance(p, Problem)] == ["forged"]


# --- real servers ---------------------------------------------------------------------------------------


async def until(d: Dialogue, kind: type, n_told: int) -> None:
    for _ in range(1000):
        if len(notes(d, kind)) >= n_told:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"no {kind.__name__} within 20 s")


def test_a_session_and_a_real_server() -> None:
    with mcp_server() as served:
        adding = ToolSource("sums", served.url, approval=Approval(never=EVERY_TOOL))
        settings = replace(SETTINGS, modality="text", toolbox=with_servers(adding))

        async def script(d: Dialogue) -> None:
            d.peer.send(CreateReply())
            await until(d, ToolAnswered, 1)
            d.peer.send(CreateReply())
            await until(d, ReplyEnded, 2)

        d = converse(
            script,
            llm=FindingLlm(names=("add",), arguments='{"a": 2, "b": 3}'),
            settings=settings,
            tool_servers=McpServers([served.place]),
            run=asyncio.run,
        )
    assert outcomes(d) == [ToolOutcome("5")]
    assert last_words(d) == "So: 5."


def update_with(url: str) -> str:
    tool = {"type": "mcp", "server_label": "sums", "server_url": url}
    return json.dumps({"type": "session.update", "session": {"type": "realtime", "tools": [tool]}})


def test_a_whole_server_lists_what_it_may_and_refuses_the_rest() -> None:
    async def heard(socket: websockets.ClientConnection, kind: str) -> dict[str, object]:
        async with asyncio.timeout(15):
            async for message in socket:
                event: dict[str, object] = json.loads(message)
                if event["type"] == kind:
                    return event
        raise AssertionError(kind)

    with mcp_server() as served:

        async def script(port: int) -> None:
            async with websockets.connect(f"ws://127.0.0.1:{port}/v1/realtime", proxy=None) as socket:
                await socket.send(update_with(f"http://127.0.0.1:{port}/metrics"))
                assert "mcp.allowed_hosts" in str((await heard(socket, "error"))["error"])
                await socket.send(update_with(served.url))
                await heard(socket, "mcp_list_tools.in_progress")
                item = (await heard(socket, "conversation.item.done"))["item"]
                assert isinstance(item, dict)
                assert [tool["name"] for tool in item["tools"]][:2] == ["add", "open_door"]
                await heard(socket, "mcp_list_tools.completed")

        with_server(script, sets=[*SCRIPTED, f'mcp.allowed_hosts=["{served.place}"]'])


def test_without_the_package_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load("scripted", env={}, sets=['mcp.allowed_hosts=["docs.example"]']).config
    assert assemble(config, SystemClock()).engines.tool_servers is not None
    monkeypatch.delitem(sys.modules, "voicestack.engines.mcp_tools")
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ConfigError, match=r"pip install 'voicestack\[mcp\]'"):
        assemble(config, SystemClock())


@pytest.mark.parametrize("place", ["*", "https://a/b", "a b"])
def test_places_that_cannot_be_compared_are_refused_at_the_start(place: str) -> None:
    with pytest.raises(ConfigError, match=r"mcp\.allowed_hosts"):
        load("scripted", env={}, sets=[f'mcp.allowed_hosts=["{place}"]'])
