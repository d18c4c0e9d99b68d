"""Whatever a client sends and whatever happens in its session, the server speaks correct protocol."""

import copy
import json
from base64 import b64encode
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.realtime_check import check_server_frames, make_protocol
from voicestack.core.commands import Configure, CreateReply
from voicestack.core.errors import PeerProtocolError, StageTimeout
from voicestack.core.history import CallItem, Item
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.marks import Mark, TurnMarks
from voicestack.core.notes import (
    AudioCleared,
    AudioCommitted,
    CallEnded,
    CallStarted,
    CallWritten,
    Configured,
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
from voicestack.core.tools import ToolCall
from voicestack.realtime.protocol import InputAudio, RealtimeProtocol

# What a client may send

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["audio", "text", "auto", "inf", "none", "message", "user", "root", "server_vad"]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
SESSION = {
    "type": "realtime",
    "model": "m",
    "instructions": "Be brief.",
    "output_modalities": ["audio"],
    "max_output_tokens": 100,
    "tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}],
    "tool_choice": {"type": "function", "name": "f"},
    "truncation": {
        "type": "retention_ratio",
        "retention_ratio": 0.5,
        "token_limits": {"post_instructions": 9},
    },
    "tracing": {"workflow_name": "w"},
    "include": ["item.input_audio_transcription.logprobs"],
    "reasoning": {"effort": "low"},
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "t", "language": "en", "keywords": ["a"], "delay": "low"},
            "noise_reduction": {"type": "near_field", "strength": 1.0},
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 200,
                "idle_timeout_ms": 6000,
                "create_response": True,
                "interrupt_response": True,
            },
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": {"id": "v"}, "speed": 1.2},
    },
}
BETA_SESSION = {
    "modalities": ["text", "audio"],
    "voice": "alloy",
    "input_audio_format": "pcm16",
    "output_audio_format": "g711_alaw",
    "input_audio_transcription": {"model": "whisper-1"},
    "turn_detection": {"type": "semantic_vad", "eagerness": "low"},
    "max_response_output_tokens": "inf",
}
MESSAGE = {
    "id": "mine",
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "Hi"}, {"type": "input_text", "text": "there"}],
}
RESPONSE = {
    "conversation": "auto",
    "instructions": "Hi.",
    "output_modalities": ["text"],
    "audio": {"output": {"format": {"type": "audio/pcm"}, "voice": "ash"}},
    "max_output_tokens": "inf",
    "metadata": {"a": "b"},
    "tools": [],
    "tool_choice": "auto",
}
EVENTS: list[dict[str, Any]] = [
    {"type": "session.update", "session": SESSION},
    {"type": "session.update", "session": BETA_SESSION},
    {"type": "session.update", "session": {"type": "transcription"}},
    {"type": "input_audio_buffer.append", "audio": b64encode(bytes(4_800)).decode()},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "output_audio_buffer.clear"},
    {"type": "conversation.item.create", "previous_item_id": "root", "item": MESSAGE},
    {"type": "conversation.item.retrieve", "item_id": "mine"},
    {"type": "conversation.item.delete", "item_id": "mine"},
    {"type": "conversation.item.truncate", "item_id": "mine", "content_index": 0, "audio_end_ms": 100},
    {"type": "response.create", "response": RESPONSE},
    {"type": "response.create"},
    {"type": "response.cancel", "response_id": "resp_1"},
    {"type": "response.cancel"},
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container inside a JSON value with every key or index of it."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    here = [(value, key) for key in keys]
    return here + [place for _, key in here for place in places(value[key])]


@st.composite
def client_events(draw: st.DrawFn) -> dict[str, Any]:
    """A client event, mostly with a few things wrong."""
    event: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(EVENTS)))
    event["event_id"] = "evt_1"
    for _ in range(draw(st.integers(0, 3))):
        container, key = draw(st.sampled_from(places(event)))
        match draw(st.sampled_from(["replace", "remove", "insert"])):
            case "replace":
                container[key] = draw(JSON)
            case "remove":
                del container[key]
            case _ if isinstance(container, dict):
                container[draw(st.text(max_size=6))] = draw(JSON)
        if not places(event):
            break
    return event


