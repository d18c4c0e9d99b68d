"""What does a client event ask for? Every event is checked completely before anything is done about it."""

import json
from collections.abc import Callable
from math import isfinite
from typing import Any

import orjson

from voicestack.core.commands import AddItem, TruncateItem
from voicestack.core.errors import PeerProtocolError
from voicestack.core.history import Entry
from voicestack.core.ids import ItemId
from voicestack.core.settings import Modality, ReplyOptions
from voicestack.core.tools import Toolbox
from voicestack.realtime.checks import (
    Check,
    JsonObject,
    choice,
    flag,
    listing,
    missing,
    record,
    refuse,
    shown,
    text,
    whole,
)
from voicestack.realtime.formats import AudioFormat, audio_data, audio_format
from voicestack.realtime.items import ID_CHARS, Recording, Taken, entry_of
from voicestack.realtime.responses import Wish
from voicestack.realtime.session_fields import (
    ga_names,
    max_output_tokens,
    modalities,
    prompt,
    reasoning,
    tool_choice,
    toolbox_of,
    tools,
    voice,
)
from voicestack.realtime.session_object import SessionObject, name_of

EVENT_ID_CHARS = 512
MAX_OUTPUT_TOKENS = 4096
"""The API's own bound, which is what "inf" means for a reply in a session with a lower one."""
MAX_INPUT_ITEMS = 1000
LONGEST_EXPLAINED_CHARS = 65_536
"""Broken JSON up to this size is read again, slowly, to say what is wrong with it."""

_item_id: Check = text(at_least=1, at_most=ID_CHARS)
_reference = record({"id": _item_id}, required=("id",))
_event_id: Check = text(at_most=EVENT_ID_CHARS)


def decode_event(frame: str) -> JsonObject:
    """The event in a text frame.

    Raises:
        PeerProtocolError: it is not a JSON object.
    """
    try:
        event = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        _explain(frame)
        raise PeerProtocolError(f"The frame is not valid JSON: {error}.") from None
    if not isinstance(event, dict):
        raise PeerProtocolError(f"An event is a JSON object, but got {shown(event)}.")
    return event


def _explain(frame: str) -> None:
    """Raise a better error when the only fault is a number such as NaN, which JSON does not have."""
    if len(frame) > LONGEST_EXPLAINED_CHARS:
        return
    try:
        value = json.loads(frame)
    except (ValueError, RecursionError):
        return
    todo: list[tuple[str, Any]] = [("", value)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, dict):
            todo += [(f"{path}.{name}", inner) for name, inner in value.items()]
        elif isinstance(value, list):
            todo += [(f"{path}[{at}]", inner) for at, inner in enumerate(value)]
        elif isinstance(value, float) and not isfinite(value):
            printable = path.removeprefix(".").encode(errors="replace").decode()  # names may hold surrogates
            refuse(printable, "a finite number", value)


def event_id_of(event: JsonObject) -> str | None:
    """The client's name for the event, to be repeated when something is wrong with it."""
    value = event.get("event_id")
    return None if value is None else _event_id(value, "event_id")


def audio_of(event: JsonObject, form: AudioFormat) -> bytes:
    """The audio in an `input_audio_buffer.append`."""
    if event.get("audio") is None:
        missing("audio")
    return audio_data(event["audio"], "audio", form)


def new_item_of(
    event: JsonObject, event_id: str | None, new_id: Callable[[str], str], session: SessionObject
) -> AddItem:
    """The command in a `conversation.item.create`."""
    named = event.get("previous_item_id")
    after = None if named is None else _item_id(named, "previous_item_id")
    entry = entry_of(event.get("item"), "item", new_id, _taken(session))
    if isinstance(entry, Recording):
        return AddItem(entry.item, after, event_id, entry.sound)
    return AddItem(entry, after, event_id)


def _taken(session: SessionObject) -> Taken:
    return Taken(session.input_format, session.takes_images)


def item_id_of(event: JsonObject) -> ItemId:
    """The item that an event is about."""
    if event.get("item_id") is None:
        missing("item_id")
    return ItemId(_item_id(event["item_id"], "item_id"))


