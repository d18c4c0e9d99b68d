"""The small pure pieces: what may be told of unsure words, how errors are told, what an id looks like."""

import pytest

from tests.support.realtime_check import MAX_ID_CHARS, check_server_event
from voicestack.core.errors import (
    ConfigError,
    Overloaded,
    PeerProtocolError,
    RateLimited,
    StageError,
    StageTimeout,
    TransportLost,
    VoiceStackError,
)
from voicestack.realtime.codes import error_fields
from voicestack.realtime.writer import Writer


@pytest.mark.parametrize(
    ("error", "kind", "code", "param"),
    [
        (PeerProtocolError("x"), "invalid_request_error", "invalid_event", None),
        (RateLimited("x"), "rate_limit_error", "rate_limit_exceeded", None),
        (
            PeerProtocolError("x", code="invalid_value", param="a.b"),
            "invalid_request_error",
            "invalid_value",
            "a.b",
        ),
        (Overloaded("secret", retry_after_ms=5), "server_error", "overloaded", None),
        (StageTimeout("secret", stage="tts"), "server_error", "stage_timeout", None),
        (StageError("secret", stage="vad"), "server_error", "stage_failed", None),
        (TransportLost("secret"), "server_error", "transport_lost", None),
        (ConfigError("secret"), "server_error", "config_invalid", None),
        (VoiceStackError("secret"), "server_error", "server_error", None),
    ],
)
def test_every_error_has_its_wire_form(
    error: VoiceStackError, kind: str, code: str, param: str | None
) -> None:
    fields = error_fields(error)
    assert (fields["type"], fields["code"], fields["param"]) == (kind, code, param)
    assert fields["message"]
    assert "secret" not in fields["message"]
    assert "{" not in fields["message"]


def test_event_ids_stay_short_for_a_long_time() -> None:
    writer = Writer(lambda first: f"{first}_" + "0123456789abcdef" * 2)
    writer._n_events = 10**10
    assert writer.event("x") == b'{"type":"x","event_id":"event_0123456789abcd_10000000001"}'
    assert len("event_0123456789abcd_10000000001") == MAX_ID_CHARS


GOOD = {"type": "input_audio_buffer.committed", "event_id": "e", "item_id": "i", "previous_item_id": None}


@pytest.mark.parametrize(
    "change",
    [
        {"type": "input_audio_buffer.commited"},
        {"type": "conversation.item.created"},
        {"item_id": None},
        {"item_id": 3},
        {"extra": 1},
        {"event_id": ""},
        {"event_id": "e" * 33},
    ],
)
def test_the_checker_itself_can_fail(change: dict[str, object]) -> None:
    check_server_event(GOOD)
    with pytest.raises(AssertionError):
        check_server_event({**GOOD, **change})


def test_the_checker_looks_inside() -> None:
    item = {"id": "i", "object": "realtime.item", "type": "message", "status": "completed", "role": "user"}
    item["content"] = [{"type": "input_audio", "transcript": None}]  # type: ignore[assignment]
    event = {"type": "conversation.item.added", "event_id": "e", "previous_item_id": None, "item": item}
    check_server_event(event)
    for wrong in (
        {"type": "input_audio"},
        {"type": "output_audio", "transcript": None},
        {"type": "audio"},
        {"type": "input_audio", "transcript": "hi", "x": 1},
    ):
        with pytest.raises(AssertionError):
            check_server_event({**event, "item": {**item, "content": [wrong]}})
