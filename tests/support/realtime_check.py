"""Is what the server sends correct Realtime protocol? The strictest reading of the `openai` package's types.

The package itself reads leniently (`construct`): a wrong field shows as None there and breaks other clients.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, get_args

import orjson
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from voicestack.core.ids import SessionId
from voicestack.core.settings import SessionSettings
from voicestack.realtime.protocol import RealtimeProtocol
from voicestack.realtime.wire import ExtensionEvent, ServerEvent

EXTENSIONS = (
    "voicestack.clock.pong",
    "voicestack.conversation.resumed",
    "voicestack.turn.measured",
    "voicestack.user.hearing",
)
MAX_ID_CHARS = 32


def _event_types() -> dict[str, TypeAdapter[Any]]:
    union = get_args(RealtimeServerEvent)[0]
    found: dict[str, TypeAdapter[Any]] = {}
    for model in get_args(union):
        (kind,) = get_args(model.model_fields["type"].annotation)
        found[kind] = TypeAdapter(model)
    return found


EVENT_TYPES = _event_types()
_STRICT = ConfigDict(extra="forbid", strict=True)
DESCRIBED: dict[str, TypeAdapter[Any]] = {
    get_args(event.__annotations__["type"])[0]: TypeAdapter(list[event], config=_STRICT)  # type: ignore[valid-type]
    for event in (*get_args(ServerEvent), *get_args(ExtensionEvent))
}
"""Our own description, and nothing beyond it. In a list, as an event alone takes no configuration."""
NEVER_SENT = {"conversation.created", "conversation.item.created"}
"""Typed, but a client that knows the GA names is confused by them."""
UNTYPED = {"session.id", "session.object", "session.expires_at"}
"""Documented and sent by the original, but missing in the package's types."""
CALL_KEYS = ("output", "error", "approval_request_id")
"""Of an `mcp_call`: a client insists on them."""
NULLABLE = {
    "previous_item_id",
    "error.code",
    "error.param",
    "error.event_id",
    "item.content.transcript",
    "response.status_details",
    "response.usage",
    "response.conversation_id",
    "response.metadata",
    "session.tracing",
    "session.prompt",
    "session.include",
    "session.audio.input.transcription",
    "session.audio.input.noise_reduction",
    "session.audio.input.turn_detection",
    "session.audio.input.turn_detection.idle_timeout_ms",
    *(f"{place}.{name}" for place in ("item", "response.output") for name in CALL_KEYS),
}
"""Where clients expect null. Anywhere else a key without a value is left out: several clients refuse null."""
RESPONSE_KEYS = {
    "object",
    "id",
    "status",
    "status_details",
    "output",
    "conversation_id",
    "output_modalities",
    "max_output_tokens",
    "audio",
    "usage",
    "metadata",
}


def make_protocol(
    defaults: SessionSettings | None = None,
    *,
    model: str = "voicestack-1",
    extensions: bool = False,
    owns_playout: bool = False,
    numbers: Iterator[int] | None = None,
    now_ns: Callable[[], int] = lambda: 0,
) -> RealtimeProtocol:
    """A protocol with numbered names, at the Unix time 1000."""
    numbers = numbers or count(1)
    return RealtimeProtocol(
        session_id=SessionId("sess_1"),
        model=model,
        defaults=defaults or SessionSettings(),
        now_ns=now_ns,
        new_id=lambda first: f"{first}_{next(numbers)}",
        expires_at_s=4_600,
        extensions=extensions,
        owns_playout=owns_playout,
    )


def check_server_event(event: dict[str, Any], *, extensions: bool = False) -> None:
    """Raise AssertionError unless the event is exactly what the types allow, with nothing unknown in it."""
    kind = event["type"]
    assert kind in DESCRIBED, f"unknown type of event: {kind!r}"
    try:
        DESCRIBED[kind].validate_python([event])
    except ValidationError as error:
        raise AssertionError(f"not as described in realtime/wire: {error}\n{event}") from None
    if extensions and kind in EXTENSIONS:
        return
    assert kind in EVENT_TYPES, f"unknown type of event: {kind!r}"
    assert kind not in NEVER_SENT, f"{kind} is not a GA event"
    try:
        value = EVENT_TYPES[kind].validate_json(orjson.dumps(event), strict=True)
    except ValidationError as error:
        raise AssertionError(f"{kind}: {error}\n{event}") from None
    unknown = set(_unknown(value, "")) - UNTYPED
    assert not unknown, f"{kind}: unknown fields {sorted(unknown)}"
    nulls = set(_nulls(event, "")) - NULLABLE
    assert not nulls, f"{kind}: null at {sorted(nulls)}"
    if kind != "input_audio_buffer.dtmf_event_received":
        assert 0 < len(event["event_id"]) <= MAX_ID_CHARS, event["event_id"]
    for part in event.get("item", {}).get("content", ()):
        is_heard = part["type"] == "input_audio"
        assert "transcript" in part or not is_heard, "agents-realtime dies of a user's audio without the key"
        assert part.get("transcript", "") is not None or is_heard, f"{kind}: null transcript"
    if "response" in event:
        assert set(event["response"]) == RESPONSE_KEYS, sorted(event["response"])
        assert (event["response"]["usage"] is None) == (kind == "response.created")
    if kind == "error":
        assert set(event["error"]) == {"type", "code", "message", "param", "event_id"}


