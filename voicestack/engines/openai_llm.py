"""How does a language model behind an OpenAI-compatible server write the agent's words?

Speaks `/v1/chat/completions` with any server. With `slots` given it speaks llama-server's dialect as well:
the session's prompt stays in one KV slot, and requests are sent in order of importance (`precedence`).
vLLM orders requests itself: it is told their importance (`vllm_dialect`).
Functions are called in one of two ways: see `native_calls` and `prompted_calls`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from voicestack.aio.clock import Clock
from voicestack.aio.expiry import Expiry
from voicestack.core.errors import StageOverloaded, StageRejected, StageTimeout, StageUnavailable
from voicestack.core.ids import SessionId
from voicestack.core.notes import Usage
from voicestack.core.prompt_room import context_tokens_of, fit_context
from voicestack.core.queues import QueueReading
from voicestack.core.rungs import Rung
from voicestack.engines.chat_body import (
    LlmSettings,
    Plan,
    Reader,
    ServerDialect,
    body_of,
    is_about_tools,
    plain_plan,
)
from voicestack.engines.chat_template import DEAF, passes_tools_on
from voicestack.engines.going_on import going_on
from voicestack.engines.llm_figures import LlmFigures
from voicestack.engines.native_calls import native_plan
from voicestack.engines.precedence import Precedence, Rank, Work
from voicestack.engines.prompted_calls import prompted_plan
from voicestack.engines.seats import Seats
from voicestack.engines.sse import ChatClient, PromptTooLong, usage_of
from voicestack.engines.tool_calls import ToolCallInvalid
from voicestack.engines.vllm_dialect import VllmDialect, slo_headers
from voicestack.ports import LlmDelta, LlmRequest

PRIME_LIMIT_S = 15.0
"""A cold prompt of a full 2048-token slot takes 3-10 s on two slow cores; what takes longer hangs."""
DIALECTS: dict[str, ServerDialect] = {"vllm": "vllm", "llamacpp": "llama"}
"""What a server speaks, by what it says of who serves its models."""
RETRY_S = 0.02
RETRY_TEMPERATURE = 0.5
"""Of the second try after an invalid call: a greedy model would say the same again."""


class Backing(Protocol):
    """What answers behind the URL, if it is ours: a `child.Child`, or a `warm_pair.WarmPair`."""

    @property
    def is_ready(self) -> bool:
        """Whether it can be used now."""
        ...

    async def ready(self, within_ns: int) -> object:
        """Wait until it can be used. Raises StageUnavailable: not within `within_ns`."""
        ...

    def on_exit(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the reason whenever what answered is gone: whatever comes next is cold."""
        ...


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
        child: What answers behind the URL, if it is ours: while it starts again, replies wait for it.
        api_key: Bearer token.

    Attributes:
        measures: What its requests take; `figures()` is a summary of it.
        server_figures: What the server says of itself; nothing where nobody reads it.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        clock: Clock,
        settings: LlmSettings,
        child: Backing | None = None,
        api_key: str | None = None,
    ) -> None:
        self._model = model
        self._clock = clock
        self._settings = settings
        self._child = child
        self._client = ChatClient(url, api_key=api_key)
        self.server_figures: Callable[[], dict[str, float]] = dict
        self._vllm = VllmDialect(self._client)
        self._seats = Seats(settings.slots or 0)
        self._precedence = Precedence(settings.slots, clock)
        self._primes: dict[SessionId, _Prime] = {}
        self._expiry = Expiry("llm", clock)
        self.measures = LlmFigures(clock)
        if child is not None:
            child.on_exit(lambda _reason: self.measures.started())

    async def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        """See `ports.Llm`. A conversation that does not fit is tried once more with half of it.

        Raises:
            StageTimeout: no first token, or no next one, in time.
            StageExpired: no first token before nobody wants it any more.
            StageOverloaded: the server refuses more work for now, at once, or too much waits for it.
            StageUnavailable: the server is gone, also in mid-answer.
            StageRejected: it will never serve this.
            PromptTooLong: not even the end of the conversation fits.
            ToolCallInvalid: it called a function that there is not, or against its schema (also the second
                time, if nothing had been passed on).
        """
        first_s = self._expiry.left_s(self._settings.first_token_ms / 1e3, request.deadline)
        due_ns = self._clock.now_ns() + round(first_s * 1e9)
        # llama-server computes prompts one after the other: the primes of others would be in the way.
        for session in list(self._primes) if self._settings.slots else [request.session]:
            self._stop_prime(session)
        rank = rank_of(request)
        is_up = self._child is None or self._child.is_ready
        waits = self._precedence.work(rank, request.deadline, request.promise)
        with self.measures.reply(request, is_up=is_up) as watch, waits as work:
            async with aclosing(self._answer(request, work, due_ns)) as answer:
                async with self._expiry.within(request.deadline):
                    delta = await _next_within(self._settings.first_token_ms / 1e3, answer)
                while delta is not None:
                    watch.got(delta)
                    yield delta
                    watch.asked()
                    delta = await _next_within(self._settings.token_gap_ms / 1e3, answer)

    async def prime(self, request: LlmRequest) -> None:
        """See `ports.Llm`. A newer prime of the session ends an older one, and a reply ends both.

        llama-server keeps the KV of whatever part of the prompt it had computed by then.
        """
        self._stop_prime(request.session)
        with self.measures.prime(request) as priming:
            if self._child is not None:
                await self._child.ready(within_ns=0)
            prime = _Prime(asyncio.timeout(PRIME_LIMIT_S))
            self._primes[request.session] = prime
            try:
                async with prime.limit:
                    await self._prime(request)
            except TimeoutError:
                if not prime.stopped:
                    raise StageTimeout(f"a prime took over {PRIME_LIMIT_S:.0f} s", stage="llm") from None
                priming.was_stopped = True
            except StageRejected as error:
                if not self._vllm.learns_from(error):
                    raise
            finally:
                if self._primes.get(request.session) is prime:
                    del self._primes[request.session]

    def release(self, session: SessionId) -> None:
        """See `ports.Llm`."""
        self._stop_prime(session)
        self._seats.release(session)

    async def faults(self) -> list[str]:
        """What is wrong with the way in which it is set up, as far as the server tells. For people."""
        is_deaf = self._settings.tools == "native" and await passes_tools_on(self._client) is False
        return [DEAF] if is_deaf else []

    def figures(self) -> dict[str, float]:
        """See `ports.Measured`: of its requests, and what the server says of itself."""
        counted = {"full_total": self._client.n_full, "expired_total": self._expiry.n_expired}
        return self.measures.figures() | counted | self.server_figures()

    def queues(self) -> list[QueueReading]:
        """See `ports.Queued`."""
        return [one for one in (self._precedence.reading(),) if one is not None]

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _prime(self, request: LlmRequest) -> None:
        with self._precedence.work(Rank.PRIME) as work, self._seats.taken(request.session) as slot:
            await self._precedence.admission(work)
            async with aclosing(self._client.events(await self._prime_body(request, slot))) as events:
                async for _ in events:
                    pass

    async def _answer(self, request: LlmRequest, work: Work, due_ns: int) -> AsyncGenerator[LlmDelta, None]:
        """Ask. While our own server is down and no token has come, ask again until `due_ns`."""
        await self._precedence.admission(work)
        self._expiry.check(request.deadline)
        n_passed = 0
        again: dict[str, Any] = {}
        with self._seats.taken(request.session) as slot:
            while True:
                if self._child is not None:
                    await self._child.ready(max(0, due_ns - self._clock.now_ns()))
                try:
                    plan = self._plan(request)
                    body = await self._worded(self._body(plan, request, slot) | again, work.rank)
                    if request.begun:
                        body = await going_on(body, request.begun, self._client, self._settings)
                    headers = self._headers(request)
                    async with aclosing(self._stream(body, headers, plan.reader, work)) as deltas:
                        async for delta in deltas:
                            n_passed += 1
                            yield delta
                    return
                except ToolCallInvalid:
                    if n_passed or again:
                        raise
                    again = {"temperature": RETRY_TEMPERATURE}
                except PromptTooLong:
                    half = fit_context(request.messages, context_tokens_of(request.messages) // 2)
                    if half == request.messages:
                        raise
                    request = replace(request, messages=half)
                except StageOverloaded:
                    raise  # to wait for room would be to wait in a second queue
                except StageRejected as error:
                    if not self._vllm.learns_from(error):
                        raise
                except StageUnavailable:
                    if self._child is None or not work.in_prompt:
                        raise
                    # Its sockets close before its death is announced.
                    await asyncio.sleep(RETRY_S)

    async def _stream(
        self, body: dict[str, Any], headers: Mapping[str, str], reader: Reader, work: Work
    ) -> AsyncGenerator[LlmDelta, None]:
        usage: Usage | None = None
        finish: str | None = None
        async with aclosing(self._client.events(body, headers)) as events:
            async for event in events:
                usage = usage_of(event) or usage
                for choice in event.get("choices", ()):
                    finish = choice.get("finish_reason") or finish
                    delta = choice.get("delta") or {"content": choice.get("text")}
                    if delta.get("content") or delta.get("tool_calls"):
                        self._precedence.first_token(work)
                    for piece in reader.push(delta):
                        yield piece
                if reader.is_full:
                    finish = "length"
                    break
        if finish is None:
            raise StageUnavailable(f"{self._client.url} ended in mid-answer", stage="llm")
        for piece in reader.end(truncated=finish == "length"):
            yield piece
        yield LlmDelta(truncated=finish == "length" or reader.truncated, usage=usage)

    def _stop_prime(self, session: SessionId) -> None:
        if prime := self._primes.get(session):
            prime.stop()

    def _plan(self, request: LlmRequest) -> Plan:
        if not is_about_tools(request):
            return plain_plan(request)
        plan = prompted_plan if self._settings.tools == "prompted" else native_plan
        return plan(request, self._settings)

    def _body(self, plan: Plan, request: LlmRequest, slot: int) -> dict[str, Any]:
        return body_of(plan, request, self._settings, model=self._model, slot=slot)

    async def _worded(self, body: dict[str, Any], rank: Rank) -> dict[str, Any]:
        """The body in the server's dialect. llama-server's is ours: see `body_of`."""
        if self._settings.slots:
            return body
        if self._settings.dialect == "auto":
            dialect = DIALECTS.get(await self._client.owner(), "plain")
            self._settings = replace(self._settings, dialect=dialect)
        return await self._vllm.translated(body, rank) if self._settings.dialect == "vllm" else body

    def _headers(self, request: LlmRequest) -> dict[str, str]:
        """What is left of the turn, for this request to it."""
        headers = self._expiry.headers(request.deadline)
        return headers | slo_headers(headers) if self._settings.dialect == "vllm" else headers

    async def _prime_body(self, request: LlmRequest, slot: int) -> dict[str, Any]:
        # llama-server computes a prompt for nothing but its KV with n_predict 0; others want a token.
        body = self._body(self._plan(request), request, slot)
        body.pop("grammar", None)
        body |= {"n_predict": 0} if self._settings.slots else {"max_tokens": 1}
        return await self._worded(body, Rank.PRIME)


def rank_of(request: LlmRequest) -> Rank:
    """How important it is. What has another replica, or comes from one, gives way to what is at home here."""
    if request.draft:
        return Rank.DRAFT
    return Rank.HEDGE if request.rung in (Rung.HEDGE, Rung.SHED) else Rank.COMMITTED


async def _next_within(limit_s: float, answer: AsyncGenerator[LlmDelta, None]) -> LlmDelta | None:
    try:
        async with asyncio.timeout(limit_s):
            return await anext(answer, None)
    except TimeoutError:
        raise StageTimeout(f"no token within {limit_s * 1e3:.0f} ms", stage="llm") from None
