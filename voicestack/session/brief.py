"""What is the LLM asked: which part of the conversation, under which instructions, with which tools?"""

from collections.abc import Callable

from voicestack.core.errors import PeerProtocolError
from voicestack.core.history import Entry, History, Message, messages_of
from voicestack.core.ids import ItemId, SessionId, TurnId
from voicestack.core.offers import Offer, offer_of
from voicestack.core.prompt_room import fit_context, tool_tokens_of
from voicestack.core.settings import ReplyOptions, SessionSettings
from voicestack.core.tools import Toolbox
from voicestack.ports import LlmRequest, SpeechRequest
from voicestack.session.mouth import LiveReply


class Brief:
    """Words the requests of one session.

    Args:
        session: Whose they are.
        history: The conversation.
        context_tokens: What the LLM can be given; older parts are left out.
        new_id: Names items.
        offer: What the LLM is offered of a toolbox now.
        scope: Whose answers it may be given: the tenant's.
    """

    def __init__(
        self,
        session: SessionId,
        history: History,
        context_tokens: int,
        new_id: Callable[[str], str],
        offer: Callable[[Toolbox], Offer],
        scope: str = "",
    ) -> None:
        self._scope = scope
        self._session, self._history, self._new_id = session, history, new_id
        self._context_tokens, self._offer = context_tokens, offer

    def reply(
        self,
        turn: TurnId,
        settings: SessionSettings,
        options: ReplyOptions,
        entries: tuple[Entry, ...],
        unfinished: str = "",
        *,
        draft: bool = False,
    ) -> LiveReply:
        """The reply to these entries, as the settings and the options have it. Nothing is begun.

        A reply outside the conversation has no served tools: there is nowhere to put what they come to.

        Args:
            turn: Its name.
            settings: The session's.
            options: What differs from them for this reply.
            entries: See `entries`.
            unfinished: Words of the user that are not in the history yet.
            draft: Whether it may be thrown away.
        """
        instructions = settings.instructions if options.instructions is None else options.instructions
        toolbox = settings.toolbox if options.toolbox is None else options.toolbox
        offer = offer_of(toolbox, {}) if options.aside else self._offer(toolbox)
        request = LlmRequest(
            session=self._session,
            turn=turn,
            messages=self._messages(instructions, entries, unfinished, offer.toolbox),
            max_tokens=options.max_output_tokens or settings.max_output_tokens,
            draft=draft,
            toolbox=offer.toolbox,
            model=settings.model,
            scope=self._scope,
        )
        voice = SpeechRequest("", options.voice or settings.voice, settings.speed)
        modality = options.modality or settings.modality
        item_id = ItemId(self._new_id("item"))
        return LiveReply(turn, item_id, modality, voice, request, options.tag, offer.served)

    def prime(self, turn: TurnId, settings: SessionSettings, unfinished: str) -> LlmRequest:
        """What is known of the next request while the user still speaks."""
        toolbox = self._offer(settings.toolbox).toolbox
        messages = self._messages(settings.instructions, tuple(self._history), unfinished, toolbox)
        return LlmRequest(self._session, turn, messages, draft=True, toolbox=toolbox, model=settings.model)

    def entries(self, options: ReplyOptions) -> tuple[Entry, ...]:
        """What a reply answers to: the conversation, or what the peer names instead.

        Raises:
            PeerProtocolError: it names an item that does not exist.
        """
        if options.entries is None:
            return tuple(self._history)
        return tuple(self._named(one) if isinstance(one, str) else one for one in options.entries)

    def _named(self, item_id: ItemId) -> Entry:
        entry = self._history.get(item_id)
        if entry is None:
            raise PeerProtocolError(
                f"There is no item '{item_id}'.", code="item_not_found", param="response.input"
            )
        return entry

    def _messages(
        self, instructions: str, entries: tuple[Entry, ...], unfinished: str, toolbox: Toolbox
    ) -> tuple[Message, ...]:
        n_tokens = self._context_tokens - tool_tokens_of(toolbox.tools)
        return fit_context(messages_of(entries, instructions, unfinished), n_tokens)
