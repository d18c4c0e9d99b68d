"""A smaller LLM says the first words, and the one that is asked goes on from there.

Both are asked when the rung says so. Whoever is there first is heard: the first token of the one that was
asked, which then writes all of it, or a whole first clause of the smaller one.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing, suppress

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.core.errors import StageError
from voicestack.core.ids import SessionId
from voicestack.core.rungs import Rung
from voicestack.fleet.inner_ways import ways_of
from voicestack.fleet.llm_pool import Examined
from voicestack.fleet.opened_reply import OpenedReply, Small, asked_of_small
from voicestack.fleet.opening import may_open
from voicestack.fleet.ways import Way
from voicestack.ports import Llm, LlmDelta, LlmRequest

OUTCOMES = ("asked", "heard", "late", "rejected", "failed", "wasted_tokens")


class OpenerLlm:
    """Satisfies `ports.Llm`, and `Ways`.

    Args:
        llm: Who is asked.
        small: Who opens when the rung says so.
        clock: For the ledger.
    """

    def __init__(self, llm: Llm, small: Small, *, clock: Clock) -> None:
        self._llm, self._small, self._clock = llm, small, clock
        self._inner = ways_of(llm)
        self._n = Counter(dict.fromkeys(OUTCOMES, 0))

    async def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        """See `ports.Llm`. Raises as the one that is asked does; the smaller one's failures are counted."""
        may_come = request.rung is Rung.SMALL_OPENER or request.orders is not None
        if not may_come or not may_open(request):
            async with aclosing(self._llm.reply(request)) as deltas:
                async for delta in deltas:
                    yield delta
            return
        async with Scope() as scope:
            opened = OpenedReply(self._llm, self._small, request, clock=self._clock, scope=scope)
            try:
                async with aclosing(opened.deltas()) as deltas:
                    async for delta in deltas:
                        yield delta
            finally:
                self._n.update(opened.counts)

    async def prime(self, request: LlmRequest) -> None:
        """See `ports.Llm`. The smaller one reads along, or its first word would not be sooner."""
        if not may_open(request):
            await self._llm.prime(request)
            return
        async with Scope() as scope:
            small = scope.start(self._prime_small(asked_of_small(request)), name="opener-prime")
            await self._llm.prime(request)
            await small

    def release(self, session: SessionId) -> None:
        """See `ports.Llm`."""
        self._llm.release(session)
        self._small.llm.release(session)

    def ways(self, request: LlmRequest) -> Iterable[Way]:
        """See `Ways`. An opener comes as a whole, and is offered once it is known how long it takes."""
        expect_ms = self._small.times.expect_ms() if may_open(request) else None
        if expect_ms is None:
            return self._inner.ways(request)
        return (*self._inner.ways(request), Way(Rung.SMALL_OPENER, self._small.name, expect_ms, ("tts",)))

    def n_in_flight(self, replica: str) -> int:
        """See `Ways`. Openers are so short that the smaller one counts as idle."""
        return 0 if replica == self._small.name else self._inner.n_in_flight(replica)

    def figures(self) -> Mapping[str, float]:
        """See `ports.Measured`: how often the smaller one was asked, and what became of it.

        `heard` counts the openers that were passed on, `late` those that the other one was sooner than,
        `rejected` those that were not good enough, `failed` those that did not come. What was written in
        vain is in `wasted_tokens`.
        """
        expect_ms = self._small.times.expect_ms()
        expected = {} if expect_ms is None else {"opener_expected_ms": expect_ms}
        return {**{f"opener_{name}_total": n for name, n in self._n.items()}, **expected}

    async def faults(self) -> list[str]:
        """What is wrong with the set-up of the one that is asked."""
        return await self._llm.faults() if isinstance(self._llm, Examined) else []

    async def _prime_small(self, request: LlmRequest) -> None:
        with suppress(StageError):
            await self._small.llm.prime(request)
