"""The golden orders: which frames tell a client of a whole turn, one after the other."""

import json
from base64 import b64decode
from typing import Any

import numpy as np
import pytest

from tests.support.realtime_check import check_server_frames, make_protocol
from voicestack.core.audio import Sound
from voicestack.core.errors import PeerProtocolError, StageRejected, StageUnavailable
from voicestack.core.history import Item
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.marks import Mark, TurnMarks
from voicestack.core.notes import (
    AudioCleared,
    AudioCommitted,
    ItemAdded,
    ItemDeleted,
    ItemRetrieved,
    ItemTruncated,
    MessageStarted,
    Note,
    Problem,
    ReplyEnded,
    ReplyStarted,
    TurnMeasured,
    Usage,
    UserHearing,
    UserSaid,
    UserStarted,
    UserStopped,
    UserUnheard,
)
from voicestack.core.settings import SessionSettings
from voicestack.realtime.protocol import RealtimeProtocol

USER, AGENT = ItemId("item_u"), ItemId("item_a")
TURN = TurnId(7)
TRANSCRIPTION = "conversation.item.input_audio_transcription"
OPENED = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
]
CLOSED = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]


class Connection:
    """A protocol and all that it has sent."""

    def __init__(self, protocol: RealtimeProtocol | None = None, *, extensions: bool = False) -> None:
        self.protocol = protocol or make_protocol(extensions=extensions)
        self.frames: list[bytes] = []
        self.extensions = extensions

    def tell(self, *notes: Note) -> list[dict[str, Any]]:
        """Tell it notes; returns the events that they became."""
        n_before = len(self.frames)
        for note in notes:
            self.frames += self.protocol.tell(note)
        return self.events()[n_before:]

    def say(self, data: bytes, text: str) -> list[dict[str, Any]]:
        """A piece of the reply; returns its events."""
        n_before = len(self.frames)
        self.frames += self.protocol.audio(TURN, data, text)
        return self.events()[n_before:]

    def events(self) -> list[dict[str, Any]]:
        """All events so far, checked."""
        return check_server_frames(self.frames, extensions=self.extensions)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def agent_item(text: str) -> Item:
    return Item(AGENT, "agent", text, spoken=True)


def begun(modality: Any = "audio") -> tuple[Note, ...]:
    return ReplyStarted(TURN, modality), MessageStarted(TURN, AGENT, USER)


