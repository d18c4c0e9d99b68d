"""What a session tells its peer, beside audio. Every wire protocol translates these into its own messages.

Order on one session: `UserStarted`, `UserStopped`, then the item (`ItemAdded` with text None), later
`UserSaid`; `ReplyStarted`, then `MessageStarted` with text and audio, and `CallStarted`, `CallWritten`,
`CallEnded` for each call, then `ReplyEnded`. A call of a served tool goes on after `CallEnded`, beside
everything else: `ToolCalled`, then `ToolAnswered`, also after `ReplyEnded`.
"""

from dataclasses import dataclass, field
from typing import Literal

from voicestack.core.audio import Sound
from voicestack.core.errors import VoiceStackError
from voicestack.core.history import CallItem, Entry, Item, ListingItem
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.marks import TurnMarks
from voicestack.core.settings import SessionSettings
from voicestack.core.standing import Standing
from voicestack.core.turn_record import TurnRecord

ReplyStatus = Literal["completed", "cancelled", "incomplete", "failed"]
ReplyReason = Literal["turn_detected", "client_cancelled", "max_output_tokens"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one reply, as the LLM counted them (0 when it did not say), and audio in milliseconds."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    output_audio_ms: int = 0


@dataclass(frozen=True, slots=True)
class UserStarted:
    """The user began to speak. `audio_start_ms` is media time and includes the prefix padding."""

    item_id: ItemId
    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class UserStopped:
    """The user finished. `audio_end_ms` is media time and includes the silence that decided it."""

    item_id: ItemId
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class UserSilent:
    """The user said nothing for so long that the agent speaks again. An item without words follows."""

    item_id: ItemId
    audio_start_ms: int
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class AudioCommitted:
    """The input buffer became the item; its `ItemAdded` follows."""

    item_id: ItemId
    previous_item_id: ItemId | None


@dataclass(frozen=True, slots=True)
class AudioCleared:
    """The input buffer is empty."""


@dataclass(frozen=True, slots=True)
class UserHearing:
    """What the utterance sounds like so far. May still change, except for its beginning in `sure`."""

    item_id: ItemId
    text: str
    sure: str = ""


@dataclass(frozen=True, slots=True)
class UserSaid:
    """The final words of the utterance. `audio_ms` is how much audio was transcribed."""

    item_id: ItemId
    text: str
    audio_ms: int


@dataclass(frozen=True, slots=True)
class UserUnheard:
    """The utterance could not be transcribed."""

    item_id: ItemId
    error: VoiceStackError


@dataclass(frozen=True, slots=True)
class ItemAdded:
    """An entry is now part of the conversation."""

    item: Entry
    previous_item_id: ItemId | None


@dataclass(frozen=True, slots=True)
class ItemDeleted:
    """An item left the conversation."""

    item_id: ItemId


@dataclass(frozen=True, slots=True)
class ItemRetrieved:
    """The entry that was asked for, and what it sounded like, if that was kept."""

    item: Entry
    sound: Sound | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ItemTruncated:
    """An agent item was cut to what was heard."""

    item_id: ItemId
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class Configured:
    """The settings now in force."""

    settings: SessionSettings


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """A committed reply begins.

    Attributes:
        turn: Its name.
        modality: Whether it is spoken or written.
        tag: The name of the wish that it fulfils; empty when nobody asked for it.
        aside: It is no part of the conversation.
    """

    turn: TurnId
    modality: Literal["audio", "text"]
    tag: str = ""
    aside: bool = False


@dataclass(frozen=True, slots=True)
class MessageStarted:
    """The reply begins to say something; `item_id` is the agent item that this fills."""

    turn: TurnId
    item_id: ItemId
    previous_item_id: ItemId | None = None


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The reply begins to call a tool; the arguments are still empty."""

    turn: TurnId
    item: CallItem
    previous_item_id: ItemId | None = None


@dataclass(frozen=True, slots=True)
class CallWritten:
    """More of a call's arguments."""

    turn: TurnId
    item_id: ItemId
    arguments: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The call is as it will be: complete, or broken off."""

    turn: TurnId
    item: CallItem


@dataclass(frozen=True, slots=True)
class ToolsAsked:
    """A server is asked for its tools; the item has none yet."""

    item: ListingItem
    previous_item_id: ItemId | None


@dataclass(frozen=True, slots=True)
class ToolsListed:
    """The item has the server's tools. With `failed` the server did not say which it has."""

    item: ListingItem
    previous_item_id: ItemId | None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """A server is called, as the call with this entry wants."""

    item_id: ItemId


@dataclass(frozen=True, slots=True)
class ToolAnswered:
    """The call has come to something. Without an outcome it was not made, and never will be."""

    item: CallItem


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """The reply is over, said to its end or not.

    Attributes:
        turn: Its name.
        item: What it said; None when that was nothing.
        status: How it ended.
        reason: Why it was not said to its end.
        error: What broke it.
        usage: What it cost.
        heard_ms: How much of its audio the peer has played, for an item that was cut off; None for others.
        standings: What is left of the limits in force.
    """

    turn: TurnId
    item: Item | None
    status: ReplyStatus
    reason: ReplyReason | None = None
    error: VoiceStackError | None = None
    usage: Usage = Usage()
    heard_ms: float | None = None
    standings: tuple[Standing, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnMeasured:
    """The ledger of a turn is closed. `record` is all that is known of it."""

    turn: TurnId
    marks: TurnMarks
    record: TurnRecord | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something the peer asked for was refused; the session goes on."""

    error: VoiceStackError
    event_id: str | None = None


Note = (
    UserStarted
    | UserStopped
    | UserSilent
    | AudioCommitted
    | AudioCleared
    | UserHearing
    | UserSaid
    | UserUnheard
    | ItemAdded
    | ItemDeleted
    | ItemRetrieved
    | ItemTruncated
    | Configured
    | ReplyStarted
    | MessageStarted
    | CallStarted
    | CallWritten
    | CallEnded
    | ToolsAsked
    | ToolsListed
    | ToolCalled
    | ToolAnswered
    | ReplyEnded
    | TurnMeasured
    | Problem
)
