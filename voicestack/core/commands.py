"""What a peer can ask of a session, beside sending audio. Every wire protocol is translated into these."""

from dataclasses import dataclass
from typing import Literal

from voicestack.core.audio import Pcm
from voicestack.core.history import Entry
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.settings import ReplyOptions, SessionSettings


@dataclass(frozen=True, slots=True)
class Configure:
    """Go on with these settings."""

    settings: SessionSettings


@dataclass(frozen=True, slots=True)
class CommitAudio:
    """The utterance in the input buffer is complete."""

    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class ClearAudio:
    """Forget the input buffer."""


@dataclass(frozen=True, slots=True)
class AddItem:
    """Put an entry into the conversation. `after` None appends, "root" prepends.

    `sound`, int16 mono at EAR_RATE_HZ, is a message of the user's whose words are still to be found.
    """

    item: Entry
    after: ItemId | Literal["root"] | None = None
    event_id: str | None = None
    sound: Pcm | None = None


@dataclass(frozen=True, slots=True)
class DeleteItem:
    """Take an item out of the conversation."""

    item_id: ItemId
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class RetrieveItem:
    """Tell me the item as you know it."""

    item_id: ItemId
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class TruncateItem:
    """Of this agent item only the first `audio_end_ms` were played."""

    item_id: ItemId
    audio_end_ms: int
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class CreateReply:
    """Answer now."""

    options: ReplyOptions = ReplyOptions()
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class CancelReply:
    """Stop answering: this reply, or, with None, the one in the conversation."""

    turn: TurnId | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class MarkHeard:
    """The first sample of this reply could be heard then.

    Attributes:
        turn: The reply.
        at_ns: On this machine's monotonic clock: the peer has converted it.
        error_ns: How far that may be off.
    """

    turn: TurnId
    at_ns: int
    error_ns: int


Command = (
    Configure
    | CommitAudio
    | ClearAudio
    | AddItem
    | DeleteItem
    | RetrieveItem
    | TruncateItem
    | CreateReply
    | CancelReply
    | MarkHeard
)
