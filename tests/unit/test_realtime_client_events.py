"""Each client event: what it asks of the session, and how a wrong one is refused."""

import json
from base64 import b64encode
from typing import Any

import pytest

from tests.support.realtime_check import check_server_frames, make_protocol
from voicestack.core.commands import (
    AddItem,
    CancelReply,
    ClearAudio,
    Command,
    CommitAudio,
    CreateReply,
    DeleteItem,
    RetrieveItem,
    TruncateItem,
)
from voicestack.core.errors import PeerProtocolError
from voicestack.core.history import Item
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.notes import MessageStarted, Problem, ReplyEnded, ReplyStarted
from voicestack.core.settings import ReplyOptions, SessionSettings
from voicestack.core.tools import Toolbox, ToolChoice
from voicestack.realtime.protocol import InputAudio, RealtimeProtocol

EVENT_ID = "evt_client_1"
TURN = TurnId(1)


def send(protocol: RealtimeProtocol, kind: str, **fields: Any) -> Command | InputAudio | None:
    """Send an event that must be taken; returns its command."""
    received = protocol.receive(json.dumps({"type": kind, "event_id": EVENT_ID, **fields}))
    assert not received.answers, received.answers
    assert received.close is None
    return received.commands[0] if received.commands else None


def refused(protocol: RealtimeProtocol, kind: str, **fields: Any) -> dict[str, Any]:
    """Send an event that must be refused; returns the error."""
    return error_of(protocol, json.dumps({"type": kind, "event_id": EVENT_ID, **fields}), EVENT_ID)


def error_of(protocol: RealtimeProtocol, frame: str | bytes, event_id: str | None = None) -> dict[str, Any]:
    received = protocol.receive(frame)
    assert not received.commands
    assert received.close is None
    (event,) = check_server_frames(received.answers)
    assert event["type"] == "error"
    assert event["error"]["event_id"] == event_id
    assert event["error"]["type"] == "invalid_request_error"
    return dict(event["error"])


def append(protocol: RealtimeProtocol, data: bytes) -> Command | InputAudio | None:
    return send(protocol, "input_audio_buffer.append", audio=b64encode(data).decode())


def start_reply(protocol: RealtimeProtocol, tag: str = "") -> dict[str, Any]:
    frames = protocol.tell(ReplyStarted(TURN, "audio", tag))
    frames += protocol.tell(MessageStarted(TURN, ItemId("item_a")))
    return dict(check_server_frames(frames)[0]["response"])


def end_reply(protocol: RealtimeProtocol) -> None:
    item = Item(ItemId("item_a"), "agent", "", spoken=True)
    assert protocol.tell(ReplyEnded(TURN, item, "completed"))


# Frames that are no events


@pytest.mark.parametrize(
    ("frame", "code", "param"),
    [
        (b"\x00\x01", "invalid_event", None),
        (b'{"type": "response.create"}', "invalid_event", None),
        ("", "invalid_event", None),
        ("{", "invalid_event", None),
        ('{"type": "response.create"} x', "invalid_event", None),
        ('"\ud800"', "invalid_event", None),
        ('{"type": "\\ud800"}', "invalid_event", None),
        ("[]", "invalid_event", None),
        ("null", "invalid_event", None),
        ("3", "invalid_event", None),
        ("[" * 5_000, "invalid_event", None),
        ('{"x":' * 5_000, "invalid_event", None),
        ("[" * 900 + "]" * 900, "invalid_event", None),
        ("{}", "missing_required_parameter", "type"),
        ('{"type": null}', "missing_required_parameter", "type"),
        ('{"type": 3}', "invalid_value", "type"),
        ('{"type": ["response.create"]}', "invalid_value", "type"),
        ('{"type": "response.created"}', "invalid_value", "type"),
        ('{"type": "' + "x" * 10_000 + '"}', "invalid_value", "type"),
        ('{"type": "response.create", "event_id": 3}', "invalid_value", "event_id"),
        (
            '{"type": "response.create", "event_id": "' + "x" * 513 + '"}',
            "string_above_max_length",
            "event_id",
        ),
        ('{"type": "x", "y": [1, {"z": NaN}]}', "invalid_value", "y[1].z"),
        ('{"\\ud800": NaN}', "invalid_value", "?"),
        ('{"type": "x", "y": NaN, "z": ' + " " * 70_000 + "1}", "invalid_event", None),
    ],
)
def test_what_is_no_event_is_answered_with_an_error(frame: str | bytes, code: str, param: str | None) -> None:
    error = error_of(make_protocol(), frame)
    assert (error["code"], error["param"]) == (code, param)
    assert len(error["message"]) < 700


def test_the_output_buffer_belongs_to_the_client() -> None:
    error = refused(make_protocol(), "output_audio_buffer.clear")
    assert (error["code"], error["param"]) == ("invalid_value", "type")
    assert "WebRTC" in error["message"]


