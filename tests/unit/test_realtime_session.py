"""The session object: every default is shown, a patch changes what it names, a wrong value nothing."""

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest

from tests.support.realtime_check import check_server_frames, make_protocol
from voicestack.core.commands import Configure
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.notes import Configured, MessageStarted, ReplyStarted
from voicestack.core.settings import ServerVad, SessionSettings
from voicestack.realtime.formats import AudioFormat
from voicestack.realtime.protocol import RealtimeProtocol

SERVER_VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
WHOLE = {
    "type": "realtime",
    "object": "realtime.session",
    "id": "sess_1",
    "model": "voicestack-1",
    "expires_at": 4_600,
    "output_modalities": ["audio"],
    "instructions": "",
    "tools": [],
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "truncation": "auto",
    "tracing": None,
    "prompt": None,
    "include": None,
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "default"},
            "noise_reduction": None,
            "turn_detection": SERVER_VAD,
        },
        "output": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "voice": "default",
            "speed": 1.0,
        },
    },
}


def update(protocol: RealtimeProtocol, session: Any, **extra: Any) -> dict[str, Any]:
    """Send a session.update that must succeed; returns the session of `session.updated`."""
    frame = orjson.dumps({"type": "session.update", "session": session, **extra}).decode()
    received = protocol.receive(frame)
    assert not received.answers, received.answers
    (command,) = received.commands
    assert command == Configure(protocol.settings)
    (event,) = check_server_frames(protocol.tell(Configured(protocol.settings)))
    assert event["type"] == "session.updated"
    return dict(event["session"])


def refused(protocol: RealtimeProtocol, session: Any) -> dict[str, Any]:
    """Send a session.update that must fail; returns the error."""
    before = protocol.settings
    frame = json.dumps({"type": "session.update", "event_id": "e1", "session": session})
    received = protocol.receive(frame)
    assert not received.commands
    assert received.close is None
    assert protocol.settings == before
    (event,) = check_server_frames(received.answers)
    assert event["error"]["event_id"] == "e1"
    assert event["error"]["type"] == "invalid_request_error"
    return dict(event["error"])


def test_the_first_frame_shows_the_whole_session() -> None:
    (event,) = check_server_frames(make_protocol().opening())
    assert event["type"] == "session.created"
    assert event["session"] == WHOLE


@pytest.mark.parametrize(
    "defaults",
    [
        SessionSettings(),
        SessionSettings(
            instructions="Be brief.",
            modality="text",
            voice="slt",
            speed=1.25,
            turn_detection=ServerVad(0.25, 100, 200, create_response=False, interrupt_response=False),
            max_output_tokens=80,
            show_transcripts=False,
            hints=Hints("de", "Grüß Gott!"),
        ),
        SessionSettings(turn_detection=None, hints=Hints("en")),
    ],
)
def test_the_defaults_come_back_as_settings(defaults: SessionSettings) -> None:
    protocol = make_protocol(defaults)
    assert protocol.settings == defaults
    check_server_frames(protocol.opening())
    update(protocol, {"type": "realtime"})
    assert protocol.settings == defaults


def test_a_patch_changes_only_what_it_names() -> None:
    protocol = make_protocol()
    session = update(protocol, {"type": "realtime", "audio": {"output": {"speed": 1.5}}})
    assert session["audio"]["output"] == {**WHOLE["audio"]["output"], "speed": 1.5}  # type: ignore[index]
    assert session["audio"]["input"] == WHOLE["audio"]["input"]  # type: ignore[index]
    session = update(protocol, {"instructions": "Be brief.", "max_output_tokens": 100})
    assert session["audio"]["output"]["speed"] == 1.5
    assert protocol.settings == SessionSettings(instructions="Be brief.", speed=1.5, max_output_tokens=100)
    session = update(protocol, {"instructions": "", "max_output_tokens": "inf"})
    assert protocol.settings == SessionSettings(speed=1.5)


def test_turn_detection_is_replaced_as_a_unit_and_filled() -> None:
    protocol = make_protocol()
    vad = {"type": "server_vad", "threshold": 0.9, "silence_duration_ms": 200}
    session = update(protocol, {"audio": {"input": {"turn_detection": vad}}})
    assert session["audio"]["input"]["turn_detection"] == {**SERVER_VAD, **vad}
    assert protocol.settings.turn_detection == ServerVad(threshold=0.9, silence_duration_ms=200)
    vad = {"type": "server_vad", "prefix_padding_ms": 100.0}
    session = update(protocol, {"audio": {"input": {"turn_detection": vad}}})
    assert session["audio"]["input"]["turn_detection"] == {**SERVER_VAD, "prefix_padding_ms": 100}


