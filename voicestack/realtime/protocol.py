"""What does a Realtime client's frame ask of a session, and what is the client told of what happens there?

The whole protocol of one connection without its I/O: frames and notes go in, commands and frames come out, in
the order in which they have to be carried out and sent.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from voicestack.core.commands import (
    CancelReply,
    ClearAudio,
    Command,
    CommitAudio,
    Configure,
    CreateReply,
    DeleteItem,
    RetrieveItem,
)
from voicestack.core.errors import PeerProtocolError
from voicestack.core.history import Entry
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.notes import Note
from voicestack.core.settings import SessionSettings
from voicestack.realtime.announcer import Announcer
from voicestack.realtime.checks import JsonObject, missing, shown
from voicestack.realtime.client_events import (
    audio_of,
    decode_event,
    event_id_of,
    item_id_of,
    new_item_of,
    response_id_of,
    truncation_of,
    wish_of,
)
from voicestack.realtime.extensions import heard_of, pong_fields, said_earlier
from voicestack.realtime.formats import AudioFormat
from voicestack.realtime.responses import Response
from voicestack.realtime.session_object import SessionObject
from voicestack.realtime.writer import Writer


@dataclass(frozen=True, slots=True)
class InputAudio:
    """User audio as it came, in the protocol's `input_format`; whole samples."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """What one client frame comes to.

    Attributes:
        commands: For the session, in order.
        answers: Frames to send back at once.
        close: WebSocket close code and reason, None to go on. No fault of a client's frame closes a Realtime
            connection, so what `receive` returns always goes on.
    """

    commands: tuple[Command | InputAudio, ...] = ()
    answers: tuple[bytes, ...] = ()
    close: tuple[int, str] | None = None


NOTHING = Received()


class RealtimeProtocol:
    """One connection.

    Args:
        session_id: Shown in the session object.
        model: Likewise; any string will do.
        defaults: The settings before the client has changed any.
        now_ns: Monotonic time; the session's clock begins with this object.
        new_id: Makes a new name of at most 32 characters from its first part, `new_id("item")` for instance.
        expires_at_s: Unix time at which the session ends, shown to the client.
        extensions: Send `voicestack.*` events too. Never by default: there are clients that stop at a type
            of event that they do not know.
        owns_playout: It is the server that plays what it says, at its own pace, and knows what was heard. The
            client is told of that in `output_audio_buffer.*`, and is sent no audio.
        opening: Session objects that change the defaults, in order, before the client says anything: what an
            ephemeral secret was made for, say.

    Attributes:
        session_id: As given.
        owns_playout: As given.
        extensions: As given.

    Raises:
        PeerProtocolError: a value in `opening` is wrong.
    """

    def __init__(  # noqa: PLR0913 (it is made in one place)
        self,
        *,
        session_id: SessionId,
        model: str,
        defaults: SessionSettings,
        now_ns: Callable[[], int],
        new_id: Callable[[str], str],
        expires_at_s: int,
        extensions: bool = False,
        owns_playout: bool = False,
        opening: Sequence[JsonObject] = (),
    ) -> None:
        self._session = SessionObject.opening(session_id, model, defaults, expires_at_s)
        for fields in opening:
            self._session = self._session.patched(fields)
        self._settings = self._session.settings()
        self._new_id = new_id
        self._writer = Writer(new_id)
        self._announcer = Announcer(self._writer, new_id, extensions=extensions, owns_playout=owns_playout)
        self.session_id, self.owns_playout, self.extensions = session_id, owns_playout, extensions
        self._now_ns, self._begun_ns = now_ns, now_ns()
        self._has_spoken = False
        self._takers: dict[str, Callable[[JsonObject, str | None], Received]] = {
            "session.update": self._take_update,
            "input_audio_buffer.append": self._take_audio,
            "input_audio_buffer.commit": lambda _, name: _command(CommitAudio(name)),
            "input_audio_buffer.clear": lambda *_: _command(ClearAudio()),
            "conversation.item.create": self._take_item,
            "conversation.item.retrieve": lambda e, name: _command(RetrieveItem(item_id_of(e), name)),
            "conversation.item.truncate": lambda e, name: _command(truncation_of(e, name)),
            "conversation.item.delete": lambda e, name: _command(DeleteItem(item_id_of(e), name)),
            "response.create": self._take_create,
            "response.cancel": self._take_cancel,
            "output_audio_buffer.clear": self._take_output_clear,
        }
        if extensions:
            self._takers["voicestack.clock.ping"] = self._take_ping
            self._takers["voicestack.audio.heard"] = self._take_heard

    @property
    def settings(self) -> SessionSettings:
        """What the client wants the session to be."""
        return self._settings

    @property
    def input_format(self) -> AudioFormat:
        """How the client writes audio. A `session.update` may change it."""
        return self._session.input_format

    @property
    def output_format(self) -> AudioFormat:
        """How the client reads audio. A `session.update` may change it."""
        return self._session.output_format

    def opening(self) -> list[bytes]:
        """The frames to send before any other."""
        return [self._writer.event("session.created", session=self._session.wire())]

    def resumed(self, entries: Iterable[Entry]) -> list[bytes]:
        """The frames to send before any other over a new connection of the same session.

        Args:
            entries: The conversation so far.
        """
        if not self.extensions:
            return self.opening()
        items = said_earlier(entries, show_transcripts=self._session.shows_transcripts)
        resumed = self._writer.event("voicestack.conversation.resumed", items=items)
        return [*self.opening(), resumed, *self._announcer.reopened()]

    def receive(self, message: str | bytes) -> Received:
        """Take one frame from the client: str for a text frame, bytes for a binary one.

        Never raises: what is wrong with a frame is answered with an `error` frame, and changes nothing.
        """
        event_id = None
        try:
            if isinstance(message, bytes):
                raise PeerProtocolError("Binary frames are not part of the protocol; send JSON as text.")
            event = decode_event(message)
            event_id = event_id_of(event)
            kind = event.get("type")
            if kind is None:
                missing("type")
            if not isinstance(kind, str) or kind not in self._takers:
                self._refuse_type(kind)
            return self._takers[kind](event, event_id)
        except PeerProtocolError as error:
            return Received(answers=(self._announcer.refusal(error, event_id),))

    def audio(self, turn: TurnId, data: bytes, text: str) -> list[bytes]:
        """The frames for a piece of a reply that is due now.

        Args:
            turn: The reply; nothing is sent for one that has not begun or is over.
            data: Audio in `output_format`; may be empty, and is left out when the reply is written.
            text: The words that end in it, with the white space that joins them to those before.
        """
        response = self._announcer.live.get(turn)
        if response is None:
            return []
        self._has_spoken = self._has_spoken or bool(data)
        return response.say(data, text)

    # --- where it is the server that plays --------------------------------------------------------------

    @property
    def playing(self) -> TurnId | None:
        """The reply that the server plays, as the client knows it."""
        return self._announcer.output.playing

    @property
    def plays_aside(self) -> bool:
        """Whether that is one beside the conversation, which does not end when the user speaks."""
        return self._announcer.output.is_aside

    @property
    def under_way(self) -> list[TurnId]:
        """The replies that have begun to say something. A client that comes back cannot follow them."""
        return [turn for turn, response in self._announcer.live.items() if not response.is_silent]

    def begin_playing(self, turn: TurnId) -> list[bytes]:
        """The frames that say, the first time, that the reply can be heard.

        Afterwards `playing` is the reply, or the reply is not to be played: another one goes before it.
        """
        response = self._announcer.live.get(turn)
        if response is None:
            return []
        self._has_spoken = True
        return self._announcer.output.start(turn, response)

    def silenced(self) -> list[bytes]:
        """The frames that say that what was played is not played any further."""
        return self._announcer.output.clear()

    def tell(self, note: Note) -> list[bytes]:
        """The frames that tell the client what happened, in order; none for what it does not want to know."""
        return self._announcer.tell(note, self._session)

    def _take_update(self, event: JsonObject, _: str | None) -> Received:
        if event.get("session") is None:
            missing("session")
        session = self._session.patched(event["session"])
        if self._has_spoken and session.voice_name != self._session.voice_name:
            raise PeerProtocolError(
                "Cannot update a conversation's voice if assistant audio is present.",
                code="cannot_update_voice",
                param="session.audio.output.voice",
            )
        self._session = session
        self._settings = session.settings()
        return _command(Configure(self._settings))

    def _take_audio(self, event: JsonObject, _: str | None) -> Received:
        form = self._session.input_format
        data = audio_of(event, form)
        if not data:
            return NOTHING
        return Received((InputAudio(data),))

    def _take_item(self, event: JsonObject, event_id: str | None) -> Received:
        return _command(new_item_of(event, event_id, self._new_id, self._session))

    def _take_create(self, event: JsonObject, event_id: str | None) -> Received:
        wish = wish_of(event, self._session, self._new_id)
        for response in self._in_conversation() if not wish.options.aside else ():
            raise PeerProtocolError(
                f"Conversation already has an active response in progress: {response.id}. "
                "Wait until the response is finished before creating a new one.",
                code="conversation_already_has_active_response",
            )
        self._announcer.expect(wish, event_id)
        return _command(CreateReply(wish.options, event_id))

    def _take_cancel(self, event: JsonObject, event_id: str | None) -> Received:
        wanted, live = response_id_of(event), self._announcer.live
        named = [turn for turn, response in live.items() if response.id == wanted]
        if named and live[named[0]].aside:
            return _command(CancelReply(named[0], event_id))
        is_there = bool(named) if wanted else bool(self._in_conversation() or self._announcer.is_expecting)
        if not is_there:
            raise PeerProtocolError(
                "Cancellation failed: no active response found", code="response_cancel_not_active"
            )
        self._announcer.expect_none()
        return _command(CancelReply(None, event_id))

    def _take_output_clear(self, event: JsonObject, event_id: str | None) -> Received:
        if not self.owns_playout:
            what = "'output_audio_buffer.clear' is for WebRTC and SIP: here the client plays the audio."
            raise PeerProtocolError(what, code="invalid_value", param="type")
        playing = self.playing
        return NOTHING if playing is None else _command(CancelReply(playing, event_id))

    def _take_ping(self, event: JsonObject, _: str | None) -> Received:
        fields = pong_fields(event, self._now_ns() - self._begun_ns)
        return Received(answers=(self._writer.event("voicestack.clock.pong", **fields),))

    def _take_heard(self, event: JsonObject, _: str | None) -> Received:
        return _command(heard_of(event, self._announcer.turns, self._begun_ns))

    def _in_conversation(self) -> list[Response]:
        return [response for response in self._announcer.live.values() if not response.aside]

    def _refuse_type(self, kind: object) -> None:
        known = ", ".join(f"'{name}'" for name in self._takers)
        what = f"Invalid value: {shown(kind)}. Supported values are: {known}."
        raise PeerProtocolError(what, code="invalid_value", param="type")


def _command(command: Command) -> Received:
    return Received((command,))