def feed(protocol: RealtimeProtocol, message: str | bytes) -> list[bytes]:
    """One client frame and the session's answer to it; returns the frames that came of it."""
    received = protocol.receive(message)
    assert received.close is None
    assert not (received.commands and received.answers)
    for event in check_server_frames(received.answers):
        assert event["type"] == "error"
        assert event["error"]["message"]
    frames = list(received.answers)
    for command in received.commands:
        if isinstance(command, Configure):
            assert command.settings == protocol.settings
            frames += protocol.tell(Configured(command.settings))
        elif isinstance(command, InputAudio):
            assert command.data
            assert len(command.data) % protocol.input_format.sample_bytes == 0
    check_settings(protocol.settings)
    return frames


def check_settings(settings_now: SessionSettings) -> None:
    assert settings_now.modality in ("audio", "text")
    assert 0.25 <= settings_now.speed <= 1.5
    assert settings_now.voice
    assert settings_now.max_output_tokens is None or 1 <= settings_now.max_output_tokens <= 4096
    vad = settings_now.turn_detection
    if vad is not None:
        assert 0 <= vad.threshold <= 1
        assert type(vad.silence_duration_ms) is type(vad.prefix_padding_ms) is int
        assert vad.silence_duration_ms >= 0
        assert vad.prefix_padding_ms >= 0


@given(st.one_of(st.text(), st.binary(), JSON.map(json.dumps), st.sampled_from(EVENTS).map(json.dumps)))
@settings(max_examples=200, deadline=None)
def test_any_frame_is_taken_or_answered_with_an_error(frame: str | bytes) -> None:
    check_server_frames(feed(make_protocol(), frame))


@given(st.lists(client_events(), min_size=1, max_size=4))
@settings(max_examples=400, deadline=None)
def test_any_event_is_taken_or_answered_with_an_error(events: list[dict[str, Any]]) -> None:
    protocol = make_protocol()
    frames = protocol.opening()
    for event in events:
        frames += feed(protocol, json.dumps(event))
    check_server_frames(frames)


# What may happen in a session

WORDS = st.lists(st.sampled_from(["hi", "you", "there", "he", "what"]), max_size=4).map(" ".join)
ITEM_IDS = st.sampled_from(["item_u1", "item_u2", "item_a1"]).map(ItemId)
MAYBE_ID = st.none() | ITEM_IDS
TURNS = st.integers(1, 2).map(TurnId)
MS = st.integers(0, 100_000)
CALLS = st.builds(
    CallItem,
    st.sampled_from(["item_c1", "item_c2"]).map(ItemId),
    st.builds(ToolCall, st.sampled_from(["call_1", "call_2"]), st.just("look_up"), st.just("")),
    st.sampled_from(["in_progress", "completed", "incomplete"]),
)
ITEMS = st.builds(
    Item,
    id=ITEM_IDS,
    role=st.sampled_from(["system", "user", "agent"]),
    text=st.none() | st.text(),
    spoken=st.booleans(),
    status=st.sampled_from(["in_progress", "completed", "incomplete"]),
)
ERRORS = st.sampled_from([PeerProtocolError("No.", code="invalid_value"), StageTimeout("late", stage="llm")])
USAGE = st.builds(Usage, *[st.integers(0, 10_000)] * 4)
NOTES: st.SearchStrategy[Note] = st.one_of(
    st.builds(UserStarted, ITEM_IDS, MS),
    st.builds(UserStopped, ITEM_IDS, MS),
    st.builds(AudioCommitted, ITEM_IDS, MAYBE_ID),
    st.builds(AudioCleared),
    st.builds(UserHearing, ITEM_IDS, WORDS),
    st.builds(UserSaid, ITEM_IDS, WORDS, MS),
    st.builds(UserUnheard, ITEM_IDS, ERRORS),
    st.builds(ItemAdded, ITEMS, MAYBE_ID),
    st.builds(ItemDeleted, ITEM_IDS),
    st.builds(ItemRetrieved, ITEMS),
    st.builds(ItemTruncated, ITEM_IDS, MS),
    st.builds(Problem, ERRORS, st.none() | st.just("evt_1")),
    st.builds(
        TurnMeasured,
        TURNS,
        st.builds(TurnMarks, st.dictionaries(st.sampled_from(list(Mark)), st.integers(0, 1 << 60))),
    ),
)
REPLIES: st.SearchStrategy[Note] = st.one_of(
    st.builds(ReplyStarted, TURNS, st.sampled_from(["audio", "text"]), st.just(""), st.booleans()),
    st.builds(MessageStarted, TURNS, ITEM_IDS, MAYBE_ID),
    st.builds(CallStarted, TURNS, CALLS, MAYBE_ID),
    st.builds(CallWritten, TURNS, st.sampled_from(["item_c1", "item_c2"]).map(ItemId), st.text(max_size=5)),
    st.builds(CallEnded, TURNS, CALLS),
    st.builds(
        ReplyEnded,
        TURNS,
        st.none() | ITEMS,
        st.sampled_from(["completed", "cancelled", "incomplete", "failed"]),
        st.none() | st.sampled_from(["turn_detected", "client_cancelled", "max_output_tokens"]),
        st.none() | ERRORS,
        USAGE,
    ),
)
SPEECH = st.tuples(TURNS, st.binary(max_size=8), st.sampled_from(["", "Hi", " you", " there. "]) | st.text())
STEPS = st.lists(st.one_of(REPLIES, REPLIES, SPEECH, SPEECH, NOTES, client_events()), max_size=25)


