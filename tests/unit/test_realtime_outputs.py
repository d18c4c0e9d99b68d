"""Calls, replies beside the conversation and silences on the wire: which frames, in which order."""

import json
from base64 import b64encode
from typing import Any

import numpy as np

from tests.support.realtime_check import check_server_frames, make_protocol
from voicestack.core.commands import AddItem, CancelReply, CreateReply
from voicestack.core.history import CallItem, Item, OutputItem
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.notes import (
    AudioCommitted,
    CallEnded,
    CallStarted,
    CallWritten,
    Configured,
    ItemAdded,
    ItemRetrieved,
    MessageStarted,
    Note,
    ReplyEnded,
    ReplyStarted,
    UserHearing,
    UserSaid,
    UserSilent,
    UserStarted,
)
from voicestack.core.settings import ReplyOptions
from voicestack.core.tools import Tool, Toolbox, ToolCall, ToolChoice
from voicestack.realtime.protocol import RealtimeProtocol

TURN, ASIDE = TurnId(1), TurnId(-1)
CALL = ItemId("item_c")
WRITTEN = ToolCall("call_1", "get_weather", '{"city": "Oslo"}')
TRANSCRIPTION = "conversation.item.input_audio_transcription"


def call_item(status: Any = "completed", call: ToolCall = WRITTEN) -> CallItem:
    return CallItem(CALL, call, status)


def call_notes(turn: TurnId) -> list[Note]:
    empty = ToolCall("call_1", "get_weather")
    return [
        CallStarted(turn, call_item("in_progress", empty), ItemId("item_u")),
        CallWritten(turn, CALL, '{"city":'),
        CallWritten(turn, CALL, ' "Oslo"}'),
        CallEnded(turn, call_item()),
    ]


def tell(protocol: RealtimeProtocol, *notes: Note) -> list[dict[str, Any]]:
    return check_server_frames([frame for note in notes for frame in protocol.tell(note)])


def send(protocol: RealtimeProtocol, **event: Any) -> Any:
    received = protocol.receive(json.dumps(event))
    assert not received.answers, received.answers
    return received.commands[0] if received.commands else None


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def test_a_reply_that_only_calls() -> None:
    protocol = make_protocol()
    events = tell(
        protocol, ReplyStarted(TURN, "audio"), *call_notes(TURN), ReplyEnded(TURN, None, "completed")
    )
    assert kinds(events) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    added, done, response = events[1]["item"], events[7]["item"], events[8]["response"]
    assert (added["status"], added["arguments"]) == ("in_progress", "")
    assert done == {
        "id": CALL,
        "object": "realtime.item",
        "type": "function_call",
        "status": "completed",
        "name": "get_weather",
        "call_id": "call_1",
        "arguments": '{"city": "Oslo"}',
    }
    assert response["output"] == [done]
    assert (events[5]["name"], events[5]["arguments"]) == ("get_weather", '{"city": "Oslo"}')
    assert events[2]["previous_item_id"] == "item_u"


def test_words_and_a_call_are_numbered_as_they_come_and_shown_in_that_order() -> None:
    """The call is complete while the words are still being spoken."""
    protocol = make_protocol()
    frames = protocol.tell(ReplyStarted(TURN, "audio"))
    frames += protocol.tell(MessageStarted(TURN, ItemId("item_a"), ItemId("item_u")))
    frames += protocol.audio(TURN, b"\0\0", "Let me")
    for note in call_notes(TURN):
        frames += protocol.tell(note)
    frames += protocol.audio(TURN, b"\0\0", " see.")
    frames += protocol.tell(ReplyEnded(TURN, Item(ItemId("item_a"), "agent", "Let me see."), "completed"))
    events = check_server_frames(frames)
    output = next(e for e in events if e["type"] == "response.done")["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call"]
    indices = {e["item"]["id"]: e["output_index"] for e in events if e["type"].endswith("output_item.added")}
    assert indices == {"item_a": 0, CALL: 1}


def test_a_reply_that_breaks_off_ends_its_call() -> None:
    protocol = make_protocol()
    notes = [ReplyStarted(TURN, "audio"), *call_notes(TURN)[:2], ReplyEnded(TURN, None, "cancelled")]
    done = tell(protocol, *notes)[-2]["response"]
    assert done["output"][0]["status"] == "incomplete"
    assert done["output"][0]["arguments"] == '{"city":'


