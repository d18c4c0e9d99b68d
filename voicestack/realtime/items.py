"""How is one entry of the conversation written on the wire, and what does a client's item mean?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from voicestack.core.audio import Pcm
from voicestack.core.errors import PeerProtocolError
from voicestack.core.history import (
    ApprovalItem,
    CallItem,
    Entry,
    Item,
    ItemStatus,
    ListingItem,
    OutputItem,
    Role,
    VerdictItem,
)
from voicestack.core.ids import ItemId
from voicestack.core.tools import ToolCall
from voicestack.realtime.checks import JsonObject, choice, flag, listing, missing, record, shown, text
from voicestack.realtime.formats import AudioFormat, audio_data, to_ear
from voicestack.realtime.images import image_of
from voicestack.realtime.mcp_items import wire_approval, wire_listing, wire_remote_call, wire_verdict

ID_CHARS = 512
"""Longest name a client may give. The API's own names have at most 32 characters, clients' may have more."""

_WIRE_ROLES: dict[Role, str] = {"system": "system", "user": "user", "agent": "assistant"}
_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "agent"}
_PART_FIELDS: dict[Role, dict[str, str]] = {
    "system": {"input_text": "text", "text": "text"},
    "user": {"input_text": "text", "text": "text", "input_audio": "transcript"},
    "agent": {
        "output_text": "text",
        "text": "text",
        "output_audio": "transcript",
        "audio": "transcript",
    },
}
"""Content parts that are words, and the field with the words. `text` and `audio` are beta names."""

_message = record(
    {
        "id": text(at_least=1, at_most=ID_CHARS),
        "role": choice(*_ROLES),
        "content": listing(lambda part, _: part, at_most=1000),
    },
    required=("role", "content"),
)


_call = record(
    {
        "id": text(at_least=1, at_most=ID_CHARS),
        "call_id": text(at_least=1, at_most=ID_CHARS),
        "name": text(at_least=1, at_most=ID_CHARS),
        "arguments": text(),
    },
    required=("name", "arguments"),
)
_output = record(
    {
        "id": text(at_least=1, at_most=ID_CHARS),
        "call_id": text(at_least=1, at_most=ID_CHARS),
        "output": text(),
    },
    required=("call_id", "output"),
)
_verdict = record(
    {
        "id": text(at_least=1, at_most=ID_CHARS),
        "approval_request_id": text(at_least=1, at_most=ID_CHARS),
        "approve": flag,
        "reason": text(at_most=1000),
    },
    required=("approval_request_id", "approve"),
)


@dataclass(frozen=True, slots=True)
class Recording:
    """A message of the user's that is sound. `item` has no words yet."""

    item: Item
    sound: Pcm


@dataclass(frozen=True, slots=True)
class Taken:
    """What a client's items may hold beside words: audio in the format `audio`, and, or not, `images`."""

    audio: AudioFormat
    images: bool = False


def entry_of(value: Any, path: str, new_id: Callable[[str], str], taken: Taken) -> Entry | Recording:
    """The entry that a client wants in the conversation; `new_id` names it when the client has not.

    Where a transcript comes with audio, that is what was said.

    Raises:
        PeerProtocolError: it is not a message made of words, sound or pictures, a call or a call's output.
    """
    if not isinstance(value, dict) or value.get("type") is None:
        missing(path if value is None else f"{path}.type")
    match value["type"]:
        case "message":
            return _message_of(value, path, new_id, taken)
        case "function_call":
            fields: JsonObject = _call(value, path)
            call = ToolCall(fields.get("call_id") or new_id("call"), fields["name"], fields["arguments"])
            return CallItem(ItemId(fields.get("id") or new_id("item")), call)
        case "function_call_output":
            fields = _output(value, path)
            return OutputItem(ItemId(fields.get("id") or new_id("item")), fields["call_id"], fields["output"])
        case "mcp_approval_response":
            fields = _verdict(value, path)
            request = ItemId(fields["approval_request_id"])
            item_id = ItemId(fields.get("id") or new_id("item"))
            return VerdictItem(item_id, request, fields["approve"], fields.get("reason", ""))
        case kind:
            what = "'message', 'function_call', 'function_call_output' and 'mcp_approval_response'"
            raise PeerProtocolError(
                f"Invalid value: {shown(kind)}. Supported values are: {what}.",
                code="invalid_value",
                param=f"{path}.type",
            )


