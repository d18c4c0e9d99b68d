"""Would the machine decide today as it did in this recorded call?

A recording is JSON lines. The first says what it is, the others come in the order in which things happened::

    {"voicestack_call": 1, "session": "sess_1", "words": "placeholders", "policy": {"create_reply": ...}}
    {"event": {"type": "SpeechStarted", "at_ns": 12, "utterance": 1}, "actions": []}
    {"policy": {"create_reply": ...}}

The machine is pure, so events and policies are all that a call's decisions depend on. It looks at words only
to see whether they are there and whether two texts are equal; `Pseudonyms` keeps exactly that.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from voicestack.core.errors import VoiceStackError
from voicestack.turn.actions import Action
from voicestack.turn.events import Event, WordsHeard
from voicestack.turn.machine import step
from voicestack.turn.policy import Policy
from voicestack.turn.state import State

VERSION = 1
"""Raised when a recording of the day before can no longer be read."""

WordsKept = Literal["placeholders", "verbatim"]
Fields = dict[str, Any]
"""A JSON object."""

T = TypeVar("T")

_EVENTS: Mapping[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}
_ACTIONS: Mapping[str, type[Action]] = {kind.__name__: kind for kind in get_args(Action)}
_WORDS = ("text", "words")
"""The fields of events and actions that hold what the user said."""


class BrokenRecording(VoiceStackError):
    """This is not a recording, or not one that this version can read. The message names the line."""

    code = "recording_broken"


class Pseudonyms:
    """Puts a placeholder in the place of every word, always the same for the same word.

    White space stays as it is, so joining, stripping and comparing texts come out as with the words
    themselves. What can still be told is how many words there were and which were repeated.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def hide(self, text: str) -> str:
        """The text with its words replaced by w1, w2, ... in the order of their first use."""
        return re.sub(r"\S+", self._name, text)

    def _name(self, word: re.Match[str]) -> str:
        return self._names.setdefault(word.group(), f"w{len(self._names) + 1}")


def encode_header(session: str, policy: Policy, words: WordsKept) -> Fields:
    """The first line of a recording."""
    return {"voicestack_call": VERSION, "session": session, "words": words, "policy": asdict(policy)}


def encode_step(event: Event, actions: Iterable[Action], hidden: Pseudonyms | None) -> Fields:
    """The line for one decision; `hidden` None keeps the words."""
    return {
        "event": _hide(encode_event(event), hidden),
        "actions": [_hide(encode_action(action), hidden) for action in actions],
    }


def encode_policy(policy: Policy) -> Fields:
    """The line for a change of policy."""
    return {"policy": asdict(policy)}


def encode_event(event: Event) -> Fields:
    """An event as a JSON object."""
    return _object(event)


def encode_action(action: Action) -> Fields:
    """An action as a JSON object."""
    return _object(action)


def decode_event(fields: object) -> Event:
    """The event that `encode_event` was given.

    Raises:
        BrokenRecording: it is none.
    """
    return cast(Event, _decode(fields, _EVENTS, "event"))


def decode_action(fields: object) -> Action:
    """The action that `encode_action` was given.

    Raises:
        BrokenRecording: it is none.
    """
    return cast(Action, _decode(fields, _ACTIONS, "action"))