# Audio


def test_append_delivers_the_bytes() -> None:
    protocol = make_protocol()
    assert append(protocol, b"\x01\x02\x03\x04") == InputAudio(b"\x01\x02\x03\x04")
    assert append(protocol, b"") is None


@pytest.mark.parametrize(
    ("audio", "code"),
    [
        ({}, "missing_required_parameter"),
        ({"audio": None}, "missing_required_parameter"),
        ({"audio": 3}, "invalid_value"),
        ({"audio": ["AAAA"]}, "invalid_value"),
        ({"audio": "AAA"}, "invalid_value"),
        ({"audio": "AA!A"}, "invalid_value"),
        ({"audio": "AAAA\n"}, "invalid_value"),
        ({"audio": "ÄÄÄÄ"}, "invalid_value"),
        ({"audio": "AAAA"}, "invalid_value"),  # three bytes
    ],
)
def test_bad_audio_is_refused_and_nothing_is_lost(audio: dict[str, Any], code: str) -> None:
    protocol = make_protocol()
    append(protocol, bytes(4_800))
    error = refused(protocol, "input_audio_buffer.append", **audio)
    assert (error["code"], error["param"]) == (code, "audio")
    assert send(protocol, "input_audio_buffer.commit") == CommitAudio(EVENT_ID)


def test_an_append_holds_at_most_15_mib() -> None:
    protocol = make_protocol()
    limit = 15 * 1024 * 1024
    received = append(protocol, bytes(limit))
    assert isinstance(received, InputAudio)
    assert len(received.data) == limit
    error = refused(protocol, "input_audio_buffer.append", audio="A" * (limit // 3 * 4 + 4))
    assert (error["code"], error["param"]) == ("string_above_max_length", "audio")


def test_g711_may_have_an_odd_number_of_bytes() -> None:
    protocol = make_protocol()
    send(protocol, "session.update", session={"audio": {"input": {"format": {"type": "audio/pcmu"}}}})
    assert append(protocol, b"\x7f") == InputAudio(b"\x7f")


def test_commit_and_clear() -> None:
    protocol = make_protocol()
    assert send(protocol, "input_audio_buffer.commit") == CommitAudio(EVENT_ID)
    assert send(protocol, "input_audio_buffer.clear") == ClearAudio()


# Items


def message(role: str, *parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(parts), **fields}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (
            message("user", {"type": "input_text", "text": "Hi"}, id="mine"),
            Item(ItemId("mine"), "user", "Hi"),
        ),
        (message("system", {"type": "input_text", "text": "Hi"}, id="m"), Item(ItemId("m"), "system", "Hi")),
        (
            message("developer", {"type": "input_text", "text": "Hi"}, id="m"),
            Item(ItemId("m"), "system", "Hi"),
        ),
        (
            message("assistant", {"type": "output_text", "text": "Hi"}, id="m"),
            Item(ItemId("m"), "agent", "Hi"),
        ),
        (message("assistant", {"type": "text", "text": "Hi"}, id="m"), Item(ItemId("m"), "agent", "Hi")),
        (
            message("assistant", {"type": "audio", "transcript": "Hi"}, id="m"),
            Item(ItemId("m"), "agent", "Hi"),
        ),
        (message("user", id="m", status="completed", object="realtime.item"), Item(ItemId("m"), "user", "")),
        (
            message("user", {"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}, id="m"),
            Item(ItemId("m"), "user", "a\nb"),
        ),
        (message("user", id="x" * 512), Item(ItemId("x" * 512), "user", "")),
    ],
)
def test_item_create(item: dict[str, Any], expected: Item) -> None:
    command = send(make_protocol(), "conversation.item.create", item=item)
    assert command == AddItem(expected, None, EVENT_ID)


@pytest.mark.parametrize("after", [None, "root", "item_before"])
def test_where_an_item_goes(after: str | None) -> None:
    item = message("user", {"type": "input_text", "text": "Hi"})
    command = send(make_protocol(), "conversation.item.create", item=item, previous_item_id=after)
    assert isinstance(command, AddItem)
    assert command.after == after
    assert command.item.id.startswith("item_")


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({}, "missing_required_parameter", "item"),
        ({"item": 3}, "missing_required_parameter", "item.type"),
        ({"item": {"role": "user"}}, "missing_required_parameter", "item.type"),
        ({"item": {"type": "song"}}, "invalid_value", "item.type"),
        ({"item": {"type": ["message"]}}, "invalid_value", "item.type"),
        ({"item": {"type": "function_call", "arguments": ""}}, "missing_required_parameter", "item.name"),
        ({"item": {"type": "function_call", "name": "", "arguments": ""}}, "invalid_value", "item.name"),
        (
            {"item": {"type": "function_call_output", "call_id": "c"}},
            "missing_required_parameter",
            "item.output",
        ),
        ({"item": {"type": "message", "content": []}}, "missing_required_parameter", "item.role"),
        ({"item": {"type": "message", "role": "user"}}, "missing_required_parameter", "item.content"),
        ({"item": message("boss")}, "invalid_value", "item.role"),
        ({"item": {"type": "message", "role": "user", "content": "Hi"}}, "invalid_value", "item.content"),
        ({"item": message("user", id="")}, "invalid_value", "item.id"),
        ({"item": message("user", id=3)}, "invalid_value", "item.id"),
        ({"item": message("user", id="x" * 513)}, "string_above_max_length", "item.id"),
        ({"item": message("user", {"text": "x"})}, "missing_required_parameter", "item.content[0].type"),
        (
            {"item": message("user", {"type": "output_text", "text": ""})},
            "invalid_value",
            "item.content[0].type",
        ),
        (
            {"item": message("user", {"type": "input_text"})},
            "missing_required_parameter",
            "item.content[0].text",
        ),
        (
            {"item": message("user", {"type": "input_text", "text": 3})},
            "invalid_value",
            "item.content[0].text",
        ),
        (
            {"item": message("user", {"type": "input_audio", "audio": "AAAA"})},
            "invalid_value",
            "item.content[0].audio",
        ),
        (
            {"item": message("user", {"type": "input_image", "image_url": "data:"})},
            "invalid_value",
            "item.content[0].type",
        ),
        ({"item": message("user"), "previous_item_id": 3}, "invalid_value", "previous_item_id"),
        ({"item": message("user"), "previous_item_id": ""}, "invalid_value", "previous_item_id"),
    ],
)
def test_wrong_items_are_refused(fields: dict[str, Any], code: str, param: str) -> None:
    error = refused(make_protocol(), "conversation.item.create", **fields)
    assert (error["code"], error["param"]) == (code, param)


