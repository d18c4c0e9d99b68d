"""The conversation as heard: what the user said, what the user heard the agent say, and what tools did.

The language model is given exactly this. An agent item grows with the frames that leave for the peer and
shrinks again when the peer says how much of them was played.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from voicestack.core.ids import ItemId
from voicestack.core.images import Image
from voicestack.core.served import RemoteCall, ServedTool
from voicestack.core.tools import ToolCall

Role = Literal["system", "user", "agent"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message for a language model.

    Attributes:
        role: Who says it; `tool` for what a call came to.
        text: The words, or the tool's output.
        calls: The calls that the agent made after these words.
        call_id: The call that a `tool` message answers.
        images: What the user shows with these words.
    """

    role: Role | Literal["tool"]
    text: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the conversation.

    Attributes:
        id: Its name on the wire.
        role: Whose words these are.
        text: The words; None while the recogniser has not finished with them.
        spoken: Whether it was said aloud (in either direction) rather than typed.
        status: `incomplete` for a reply that was cut off.
        images: What the user shows with the words.
        filler: The beginning of the words that only filled a silence. The LLM is not given it: it would learn
            to begin like that.
    """

    id: ItemId
    role: Role
    text: str | None = ""
    spoken: bool = False
    status: ItemStatus = "completed"
    images: tuple[Image, ...] = ()
    filler: str = ""

    @property
    def said(self) -> str:
        """The words without what only filled a silence."""
        text = self.text or ""
        if self.filler.startswith(text):
            return ""
        return text.removeprefix(self.filler).strip() if self.filler else text


@dataclass(frozen=True, slots=True)
class CallItem:
    """A call that the LLM made. `incomplete` when it was stopped while it wrote the arguments.

    `remote` is there when it is this side that calls a server, and not the peer that calls its function.
    """

    id: ItemId
    call: ToolCall
    status: ItemStatus = "completed"
    remote: RemoteCall | None = None

    @property
    def output(self) -> str | None:
        """What a server answered, as the LLM is told; None while, or where, none has."""
        return self.remote.outcome.told if self.remote and self.remote.outcome else None


@dataclass(frozen=True, slots=True)
class OutputItem:
    """What a call came to, as the peer says."""

    id: ItemId
    call_id: str
    output: str


@dataclass(frozen=True, slots=True)
class ListingItem:
    """The tools of a server, as far as the peer allows them."""

    id: ItemId
    label: str
    tools: tuple[ServedTool, ...] = ()
    status: ItemStatus = "completed"


@dataclass(frozen=True, slots=True)
class ApprovalItem:
    """The peer is asked whether this call may be made. `call_item` is the call's own entry."""

    id: ItemId
    call_item: ItemId
    label: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class VerdictItem:
    """What the peer says to an `ApprovalItem`, `request`."""

    id: ItemId
    request: ItemId
    approve: bool
    reason: str = ""


Entry = Item | CallItem | OutputItem | ListingItem | ApprovalItem | VerdictItem


@dataclass(slots=True)
class Speech:
    """How the audio of one agent item carries its words: the end of each piece of text in played time."""

    ends_ms: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    duration_ms: float = 0.0

    def append(self, text: str, duration_ms: float) -> None:
        """Add audio of `duration_ms` at whose end `text` has been said completely."""
        self.duration_ms += duration_ms
        if text:
            self.ends_ms.append(self.duration_ms)
            self.texts.append(text)

    def heard_by(self, ms: float) -> str:
        """The words that have been said to their end when `ms` of the audio have been played."""
        return "".join(
            text for end, text in zip(self.ends_ms, self.texts, strict=True) if end <= ms + 1e-6
        ).strip()


