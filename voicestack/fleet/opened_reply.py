"""One reply that may have an opener: who is there first, and how the rest of it is had."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from voicestack.aio.clock import Clock
from voicestack.aio.orders import Orders
from voicestack.aio.scope import Scope
from voicestack.core.errors import StageError
from voicestack.core.notes import Usage
from voicestack.core.rungs import Rung
from voicestack.core.tools import NO_TOOLS
from voicestack.core.turn_record import Use
from voicestack.fleet.asking import Asking
from voicestack.fleet.opener_times import OpenerTimes
from voicestack.fleet.opening import Opening, Seam
from voicestack.ports import Llm, LlmDelta, LlmRequest

OPENER_TOKENS = 24
"""Of a clause of eight words, in a language with long ones."""


@dataclass(frozen=True, slots=True)
class Small:
    """The smaller LLM.

    Attributes:
        llm: It.
        name: In ledgers and forecasts.
        region: Where it is.
        avoided: See `Opening`.
        times: How long its openers take.
    """

    llm: Llm
    name: str = "opener"
    region: str = "local"
    avoided: Sequence[str] = ()
    times: OpenerTimes = field(default_factory=OpenerTimes)


class OpenedReply:
    """One reply.

    Args:
        llm: Who is asked.
        small: Who may open.
        request: What is asked.
        clock: For the ledger.
        scope: Where both are asked.

    Attributes:
        counts: What has become of the opener, and the tokens that were written in vain.
    """

    def __init__(self, llm: Llm, small: Small, request: LlmRequest, *, clock: Clock, scope: Scope) -> None:
        self._llm, self._small, self._clock, self._scope = llm, small, clock, scope
        self._asked = request
        rung = Rung.FULL if request.rung is Rung.SMALL_OPENER else request.rung
        self._request = replace(request, rung=rung, orders=Orders())
        self._changed = asyncio.Event()
        self._whole = Asking(llm.reply(self._request), scope, self._changed.set)
        self._opener = ""
        self._n_tokens = 0  # that the smaller one has written
        self._asked_ns: int | None = None  # when it was asked
        self._opening: asyncio.Task[None] | None = None
        self.counts: Counter[str] = Counter()

    async def deltas(self) -> AsyncGenerator[LlmDelta, None]:
        """The answer, whoever begins it.

        Raises:
            StageError: the one that is asked has failed.
        """
        if self._asked.rung is Rung.SMALL_OPENER:
            self._open()
        self._scope.start(self._obey(), name="opener-orders")
        async with self._whole as whole:
            while self._is_open:
                await self._changed.wait()
                self._changed.clear()
            if not self._opener:
                self._lose()
                async with aclosing(whole.answer()) as answer:
                    async for delta in answer:
                        yield delta
                return
        yield LlmDelta(self._opener)
        async with aclosing(self._go_on()) as rest:
            async for delta in rest:
                yield delta

    @property
    def _is_open(self) -> bool:
        """Whether it is not known yet who begins."""
        return self._whole.first is None and self._whole.error is None and not self._opener

    async def _obey(self) -> None:
        """Take orders: ask the smaller one, or pass them on."""
        assert self._request.orders is not None
        while self._asked.orders is not None:
            rung = await self._asked.orders.next()
            if rung is Rung.SMALL_OPENER:
                self._open()
            else:
                self._request.orders.give(rung)

    def _open(self) -> None:
        """Ask the smaller one, unless that has been done or comes too late."""
        if self._opening is None and self._is_open:
            self.counts["asked"] += 1
            self._asked_ns = self._clock.now_ns()
            self._opening = self._scope.start(self._write_opener(), name="opener")

    async def _write_opener(self) -> None:
        try:
            clause = await opener_of(self._small, self._asked, self._count)
        except StageError:
            self._end("failed")
            return
        if not clause:
            self._end("rejected")
        elif self._is_open:
            self._opener = clause
            self._end("heard")
            self._changed.set()

    def _count(self) -> None:
        self._n_tokens += 1

    def _lose(self) -> None:
        """The other one was sooner."""
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
            self._end("late")

    def _end(self, outcome: str) -> None:
        """The smaller one has nothing more to do; tell what became of it."""
        assert self._asked_ns is not None
        self.counts[outcome] += 1
        trail, won = self._asked.trail, outcome == "heard"
        if not won:
            self.counts["wasted_tokens"] += self._n_tokens
        first_ms = (self._clock.now_ns() - self._asked_ns) / 1e6 if won else None
        if first_ms is not None:
            self._small.times.took(first_ms)
        elif outcome == "failed":
            self._small.times.failed()
        if trail is None:
            return
        if not won and self._n_tokens:
            trail.wasted(self._n_tokens)
        trail.used(Use("llm", self._small.name, self._small.region, first_ms=first_ms, won=won))

    async def _go_on(self) -> AsyncGenerator[LlmDelta, None]:
        """The rest of the answer. Somebody is listening: there is no limit to its first token any more."""
        limit = self._asked.max_tokens
        request = replace(
            self._request,
            begun=self._opener,
            max_tokens=None if limit is None else max(1, limit - self._n_tokens),
            deadline=None,
        )
        seam = Seam(self._opener)
        async with aclosing(self._llm.reply(request)) as deltas:
            async for delta in deltas:
                is_last = delta.usage is not None or delta.truncated
                text = seam.push(delta.text) + (seam.end() if is_last else "")
                usage = delta.usage and _with_opener(delta.usage, self._n_tokens)
                if text or delta.call is not None or is_last:
                    yield replace(delta, text=text, usage=usage)
        if rest := seam.end():
            yield LlmDelta(rest)


async def opener_of(small: Small, request: LlmRequest, on_token: Callable[[], None]) -> str:
    """What the smaller one opens an answer with; empty if that is not good enough. Raises StageError."""
    opening = Opening(small.avoided)
    async with aclosing(small.llm.reply(asked_of_small(request))) as deltas:
        async for delta in deltas:
            if delta.call is not None:
                return ""
            if delta.text:
                on_token()
            if (clause := opening.push(delta.text)) is not None:
                return clause
    return opening.end()


def asked_of_small(request: LlmRequest) -> LlmRequest:
    """What the smaller one is asked: the same, for a few words."""
    return replace(
        request,
        max_tokens=OPENER_TOKENS,
        toolbox=NO_TOOLS,
        model="",
        rung=Rung.FULL,
        orders=None,
        trail=None,
    )


def _with_opener(usage: Usage, n_tokens: int) -> Usage:
    return replace(usage, output_tokens=usage.output_tokens + n_tokens)