def test_semantic_vad_gets_its_defaults_and_becomes_silence() -> None:
    protocol = make_protocol()
    session = update(protocol, {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}})
    assert session["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    }
    silences = []
    for eagerness in ("high", "auto", "medium", "low"):
        vad = {"type": "semantic_vad", "eagerness": eagerness, "create_response": False}
        update(protocol, {"audio": {"input": {"turn_detection": vad}}})
        assert protocol.settings.turn_detection
        assert not protocol.settings.turn_detection.create_response
        silences.append(protocol.settings.turn_detection.silence_duration_ms)
    assert silences == [300, 500, 500, 800]


@pytest.mark.parametrize("off", [None, False])
def test_turn_detection_can_be_switched_off(off: object) -> None:
    protocol = make_protocol()
    session = update(protocol, {"audio": {"input": {"turn_detection": off}}})
    assert session["audio"]["input"]["turn_detection"] is None
    assert protocol.settings.turn_detection is None


def test_transcription_can_be_switched_off_and_on() -> None:
    protocol = make_protocol()
    session = update(protocol, {"audio": {"input": {"transcription": None}}})
    assert session["audio"]["input"]["transcription"] is None
    assert not protocol.settings.show_transcripts
    wanted = {"language": "en", "keywords": ["voicestack"]}
    session = update(protocol, {"audio": {"input": {"transcription": wanted}}})
    assert session["audio"]["input"]["transcription"] == {"model": "default", **wanted}
    assert protocol.settings == SessionSettings(hints=Hints("en", "voicestack."))


def test_a_language_that_the_recogniser_does_not_know_is_refused() -> None:
    protocol = make_protocol(SessionSettings(languages=("de", "en")))
    path = "session.audio.input.transcription.language"
    error = refused(protocol, {"audio": {"input": {"transcription": {"language": "tlh"}}}})
    assert (error["code"], error["param"]) == ("invalid_value", path)
    assert "(de, en)" in error["message"]
    assert refused(protocol, {"input_audio_transcription": {"language": "German"}})["param"] == path
    wanted = {"language": "de-CH", "prompt": "Grüezi."}
    session = update(protocol, {"audio": {"input": {"transcription": wanted}}})
    assert session["audio"]["input"]["transcription"] == {"model": "default", **wanted}
    assert protocol.settings.hints == Hints("de", "Grüezi.")
    update(protocol, {"audio": {"input": {"transcription": {"language": "", "prompt": ""}}}})
    assert protocol.settings.hints == NO_HINTS


def test_a_recogniser_without_languages_takes_any() -> None:
    protocol = make_protocol()
    update(protocol, {"audio": {"input": {"transcription": {"language": "tlh"}}}})
    assert protocol.settings.hints == Hints("tlh")


def test_null_means_not_given_where_nothing_can_be_null() -> None:
    protocol = make_protocol(SessionSettings(instructions="Be brief."))
    nulls = dict.fromkeys(["type", "instructions", "tools", "tool_choice", "max_output_tokens", "audio"])
    session = update(protocol, {**nulls, "output_modalities": None, "tracing": None, "prompt": None})
    assert session == {**WHOLE, "instructions": "Be brief."}
    session = update(protocol, {"audio": {"input": None, "output": {"voice": None, "format": None}}})
    assert session == {**WHOLE, "instructions": "Be brief."}


def test_everything_that_is_only_remembered_is_shown() -> None:
    weather = {"type": "function", "name": "weather", "parameters": {"type": "object", "default": None}}
    patch = {
        "tools": [weather, {"type": "function", "name": "bye", "description": "Hang up."}],
        "tool_choice": {"type": "function", "name": "weather"},
        "parallel_tool_calls": True,
        "reasoning": {"effort": "low"},
        "truncation": {
            "type": "retention_ratio",
            "retention_ratio": 0.5,
            "token_limits": {"post_instructions": 5},
        },
        "tracing": {"workflow_name": "w", "metadata": {"a": 1}},
        "include": ["item.input_audio_transcription.logprobs"],
    }
    audio = {"input": {"noise_reduction": {"type": "near_field", "strength": 0.5}}}
    session = update(make_protocol(), {"type": "realtime", **patch, "audio": audio})
    assert {name: session[name] for name in patch} == patch
    assert session["audio"]["input"]["noise_reduction"] == {"type": "near_field", "strength": 0.5}


def test_unknown_fields_and_other_models_are_ignored() -> None:
    protocol = make_protocol(model="anything/goes")
    session = update(
        protocol,
        {
            "type": "realtime",
            "model": "gpt-realtime-2.1",
            "temperature": 0.8,
            "new": {"a": [None]},
            "audio": {"input": {"x": 1}, "y": 2},
            "tools": [{"type": "function", "name": "f", "strict": True}],
        },
    )
    assert session == {**WHOLE, "model": "anything/goes", "tools": [{"type": "function", "name": "f"}]}


@pytest.mark.parametrize(
    ("wire", "form"),
    [
        ({"type": "audio/pcm", "rate": 24000}, AudioFormat("pcm", 24_000)),
        ({"type": "audio/pcm"}, AudioFormat("pcm", 24_000)),
        ({"type": "audio/pcmu"}, AudioFormat("pcmu", 8_000)),
        ({"type": "audio/pcma", "rate": 8000}, AudioFormat("pcma", 8_000)),
        ("pcm16", AudioFormat("pcm", 24_000)),
        ("g711_ulaw", AudioFormat("pcmu", 8_000)),
        ("g711_alaw", AudioFormat("pcma", 8_000)),
    ],
)
def test_audio_formats(wire: object, form: AudioFormat) -> None:
    protocol = make_protocol()
    session = update(protocol, {"audio": {"input": {"format": wire}}})
    assert (protocol.input_format, protocol.output_format.kind) == (form, "pcm")
    assert session["audio"]["input"]["format"]["type"] == f"audio/{form.kind}"
    update(protocol, {"audio": {"output": {"format": wire}}})
    assert protocol.output_format == form


def test_voices_are_echoed_and_an_object_names_one_too() -> None:
    protocol = make_protocol()
    assert update(protocol, {"audio": {"output": {"voice": "marin"}}})["audio"]["output"]["voice"] == "marin"
    session = update(protocol, {"audio": {"output": {"voice": {"id": "voice_1"}}}})
    assert session["audio"]["output"]["voice"] == {"id": "voice_1"}
    assert protocol.settings.voice == "voice_1"


def test_the_voice_is_fixed_once_it_was_heard() -> None:
    protocol = make_protocol()
    started = ReplyStarted(TurnId(1), "audio")
    protocol.tell(started)
    protocol.tell(MessageStarted(started.turn, ItemId("item_a")))
    update(protocol, {"audio": {"output": {"voice": "ash"}}})
    protocol.audio(started.turn, b"\0\0", "")
    update(protocol, {"audio": {"output": {"voice": "ash"}}})  # not a change
    error = refused(protocol, {"audio": {"output": {"voice": "marin"}}, "instructions": "x"})
    assert error["code"] == "cannot_update_voice"


def test_a_transcription_session() -> None:
    protocol = make_protocol(replace(SessionSettings(), show_transcripts=False))
    session = update(
        protocol, {"type": "transcription", "audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
    )
    assert session == {
        "type": "transcription",
        "object": "realtime.transcription_session",
        "id": "sess_1",
        "expires_at": 4_600,
        "include": None,
        "audio": {"input": {**WHOLE["audio"]["input"], "transcription": None}},  # type: ignore[index]
    }
    assert protocol.settings.show_transcripts
    assert protocol.settings.turn_detection == ServerVad(create_response=False)
    received = protocol.receive('{"type": "response.create"}')
    (event,) = check_server_frames(received.answers)
    assert event["error"]["code"] == "invalid_value"


def test_beta_names_are_understood_where_the_ga_name_is_absent() -> None:
    protocol = make_protocol()
    session = update(
        protocol,
        {
            "modalities": ["text", "audio"],
            "voice": "alloy",
            "speed": 1.1,
            "input_audio_format": "pcm16",
            "output_audio_format": "g711_ulaw",
            "input_audio_transcription": {"model": "whisper-1"},
            "input_audio_noise_reduction": {"type": "far_field"},
            "turn_detection": {"type": "server_vad", "threshold": 0.6},
            "max_response_output_tokens": 200,
            "temperature": 0.8,
            "audio": {"input": {"transcription": {"model": "ga"}}},
        },
    )
    assert session == {
        **WHOLE,
        "max_output_tokens": 200,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": {"model": "ga"},
                "noise_reduction": {"type": "far_field"},
                "turn_detection": {**SERVER_VAD, "threshold": 0.6},
            },
            "output": {"format": {"type": "audio/pcmu"}, "voice": "alloy", "speed": 1.1},
        },
    }
    assert refused(protocol, {"voice": 3})["param"] == "session.audio.output.voice"
    assert refused(protocol, {"voice": "x", "audio": []})["param"] == "session.audio"
    update(protocol, {"modalities": ["text"]})
    assert protocol.settings.modality == "text"