@given(st.lists(SPEECH, max_size=5), STEPS, st.sampled_from(["audio", "text"]), st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_whatever_happens_the_frames_are_correct(
    first: list[Any], steps: list[Any], modality: Any, show: bool, extensions: bool
) -> None:
    protocol = make_protocol(SessionSettings(show_transcripts=show), extensions=extensions)
    frames = protocol.opening()
    frames += protocol.tell(ReplyStarted(TurnId(1), modality))
    frames += protocol.tell(MessageStarted(TurnId(1), ItemId("item_a1")))
    for step in first + steps:
        if isinstance(step, tuple):
            frames += protocol.audio(*step)
        elif isinstance(step, dict):
            frames += feed(protocol, json.dumps(step))
        else:
            frames += protocol.tell(step)
    n_measured = sum(b'"voicestack.' in frame for frame in frames)
    assert extensions or not n_measured
    for turn in (1, 2):  # every reply that began can be ended, once
        ended = ReplyEnded(TurnId(turn), Item(ItemId("item_a1"), "agent"), "completed")
        frames += protocol.tell(ended)
        assert protocol.tell(ended) == []
    events = check_server_frames(frames, extensions=extensions)
    kinds = [event["type"] for event in events]
    assert kinds.count("response.created") == kinds.count("response.done")
    if not show and not any(isinstance(step, dict) for step in steps):
        assert not any("transcription" in kind for kind in kinds)


@given(st.binary(min_size=2, max_size=2_000))
@settings(max_examples=50)
def test_audio_comes_back_as_it_went_in(data: bytes) -> None:
    data = data[: len(data) // 2 * 2]
    protocol = make_protocol()
    frame = json.dumps({"type": "input_audio_buffer.append", "audio": b64encode(data).decode()})
    assert protocol.receive(frame).commands == (InputAudio(data),)
    protocol.tell(ReplyStarted(TurnId(1), "audio"))
    protocol.tell(MessageStarted(TurnId(1), ItemId("item_a")))
    (event,) = (json.loads(sent) for sent in protocol.audio(TurnId(1), data, ""))
    assert event["delta"] == b64encode(data).decode()


def test_the_unchanged_events_are_taken() -> None:
    """Guards the tests above: their events are right before something is done to them."""
    taken = 0
    for event in EVENTS:
        protocol = make_protocol()
        protocol.receive(json.dumps(EVENTS[3]))
        received = protocol.receive(json.dumps(event))
        taken += bool(received.commands)
        if event is EVENTS[-3]:
            assert isinstance(received.commands[0], CreateReply)
    assert taken == len(EVENTS) - 3  # no output buffer to clear, no reply to cancel