@dataclass(frozen=True, slots=True)
class Difference:
    """The first decision that is not what it was.

    Attributes:
        index: Which event it was, counted from 1.
        line: Where it stands in the recording, counted from 1.
        event: What happened.
        before: The machine's state when it happened.
        expected: What was done in the call.
        got: What the machine does now.
    """

    index: int
    line: int
    event: Event
    before: State
    expected: tuple[Action, ...]
    got: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of it: the first difference, if there is one, and how many events were decided again."""

    session: str
    n_events: int
    difference: Difference | None
    cut_off: bool = False
    """The last line is incomplete, as after a power cut or on a full disk. It was left out."""


def replay(lines: Iterable[str]) -> Replay:
    """Decide a recorded call again, up to the first difference.

    Args:
        lines: The recording, each line with its line feed.

    Raises:
        BrokenRecording: a line is not what a recording consists of.
    """
    numbered = enumerate(lines, start=1)
    session, policy = _decode_header(next(numbered, (1, ""))[1])
    state, n_events = State(), 0
    for number, line in numbered:
        fields = _parse(line, number)
        if fields is None:
            return Replay(session, n_events, None, cut_off=True)
        try:
            if fields.keys() == {"policy"}:
                policy = _build(Policy, fields["policy"])
                continue
            event, expected = _decode_step(fields)
        except BrokenRecording as error:
            raise BrokenRecording(f"line {number}: {error}") from None
        n_events += 1
        before = state
        state, got = step(before, event, policy)
        if got != expected:
            return Replay(session, n_events, Difference(n_events, number, event, before, expected, got))
    return Replay(session, n_events, None)


def _object(flat: Event | Action) -> Fields:
    fields: Fields = {"type": type(flat).__name__}
    fields.update((name, getattr(flat, name)) for name in flat.__match_args__)
    return fields


def _hide(fields: Fields, hidden: Pseudonyms | None) -> Fields:
    if hidden is not None:
        for name in _WORDS:
            if name in fields:
                fields[name] = hidden.hide(fields[name])
    return fields


def _decode_header(line: str) -> tuple[str, Policy]:
    try:
        fields = _parse(line, 1)
        version = None if fields is None else fields.get("voicestack_call")
    except BrokenRecording:
        fields = version = None
    if fields is None or version is None:
        raise BrokenRecording("line 1: this is not a recorded call") from None
    if version != VERSION:
        raise BrokenRecording(f"line 1: version {version!r} of the format; this program reads {VERSION}")
    try:
        return str(fields.get("session", "")), _build(Policy, fields.get("policy"))
    except BrokenRecording as error:
        raise BrokenRecording(f"line 1: {error}") from None


def _decode_step(fields: Fields) -> tuple[Event, tuple[Action, ...]]:
    if fields.keys() != {"event", "actions"} or not isinstance(fields["actions"], list):
        raise BrokenRecording("neither a decision nor a policy")
    return decode_event(fields["event"]), tuple(decode_action(action) for action in fields["actions"])


def _parse(line: str, number: int) -> Fields | None:
    """The line as an object; None when it is the last one and was not written to its end."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        if not line.endswith("\n"):
            return None
        raise BrokenRecording(f"line {number}: not JSON") from None
    if not isinstance(fields, dict):
        raise BrokenRecording(f"line {number}: not a JSON object")
    return fields


def _decode(fields: object, kinds: Mapping[str, type], what: str) -> object:
    if not isinstance(fields, dict):
        raise BrokenRecording(f"the {what} is not a JSON object")
    name = fields.get("type")
    if not isinstance(name, str) or name not in kinds:
        raise BrokenRecording(f"there is no {what} called {name!r}")
    return _build(kinds[name], {key: value for key, value in fields.items() if key != "type"})


def _build(kind: type[T], fields: object) -> T:
    """Make a flat dataclass of ints, bools, strings and literals from a JSON object of the same names.

    A recording from before the policy had one of its knobs is read as if the knob were at its default, and
    one from before lost words were told apart as if none had been lost.
    """
    if not isinstance(fields, dict):
        raise BrokenRecording(f"the {kind.__name__} is not a JSON object")
    hints = get_type_hints(kind)
    if kind is Policy:
        fields = {**asdict(Policy()), **fields} if fields else fields
    if kind is WordsHeard:
        fields = {"lost": False, **fields}
    if fields.keys() != hints.keys():
        wrong = ", ".join(sorted(fields.keys() ^ hints.keys()))
        raise BrokenRecording(f"{kind.__name__}: missing or unknown: {wrong}")
    for name, hint in hints.items():
        if not _fits(fields[name], hint):
            raise BrokenRecording(f"{kind.__name__}.{name} cannot be {fields[name]!r}")
    return kind(**fields)


def _fits(value: object, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is UnionType:
        return any(_fits(value, one) for one in get_args(hint))
    return type(value) is getattr(hint, "__supertype__", hint)
