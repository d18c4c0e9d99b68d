"""What the server says of the session, the input buffer and the conversation."""

from typing import Literal

from typing_extensions import TypedDict

from voicestack.realtime.wire.replies import BriefError, Duration, Error, Item
from voicestack.realtime.wire.sessions import Session, TranscriptionSession


class SessionCreated(TypedDict):
    """The first event of every connection."""

    type: Literal["session.created"]
    event_id: str
    session: Session | TranscriptionSession


class SessionUpdated(TypedDict):
    """The whole session as it is now."""

    type: Literal["session.updated"]
    event_id: str
    session: Session | TranscriptionSession


class SpeechStarted(TypedDict):
    """The user began to speak; media time in ms, prefix padding included."""

    type: Literal["input_audio_buffer.speech_started"]
    event_id: str
    audio_start_ms: int
    item_id: str


class SpeechStopped(TypedDict):
    """The user finished; media time in ms, the deciding silence included."""

    type: Literal["input_audio_buffer.speech_stopped"]
    event_id: str
    audio_end_ms: int
    item_id: str


class TimeoutTriggered(TypedDict):
    """The user said nothing for `idle_timeout_ms`."""

    type: Literal["input_audio_buffer.timeout_triggered"]
    event_id: str
    audio_start_ms: int
    audio_end_ms: int
    item_id: str


class AudioCommitted(TypedDict):
    """The input buffer became the item."""

    type: Literal["input_audio_buffer.committed"]
    event_id: str
    item_id: str
    previous_item_id: str | None


class AudioCleared(TypedDict):
    """The input buffer is empty."""

    type: Literal["input_audio_buffer.cleared"]
    event_id: str


class ItemAdded(TypedDict):
    """An item is now part of the conversation."""

    type: Literal["conversation.item.added"]
    event_id: str
    previous_item_id: str | None
    item: Item


class ItemDone(TypedDict):
    """The item is as it will be."""

    type: Literal["conversation.item.done"]
    event_id: str
    previous_item_id: str | None
    item: Item


class ItemRetrieved(TypedDict):
    """The item that was asked for."""

    type: Literal["conversation.item.retrieved"]
    event_id: str
    item: Item


class ItemDeleted(TypedDict):
    """The item is gone."""

    type: Literal["conversation.item.deleted"]
    event_id: str
    item_id: str


class ItemTruncated(TypedDict):
    """The item was cut to what was heard."""

    type: Literal["conversation.item.truncated"]
    event_id: str
    item_id: str
    content_index: int
    audio_end_ms: int


class TranscriptionDelta(TypedDict):
    """More of what the user said."""

    type: Literal["conversation.item.input_audio_transcription.delta"]
    event_id: str
    item_id: str
    content_index: int
    delta: str


class TranscriptionCompleted(TypedDict):
    """All that the user said."""

    type: Literal["conversation.item.input_audio_transcription.completed"]
    event_id: str
    item_id: str
    content_index: int
    transcript: str
    usage: Duration


class TranscriptionFailed(TypedDict):
    """The user was not understood, by a fault on this side."""

    type: Literal["conversation.item.input_audio_transcription.failed"]
    event_id: str
    item_id: str
    content_index: int
    error: BriefError


class ErrorEvent(TypedDict):
    """Something that the client sent was refused, or something failed. The session goes on."""

    type: Literal["error"]
    event_id: str
    error: Error
