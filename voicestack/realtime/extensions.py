"""What is said beyond the Realtime API: the time, when an answer was heard, what was said before."""

from collections.abc import Iterable, Mapping
from typing import Any

from voicestack.core.commands import MarkHeard
from voicestack.core.errors import PeerProtocolError
from voicestack.core.history import Entry, Item
from voicestack.core.ids import TurnId
from voicestack.realtime.checks import Check, JsonObject, missing, number, shown, text
from voicestack.realtime.items import ID_CHARS, wire_role

MAX_MS = 1e12
"""More than thirty years: enough for a client that takes the time since 1970 for its clock."""

_time = number(-MAX_MS, MAX_MS)
_error = number(0, MAX_MS)
_name: Check = text(at_least=1, at_most=ID_CHARS)


def _field(event: JsonObject, name: str, check: Check) -> Any:
    if event.get(name) is None:
        missing(name)
    return check(event[name], name)


def pong_fields(event: JsonObject, session_ns: int) -> JsonObject:
    """The fields of the answer to a `voicestack.clock.ping`.

    Args:
        event: The ping.
        session_ns: Time since the session began.

    Raises:
        PeerProtocolError: there is no time in the ping.
    """
    return {"client_ms": _field(event, "client_ms", _time), "server_ms": session_ns / 1e6}


def heard_of(event: JsonObject, turns: Mapping[str, TurnId], begun_ns: int) -> MarkHeard:
    """The command in a `voicestack.audio.heard`.

    Args:
        event: It.
        turns: The replies by the names of their responses.
        begun_ns: When the session began: the zero of the client's times.

    Raises:
        PeerProtocolError: something is missing, or there is no such response.
    """
    name, heard_ms = _field(event, "response_id", _name), _field(event, "heard_ms", _time)
    error_ms = _field(event, "error_ms", _error)
    if name not in turns:
        raise PeerProtocolError(
            f"There is no response {shown(name)}.", code="invalid_value", param="response_id"
        )
    return MarkHeard(turns[name], begun_ns + round(heard_ms * 1e6), round(error_ms * 1e6))


def said_earlier(entries: Iterable[Entry], *, show_transcripts: bool) -> list[JsonObject]:
    """The messages among the entries that have words, for `voicestack.conversation.resumed`.

    Args:
        entries: The conversation, oldest first.
        show_transcripts: Whether the client may see what was understood of the user's speech.
    """
    return [
        {"id": entry.id, "role": wire_role(entry.role), "text": entry.text}
        for entry in entries
        if isinstance(entry, Item) and entry.text
        if show_transcripts or entry.role != "user" or not entry.spoken
    ]