def truncation_of(event: JsonObject, event_id: str | None) -> TruncateItem:
    """The command in a `conversation.item.truncate`. An item has one part, so the index is 0."""
    item_id = item_id_of(event)
    for name, high in (("content_index", 0), ("audio_end_ms", 1 << 31)):
        if event.get(name) is None:
            missing(name)
        whole(0, high)(event[name], name)
    return TruncateItem(item_id, int(event["audio_end_ms"]), event_id)


def response_id_of(event: JsonObject) -> str | None:
    """The reply that a `response.cancel` is about, None for whichever there is."""
    value = event.get("response_id")
    return None if value is None else _item_id(value, "response_id")


def _metadata(value: Any, path: str) -> dict[str, str]:
    """A `Check`: the bounds are the API's."""
    if not isinstance(value, dict) or len(value) > 16:
        refuse(path, "an object with at most 16 entries", value)
    for name, entry in value.items():
        text(at_most=64)(name, path)
        text(at_most=512)(entry, f"{path}.{name[:64]}")
    return value


_RESPONSE = record(
    {
        "conversation": choice("auto", "none"),
        "input": listing(lambda entry, _: entry, at_most=MAX_INPUT_ITEMS),
        "instructions": text(),
        "output_modalities": modalities,
        "audio": record({"output": record({"format": audio_format, "voice": voice})}),
        "tools": tools,
        "tool_choice": tool_choice,
        "parallel_tool_calls": flag,
        "reasoning": reasoning,
        "max_output_tokens": max_output_tokens,
        "metadata": _metadata,
        "prompt": prompt,
    }
)


def wish_of(event: JsonObject, session: SessionObject, new_id: Callable[[str], str]) -> Wish:
    """What a `response.create` asks for. `new_id` names it, and its items where the client has not."""
    if session.is_transcription:
        raise PeerProtocolError(
            "A transcription session has no responses.", code="invalid_value", param="type"
        )
    asked: JsonObject = _RESPONSE(ga_names(event.get("response") or {}), "response")
    output: JsonObject = asked.get("audio", {}).get("output", {})
    if (
        output.get("format", session.fields["audio"]["output"]["format"])
        != (session.fields["audio"]["output"]["format"])
    ):
        refuse("response.audio.output.format", "the session's own format", output["format"])
    limit = asked.get("max_output_tokens")
    modality: Modality | None = asked.get("output_modalities", [None])[0]
    options = ReplyOptions(
        instructions=asked.get("instructions"),
        modality=modality,
        voice=name_of(output["voice"]) if "voice" in output else None,
        max_output_tokens=_reply_limit(limit, session),
        toolbox=_toolbox(asked, session),
        entries=_entries(asked, session, new_id),
        aside=asked.get("conversation") == "none",
        tag=new_id("wish"),
    )
    return Wish(options, limit, asked.get("metadata"))


def _toolbox(asked: JsonObject, session: SessionObject) -> Toolbox | None:
    if "tools" not in asked and "tool_choice" not in asked:
        return None
    fields = {**session.fields, **asked}
    own = session.with_addresses(asked.get("tools", []), "response.tools")
    if asked.get("conversation") == "none" and any(tool["type"] == "mcp" for tool in own):
        refuse("response.tools", "functions only, as this response is outside the conversation", "mcp")
    return toolbox_of(own if "tools" in asked else fields["tools"], fields["tool_choice"])


def _entries(
    asked: JsonObject, session: SessionObject, new_id: Callable[[str], str]
) -> tuple[Entry | ItemId, ...] | None:
    """What the reply is to answer, an `item_reference` by its name alone."""
    if "input" not in asked:
        return None
    entries: list[Entry | ItemId] = []
    for at, value in enumerate(asked["input"]):
        path = f"response.input[{at}]"
        if isinstance(value, dict) and value.get("type") == "item_reference":
            entries.append(ItemId(_reference(value, path)["id"]))
        else:
            entry = entry_of(value, path, new_id, _taken(session))
            if isinstance(entry, Recording):
                refuse(f"{path}.content", "words: put the audio into the conversation first", "audio")
            entries.append(entry)
    return tuple(entries)


def _reply_limit(asked: int | str | None, session: SessionObject) -> int | None:
    if not isinstance(asked, str):
        return asked
    return None if session.fields["max_output_tokens"] == "inf" else MAX_OUTPUT_TOKENS