class History:
    """The items of one conversation, in order. Owned by one session."""

    def __init__(self) -> None:
        self._items: dict[ItemId, Entry] = {}
        self._speech: dict[ItemId, Speech] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._items.values())

    def __contains__(self, item_id: ItemId) -> bool:
        return item_id in self._items

    def get(self, item_id: ItemId) -> Entry | None:
        """The entry of that name, if there is one."""
        return self._items.get(item_id)

    def message(self, item_id: ItemId) -> Item | None:
        """The message of that name, if there is one."""
        entry = self._items.get(item_id)
        return entry if isinstance(entry, Item) else None

    def has_call(self, call_id: str) -> bool:
        """Whether a call of that name was made whose output the peer has to say."""
        calls = (one for one in self if isinstance(one, CallItem) and one.remote is None)
        return any(one.call.call_id == call_id for one in calls)

    def awaits_output(self) -> bool:
        """Whether the newest of the agent's calls is one whose output the peer has not said yet."""
        done: set[str] = set()
        for entry in reversed(self._items.values()):
            match entry:
                case OutputItem(call_id=call_id):
                    done.add(call_id)
                case CallItem(remote=None, call=call, status="completed") if call.call_id not in done:
                    return True
                case Item():
                    return False
        return False

    def last_id(self) -> ItemId | None:
        """The newest item's name."""
        return next(reversed(self._items), None)

    def add(self, item: Entry, after: ItemId | Literal["root"] | None = None) -> ItemId | None:
        """Put an entry at the end, after the item named `after`, or first ("root").

        Returns:
            The name of the item before it, None when it is the first.

        Raises:
            KeyError: there is no item named `after`.
        """
        if after is None:
            previous = self.last_id()
            self._items[item.id] = item
            return previous
        if after != "root" and after not in self._items:
            raise KeyError(after)
        others = list(self._items.values())
        at = 0 if after == "root" else [i.id for i in others].index(after) + 1
        others.insert(at, item)
        self._items = {i.id: i for i in others}
        return others[at - 1].id if at else None

    def remove(self, item_id: ItemId) -> None:
        """Forget an item. Raises KeyError when there is none."""
        del self._items[item_id]
        self._speech.pop(item_id, None)

    def say(self, item_id: ItemId, text: str, *, status: ItemStatus = "completed") -> Item:
        """Set a message's words. Raises KeyError when there is none of that name."""
        item = self.message(item_id)
        if item is None:
            raise KeyError(item_id)
        item = replace(item, text=text, status=status)
        self._items[item_id] = item
        return item

    def fill(self, item_id: ItemId) -> None:
        """What the message says so far only fills a silence. Does nothing when it was removed."""
        item = self.message(item_id)
        if item is not None:
            self._items[item_id] = replace(item, filler=item.text or "")

    def write(self, item: CallItem | ListingItem) -> None:
        """A call, or a list of tools, has come to be this. Does nothing when it was removed."""
        if item.id in self._items:
            self._items[item.id] = item

    def speech(self, item_id: ItemId) -> Speech:
        """The audio of an agent item, made on first use."""
        return self._speech.setdefault(item_id, Speech())

    def spoken_ms(self, item_id: ItemId) -> float | None:
        """How long the item's audio is, None when it has none."""
        speech = self._speech.get(item_id)
        return None if speech is None else speech.duration_ms

    def cut(self, item_id: ItemId, heard_ms: float) -> Item:
        """Keep of an agent item only what was heard in the first `heard_ms` of its audio."""
        heard = self.speech(item_id).heard_by(heard_ms)
        whole = "".join(self.speech(item_id).texts).strip()
        status: ItemStatus = "completed" if heard == whole else "incomplete"
        return self.say(item_id, heard, status=status)

    def messages(self, instructions: str, unfinished: str = "") -> tuple[Message, ...]:
        """What the language model is given.

        Args:
            instructions: The system prompt, left out when empty.
            unfinished: Words of the user that are not in the history yet (a draft's guess).
        """
        return messages_of(tuple(self), instructions, unfinished)


def messages_of(entries: Sequence[Entry], instructions: str, unfinished: str = "") -> tuple[Message, ...]:
    """What the language model is given of these entries; arguments as in `History.messages`.

    A call without its output, and an output without its call, are left out: models and their servers refuse
    the one without the other.
    """
    made = {one.call.call_id for one in entries if isinstance(one, CallItem) and one.remote is None}
    done = {one.call_id for one in entries if isinstance(one, OutputItem)} & made
    out = [Message("system", instructions)] if instructions else []
    outputs: list[Message] = []  # of the calls just before: those made together are one message
    for entry in entries:
        if isinstance(entry, Item | OutputItem):
            out, outputs = out + outputs, []
        match entry:
            case Item(role=role, said=said, images=images) if said or images:
                _append_merged(out, Message(role, said, images=images))
            case CallItem(call=call) if entry.output is not None or call.call_id in done:
                _append_merged(out, Message("agent", "", (call,)))
                if entry.output is not None:
                    outputs.append(Message("tool", entry.output, call_id=call.call_id))
            case OutputItem(call_id=call_id, output=output) if call_id in done:
                out.append(Message("tool", output, call_id=call_id))
    out += outputs
    if unfinished:
        _append_merged(out, Message("user", unfinished))
    return tuple(out)


def _append_merged(out: list[Message], message: Message) -> None:
    """Chat templates want roles to alternate: two utterances in a row are one message, calls end one."""
    before = out[-1] if out else None
    same = before and before.role == message.role and message.role != "system"
    if before and same and (message.calls or not before.calls):
        out.pop()
        words = f"{before.text} {message.text}".strip()
        calls, images = before.calls + message.calls, before.images + message.images
        message = Message(message.role, words, calls, images=images)
    out.append(message)
