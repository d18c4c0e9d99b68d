"""What is the client told of what happens in its session, in which frames and in which order?"""

from collections.abc import Callable

from voicestack.core.errors import VoiceStackError
from voicestack.core.history import Item
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.notes import (
    AudioCleared,
    AudioCommitted,
    Configured,
    ItemAdded,
    ItemDeleted,
    ItemRetrieved,
    ItemTruncated,
    Note,
    Problem,
    ReplyEnded,
    ReplyStarted,
    TurnMeasured,
    UserHearing,
    UserSaid,
    UserStarted,
    UserStopped,
    UserUnheard,
)
from voicestack.realtime.codes import brief_error_fields, error_fields
from voicestack.realtime.items import wire_item
from voicestack.realtime.measured import measured_fields
from voicestack.realtime.responses import Response, Wish, reply_configuration
from voicestack.realtime.session_object import SessionObject
from voicestack.realtime.writer import Writer

TRANSCRIPTION = "conversation.item.input_audio_transcription"


class Announcer:
    """Turns the notes of one session into frames.

    Args:
        writer: Encodes the frames.
        new_id: Makes a new name from its first part.
        extensions: Whether the client asked for `voicestack.*` events.

    Attributes:
        live: The replies that have begun and not ended.
    """

    def __init__(self, writer: Writer, new_id: Callable[[str], str], *, extensions: bool) -> None:
        self.live: dict[TurnId, Response] = {}
        self._writer = writer
        self._new_id = new_id
        self._extensions = extensions
        self._conversation_id = new_id("conv")
        self._wish: Wish | None = None
        self._wish_event_id: str | None = None
        self._unheard: set[ItemId] = set()  # announced, and neither completed nor failed

    @property
    def is_expecting(self) -> bool:
        """Whether a reply was asked for that has not begun."""
        return self._wish is not None

    def expect(self, wish: Wish | None, event_id: str | None = None) -> None:
        """The next reply is the one asked for in that client event; None when it is no longer wanted."""
        self._wish, self._wish_event_id = wish, event_id

    def tell(self, note: Note, session: SessionObject) -> list[bytes]:
        """The frames for a note, given how the client wants its session to be now."""
        event = self._writer.event
        match note:
            case UserStarted() | UserStopped() | AudioCommitted() | AudioCleared():
                return [self._buffer_event(note)]
            case UserHearing() | UserSaid() | UserUnheard():
                return self._words(note, show=session.shows_transcripts)
            case ItemAdded(item, previous):
                return self._item_added(item, previous, show=session.shows_transcripts)
            case ItemDeleted(item_id):
                self._unheard.discard(item_id)
                return [event("conversation.item.deleted", item_id=item_id)]
            case ItemRetrieved(item):
                shown = wire_item(item, show_transcript=session.shows_transcripts)
                return [event("conversation.item.retrieved", item=shown)]
            case ItemTruncated(item_id, audio_end_ms):
                place = {"item_id": item_id, "content_index": 0}
                return [event("conversation.item.truncated", **place, audio_end_ms=audio_end_ms)]
            case Configured():
                return [event("session.updated", session=session.wire())]
            case ReplyStarted():
                return self._reply_started(note, session)
            case ReplyEnded(turn):
                response = self.live.pop(turn, None)
                return response.close(note) if response else []
            case TurnMeasured(turn, marks):
                fields = measured_fields(turn, marks)
                return [event("voicestack.turn.measured", **fields)] if self._extensions else []
            case Problem(error, event_id):
                if event_id == self._wish_event_id:  # the reply that was asked for will not come
                    self.expect(None)
                return [self.refusal(error, event_id)]

    def refusal(self, error: VoiceStackError, event_id: str | None) -> bytes:
        """The frame that says what was wrong with a client event, named as the client named it."""
        return self._writer.event("error", error={**error_fields(error), "event_id": event_id})

    def _buffer_event(self, note: UserStarted | UserStopped | AudioCommitted | AudioCleared) -> bytes:
        event = self._writer.event
        match note:
            case UserStarted(item_id, start_ms):
                self._unheard.add(item_id)
                return event("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=item_id)
            case UserStopped(item_id, end_ms):
                return event("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=item_id)
            case AudioCommitted(item_id, previous):
                self._unheard.add(item_id)
                return event("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
            case AudioCleared():
                return event("input_audio_buffer.cleared")

    def _words(self, note: UserHearing | UserSaid | UserUnheard, *, show: bool) -> list[bytes]:
        event, place = self._writer.event, {"item_id": note.item_id, "content_index": 0}
        if note.item_id not in self._unheard or not show:
            self._unheard.discard(note.item_id)
            return []
        if isinstance(note, UserHearing):
            # The standard delta cannot be taken back and these words can: they are for those who know that.
            live = {"item_id": note.item_id, "text": note.text}
            return [event("voicestack.user.hearing", **live)] if self._extensions else []
        self._unheard.remove(note.item_id)
        if isinstance(note, UserUnheard):
            return [event(f"{TRANSCRIPTION}.failed", **place, error=brief_error_fields(note.error))]
        frames = [event(f"{TRANSCRIPTION}.delta", **place, delta=note.text)] if note.text else []
        usage = {"type": "duration", "seconds": note.audio_ms / 1000}
        return [*frames, event(f"{TRANSCRIPTION}.completed", **place, transcript=note.text, usage=usage)]

    def _item_added(self, item: Item, previous: ItemId | None, *, show: bool) -> list[bytes]:
        added = wire_item(item, show_transcript=show)
        done = {**added, "status": "completed"} if item.status == "in_progress" else added
        return [
            self._writer.event("conversation.item.added", previous_item_id=previous, item=added),
            self._writer.event("conversation.item.done", previous_item_id=previous, item=done),
        ]

    def _reply_started(self, note: ReplyStarted, session: SessionObject) -> list[bytes]:
        if note.turn in self.live:
            return []
        wish = self._wish or Wish()
        self.expect(None)
        configuration = reply_configuration(session, wish, note.modality, self._conversation_id)
        response = Response(self._writer, self._new_id("resp"), note, configuration)
        self.live[note.turn] = response
        return response.open()
