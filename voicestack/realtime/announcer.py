"""What is the client told of what happens in its session, in which frames and in which order?"""

from collections.abc import Callable

from voicestack.core.errors import VoiceStackError
from voicestack.core.history import Entry, Item
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.notes import (
    AudioCleared,
    AudioCommitted,
    CallEnded,
    CallStarted,
    CallWritten,
    Configured,
    ItemAdded,
    ItemDeleted,
    ItemRetrieved,
    ItemTruncated,
    MessageStarted,
    Note,
    Problem,
    ReplyEnded,
    ReplyStarted,
    ToolAnswered,
    ToolCalled,
    ToolsAsked,
    ToolsListed,
    TurnMeasured,
    UserHearing,
    UserSaid,
    UserSilent,
    UserStarted,
    UserStopped,
    UserUnheard,
)
from voicestack.realtime.codes import brief_error_fields, error_fields
from voicestack.realtime.formats import encoded
from voicestack.realtime.items import wire_entry
from voicestack.realtime.mcp_outputs import ServedOutput
from voicestack.realtime.measured import measured_fields, record_fields
from voicestack.realtime.output_buffer import OutputBuffer
from voicestack.realtime.responses import Response, Wish, reply_configuration
from voicestack.realtime.session_object import SessionObject
from voicestack.realtime.writer import Writer

REMEMBERED = 64
"""Replies whose names are known, the newest. A client may still have to say when it heard one."""

TRANSCRIPTION = "conversation.item.input_audio_transcription"


