"""`POST /v1/chat/completions`: go on with this conversation. So one server is a replica of another.

It is served by this server's own language model, after the committed replies of this server's own sessions:
who sends work away must not slow down those who are here. What cannot be in time is refused at once, so that
another server can be asked.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from starlette.requests import Request

from voicestack.aio.clock import Clock, unix_s
from voicestack.core.deadline import Deadline
from voicestack.core.errors import PeerProtocolError, StageError, StageExpired
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.rungs import Rung
from voicestack.fleet.guests import Guests
from voicestack.ports import LlmDelta, LlmRequest
from voicestack.server.stages.chat_wire import ChatWish
from voicestack.server.stages.chat_words import Chunks, Whole, messages_of, toolbox_of
from voicestack.server.stages.endpoint import SSE, Reply, limited, uploading, while_here
from voicestack.server.stages.wire import wish_of

GUESTS = 64
"""Conversations of others whose prompts are kept. Each takes a place from one of our own."""
TOO_LONG = "prompt_too_long"
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class CompletionsApi:
    """The endpoint.

    Attributes:
        llm: This server's own language model.
        model: Its name.
        clock: Tells what is left of the time.
        new_id: Makes names.
        max_body_bytes: Longest request.
        guests: The conversations that were here last, oldest first.
    """

    llm: Guests
    model: str
    clock: Clock
    new_id: Callable[[str], str]
    max_body_bytes: int
    guests: dict[SessionId, None] = field(default_factory=dict)

    async def answer(self, request: Request, reply: Reply) -> None:
        """Answer one request. Nothing is begun before there is a token: an error has a status until then.

        Raises:
            StageExpired: it cannot be answered while somebody waits for it.
            VoiceStackError: it cannot be served, or breaks off.
            ClientDisconnect: the client hung up.
        """
        self._check(reply.deadline)
        wish = await self._wish(request)
        asked = self._request(request, wish, reply.deadline)
        try:
            async with while_here(request), aclosing(self.llm.reply(asked)) as deltas:
                write = self._stream if wish.stream else self._write
                await write(wish, deltas, reply)
        except StageError as error:
            if error.code != TOO_LONG:
                raise
            message = "The conversation does not fit into the model's context."
            raise PeerProtocolError(message, code="context_length_exceeded", param="messages") from None
        finally:
            self._dismiss()

    def _check(self, deadline: Deadline | None) -> None:
        """Refuse what would come when nobody waits for it any more."""
        if deadline is not None and self.llm.expect_ms() >= deadline.left_ms(self.clock.now_ns()):
            raise StageExpired("it would come when nobody wants it any more", stage="llm")

    async def _wish(self, request: Request) -> ChatWish:
        async with uploading(), aclosing(limited(request, self.max_body_bytes)) as parts:
            return wish_of(ChatWish, b"".join([part async for part in parts]))

    def _request(self, request: Request, wish: ChatWish, deadline: Deadline | None) -> LlmRequest:
        visitor = request.state.visitor
        whose = "" if visitor is None else visitor.principal.tenant
        session = SessionId(f"guest-{whose}-{wish.prompt_cache_key or self.new_id('chat')}")
        self.guests.pop(session, None)
        self.guests[session] = None
        return LlmRequest(
            session,
            TurnId(0),
            messages_of(wish.messages),
            wish.max_completion_tokens or wish.max_tokens,
            toolbox=toolbox_of(wish),
            model=wish.model,
            deadline=deadline,
            rung=Rung.SHED,
        )

    def _dismiss(self) -> None:
        """Forget the conversations that were here longest ago."""
        while len(self.guests) > GUESTS:
            oldest = next(iter(self.guests))
            del self.guests[oldest]
            self.llm.release(oldest)

    async def _stream(self, wish: ChatWish, deltas: AsyncGenerator[LlmDelta, None], reply: Reply) -> None:
        chunks = Chunks(self.new_id("chatcmpl"), wish.model or self.model, unix_s())
        async for delta in deltas:
            if not reply.has_begun:
                await reply.begin(SSE)
            for chunk in chunks.push(delta):
                await reply.write(_event(chunk.model_dump_json(exclude_none=True)))
        if not reply.has_begun:
            await reply.begin(SSE)
        with_usage = wish.stream_options is not None and wish.stream_options.include_usage
        for chunk in chunks.end(with_usage=with_usage):
            await reply.write(_event(chunk.model_dump_json(exclude_none=True)))
        await reply.write(DONE)

    async def _write(self, wish: ChatWish, deltas: AsyncGenerator[LlmDelta, None], reply: Reply) -> None:
        whole = Whole()
        async for delta in deltas:
            whole.push(delta)
        answer = whole.answer(self.new_id("chatcmpl"), wish.model or self.model, unix_s())
        await reply.whole(answer.model_dump_json(exclude_none=True).encode(), "application/json")


def _event(body: str) -> bytes:
    return b"data: " + body.encode() + b"\n\n"