DEEP: Any = []
for _ in range(300):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        (None, "missing_required_parameter", "session"),
        ([], "invalid_value", "session"),
        ("x", "invalid_value", "session"),
        ({"type": "live"}, "invalid_value", "session.type"),
        ({"instructions": 3}, "invalid_value", "session.instructions"),
        ({"output_modalities": ["text", "audio"]}, "invalid_value", "session.output_modalities"),
        ({"output_modalities": []}, "invalid_value", "session.output_modalities"),
        ({"output_modalities": "audio"}, "invalid_value", "session.output_modalities"),
        ({"max_output_tokens": 0}, "invalid_value", "session.max_output_tokens"),
        ({"max_output_tokens": 4097}, "invalid_value", "session.max_output_tokens"),
        ({"max_output_tokens": "lots"}, "invalid_value", "session.max_output_tokens"),
        ({"max_output_tokens": True}, "invalid_value", "session.max_output_tokens"),
        ({"max_output_tokens": 1.5}, "invalid_value", "session.max_output_tokens"),
        ({"max_output_tokens": 1e29}, "invalid_value", "session.max_output_tokens"),
        ({"tools": {}}, "invalid_value", "session.tools"),
        ({"tools": [3]}, "invalid_value", "session.tools[0]"),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
        ({"tools": [{"name": "f"}]}, "missing_required_parameter", "session.tools[0].type"),
        (
            {"tools": [{"type": "mcp", "server_label": "x"}]},
            "missing_required_parameter",
            "session.tools[0].server_url",
        ),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": DEEP}]},
            "invalid_value",
            "session.tools[0].parameters",
        ),
        ({"tools": [{"type": "function", "name": "f"}] * 129}, "invalid_value", "session.tools"),
        ({"tool_choice": "maybe"}, "invalid_value", "session.tool_choice"),
        ({"tool_choice": {"type": "function"}}, "missing_required_parameter", "session.tool_choice.name"),
        ({"truncation": "off"}, "invalid_value", "session.truncation"),
        ({"tracing": 3}, "invalid_value", "session.tracing"),
        ({"prompt": {"id": "pmpt_1"}}, "invalid_value", "session.prompt"),
        ({"include": ["everything"]}, "invalid_value", "session.include[0]"),
        ({"audio": 3}, "invalid_value", "session.audio"),
        ({"audio": {"output": {"speed": 2}}}, "invalid_value", "session.audio.output.speed"),
        ({"audio": {"output": {"speed": "1"}}}, "invalid_value", "session.audio.output.speed"),
        ({"audio": {"output": {"voice": ""}}}, "invalid_value", "session.audio.output.voice"),
        (
            {"audio": {"output": {"voice": "v" * 513}}},
            "string_above_max_length",
            "session.audio.output.voice",
        ),
        ({"audio": {"output": {"voice": {}}}}, "missing_required_parameter", "session.audio.output.voice.id"),
        (
            {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}},
            "invalid_value",
            "session.audio.input.format.rate",
        ),
        (
            {"audio": {"input": {"format": {"type": "audio/opus"}}}},
            "invalid_value",
            "session.audio.input.format.type",
        ),
        ({"audio": {"input": {"format": "mp3"}}}, "invalid_value", "session.audio.input.format"),
        ({"audio": {"input": {"transcription": []}}}, "invalid_value", "session.audio.input.transcription"),
        (
            {"audio": {"input": {"noise_reduction": {"type": "loud"}}}},
            "invalid_value",
            "session.audio.input.noise_reduction.type",
        ),
        (
            {"audio": {"input": {"turn_detection": True}}},
            "invalid_value",
            "session.audio.input.turn_detection",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "magic"}}}},
            "invalid_value",
            "session.audio.input.turn_detection.type",
        ),
    ],
)
def test_wrong_values_are_named(session: object, code: str, param: str) -> None:
    error = refused(make_protocol(), session)
    assert (error["code"], error["param"]) == (code, param)
    assert len(error["message"]) < 400


@pytest.mark.parametrize("value", ["0.5", True, -0.1, 1.1, [], {}])
@pytest.mark.parametrize("name", ["threshold", "prefix_padding_ms", "silence_duration_ms"])
def test_numbers_must_be_numbers_in_range(name: str, value: object) -> None:
    error = refused(make_protocol(), {"audio": {"input": {"turn_detection": {name: value}}}})
    assert (error["code"], error["param"]) == ("invalid_value", f"session.audio.input.turn_detection.{name}")


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_json_does_not_have_is_named(literal: str) -> None:
    frame = (
        '{"type": "session.update", "session": {"type": "realtime", "audio": {"input": '
        f'{{"turn_detection": {{"type": "server_vad", "threshold": {literal}}}}}}}}}}}'
    )
    received = make_protocol().receive(frame)
    assert not received.commands
    (event,) = check_server_frames(received.answers)
    assert event["error"]["code"] == "invalid_value"
    assert event["error"]["param"] == "session.audio.input.turn_detection.threshold"
