"""Servers of tools on the wire: what a client may say of them, and which frames it gets in which order."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.support.realtime_check import check_server_frames, make_protocol
from voicestack.core.commands import AddItem, Configure, CreateReply
from voicestack.core.history import ApprovalItem, CallItem, ListingItem, VerdictItem
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.notes import (
    CallEnded,
    CallStarted,
    CallWritten,
    Configured,
    ItemAdded,
    ItemRetrieved,
    Note,
    ReplyEnded,
    ReplyStarted,
    ToolAnswered,
    ToolCalled,
    ToolsAsked,
    ToolsListed,
)
from voicestack.core.served import (
    EVERY_TOOL,
    Approval,
    RemoteCall,
    ServedTool,
    ToolFailure,
    ToolFilter,
    ToolOutcome,
    ToolSource,
)
from voicestack.core.settings import SessionSettings
from voicestack.core.tools import ToolCall, ToolChoice
from voicestack.realtime.protocol import RealtimeProtocol

PLACES = SessionSettings(tool_places=("docs.example", "*.wild.example"))
TOOL: dict[str, Any] = {"type": "mcp", "server_label": "docs", "server_url": "https://docs.example/mcp"}
TURN, CALL = TurnId(1), ItemId("item_c")
ARGUMENTS = '{"q": "x"}'


def tell(protocol: RealtimeProtocol, *notes: Note) -> list[dict[str, Any]]:
    return check_server_frames([frame for note in notes for frame in protocol.tell(note)])


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def send(protocol: RealtimeProtocol, **event: Any) -> Any:
    received = protocol.receive(json.dumps(event))
    assert not received.answers, received.answers
    return received.commands[0]


def refused(protocol: RealtimeProtocol, **event: Any) -> dict[str, Any]:
    received = protocol.receive(json.dumps(event))
    assert not received.commands
    (error,) = check_server_frames(received.answers)
    return dict(error["error"])


def update(protocol: RealtimeProtocol, *tools: dict[str, Any], **session: Any) -> Configure:
    command = send(protocol, type="session.update", session={"tools": tools, **session})
    assert isinstance(command, Configure)
    return command


def call(outcome: ToolOutcome | None = None, approval: str | None = None, arguments: str = "") -> CallItem:
    remote = RemoteCall("docs", "find", approval, outcome)
    return CallItem(CALL, ToolCall("call_1", "docs__find", arguments), "in_progress", remote)


def written(item: CallItem, turn: TurnId = TURN) -> list[Note]:
    return [
        CallStarted(turn, item, ItemId("item_u")),
        CallWritten(turn, CALL, '{"q":'),
        CallWritten(turn, CALL, ' "x"}'),
        CallEnded(turn, replace(item, status="completed")),
    ]


# --- what a client says ---------------------------------------------------------------------------------


def test_a_server_becomes_part_of_the_toolbox() -> None:
    box = update(make_protocol(PLACES), TOOL).settings.toolbox
    assert box.servers == (ToolSource("docs", "https://docs.example/mcp"),)
    assert box.tools == ()
    whole = {
        **TOOL,
        "server_url": "https://a.wild.example",
        "authorization": "key",
        "headers": {"X-Who": "me"},
        "allowed_tools": {"tool_names": ["find"], "read_only": True},
        "require_approval": {"never": {"tool_names": ["find"]}},
        "server_description": "Documents.",
    }
    box = update(make_protocol(PLACES), whole, {"type": "function", "name": "f"}).settings.toolbox
    assert box.servers == (
        ToolSource(
            "docs",
            "https://a.wild.example",
            (("X-Who", "me"), ("Authorization", "Bearer key")),
            ToolFilter(frozenset({"find"}), read_only=True),
            Approval(never=ToolFilter(frozenset({"find"}))),
        ),
    )
    never = {**TOOL, "allowed_tools": ["find"], "require_approval": "never"}
    (source,) = update(make_protocol(PLACES), never).settings.toolbox.servers
    assert (source.allowed, source.approval) == (ToolFilter(frozenset({"find"})), Approval(never=EVERY_TOOL))


def test_keys_are_never_shown() -> None:
    protocol = make_protocol(PLACES)
    update(protocol, {**TOOL, "authorization": "sesame", "headers": {"X-Key": "sesame"}})
    (updated,) = tell(protocol, Configured(protocol.settings))
    assert updated["session"]["tools"] == [TOOL]
    error = refused(
        protocol, type="session.update", session={"tools": [{**TOOL, "headers": {"X-Key": "sesame\n"}}]}
    )
    assert "sesame" not in json.dumps(error)


def test_without_the_operators_word_no_server_is_called() -> None:
    for defaults, url in (
        (SessionSettings(), TOOL["server_url"]),
        (PLACES, "https://169.254.169.254/latest"),
        (PLACES, "http://docs.example/mcp"),
        (PLACES, "https://docs.example:8443/mcp"),
        (PLACES, "http://localhost:8080/v1"),
    ):
        protocol = make_protocol(defaults)
        tool = {**TOOL, "server_url": url}
        for event in (
            {"type": "session.update", "session": {"tools": [tool]}},
            {"type": "response.create", "response": {"tools": [tool]}},
        ):
            error = refused(protocol, **event)
            assert error["code"] == "invalid_value"
            assert error["param"].endswith(".tools[0].server_url")
            assert "mcp.allowed_hosts" in error["message"]
        assert protocol.settings.toolbox.servers == (), "nothing was changed"


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"server_url": None}, "missing_required_parameter", "server_url"),
        ({"server_label": None}, "missing_required_parameter", "server_label"),
        ({"server_label": "a b"}, "invalid_value", "server_label"),
        ({"connector_id": "connector_gmail"}, "invalid_value", "connector_id"),
        ({"tunnel_id": "t"}, "invalid_value", "tunnel_id"),
        ({"server_url": "https://me:key@docs.example/"}, "invalid_value", "server_url"),
        ({"server_url": "javascript:alert(1)"}, "invalid_value", "server_url"),
        ({"headers": {"Host": "x"}}, "invalid_value", "headers"),
        ({"headers": {"X": "a\r\nHost: x"}}, "invalid_value", "headers"),
        ({"headers": {"authorization": "x"}, "authorization": "y"}, "invalid_value", "authorization"),
        ({"authorization": "a\r\nb"}, "invalid_value", "authorization"),
        ({"require_approval": "sometimes"}, "invalid_value", "require_approval"),
        ({"allowed_tools": "all"}, "invalid_value", "allowed_tools"),
        ({"allowed_tools": [3]}, "invalid_value", "allowed_tools[0]"),
    ],
)
def test_wrong_servers_are_named(changes: dict[str, Any], code: str, param: str) -> None:
    session = {"tools": [{**TOOL, **changes}]}
    error = refused(make_protocol(PLACES), type="session.update", session=session)
    assert (error["code"], error["param"]) == (code, f"session.tools[0].{param}")


def test_two_servers_have_two_labels() -> None:
    error = refused(make_protocol(PLACES), type="session.update", session={"tools": [TOOL, TOOL]})
    assert (error["code"], error["param"]) == ("invalid_value", "session.tools[1].server_label")


def test_a_response_may_name_the_sessions_server_by_its_label() -> None:
    protocol = make_protocol(PLACES)
    update(protocol, {**TOOL, "authorization": "key"})
    named = {"type": "mcp", "server_label": "docs", "allowed_tools": ["find"]}
    chosen = {"type": "mcp", "server_label": "docs", "name": "find"}
    command = send(protocol, type="response.create", response={"tools": [named], "tool_choice": chosen})
    assert isinstance(command, CreateReply)
    box = command.options.toolbox
    assert box is not None
    assert box.servers[0].headers == (("Authorization", "Bearer key"),)
    assert box.servers[0].allowed == ToolFilter(frozenset({"find"}))
    assert box.choice == ToolChoice("required", "find", "docs")
    error = refused(
        make_protocol(PLACES), type="response.create", response={"conversation": "none", "tools": [TOOL]}
    )
    assert (error["code"], error["param"]) == ("invalid_value", "response.tools")


def test_a_verdict() -> None:
    item = {
        "type": "mcp_approval_response",
        "approval_request_id": "mcpr_1",
        "approve": False,
        "reason": "no",
    }
    command = send(make_protocol(), type="conversation.item.create", item=item)
    assert isinstance(command, AddItem)
    assert isinstance(command.item, VerdictItem)
    assert (command.item.request, command.item.approve, command.item.reason) == ("mcpr_1", False, "no")
    del item["approve"]
    error = refused(make_protocol(), type="conversation.item.create", item=item)
    assert (error["code"], error["param"]) == ("missing_required_parameter", "item.approve")


# --- what a client is told ------------------------------------------------------------------------------


@pytest.mark.parametrize("failed", [False, True])
def test_a_list_of_tools(failed: bool) -> None:
    protocol, empty = make_protocol(), ListingItem(ItemId("mcpl_1"), "docs", status="in_progress")
    found = ServedTool("find", parameters={"type": "object", "default": None}, annotations={"title": "F"})
    item = ListingItem(empty.id, "docs", () if failed else (found,))
    events = tell(
        protocol, ToolsAsked(empty, ItemId("item_1")), ToolsListed(item, ItemId("item_1"), failed=failed)
    )
    assert kinds(events) == [
        *("conversation.item.added", "mcp_list_tools.in_progress", "conversation.item.done"),
        f"mcp_list_tools.{'failed' if failed else 'completed'}",
    ]
    assert events[0]["item"]["tools"] == []
    if not failed:
        (tool,) = events[2]["item"]["tools"]
        assert tool["description"] == "", "there even if it is empty: a client insists on it"
        assert tool["input_schema"] == found.parameters


def test_a_call_that_is_over_before_its_response() -> None:
    protocol, item = make_protocol(), call()
    outcome = ToolOutcome("found")
    events = tell(
        protocol,
        ReplyStarted(TURN, "audio"),
        *written(item),
        ToolCalled(CALL),
        ToolAnswered(call(outcome, arguments=ARGUMENTS)),
        ReplyEnded(TURN, None, "completed"),
    )
    assert kinds(events) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress",
        "response.mcp_call.completed",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
        "rate_limits.updated",
    ]
    assert events[1]["item"] == {
        "id": CALL,
        "type": "mcp_call",
        "server_label": "docs",
        "name": "find",
        "arguments": "",
        "approval_request_id": None,
        "output": None,
        "error": None,
    }
    assert events[5]["arguments"] == ARGUMENTS
    assert events[8]["item"] == {**events[1]["item"], "arguments": ARGUMENTS, "output": "found"}
    assert events[9]["item"] == events[8]["item"]
    assert events[9]["previous_item_id"] == "item_u"


def test_a_call_that_is_approved_after_its_response() -> None:
    protocol, item = make_protocol(), call()
    request = ApprovalItem(ItemId("mcpr_1"), CALL, "docs", "find", ARGUMENTS)
    failure = ToolFailure("http_error", "It does not answer.", 504)
    events = tell(
        protocol,
        ReplyStarted(TURN, "audio"),
        *written(item),
        ItemAdded(request, CALL),
        ReplyEnded(TURN, None, "completed"),
        ItemAdded(VerdictItem(ItemId("v"), request.id, approve=True), request.id),
        ToolCalled(CALL),
        ToolAnswered(call(ToolOutcome(failure=failure), "mcpr_1", ARGUMENTS)),
    )
    after = kinds(events)[5:]
    assert after == [
        "response.mcp_call_arguments.done",
        *("conversation.item.added", "conversation.item.done"),
        "response.output_item.done",
        *("response.done", "rate_limits.updated"),
        *("conversation.item.added", "conversation.item.done"),
        *("response.mcp_call.in_progress", "response.mcp_call.failed"),
        "conversation.item.done",
    ]
    asked, done, verdict, last = events[7]["item"], events[9]["response"], events[12]["item"], events[-1]
    assert asked["type"] == "mcp_approval_request"
    assert asked["arguments"] == ARGUMENTS
    assert [one["output"] for one in done["output"]] == [None]
    assert verdict == {
        "id": "v",
        "type": "mcp_approval_response",
        "approval_request_id": "mcpr_1",
        "approve": True,
    }
    assert last["item"]["approval_request_id"] == "mcpr_1"
    assert last["item"]["error"] == {"type": "http_error", "message": "It does not answer.", "code": 504}
    assert last["item"]["output"] is None


def test_a_call_that_is_never_made_is_never_done() -> None:
    """Clients ask for the next response when it is."""
    protocol, item = make_protocol(), call()
    broken = [
        ReplyStarted(TURN, "audio"),
        *written(item)[:2],
        CallEnded(TURN, replace(item, status="incomplete")),
    ]
    events = tell(protocol, *broken, ReplyEnded(TURN, None, "cancelled", "turn_detected"))
    assert "conversation.item.done" not in kinds(events)
    assert "response.mcp_call_arguments.done" not in kinds(events)
    assert "response.output_item.done" in kinds(events)
    assert tell(protocol, ToolAnswered(item)) == []
    waiting = [ReplyStarted(TurnId(2), "audio"), *written(item, TurnId(2))]
    ended = ReplyEnded(TurnId(2), None, "cancelled", "turn_detected")
    events = tell(protocol, *waiting, ended, ToolAnswered(item))
    assert kinds(events)[-1] == "response.mcp_call.failed"
    assert "conversation.item.done" not in kinds(events)


def test_a_call_can_be_retrieved_while_it_is_made() -> None:
    (event,) = tell(make_protocol(), ItemRetrieved(call(arguments=ARGUMENTS)))
    assert event["item"]["output"] is None
