"""How does a language model behind an OpenAI-compatible server write the agent's words?

Speaks `/v1/chat/completions` with any server. With `slots` given it speaks llama-server's dialect as well:
the session's prompt stays in one KV slot, and requests are sent in order of importance (`precedence`).
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from voicestack.aio.clock import Clock
from voicestack.core.errors import StageTimeout, StageUnavailable
from voicestack.core.history import CHARS_PER_TOKEN, TOKENS_PER_MESSAGE, Message, fit_context
from voicestack.core.ids import SessionId
from voicestack.core.notes import Usage
from voicestack.engines.child import Child
from voicestack.engines.precedence import Precedence, Rank, Work
from voicestack.engines.seats import Seats
from voicestack.engines.sse import ChatClient, PromptTooLong
from voicestack.ports import LlmDelta, LlmRequest

PRIME_LIMIT_S = 15.0
"""A cold prompt of a full 2048-token slot takes 3-10 s on two slow cores; what takes longer hangs."""
RETRY_S = 0.02
WIRE_ROLES = {"system": "system", "user": "user", "agent": "assistant", "tool": "tool"}


@dataclass(frozen=True, slots=True)
class LlmSettings:
    """How answers are made.

    Attributes:
        temperature: 0 is greedy.
        top_p: Nucleus sampling, 0..1.
        max_tokens: Longest answer.
        repeat_penalty: 1.0 is none. Sent as `repeat_penalty` to llama-server and as `repetition_penalty`
            to others (vLLM, SGLang, TGI know it); None where the server would refuse it (OpenAI).
        stop: Texts before which an answer ends. A line feed keeps spoken answers free of lists.
        first_token_ms: From the request to the first text, waiting for the server included.
        token_gap_ms: Between two pieces of text.
        slots: KV slots of a llama-server; None for other servers.
    """

    temperature: float = 0.7
    top_p: float = 0.9
    max_tokens: int = 80
    repeat_penalty: float | None = None
    stop: tuple[str, ...] = ()
    first_token_ms: int = 2500
    token_gap_ms: int = 2000
    slots: int | None = None


@dataclass(slots=True)
class _Prime:
    """A prime on its way."""

    limit: asyncio.Timeout
    stopped: bool = False

    def stop(self) -> None:
        """End it now."""
        if not self.limit.expired():
            self.stopped = True
            self.limit.reschedule(0.0)  # a time in the past: at once


class OpenAiLlm:
    """Satisfies `ports.Llm`.

    Args:
        url: See `ChatClient`.
        model: The name by which the server knows it.
        clock: Measures the wait for the first token.
        settings: See there.
        child: The process behind the URL, if it is ours: while it starts again, replies wait for it.
        api_key: Bearer token.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        clock: Clock,
        settings: LlmSettings,
        child: Child | None = None,
        api_key: str | None = None,
    ) -> None:
        self._model = model
        self._clock = clock
        self._settings = settings
        self._child = child
        self._client = ChatClient(url, api_key=api_key)
        self._seats = Seats(settings.slots or 0)
        self._precedence = Precedence(settings.slots)
        self._primes: dict[SessionId, _Prime] = {}

    async def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        """See `ports.Llm`. A conversation that does not fit is tried once more with half of it.

        Raises:
            StageTimeout: no first token, or no next one, in time.
            StageUnavailable: the server is gone, also in mid-answer.
            StageRejected: it will never serve this.
            PromptTooLong: not even the end of the conversation fits.
        """
        due_ns = self._clock.now_ns() + self._settings.first_token_ms * 1_000_000
        # llama-server computes prompts one after the other: the primes of others would be in the way.
        for session in list(self._primes) if self._settings.slots else [request.session]:
            self._stop_prime(session)
        with self._precedence.work(Rank.DRAFT if request.draft else Rank.COMMITTED) as work:
            async with aclosing(self._answer(request, work, due_ns)) as answer:
                limit_s = self._settings.first_token_ms / 1e3
                while (delta := await _next_within(limit_s, answer)) is not None:
                    limit_s = self._settings.token_gap_ms / 1e3
                    yield delta

    async def prime(self, request: LlmRequest) -> None:
        """See `ports.Llm`. A newer prime of the session ends an older one, and a reply ends both.

        llama-server keeps the KV of whatever part of the prompt it had computed by then.
        """
        self._stop_prime(request.session)
        if self._child is not None:
            await self._child.ready(within_ns=0)
        prime = _Prime(asyncio.timeout(PRIME_LIMIT_S))
        self._primes[request.session] = prime
        try:
            async with prime.limit:
                with self._precedence.work(Rank.PRIME) as work, self._seats.taken(request.session) as slot:
                    await work.admitted.wait()
                    async with aclosing(self._client.events(self._prime_body(request, slot))) as events:
                        async for _ in events:
                            pass
        except TimeoutError:
            if not prime.stopped:
                raise StageTimeout(f"a prime took over {PRIME_LIMIT_S:.0f} s", stage="llm") from None
        finally:
            if self._primes.get(request.session) is prime:
                del self._primes[request.session]

    def release(self, session: SessionId) -> None:
        """See `ports.Llm`."""
        self._stop_prime(session)
        self._seats.release(session)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _answer(self, request: LlmRequest, work: Work, due_ns: int) -> AsyncGenerator[LlmDelta, None]:
        """Ask. While our own server is down and no token has come, ask again until `due_ns`."""
        await work.admitted.wait()
        with self._seats.taken(request.session) as slot:
            while True:
                if self._child is not None:
                    await self._child.ready(max(0, due_ns - self._clock.now_ns()))
                try:
                    async with aclosing(self._stream(self._body(request, slot), work)) as deltas:
                        async for delta in deltas:
                            yield delta
                    return
                except PromptTooLong:
                    half = fit_context(request.messages, _length(request.messages) // 2)
                    if half == request.messages:
                        raise
                    request = replace(request, messages=half)
                except StageUnavailable:
                    if self._child is None or not work.in_prompt:
                        raise
                    # Its sockets close before its death is announced.
                    await asyncio.sleep(RETRY_S)

    async def _stream(self, body: dict[str, Any], work: Work) -> AsyncGenerator[LlmDelta, None]:
        usage: Usage | None = None
        finish: str | None = None
        async with aclosing(self._client.events(body)) as events:
            async for event in events:
                usage = _usage(event) or usage
                for choice in event.get("choices", ()):
                    finish = choice.get("finish_reason") or finish
                    if text := choice.get("delta", {}).get("content"):
                        self._precedence.first_token(work)
                        yield LlmDelta(text)
        if finish is None:
            raise StageUnavailable(f"{self._client.url} ended in mid-answer", stage="llm")
        yield LlmDelta(truncated=finish == "length", usage=usage)

    def _stop_prime(self, session: SessionId) -> None:
        if prime := self._primes.get(session):
            prime.stop()

    def _body(self, request: LlmRequest, slot: int) -> dict[str, Any]:
        settings = self._settings
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": WIRE_ROLES[m.role], "content": m.text} for m in request.messages],
            "max_tokens": min(settings.max_tokens, request.max_tokens or settings.max_tokens),
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if settings.stop:
            body["stop"] = list(settings.stop)
        if settings.repeat_penalty is not None:
            body["repeat_penalty" if settings.slots else "repetition_penalty"] = settings.repeat_penalty
        if settings.slots:
            # With progress events llama-server sees between two batches of a prompt that the connection is
            # closed; without them it looks once a second.
            body |= {"id_slot": slot, "cache_prompt": True, "return_progress": True}
        return body

    def _prime_body(self, request: LlmRequest, slot: int) -> dict[str, Any]:
        # llama-server computes a prompt for nothing but its KV with n_predict 0; others want a token.
        return self._body(request, slot) | ({"n_predict": 0} if self._settings.slots else {"max_tokens": 1})


async def _next_within(limit_s: float, answer: AsyncGenerator[LlmDelta, None]) -> LlmDelta | None:
    try:
        async with asyncio.timeout(limit_s):
            return await anext(answer, None)
    except TimeoutError:
        raise StageTimeout(f"no token within {limit_s * 1e3:.0f} ms", stage="llm") from None


def _length(messages: Sequence[Message]) -> int:
    """In tokens, estimated as `fit_context` does."""
    return sum(len(message.text) // CHARS_PER_TOKEN + TOKENS_PER_MESSAGE for message in messages)


def _usage(event: dict[str, Any]) -> Usage | None:
    said = event.get("usage")
    if not said:
        return None
    details = said.get("prompt_tokens_details") or {}
    return Usage(
        input_tokens=said.get("prompt_tokens", 0),
        cached_tokens=details.get("cached_tokens") or 0,
        output_tokens=said.get("completion_tokens", 0),
    )