def test_item_retrieve_delete_and_truncate() -> None:
    protocol = make_protocol()
    item_id = ItemId("item_x")
    assert send(protocol, "conversation.item.retrieve", item_id="item_x") == RetrieveItem(item_id, EVENT_ID)
    assert send(protocol, "conversation.item.delete", item_id="item_x") == DeleteItem(item_id, EVENT_ID)
    fields = {"item_id": "item_x", "content_index": 0, "audio_end_ms": 1500}
    command = send(protocol, "conversation.item.truncate", **fields)
    assert command == TruncateItem(item_id, 1500, EVENT_ID)


@pytest.mark.parametrize("kind", ["retrieve", "delete", "truncate"])
@pytest.mark.parametrize("item_id", [None, "", 3, "x" * 513])
def test_an_item_must_be_named(kind: str, item_id: object) -> None:
    fields = {"item_id": item_id, "content_index": 0, "audio_end_ms": 0}
    assert refused(make_protocol(), f"conversation.item.{kind}", **fields)["param"] == "item_id"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"content_index": 0}, "audio_end_ms"),
        ({"audio_end_ms": 0}, "content_index"),
        ({"content_index": 1, "audio_end_ms": 0}, "content_index"),
        ({"content_index": 0, "audio_end_ms": -1}, "audio_end_ms"),
        ({"content_index": 0, "audio_end_ms": "1"}, "audio_end_ms"),
        ({"content_index": 0, "audio_end_ms": True}, "audio_end_ms"),
        ({"content_index": 0, "audio_end_ms": 1.5}, "audio_end_ms"),
    ],
)
def test_wrong_truncations_are_refused(fields: dict[str, Any], param: str) -> None:
    assert refused(make_protocol(), "conversation.item.truncate", item_id="i", **fields)["param"] == param


# Replies


def test_response_create_without_options() -> None:
    expected = CreateReply(ReplyOptions(tag="wish_3"), EVENT_ID)
    assert send(make_protocol(), "response.create") == expected
    for response in (None, {}, {"instructions": None}):
        assert send(make_protocol(), "response.create", response=response) == expected


def test_response_create_with_options() -> None:
    protocol = make_protocol(SessionSettings(voice="slt", max_output_tokens=50))
    wanted = {
        "conversation": "auto",
        "instructions": "Say hi.",
        "output_modalities": ["audio"],
        "audio": {"output": {"voice": "ash", "format": {"type": "audio/pcm", "rate": 24000}}},
        "tools": [],
        "tool_choice": "none",
        "max_output_tokens": 20,
        "metadata": {"client_event_id": "abc"},
        "unknown": 1,
    }
    command = send(protocol, "response.create", response=wanted)
    toolbox = Toolbox((), ToolChoice("none"))
    options = ReplyOptions("Say hi.", "audio", "ash", 20, toolbox, tag="wish_3")
    assert command == CreateReply(options, EVENT_ID)
    response = start_reply(protocol, "wish_3")
    assert response["metadata"] == {"client_event_id": "abc"}
    assert response["max_output_tokens"] == 20
    assert response["audio"]["output"] == {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "ash"}
    end_reply(protocol)
    response = start_reply(protocol)  # the next one is not meant
    assert response["metadata"] is None
    assert response["max_output_tokens"] == 50
    assert response["audio"]["output"]["voice"] == "slt"