def _message_of(value: Any, path: str, new_id: Callable[[str], str], taken: Taken) -> Item | Recording:
    """Several parts are one text, a line each, and pictures."""
    fields: JsonObject = _message(value, path)
    role, item_id = _ROLES[fields["role"]], ItemId(fields.get("id") or new_id("item"))
    places = [(part, f"{path}.content[{at}]") for at, part in enumerate(fields["content"])]
    if role == "user" and len(places) == 1 and (data := _sound(*places[0], taken.audio)):
        return Recording(Item(item_id, "user", None, spoken=True), to_ear(data, taken.audio))
    shown_with = [place for place in places if role == "user" and _is_image(place[0])]
    images = tuple(image_of(part, place, taken=taken.images) for part, place in shown_with)
    places = [place for place in places if place not in shown_with] if shown_with else places
    spoken = [isinstance(part, dict) and "audio" in str(part.get("type")) for part, _ in places]
    words = [_words(part, role, place) for part, place in places]
    return Item(item_id, role, "\n".join(words), spoken=role == "user" and any(spoken), images=images)


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "input_image"


def _sound(part: Any, path: str, form: AudioFormat) -> bytes:
    """The audio of a part whose words the client does not know."""
    if not isinstance(part, dict) or part.get("type") != "input_audio" or part.get("transcript"):
        return b""
    encoded = part.get("audio")
    if encoded is None:
        missing(f"{path}.audio")
    return audio_data(encoded, f"{path}.audio", form)


def _words(part: Any, role: Role, path: str) -> str:
    kinds = _PART_FIELDS[role]
    kind = record({"type": text()}, required=("type",))(part, path)["type"]
    if kind == "input_audio" and role == "user" and not part.get("transcript"):
        raise PeerProtocolError(
            "Audio without a transcript must be the only content of its item.",
            code="invalid_value",
            param=path,
        )
    choice(*kinds)(kind, f"{path}.type")
    field = kinds[kind]
    required = (field,) if field == "text" else ()
    words: JsonObject = record({field: text()}, required=required)(part, path)
    return str(words.get(field, ""))


def wire_role(role: Role) -> str:
    """What the API calls it."""
    return _WIRE_ROLES[role]


def wire_entry(entry: Entry, *, show_transcript: bool = True) -> JsonObject:
    """The entry as the client sees it. `show_transcript` as in `wire_item`."""
    match entry:
        case Item():
            return wire_item(entry, show_transcript=show_transcript)
        case CallItem():
            return wire_call(entry)
        case ListingItem():
            return wire_listing(entry)
        case ApprovalItem():
            return wire_approval(entry)
        case VerdictItem():
            return wire_verdict(entry)
        case OutputItem(id=item_id, call_id=call_id, output=output):
            return {
                "id": item_id,
                "object": "realtime.item",
                "type": "function_call_output",
                "status": "completed",
                "call_id": call_id,
                "output": output,
            }


def wire_call(item: CallItem) -> JsonObject:
    """A call as the client sees it."""
    if item.remote is not None:
        return wire_remote_call(item, item.remote)
    return {
        "id": item.id,
        "object": "realtime.item",
        "type": "function_call",
        "status": item.status,
        "name": item.call.name,
        "call_id": item.call.call_id,
        "arguments": item.call.arguments,
    }


def wire_item(item: Item, *, status: ItemStatus | None = None, show_transcript: bool = True) -> JsonObject:
    """The item as the client sees it. Audio and pictures themselves are not part of it.

    Args:
        item: The entry.
        status: Shown instead of the item's own.
        show_transcript: Whether the client may see what was understood of the user's speech.
    """
    part: JsonObject
    words = item.text
    if item.role == "user" and item.spoken:
        # null, not left out: agents-realtime dies of a user's audio without the key.
        part = {"type": "input_audio", "transcript": words if show_transcript else None}
    elif item.role != "agent":
        part = {"type": "input_text", "text": words or ""}
    elif item.spoken:
        part = {"type": "output_audio", "transcript": words or ""}
    else:
        part = {"type": "output_text", "text": words or ""}
    images: list[JsonObject] = [{"type": "input_image", "detail": image.detail} for image in item.images]
    parts = images if images and not words else [part, *images]
    return wire_message(item.id, item.role, status or item.status, parts)


def wire_message(item_id: ItemId, role: Role, status: ItemStatus, content: list[JsonObject]) -> JsonObject:
    """A message item with this content."""
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": wire_role(role),
        "content": content,
    }