class Announcer:
    """Turns the notes of one session into frames.

    Args:
        writer: Encodes the frames.
        new_id: Makes a new name from its first part.
        extensions: Whether the client asked for `voicestack.*` events.
        owns_playout: Whether it is the server that plays, and cuts to what was heard.

    Attributes:
        live: The replies that have begun and not ended.
        turns: By the names of their responses, those and some that have ended.
        output: Where the server plays: what it plays.
    """

    def __init__(
        self, writer: Writer, new_id: Callable[[str], str], *, extensions: bool, owns_playout: bool
    ) -> None:
        self.live: dict[TurnId, Response] = {}
        self.turns: dict[str, TurnId] = {}
        self.output = OutputBuffer(writer)
        self._owns_playout = owns_playout
        self._writer = writer
        self._new_id = new_id
        self._extensions = extensions
        self._conversation_id = new_id("conv")
        self._wishes: dict[str, tuple[Wish, str | None]] = {}  # by tag, with the client event
        self._told: dict[ItemId, str] = {}  # of the words of who still speaks
        self._unheard: set[ItemId] = set()  # announced, and neither completed nor failed
        self._served: dict[ItemId, ServedOutput] = {}  # calls that this side makes and that are not over

    @property
    def is_expecting(self) -> bool:
        """Whether a reply in the conversation was asked for that has not begun."""
        return any(not wish.options.aside for wish, _ in self._wishes.values())

    def expect(self, wish: Wish, event_id: str | None) -> None:
        """A reply was asked for in that client event. Of those in the conversation only the newest counts."""
        if not wish.options.aside:
            self.expect_none()
        self._wishes[wish.options.tag] = wish, event_id

    def expect_none(self) -> None:
        """No reply in the conversation is wanted any more."""
        self._wishes = {tag: kept for tag, kept in self._wishes.items() if kept[0].options.aside}

    def tell(self, note: Note, session: SessionObject) -> list[bytes]:  # noqa: C901, PLR0911 (it is a table)
        """The frames for a note, given how the client wants its session to be now."""
        event = self._writer.event
        match note:
            case UserStarted() | UserStopped() | UserSilent() | AudioCommitted() | AudioCleared():
                return [self._buffer_event(note)]
            case UserHearing() | UserSaid() | UserUnheard():
                return self._words(note, session)
            case ItemAdded(item, previous):
                return self._item_added(item, previous, show=session.shows_transcripts)
            case ItemDeleted(item_id):
                self._unheard.discard(item_id)
                self._told.pop(item_id, None)
                return [event("conversation.item.deleted", item_id=item_id)]
            case ItemRetrieved():
                return [self._retrieved(note, session)]
            case ItemTruncated(item_id, audio_end_ms):
                return [self._truncated(item_id, audio_end_ms)]
            case Configured():
                return [event("session.updated", session=session.wire())]
            case ReplyStarted():
                return self._reply_started(note, session)
            case MessageStarted(turn):
                return self.live[turn].begin_message(note) if turn in self.live else []
            case CallStarted(turn) | CallWritten(turn) | CallEnded(turn):
                return self._call(turn, note) if turn in self.live else []
            case ToolsAsked() | ToolsListed() | ToolCalled() | ToolAnswered():
                return self._served_tools(note)
            case ReplyEnded(turn):
                return self._reply_ended(turn, note)
            case TurnMeasured(turn, marks, record):
                fields = measured_fields(turn, marks) | (record_fields(record) if record else {})
                return [event("voicestack.turn.measured", **fields)] if self._extensions else []
            case Problem(error, event_id):
                if event_id is not None:  # the reply that was asked for will not come
                    kept = self._wishes.items()
                    self._wishes = {tag: wish for tag, wish in kept if wish[1] != event_id}
                return [self.refusal(error, event_id)]

    def reopened(self) -> list[bytes]:
        """For a client that comes back: the frames that begin the replies that have not said anything yet."""
        silent = (response for response in self.live.values() if response.is_silent)
        return [frame for response in silent for frame in response.open()]

    def refusal(self, error: VoiceStackError, event_id: str | None) -> bytes:
        """The frame that says what was wrong with a client event, named as the client named it."""
        return self._writer.event("error", error={**error_fields(error), "event_id": event_id})

    def _buffer_event(
        self, note: UserStarted | UserStopped | UserSilent | AudioCommitted | AudioCleared
    ) -> bytes:
        event = self._writer.event
        match note:
            case UserStarted(item_id, start_ms):
                self._unheard.add(item_id)
                return event("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=item_id)
            case UserStopped(item_id, end_ms):
                return event("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=item_id)
            case UserSilent(item_id, start_ms, end_ms):
                span = {"audio_start_ms": start_ms, "audio_end_ms": end_ms}
                return event("input_audio_buffer.timeout_triggered", **span, item_id=item_id)
            case AudioCommitted(item_id, previous):
                self._unheard.add(item_id)
                return event("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
            case AudioCleared():
                return event("input_audio_buffer.cleared")

    def _words(self, note: UserHearing | UserSaid | UserUnheard, session: SessionObject) -> list[bytes]:
        event, place = self._writer.event, {"item_id": note.item_id, "content_index": 0}
        if isinstance(note, UserHearing):
            return self._guess(note, session) if note.item_id in self._unheard else []
        told = self._told.pop(note.item_id, "")
        if note.item_id not in self._unheard or not session.shows_transcripts:
            self._unheard.discard(note.item_id)
            return []
        self._unheard.remove(note.item_id)
        if isinstance(note, UserUnheard):
            return [event(f"{TRANSCRIPTION}.failed", **place, error=brief_error_fields(note.error))]
        rest = note.text.removeprefix(told)
        frames = [event(f"{TRANSCRIPTION}.delta", **place, delta=rest)] if rest else []
        usage = {"type": "duration", "seconds": note.audio_ms / 1000}
        return [*frames, event(f"{TRANSCRIPTION}.completed", **place, transcript=note.text, usage=usage)]

    def _guess(self, note: UserHearing, session: SessionObject) -> list[bytes]:
        """What is told while the user speaks.

        To a client that only listens: the words that will stay. To one that knows our own events:
        all words as they sound now. In a conversation the words otherwise come with the end of the turn.
        """
        frames = []
        if session.is_transcription:
            delta = note.sure.removeprefix(self._told.get(note.item_id, ""))
            self._told[note.item_id] = note.sure
            place = {"item_id": note.item_id, "content_index": 0}
            frames += [self._writer.event(f"{TRANSCRIPTION}.delta", **place, delta=delta)] if delta else []
        if self._extensions and session.shows_transcripts:
            live = {"item_id": note.item_id, "text": note.text}
            frames.append(self._writer.event("voicestack.user.hearing", **live))
        return frames

    def _item_added(self, item: Entry, previous: ItemId | None, *, show: bool) -> list[bytes]:
        if isinstance(item, Item) and item.text is None:
            self._unheard.add(item.id)
        added = wire_entry(item, show_transcript=show)
        done = {**added, "status": "completed"} if added.get("status") == "in_progress" else added
        return [
            self._writer.event("conversation.item.added", previous_item_id=previous, item=added),
            self._writer.event("conversation.item.done", previous_item_id=previous, item=done),
        ]

    def _call(self, turn: TurnId, note: CallStarted | CallWritten | CallEnded) -> list[bytes]:
        frames = self.live[turn].call(note)
        if isinstance(note, CallStarted):
            self._served |= {call.id: call for call in self.live[turn].served() if call.id == note.item.id}
        return frames

    def _served_tools(self, note: ToolsAsked | ToolsListed | ToolCalled | ToolAnswered) -> list[bytes]:
        event = self._writer.event
        match note:
            case ToolsAsked(item, previous):
                added = {"previous_item_id": previous, "item": wire_entry(item)}
                return [
                    event("conversation.item.added", **added),
                    event("mcp_list_tools.in_progress", item_id=item.id),
                ]
            case ToolsListed(item, previous, failed):
                done = {"previous_item_id": previous, "item": wire_entry(item)}
                result = "failed" if failed else "completed"
                return [
                    event("conversation.item.done", **done),
                    event(f"mcp_list_tools.{result}", item_id=item.id),
                ]
            case ToolCalled(item_id):
                return self._served[item_id].begin() if item_id in self._served else []
            case ToolAnswered(item):
                call = self._served.pop(item.id, None)
                return call.answer(item) if call else []

    def _reply_ended(self, turn: TurnId, note: ReplyEnded) -> list[bytes]:
        response = self.live.pop(turn, None)
        if response is None:
            return []
        for call in response.served():
            if not call.is_written:  # nobody will make it
                self._served.pop(call.id, None)
        frames = response.close(note)
        if self._owns_playout:
            frames += self.output.end(turn, cancelled=note.status == "cancelled")
            if note.item is not None and note.heard_ms is not None and not response.aside:
                frames.append(self._truncated(note.item.id, round(note.heard_ms)))
        return frames

    def _retrieved(self, note: ItemRetrieved, session: SessionObject) -> bytes:
        """With the audio, if that was kept, where a client may be sent any."""
        shown = wire_entry(note.item, show_transcript=session.shows_transcripts)
        is_agents = isinstance(note.item, Item) and note.item.role == "agent"
        form = session.output_format if is_agents else session.input_format
        if note.sound is not None and len(note.sound.pcm) and not self._owns_playout:
            shown["content"][0]["audio"] = encoded(note.sound, form)
        return self._writer.event("conversation.item.retrieved", item=shown)

    def _truncated(self, item_id: ItemId, audio_end_ms: int) -> bytes:
        place = {"item_id": item_id, "content_index": 0}
        return self._writer.event("conversation.item.truncated", **place, audio_end_ms=audio_end_ms)

    def _reply_started(self, note: ReplyStarted, session: SessionObject) -> list[bytes]:
        if note.turn in self.live:
            return []
        wish, _ = self._wishes.pop(note.tag, (Wish(), None))
        conversation_id = None if note.aside else self._conversation_id
        configuration = reply_configuration(session, wish, note.modality, conversation_id)
        response = Response(self._writer, self._new_id("resp"), note, configuration)
        self.live[note.turn] = response
        self.turns[response.id] = note.turn
        if len(self.turns) > REMEMBERED:
            del self.turns[next(iter(self.turns))]
        return response.open()
