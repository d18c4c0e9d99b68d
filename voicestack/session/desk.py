"""What a session does when its peer asks for something that is not speech."""

from dataclasses import replace
from typing import TYPE_CHECKING

from voicestack.core.audio import EAR_RATE_HZ
from voicestack.core.commands import (
    AddItem,
    CancelReply,
    ClearAudio,
    Command,
    CommitAudio,
    Configure,
    CreateReply,
    DeleteItem,
    MarkHeard,
    RetrieveItem,
    TruncateItem,
)
from voicestack.core.errors import PeerProtocolError
from voicestack.core.history import Entry, History, Item, OutputItem, VerdictItem
from voicestack.core.ids import ItemId, TurnId
from voicestack.core.images import MAX_IMAGES_BYTES
from voicestack.core.notes import (
    AudioCleared,
    Configured,
    ItemAdded,
    ItemDeleted,
    ItemRetrieved,
    ItemTruncated,
)
from voicestack.core.settings import ReplyOptions
from voicestack.turn.state import Progress

if TYPE_CHECKING:
    from voicestack.session.session import Session

MIN_COMMIT_MS = 100
"""OpenAI Realtime API: a commit needs at least 100 ms of audio."""

TRUNCATE_SLACK_MS = 100
"""Clients compute what was played with their own clocks; so much beyond the end means the end."""


def obey(session: "Session", command: Command) -> None:
    """Do what the peer asks for, and tell it.

    Raises:
        PeerProtocolError: it cannot be done; nothing was changed.
    """
    match command:
        case Configure(settings=settings):
            session.configure(settings)
            session.tell(Configured(settings))
        case CommitAudio():
            _commit(session)
        case ClearAudio():
            session.ears.clear()
            session.tell(AudioCleared())
        case AddItem():
            _add(session, command)
        case DeleteItem(item_id=item_id):
            entry_named(session.history, item_id, "item_delete_invalid_item_id")
            session.history.remove(item_id)
            session.sounds.forget(item_id)
            session.tell(ItemDeleted(item_id))
        case RetrieveItem(item_id=item_id):
            code = "item_retrieve_invalid_item_id"
            entry = entry_named(session.history, item_id, code)
            session.tell(ItemRetrieved(entry, session.sounds.of(item_id)))
        case TruncateItem():
            _truncate(session, command)
        case CreateReply(options=options):
            session.quota.require()
            if options.aside or not (session.dictations.delay(command) or session.served.delay(command)):
                request_reply(session, options)
        case CancelReply(turn=turn):
            if turn is not None or not (session.dictations.forget() or session.served.forget()):
                _cancel(session, turn)
        case MarkHeard():
            session.ledger.acknowledge(command)


def request_reply(session: "Session", options: ReplyOptions) -> None:
    """The peer wants a reply now.

    Raises:
        PeerProtocolError: one is being given already, or it is to answer to an item that does not exist.
    """
    entries = session.brief.entries(options)
    if options.aside:
        turn = session.asides.next_turn()
        session.asides.start(session.brief.reply(turn, session.settings, options, entries))
        return
    reply = session.state.reply
    if reply is not None and reply.progress is not Progress.DRAFT:
        raise PeerProtocolError(
            "Conversation already has an active response in progress: "
            f"turn {reply.turn}. Wait until the response is finished before creating a new one.",
            code="conversation_already_has_active_response",
        )
    session.ask(options if options.entries is None else replace(options, entries=entries))


def _cancel(session: "Session", turn: TurnId | None) -> None:
    """The peer does not want a reply any more; None is the one in the conversation."""
    if turn is not None and session.asides.cancel(turn):
        return
    reply = session.state.reply
    if (reply is None or reply.progress is Progress.DRAFT) and not session.state.asked:
        raise PeerProtocolError(
            "Cancellation failed: no active response found", code="response_cancel_not_active"
        )
    session.call_off()


def _commit(session: "Session") -> None:
    buffered_ms = session.ears.buffered_ms
    if buffered_ms < MIN_COMMIT_MS:
        raise PeerProtocolError(
            "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
            f"but buffer only has {buffered_ms:.2f}ms of audio.",
            code="input_audio_buffer_commit_empty",
        )
    session.ears.commit()


def _add(session: "Session", command: AddItem) -> None:
    if command.item.id in session.history:
        raise PeerProtocolError(
            f"Item with id '{command.item.id}' already exists.", code="invalid_value", param="item.id"
        )
    if isinstance(command.item, OutputItem) and not session.history.has_call(command.item.call_id):
        raise PeerProtocolError(
            f"Tool call ID '{command.item.call_id}' not found in conversation.",
            code="invalid_tool_call_id",
            param="item.call_id",
        )
    if isinstance(command.item, VerdictItem) and not session.served.awaits(command.item.request):
        raise PeerProtocolError(
            f"No approval request '{command.item.request}' is waiting for an answer.",
            code="invalid_value",
            param="item.approval_request_id",
        )
    _check_room(session.history, command.item)
    try:
        previous = session.history.add(command.item, command.after)
    except KeyError:
        raise PeerProtocolError(
            f"There is no item '{command.after}'.", code="invalid_value", param="previous_item_id"
        ) from None
    session.tell(ItemAdded(command.item, previous))
    if isinstance(command.item, VerdictItem):
        session.served.decide(command.item)
    if command.sound is not None:
        session.sounds.add(command.item.id, command.sound, EAR_RATE_HZ)
        session.dictations.start(command.item.id, command.sound, session.settings.hints)
    session.prime()


def _check_room(history: History, added: Entry) -> None:
    """Pictures are kept as long as their items are, so there is an end to them."""
    if not isinstance(added, Item) or not added.images:
        return
    shown = [image for one in (*history, added) if isinstance(one, Item) for image in one.images]
    if sum(len(image.data_uri) for image in shown) > MAX_IMAGES_BYTES:
        raise PeerProtocolError(
            f"The images of a conversation can have {MAX_IMAGES_BYTES} bytes in base64; delete items first.",
            code="string_above_max_length",
            param="item.content",
        )


def _truncate(session: "Session", command: TruncateItem) -> None:
    item = entry_named(session.history, command.item_id, "item_truncate_invalid_item_id")
    spoken_ms = session.history.spoken_ms(item.id)
    if not isinstance(item, Item) or item.role != "agent" or not item.spoken or spoken_ms is None:
        raise PeerProtocolError("Only model output audio messages can be truncated", code="invalid_value")
    if command.audio_end_ms > spoken_ms + TRUNCATE_SLACK_MS:
        raise PeerProtocolError(
            f"Audio content of {round(spoken_ms)}ms is already shorter than {command.audio_end_ms}ms",
            code="invalid_value",
            param="audio_end_ms",
        )
    session.history.cut(item.id, min(command.audio_end_ms, spoken_ms))
    session.sounds.cut(item.id, min(command.audio_end_ms, spoken_ms))
    session.tell(ItemTruncated(item.id, command.audio_end_ms))


def entry_named(history: History, item_id: ItemId, code: str) -> Entry:
    """The entry of that name.

    Raises:
        PeerProtocolError: with this code: there is none.
    """
    entry = history.get(item_id)
    if entry is None:
        raise PeerProtocolError(f"There is no item '{item_id}'.", code=code, param="item_id")
    return entry