def _unknown(value: Any, path: str) -> Iterable[str]:
    """The paths that the types do not know."""
    if isinstance(value, BaseModel):
        yield from (f"{path}{name}" for name in value.model_extra or ())
        for name in value.model_fields_set & type(value).model_fields.keys():
            yield from _unknown(getattr(value, name), f"{path}{name}.")
    elif isinstance(value, list):
        for entry in value:
            yield from _unknown(entry, path)


def _nulls(value: Any, path: str) -> Iterable[str]:
    """The paths that are null, outside of what the client itself wrote (tool schemas and the like)."""
    if value is None:
        yield path.removesuffix(".")
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("parameters", "metadata", "input_schema", "annotations") or inner is None:
                yield from _nulls(inner, f"{path}{name}.")
    elif isinstance(value, list):
        for inner in value:
            yield from _nulls(inner, path)


def check_server_frames(frames: Iterable[bytes], *, extensions: bool = False) -> list[dict[str, Any]]:
    """Check every frame of one connection and what holds between them. Returns the events.

    - an event id is used once;
    - the text of a `.done` is what its deltas said;
    - `response.done` ends what `response.created` began, once, and shows the items of `output_item.done`;
    - the words of a user are what their deltas said;
    - deltas belong to a response, an item and a part that were announced and are not done;
    - output items are numbered in the order in which they are announced, and end before the response.
    """
    events = [orjson.loads(frame) for frame in frames]
    for event in events:
        check_server_event(event, extensions=extensions)
    ids = [event["event_id"] for event in events]
    assert len(set(ids)) == len(ids), "an event id was used twice"
    by_response: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event["type"].startswith("response.") and not event["type"].startswith("response.mcp_call."):
            response_id = event["response"]["id"] if "response" in event else event["response_id"]
            by_response[response_id].append(event)
    for own in by_response.values():
        _check_response(own)
    _check_transcriptions(events)
    return events


def _check_transcriptions(events: list[dict[str, Any]]) -> None:
    told: dict[str, str] = {}
    for event in events:
        match event["type"].removeprefix("conversation.item."):
            case "input_audio_transcription.delta":
                told[event["item_id"]] = told.get(event["item_id"], "") + event["delta"]
            case "input_audio_transcription.completed":
                assert event["transcript"] == told.pop(event["item_id"], "")
            case "input_audio_transcription.failed" | "deleted":
                told.pop(event["item_id"], None)


def _check_response(events: list[dict[str, Any]]) -> None:
    kinds = [event["type"] for event in events]
    assert kinds[0] == "response.created", kinds
    assert kinds.count("response.created") == 1, kinds
    assert kinds.count("response.done") <= 1, kinds
    assert "response.done" not in kinds[:-1], kinds
    assert events[0]["response"]["status"] == "in_progress"
    texts: dict[tuple[str, str], str] = defaultdict(str)  # by item and kind
    open_items: set[str] = set()
    open_parts: set[str] = set()
    done_items: dict[int, Any] = {}
    for event in events:
        kind, item = event["type"], event.get("item_id", "")
        match kind.removeprefix("response."):
            case "output_item.added":
                assert event["output_index"] == len(open_items) + len(done_items)
                open_items.add(event["item"]["id"])
            case "output_item.done":
                open_items.remove(event["item"]["id"])
                done_items[event["output_index"]] = event["item"]
            case "content_part.added":
                assert item in open_items
                open_parts.add(item)
            case "content_part.done":
                open_parts.remove(item)
                assert event["part"][_words_field(event["part"])] == texts[item, "words"]
            case "function_call_arguments.delta" | "mcp_call_arguments.delta":
                assert item in open_items, f"{kind} outside of a call"
                texts[item, "arguments"] += event["delta"]
            case "function_call_arguments.done" | "mcp_call_arguments.done":
                assert event["arguments"] == texts[item, "arguments"]
            case "output_audio.delta":
                assert item in open_parts, f"{kind} outside of a content part"
            case "output_text.delta" | "output_audio_transcript.delta":
                assert item in open_parts, f"{kind} outside of a content part"
                texts[item, "words"] += event["delta"]
            case "output_text.done" | "output_audio_transcript.done":
                said = event["text"] if "text" in event else event["transcript"]
                assert said == texts[item, "words"]
            case "done":
                assert event["response"]["output"] == [done_items[at] for at in sorted(done_items)]
                assert not open_items, "the response ended before its items"
                assert event["response"]["status"] != "in_progress"


def _words_field(part: dict[str, Any]) -> str:
    return "text" if part["type"] == "text" else "transcript"