def test_a_spoken_turn() -> None:
    connection = Connection()
    events = connection.tell(
        UserStarted(USER, 700),
        UserHearing(USER, "what is"),
        UserHearing(USER, "what is the"),
        UserStopped(USER, 2_500),
        AudioCommitted(USER, None),
        ItemAdded(Item(USER, "user", None, spoken=True), None),
        UserSaid(USER, "what is the time", audio_ms=1_800),
        *begun(),
    )
    assert kinds(events) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{TRANSCRIPTION}.delta",
        f"{TRANSCRIPTION}.completed",
        *OPENED,
    ]
    assert (events[0]["audio_start_ms"], events[1]["audio_end_ms"]) == (700, 2_500)
    assert {e["item_id"] for e in events if "item_id" in e and "response_id" not in e} == {USER}
    assert (events[2]["previous_item_id"], events[3]["previous_item_id"]) == (None, None)
    assert events[3]["item"] == {
        "id": USER,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": None}],
    }
    assert events[5]["delta"] == events[6]["transcript"] == "what is the time"
    assert events[6]["usage"] == {"type": "duration", "seconds": 1.8}
    created = events[7]["response"]
    assert (created["status"], created["output"], created["usage"]) == ("in_progress", [], None)
    assert events[9]["previous_item_id"] == USER
    assert events[8]["item"]["content"] == []
    assert events[8]["item"]["status"] == "in_progress"
    assert events[10]["part"] == {"type": "audio", "transcript": ""}

    events = connection.say(b"\x01\x02\x03\x04", "") + connection.say(b"\x05\x06", "It is")
    assert kinds(events) == [
        "response.output_audio.delta",
        "response.output_audio.delta",
        "response.output_audio_transcript.delta",
    ]
    assert [event["delta"] for event in events] == ["AQIDBA==", "BQY=", "It is"]
    connection.say(b"", " noon.")

    usage = Usage(input_tokens=20, cached_tokens=15, output_tokens=4, output_audio_ms=1_010)
    events = connection.tell(ReplyEnded(TURN, agent_item("It is noon."), "completed", usage=usage))
    assert kinds(events) == CLOSED
    assert events[1]["transcript"] == "It is noon."
    assert events[2]["part"] == {"type": "audio", "transcript": "It is noon."}
    done = events[5]["response"]
    assert (done["id"], done["status"], done["status_details"]) == (created["id"], "completed", None)
    assert done["conversation_id"] == created["conversation_id"]
    assert done["output"][0]["status"] == "completed"
    assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "It is noon."}]
    assert done["usage"] == {
        "total_tokens": 45,
        "input_tokens": 20,
        "output_tokens": 25,
        "input_token_details": {
            "text_tokens": 20,
            "audio_tokens": 0,
            "image_tokens": 0,
            "cached_tokens": 15,
            "cached_tokens_details": {"text_tokens": 15, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": 4, "audio_tokens": 21},
    }
    assert events[6]["rate_limits"] == []


def test_a_typed_turn() -> None:
    connection = Connection(make_protocol(SessionSettings(modality="text")))
    events = connection.tell(ItemAdded(Item(USER, "user", "Hi"), None), *begun("text"))
    assert kinds(events) == ["conversation.item.added", "conversation.item.done", *OPENED]
    assert events[0]["item"]["content"] == [{"type": "input_text", "text": "Hi"}]
    assert events[2]["response"]["output_modalities"] == ["text"]
    assert events[5]["part"] == {"type": "text", "text": ""}
    (event,) = connection.say(b"", "Hello")
    assert (event["type"], event["delta"]) == ("response.output_text.delta", "Hello")
    assert kinds(connection.say(b"\0\0", " you")) == ["response.output_text.delta"]
    events = connection.tell(ReplyEnded(TURN, Item(AGENT, "agent", "Hello you"), "completed"))
    assert kinds(events) == ["response.output_text.done", *CLOSED[2:]]
    assert events[0]["text"] == "Hello you"
    assert events[1]["part"] == {"type": "text", "text": "Hello you"}
    assert events[3]["item"]["content"] == [{"type": "output_text", "text": "Hello you"}]


@pytest.mark.parametrize("reason", ["turn_detected", "client_cancelled"])
def test_a_reply_that_is_interrupted(reason: Any) -> None:
    connection = Connection()
    connection.tell(*begun())
    connection.say(b"\0\0", "It is")
    connection.say(b"\0\0", " half past")
    item = Item(AGENT, "agent", "It is", spoken=True, status="incomplete")  # as heard: less than was sent
    events = connection.tell(
        UserStarted(ItemId("item_u2"), 9_000), ReplyEnded(TURN, item, "cancelled", reason)
    )
    assert kinds(events) == ["input_audio_buffer.speech_started", *CLOSED]
    assert events[2]["transcript"] == "It is half past"
    assert events[4]["item"]["status"] == "incomplete"
    response = events[6]["response"]
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": reason}
    assert response["usage"]["total_tokens"] == 0
    assert connection.say(b"\0\0", " more") == []
    assert connection.tell(ReplyEnded(TURN, item, "cancelled", reason)) == []
    (event,) = connection.tell(ItemTruncated(AGENT, 480))
    assert (event["type"], event["content_index"]) == ("conversation.item.truncated", 0)
    assert event["audio_end_ms"] == 480


def test_a_reply_that_is_cut_by_its_limit() -> None:
    connection = Connection()
    connection.tell(*begun())
    connection.say(b"\0\0", "It is")
    events = connection.tell(ReplyEnded(TURN, agent_item("It is"), "incomplete", "max_output_tokens"))
    assert kinds(events) == CLOSED
    response = events[5]["response"]
    assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"


def test_a_reply_that_fails_says_what_failed_but_not_where() -> None:
    connection = Connection()
    connection.tell(*begun())
    error = StageUnavailable("connect to 10.0.0.3 with key sk-secret failed", stage="llm")
    events = connection.tell(ReplyEnded(TURN, agent_item(""), "failed", error=error))
    assert kinds(events) == CLOSED
    assert events[5]["response"]["status_details"] == {
        "type": "failed",
        "error": {
            "type": "server_error",
            "code": "stage_unavailable",
            "message": "The llm engine is not available at the moment.",
        },
    }
    assert all(b"sk-secret" not in frame for frame in connection.frames)


def test_nothing_is_sent_for_a_reply_that_is_not_live() -> None:
    connection = Connection()
    assert connection.say(b"\0\0", "early") == []
    connection.tell(*begun())
    assert connection.tell(*begun()) == []
    assert connection.protocol.audio(TurnId(6), b"\0\0", "stale") == []


def test_transcripts_are_only_shown_on_request() -> None:
    connection = Connection(make_protocol(SessionSettings(show_transcripts=False)))
    said = Item(USER, "user", "hi there", spoken=True)
    events = connection.tell(
        UserStarted(USER, 0),
        UserHearing(USER, "hi"),
        UserHearing(USER, "hi there"),
        AudioCommitted(USER, None),
        UserSaid(USER, "hi there", 500),
        ItemRetrieved(said),
        UserUnheard(USER, StageUnavailable("x", stage="asr")),
    )
    assert kinds(events) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.committed",
        "conversation.item.retrieved",
    ]
    assert events[2]["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    (event,) = Connection().tell(ItemRetrieved(said))
    assert event["item"]["content"] == [{"type": "input_audio", "transcript": "hi there"}]


@pytest.mark.parametrize(
    ("kind", "n_bytes"), [("audio/pcm", 48_000), ("audio/pcmu", 8_000), ("audio/pcma", 8_000)]
)
def test_what_was_kept_of_the_sound_comes_in_the_clients_format(kind: str, n_bytes: int) -> None:
    protocol = make_protocol()
    side = {"format": {"type": kind}}
    session = {"type": "realtime", "audio": {"input": side, "output": side}}
    protocol.receive(json.dumps({"type": "session.update", "session": session}))
    connection = Connection(protocol)
    user, agent = Item(USER, "user", "hi", spoken=True), Item(ItemId("item_a"), "agent", "hi", spoken=True)
    (heard,) = connection.tell(ItemRetrieved(user, Sound(np.zeros(16_000, np.int16), 16_000)))
    (said,) = connection.tell(ItemRetrieved(agent, Sound(np.zeros(22_050, np.int16), 22_050)))
    for event in (heard, said):
        (part,) = event["item"]["content"]
        assert len(b64decode(part["audio"])) == n_bytes
    (none,) = connection.tell(ItemRetrieved(agent))
    assert "audio" not in none["item"]["content"][0]


def test_words_that_may_still_change_are_told_only_to_clients_that_asked_for_extensions() -> None:
    connection = Connection(extensions=True)
    (_, first, second) = connection.tell(
        UserStarted(USER, 0), UserHearing(USER, "blood"), UserHearing(USER, "what is")
    )
    assert (first["type"], first["text"]) == ("voicestack.user.hearing", "blood")
    assert second["text"] == "what is"


def test_nothing_is_told_of_words_before_their_item_has_a_name() -> None:
    connection = Connection()
    assert connection.tell(UserHearing(USER, "hi"), UserHearing(USER, "hi")) == []
    connection.tell(AudioCommitted(USER, None))
    events = connection.tell(
        UserHearing(USER, "hi"), UserSaid(USER, "hi there", 100), UserHearing(USER, "hi")
    )
    assert kinds(events) == [f"{TRANSCRIPTION}.delta", f"{TRANSCRIPTION}.completed"]
    assert events[0]["delta"] == "hi there"


def test_words_that_never_come() -> None:
    connection = Connection()
    events = connection.tell(UserStarted(USER, 0), UserUnheard(USER, StageRejected("bad key", stage="asr")))
    assert kinds(events) == ["input_audio_buffer.speech_started", f"{TRANSCRIPTION}.failed"]
    assert events[1]["error"] == {
        "type": "server_error",
        "code": "stage_rejected",
        "message": "The asr engine refused the request.",
    }
    assert connection.tell(UserSaid(USER, "", 300)) == []  # it has failed and is not completed too
    silent = ItemId("item_silent")
    events = connection.tell(AudioCommitted(silent, USER), UserSaid(silent, "", 300))
    assert kinds(events) == ["input_audio_buffer.committed", f"{TRANSCRIPTION}.completed"]
    assert events[1]["transcript"] == ""


def test_the_small_notes() -> None:
    connection = Connection()
    agent_typed = Item(ItemId("item_t"), "agent", "Hello")
    events = connection.tell(
        AudioCleared(),
        ItemDeleted(USER),
        ItemAdded(agent_typed, USER),
        ItemAdded(Item(ItemId("item_s"), "system", "Be brief.", status="in_progress"), agent_typed.id),
        Problem(
            PeerProtocolError("No such item.", code="item_retrieve_invalid_item_id", param="item_id"), "rci_9"
        ),
    )
    assert kinds(events) == [
        "input_audio_buffer.cleared",
        "conversation.item.deleted",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.added",
        "conversation.item.done",
        "error",
    ]
    assert events[1]["item_id"] == USER
    assert events[2]["item"]["content"] == [{"type": "output_text", "text": "Hello"}]
    assert events[2]["previous_item_id"] == USER
    assert (events[4]["item"]["status"], events[5]["item"]["status"]) == ("in_progress", "completed")
    assert events[5]["item"]["role"] == "system"
    assert events[6]["error"] == {
        "type": "invalid_request_error",
        "code": "item_retrieve_invalid_item_id",
        "message": "No such item.",
        "param": "item_id",
        "event_id": "rci_9",
    }


def test_measures_are_sent_to_those_who_asked_and_to_nobody_else() -> None:
    at_ns = {
        Mark.SPEECH_END: 1_000_000_000,
        Mark.ENDPOINT: 1_200_000_000,
        Mark.ASR_FINAL: 1_100_000_000,
        Mark.LLM_SENT: 1_150_000_000,
        Mark.FIRST_SENT: 1_300_000_000,
    }
    marks = TurnMarks(at_ns, drafted=True)
    note = TurnMeasured(TURN, marks)
    assert Connection().tell(note) == []
    (event,) = Connection(extensions=True).tell(note)
    event.pop("event_id")
    spans = event.pop("spans")
    assert event == {
        "type": "voicestack.turn.measured",
        "turn": 7,
        "marks_ms": {
            "speech_end": 0.0,
            "endpoint": 200.0,
            "asr_final": 100.0,
            "llm_sent": 150.0,
            "first_sent": 300.0,
        },
        "response_ms": 300.0,
        "heard_after_ms": None,
        "drafted": True,
        "interrupted": False,
    }
    assert spans[0] == {"stage": "endpoint", "start_ms": 0.0, "end_ms": 200.0, "hidden_ms": 0.0}
    assert [span["stage"] for span in spans] == [span.stage for span in marks.spans()]

    typed = TurnMarks({Mark.LLM_SENT: 5_000_000, Mark.FIRST_SENT: 9_000_000}, interrupted=True)
    (event,) = Connection(extensions=True).tell(TurnMeasured(TURN, typed))
    assert event["marks_ms"] == {"llm_sent": 0.0, "first_sent": 4.0}
    assert (event["response_ms"], event["spans"]) == (None, [])
    (event,) = Connection(extensions=True).tell(TurnMeasured(TURN, TurnMarks()))
    assert event["marks_ms"] == {}
