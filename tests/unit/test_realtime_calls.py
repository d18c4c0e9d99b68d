"""The protocol where the server plays, and the events beyond the Realtime API, one frame at a time."""

import json
from typing import Any

import orjson
import pytest

from tests.support.realtime_check import check_server_event, make_protocol
from voicestack.core.commands import CancelReply, MarkHeard
from voicestack.core.history import CallItem, Entry, Item
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.notes import MessageStarted, Note, ReplyEnded, ReplyStarted
from voicestack.core.settings import SessionSettings
from voicestack.core.tools import ToolCall
from voicestack.realtime.protocol import RealtimeProtocol

TURN, ASIDE = TurnId(7), TurnId(-1)
AGENT = ItemId("item_a")
CLOCK = [5_000_000_000]


def call_protocol(**options: Any) -> RealtimeProtocol:
    CLOCK[0] = 5_000_000_000
    return make_protocol(extensions=True, owns_playout=True, now_ns=lambda: CLOCK[0], **options)


def kinds(frames: list[bytes]) -> list[str]:
    events = [orjson.loads(frame) for frame in frames]
    for event in events:
        check_server_event(event, extensions=True)
    return [event["type"] for event in events]


def tell(protocol: RealtimeProtocol, *notes: Note) -> list[str]:
    return kinds([frame for note in notes for frame in protocol.tell(note)])


def ended(turn: TurnId, status: Any = "completed", heard_ms: float | None = None) -> ReplyEnded:
    return ReplyEnded(turn, Item(AGENT, "agent", "Hi.", spoken=True), status, heard_ms=heard_ms)


def begun(protocol: RealtimeProtocol, turn: TurnId = TURN, *, aside: bool = False) -> list[str]:
    tell(protocol, ReplyStarted(turn, "audio", aside=aside), MessageStarted(turn, AGENT))
    return kinds(protocol.begin_playing(turn))


def refusal(protocol: RealtimeProtocol, **event: Any) -> dict[str, Any]:
    received = protocol.receive(json.dumps(event))
    assert received.commands == ()
    (answer,) = received.answers
    error: dict[str, Any] = orjson.loads(answer)["error"]
    return error


def test_a_reply_is_told_to_be_played_once() -> None:
    protocol = call_protocol()
    assert begun(protocol) == ["output_audio_buffer.started"]
    assert protocol.playing == TURN
    assert protocol.begin_playing(TURN) == []
    assert kinds(protocol.audio(TURN, b"", "Hi.")) == ["response.output_audio_transcript.delta"]
    told = tell(protocol, ended(TURN))
    assert told[-3:] == ["response.done", "rate_limits.updated", "output_audio_buffer.stopped"]
    assert protocol.playing is None


def test_a_reply_that_was_silenced_is_truncated_after_it_is_done() -> None:
    protocol = call_protocol()
    begun(protocol)
    assert kinds(protocol.silenced()) == ["output_audio_buffer.cleared"]
    assert protocol.silenced() == []
    assert protocol.begin_playing(TURN) == []
    assert protocol.playing is None
    told = tell(protocol, ended(TURN, "cancelled", 140.6))
    assert told[-3:] == ["response.done", "rate_limits.updated", "conversation.item.truncated"]
    assert begun(protocol, TurnId(8)) == ["output_audio_buffer.started"]


def test_a_reply_that_was_cut_before_anybody_said_so_is_cleared_then() -> None:
    protocol = call_protocol()
    begun(protocol)
    told = tell(protocol, ended(TURN, "cancelled", 0.0))
    assert told[-2:] == ["output_audio_buffer.cleared", "conversation.item.truncated"]


def test_the_conversation_goes_before_what_is_beside_it() -> None:
    protocol = call_protocol()
    assert begun(protocol, ASIDE, aside=True) == ["output_audio_buffer.started"]
    assert protocol.plays_aside
    assert begun(protocol) == ["output_audio_buffer.cleared", "output_audio_buffer.started"]
    assert not protocol.plays_aside
    assert protocol.begin_playing(ASIDE) == []
    assert protocol.playing == TURN
    tell(protocol, ended(TURN))
    assert protocol.begin_playing(ASIDE) == []  # not from its middle
    assert tell(protocol, ended(ASIDE, "cancelled", 20))[-1] == "rate_limits.updated"


def test_clearing_cancels_what_plays_and_nothing_otherwise() -> None:
    protocol = call_protocol()
    assert protocol.receive('{"type":"output_audio_buffer.clear"}').commands == ()
    begun(protocol)
    received = protocol.receive('{"type":"output_audio_buffer.clear","event_id":"e1"}')
    assert received.commands == (CancelReply(TURN, "e1"),)