def test_inf_lifts_the_limit_of_the_session() -> None:
    protocol = make_protocol(SessionSettings(max_output_tokens=50))
    command = send(protocol, "response.create", response={"max_output_tokens": "inf"})
    assert command == CreateReply(ReplyOptions(max_output_tokens=4096, tag="wish_3"), EVENT_ID)
    assert start_reply(protocol, "wish_3")["max_output_tokens"] == "inf"
    command = send(make_protocol(), "response.create", response={"max_output_tokens": "inf"})
    assert command == CreateReply(ReplyOptions(tag="wish_3"), EVENT_ID)


@pytest.mark.parametrize(
    ("response", "code", "param"),
    [
        (3, "invalid_value", "response"),
        ({"conversation": "other"}, "invalid_value", "response.conversation"),
        ({"input": {}}, "invalid_value", "response.input"),
        ({"input": [{"type": "song"}]}, "invalid_value", "response.input[0].type"),
        ({"input": [{"type": "item_reference"}]}, "missing_required_parameter", "response.input[0].id"),
        ({"instructions": 3}, "invalid_value", "response.instructions"),
        ({"output_modalities": ["video"]}, "invalid_value", "response.output_modalities"),
        ({"max_output_tokens": 9999}, "invalid_value", "response.max_output_tokens"),
        ({"prompt": {"id": "p"}}, "invalid_value", "response.prompt"),
        ({"metadata": []}, "invalid_value", "response.metadata"),
        ({"metadata": {str(n): "" for n in range(17)}}, "invalid_value", "response.metadata"),
        ({"metadata": {"a": 1}}, "invalid_value", "response.metadata.a"),
        ({"metadata": {"a": "x" * 513}}, "string_above_max_length", "response.metadata.a"),
        ({"metadata": {"k" * 65: ""}}, "string_above_max_length", "response.metadata"),
        (
            {"audio": {"output": {"format": {"type": "audio/pcmu"}}}},
            "invalid_value",
            "response.audio.output.format",
        ),
    ],
)
def test_wrong_response_options_are_refused(response: object, code: str, param: str) -> None:
    protocol = make_protocol()
    error = refused(protocol, "response.create", response=response)
    assert (error["code"], error["param"]) == (code, param)
    assert refused(protocol, "response.cancel")["code"] == "response_cancel_not_active"


def test_a_second_response_is_refused_while_one_is_active() -> None:
    protocol = make_protocol()
    response = start_reply(protocol)
    error = refused(protocol, "response.create")
    assert error["code"] == "conversation_already_has_active_response"
    assert error["message"] == (
        f"Conversation already has an active response in progress: {response['id']}. "
        "Wait until the response is finished before creating a new one."
    )
    end_reply(protocol)
    assert isinstance(send(protocol, "response.create"), CreateReply)


def test_cancel_needs_a_response() -> None:
    protocol = make_protocol()
    error = refused(protocol, "response.cancel")
    assert error["code"] == "response_cancel_not_active"
    assert error["message"] == "Cancellation failed: no active response found"
    response = start_reply(protocol)
    assert refused(protocol, "response.cancel", response_id="resp_other")["message"] == error["message"]
    assert send(protocol, "response.cancel", response_id=response["id"]) == CancelReply(None, EVENT_ID)
    assert send(protocol, "response.cancel") == CancelReply(None, EVENT_ID)
    end_reply(protocol)
    assert refused(protocol, "response.cancel")["code"] == "response_cancel_not_active"


def test_a_response_that_was_asked_for_can_be_cancelled_before_it_begins() -> None:
    protocol = make_protocol()
    send(protocol, "response.create", response={"metadata": {"a": "b"}})
    assert send(protocol, "response.cancel") == CancelReply(None, EVENT_ID)
    assert start_reply(protocol)["metadata"] is None


def test_a_response_that_the_session_refused_is_not_awaited() -> None:
    protocol = make_protocol()
    send(protocol, "response.create", response={"metadata": {"a": "b"}})
    frames = protocol.tell(Problem(PeerProtocolError("No.", code="invalid_value"), EVENT_ID))
    (event,) = check_server_frames(frames)
    assert event["error"]["event_id"] == EVENT_ID
    assert refused(protocol, "response.cancel")["code"] == "response_cancel_not_active"