def test_a_reply_without_any_output_is_empty() -> None:
    events = tell(make_protocol(), ReplyStarted(TURN, "audio"), ReplyEnded(TURN, None, "cancelled"))
    assert kinds(events) == ["response.created", "response.done", "rate_limits.updated"]
    assert events[1]["response"]["output"] == []


def test_the_clients_tools_reach_the_session() -> None:
    protocol = make_protocol()
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"type": "function", "name": "get_weather", "description": "d", "parameters": parameters}
    send(
        protocol, type="session.update", session={"type": "realtime", "tools": [tool, {**tool, "name": "b"}]}
    )
    offered = (Tool("get_weather", "d", parameters), Tool("b", "d", parameters))
    assert protocol.settings.toolbox == Toolbox(offered)
    choice = {"type": "function", "name": "b"}
    command = send(protocol, type="response.create", response={"tool_choice": choice})
    assert isinstance(command, CreateReply)
    assert command.options.toolbox == Toolbox(offered, ToolChoice("required", "b"))
    assert command.options.toolbox.usable() == offered[1:]
    command = send(make_protocol(), type="response.create", response={"tools": [tool]})
    assert isinstance(command, CreateReply)
    assert command.options.toolbox == Toolbox(offered[:1])


def test_the_clients_calls_and_outputs_become_items_and_come_back_as_they_were() -> None:
    protocol = make_protocol()
    call = {"type": "function_call", "id": "c", "call_id": "call_1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "id": "o", "call_id": "call_1", "output": "sunny"}
    first = send(protocol, type="conversation.item.create", item=call)
    second = send(protocol, type="conversation.item.create", item=output)
    assert first == AddItem(CallItem(ItemId("c"), ToolCall("call_1", "f", "{}")))
    assert second == AddItem(OutputItem(ItemId("o"), "call_1", "sunny"))
    events = tell(
        protocol,
        ItemAdded(first.item, None),
        ItemAdded(second.item, first.item.id),
        ItemRetrieved(second.item),
    )
    assert kinds(events)[:2] == ["conversation.item.added", "conversation.item.done"]
    whole = {"object": "realtime.item", "status": "completed"}
    assert events[0]["item"] == {**call, **whole}
    assert events[2]["item"] == events[4]["item"] == {**output, **whole}


def audio_item(**part: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_audio", **part}]}


def test_a_recording_becomes_an_item_whose_words_are_to_be_found() -> None:
    protocol = make_protocol()
    tone = np.arange(-1200, 1200, dtype="<i2")  # 100 ms at 24 kHz
    encoded = b64encode(tone.tobytes()).decode()
    command = send(protocol, type="conversation.item.create", item=audio_item(audio=encoded))
    assert isinstance(command, AddItem)
    assert isinstance(command.item, Item)
    assert (command.item.role, command.item.text, command.item.spoken) == ("user", None, True)
    assert command.sound is not None
    assert len(command.sound) == 1600
    events = tell(protocol, ItemAdded(command.item, None), UserSaid(command.item.id, "hi", 100))
    assert kinds(events)[:2] == ["conversation.item.added", "conversation.item.done"]
    assert events[-1]["transcript"] == "hi"
    replayed = send(
        protocol, type="conversation.item.create", item=audio_item(audio=encoded, transcript="hello")
    )
    assert (replayed.item.text, replayed.item.spoken, replayed.sound) == ("hello", True, None)


def test_recordings_that_cannot_be_heard_are_refused() -> None:
    protocol = make_protocol()
    for item, param in (
        (audio_item(), "item.content[0].audio"),
        (audio_item(audio="AAAA"), "item.content[0].audio"),
        (audio_item(audio="?"), "item.content[0].audio"),
        (
            {**audio_item(audio="AAA="), "content": [*audio_item(audio="AAA=")["content"]] * 2},
            "item.content[0]",
        ),
    ):
        received = protocol.receive(json.dumps({"type": "conversation.item.create", "item": item}))
        assert json.loads(received.answers[0])["error"]["param"] == param


def test_a_reply_beside_the_conversation() -> None:
    protocol = make_protocol()
    wanted = {
        "conversation": "none",
        "output_modalities": ["text"],
        "metadata": {"topic": "class"},
        "input": [
            {"type": "item_reference", "id": "item_u"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Classify."}]},
        ],
    }
    frames = protocol.tell(ReplyStarted(TURN, "audio"))
    command = send(protocol, type="response.create", response=wanted)  # although one is being given
    assert isinstance(command, CreateReply)
    options: ReplyOptions = command.options
    assert options.aside
    assert options.entries is not None
    assert options.entries[0] == "item_u"
    assert isinstance(options.entries[1], Item)
    frames += protocol.tell(ReplyStarted(ASIDE, "text", options.tag, aside=True))
    frames += protocol.tell(MessageStarted(ASIDE, ItemId("item_x")))
    frames += protocol.audio(ASIDE, b"", "Sports.")
    frames += protocol.tell(ReplyEnded(ASIDE, Item(ItemId("item_x"), "agent", "Sports."), "completed"))
    events = check_server_frames(frames)
    assert not [kind for kind in kinds(events) if kind.startswith("conversation.")]
    created, done = [e["response"] for e in events if e["type"] in ("response.created", "response.done")][1:]
    assert created["conversation_id"] is None
    assert created["metadata"] == done["metadata"] == {"topic": "class"}
    assert done["output"][0]["content"] == [{"type": "output_text", "text": "Sports."}]


def test_cancelling_goes_by_name_and_otherwise_to_the_conversation() -> None:
    protocol = make_protocol()
    command = send(protocol, type="response.create", response={"conversation": "none"})
    aside = json.loads(protocol.tell(ReplyStarted(ASIDE, "text", command.options.tag, aside=True))[0])
    refused = protocol.receive(json.dumps({"type": "response.cancel"}))
    assert json.loads(refused.answers[0])["error"]["code"] == "response_cancel_not_active"
    own = json.loads(protocol.tell(ReplyStarted(TURN, "audio"))[0])
    assert send(protocol, type="response.cancel", response_id=aside["response"]["id"]) == CancelReply(ASIDE)
    assert send(protocol, type="response.cancel", response_id=own["response"]["id"]) == CancelReply()
    assert send(protocol, type="response.cancel") == CancelReply()


def test_wishes_are_not_mixed_up() -> None:
    protocol = make_protocol()
    tags = []
    for topic, where in (("a", "none"), ("b", "auto"), ("c", "none")):
        response = {"conversation": where, "metadata": {"topic": topic}}
        tags.append(send(protocol, type="response.create", response=response).options.tag)
    notes = [
        ReplyStarted(TurnId(-2), "text", tags[2], aside=True),
        ReplyStarted(TURN, "audio", tags[1]),
        ReplyStarted(ASIDE, "text", tags[0], aside=True),
    ]
    assert [event["response"]["metadata"]["topic"] for event in tell(protocol, *notes)] == ["c", "b", "a"]


def test_a_silence() -> None:
    user = ItemId("item_u")
    item = Item(user, "user", "", spoken=True)
    events = tell(
        make_protocol(), UserSilent(user, 1000, 7000), AudioCommitted(user, None), ItemAdded(item, None)
    )
    assert kinds(events) == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert (events[0]["audio_start_ms"], events[0]["audio_end_ms"]) == (1000, 7000)


def test_a_session_that_only_listens_is_told_words_while_they_are_spoken() -> None:
    protocol = make_protocol()
    session = {"type": "transcription", "audio": {"input": {"transcription": {"model": "any"}}}}
    send(protocol, type="session.update", session=session)
    tell(protocol, Configured(protocol.settings))
    user, words = ItemId("item_u"), ["the", "quick", "brown", "fox", "jumps", "over"]
    guesses = [UserHearing(user, " ".join(words[:n]), " ".join(words[: n - 2])) for n in range(2, 7)]
    events = tell(protocol, UserStarted(user, 0), *guesses, UserSaid(user, "the quick brown fox jumps", 2000))
    deltas = [event["delta"] for event in events if event["type"] == f"{TRANSCRIPTION}.delta"]
    assert deltas == ["the", " quick", " brown", " fox", " jumps"]
    assert "".join(deltas) == events[-1]["transcript"] == "the quick brown fox jumps"