def test_a_websocket_is_told_nothing_of_playing() -> None:
    protocol = make_protocol()
    tell(protocol, ReplyStarted(TURN, "audio"), MessageStarted(TURN, AGENT))
    told = tell(protocol, ended(TURN, "cancelled", 100))
    assert told[-1] == "rate_limits.updated"
    error = refusal(protocol, type="output_audio_buffer.clear")
    assert (error["code"], error["param"]) == ("invalid_value", "type")


def test_the_time_is_that_since_the_session_began() -> None:
    protocol = call_protocol()
    CLOCK[0] += 1_234_500_000
    (pong,) = protocol.receive('{"type":"voicestack.clock.ping","client_ms":-17.25}').answers
    event = orjson.loads(pong)
    check_server_event(event, extensions=True)
    assert (event["client_ms"], event["server_ms"]) == (-17.25, 1234.5)


def test_what_was_heard_is_converted_to_the_servers_clock() -> None:
    protocol = call_protocol()
    begun(protocol)
    tell(protocol, ended(TURN))  # it may be over
    (created,) = protocol.tell(ReplyStarted(TurnId(8), "audio"))
    name = orjson.loads(created)["response"]["id"]
    heard = {"type": "voicestack.audio.heard", "response_id": name, "heard_ms": 250.5, "error_ms": 3}
    received = protocol.receive(json.dumps(heard))
    assert received.commands == (MarkHeard(TurnId(8), 5_250_500_000, 3_000_000),)
    assert received.answers == ()


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "voicestack.clock.ping"}, "missing_required_parameter", "client_ms"),
        ({"type": "voicestack.clock.ping", "client_ms": "1"}, "invalid_value", "client_ms"),
        ({"type": "voicestack.clock.ping", "client_ms": 1e300}, "invalid_value", "client_ms"),
        ({"type": "voicestack.audio.heard"}, "missing_required_parameter", "response_id"),
        (
            {"type": "voicestack.audio.heard", "response_id": "resp_1", "heard_ms": 1, "error_ms": -1},
            "invalid_value",
            "error_ms",
        ),
        (
            {"type": "voicestack.audio.heard", "response_id": "resp_1", "heard_ms": 1, "error_ms": 1},
            "invalid_value",
            "response_id",
        ),
    ],
)
def test_wrong_events_of_our_own(event: dict[str, Any], code: str, param: str) -> None:
    error = refusal(call_protocol(), **event)
    assert (error["code"], error["param"]) == (code, param)


def test_who_did_not_ask_for_our_events_cannot_send_them() -> None:
    protocol = make_protocol(owns_playout=True)
    assert refusal(protocol, type="voicestack.clock.ping", client_ms=1)["param"] == "type"
    assert kinds(protocol.resumed([])) == ["session.created"]


@pytest.mark.parametrize(
    ("shows", "roles"), [(True, ["user", "user", "assistant"]), (False, ["user", "assistant"])]
)
def test_what_was_said_before(shows: bool, roles: list[str]) -> None:
    protocol = call_protocol(defaults=SessionSettings(show_transcripts=shows))
    entries: list[Entry] = [
        Item(ItemId("1"), "user", "hello", spoken=True),
        Item(ItemId("2"), "user", "typed"),
        Item(ItemId("3"), "user", None, spoken=True),
        CallItem(ItemId("4"), ToolCall("call_1", "look")),
        Item(ItemId("5"), "agent", "", spoken=True),
        Item(ItemId("6"), "agent", "Hi.", spoken=True, status="incomplete"),
    ]
    frames = protocol.resumed(entries)
    assert kinds(frames) == ["session.created", "voicestack.conversation.resumed"]
    items = orjson.loads(frames[1])["items"]
    assert [item["role"] for item in items] == roles
    assert items[-1] == {"id": "6", "role": "assistant", "text": "Hi."}


def test_a_reply_that_has_not_said_anything_yet_is_announced_again() -> None:
    protocol = call_protocol()
    first = protocol.tell(ReplyStarted(TURN, "audio"))
    frames = protocol.resumed([])
    assert kinds(frames)[2:] == ["response.created"]
    assert orjson.loads(frames[2])["response"] == orjson.loads(first[0])["response"]
    begun(protocol)
    assert kinds(protocol.resumed([]))[2:] == []


def test_names_of_replies_are_forgotten_in_the_end() -> None:
    protocol = call_protocol()
    names = []
    for turn in range(1, 100):
        (created,) = protocol.tell(ReplyStarted(TurnId(turn), "audio"))
        names.append(orjson.loads(created)["response"]["id"])
        protocol.tell(ReplyEnded(TurnId(turn), None, "completed"))
    fields = {"type": "voicestack.audio.heard", "heard_ms": 1, "error_ms": 1}
    assert protocol.receive(json.dumps({**fields, "response_id": names[-1]})).commands
    assert refusal(protocol, **fields, response_id=names[0])["param"] == "response_id"
