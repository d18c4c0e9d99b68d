"""What was answered before is not thought about again: an LLM in front of an LLM, with a memory.

Two kinds of answers are there: those that the operator wrote, and those that the LLM behind gave itself. When
they are given is the planner's decision (`rung`), or the operator's (`always`). Of the LLM's own some are
asked again in the background and compared: when too many turn out different, none is given any more.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Literal

from voicestack.aio.clock import Clock
from voicestack.aio.orders import Orders
from voicestack.aio.prefetch import Channel, Full
from voicestack.aio.scope import Scope
from voicestack.core.errors import StageError
from voicestack.core.ids import SessionId, is_own, own_session
from voicestack.core.notes import Usage
from voicestack.core.rungs import Rung
from voicestack.core.turn_record import Use
from voicestack.fleet.asking import Asking
from voicestack.fleet.inner_ways import ways_of
from voicestack.fleet.llm_pool import Examined
from voicestack.fleet.questions import Question, normalised, question_of
from voicestack.fleet.remembered import Remembered, Rules
from voicestack.fleet.ways import Way
from voicestack.ports import Llm, LlmDelta, LlmRequest

CACHE = "cache"
"""Its name, as a replica."""
LOOK_UP_MS = 1.0
"""What it takes to be given an answer: a turn or two of the event loop."""
WAITING_AUDITS = 16
"""Questions that wait to be asked again. More are left out: it is a sample."""
AUDIT = own_session("audit")

Mode = Literal["off", "rung", "always"]


@dataclass(frozen=True, slots=True)
class Policy:
    """When answers are given.

    Attributes:
        mode: Never; when the planner says so; whenever there is one.
        known: What the operator answers, by normalised question (`questions.normalised`).
        instructions: To whose sessions those apply: with other instructions the agent is somebody else.
        rules: For the others.
        audit_ratio: So many of the answers that are given are asked again, 0 to 1.
    """

    mode: Mode = "off"
    known: Mapping[str, str] = field(default_factory=dict, repr=False)
    instructions: str = field(default="", repr=False)
    rules: Rules = Rules()
    audit_ratio: float = 0.02


class AnswersLlm:
    """Satisfies `ports.Llm`, and `Ways`. Run `run` in a task of its own, for the audits.

    Args:
        llm: Answers what is not remembered.
        policy: See there.
        clock: Tells how old an answer is.
        region: Of this server, for the ledger.
    """

    def __init__(self, llm: Llm, policy: Policy, *, clock: Clock, region: str = "local") -> None:
        self._llm, self._policy, self._clock, self._region = llm, policy, clock, region
        self._inner = ways_of(llm)
        self._known = {normalised(asked): answer for asked, answer in policy.known.items()}
        self._remembered = Remembered(policy.rules)
        self._audits: Channel[LlmRequest] = Channel(WAITING_AUDITS, name="answer-audits")
        self._n = Counter(dict.fromkeys(("hits", "misses", "given", "known_given", "audits"), 0))
        self._audit_due = 0.0

    @property
    def is_ready(self) -> bool:
        """It can always be asked."""
        return True

    @property
    def n_restarts(self) -> int:
        """There is no process."""
        return 0

    async def run(self) -> None:
        """Ask again what is to be compared, one at a time, until cancelled."""
        async for request in self._audits:
            try:
                async with aclosing(self._heard(request, question_of(request))) as deltas:
                    async for _ in deltas:
                        pass
            except StageError:
                continue  # there is nothing to compare with
            self._n["audits"] += 1

    async def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        """See `ports.Llm`. Raises as the LLM behind does."""
        question = None if is_own(request.session) else self._question(request)
        answer = self._answer(question)
        if question is not None:
            self._n["hits" if answer else "misses"] += 1
        if answer and (self._policy.mode == "always" or request.rung is Rung.CACHED):
            deltas = self._given(request, answer)
        elif answer and request.orders is not None:
            deltas = self._until_ordered(request, question, answer)
        else:
            deltas = self._heard(_without_rung(request), question)
        async with aclosing(deltas):
            async for delta in deltas:
                yield delta

    async def prime(self, request: LlmRequest) -> None:
        """See `ports.Llm`."""
        await self._llm.prime(request)

    def release(self, session: SessionId) -> None:
        """See `ports.Llm`."""
        self._llm.release(session)

    def ways(self, request: LlmRequest) -> Iterable[Way]:
        """See `Ways`."""
        if not self._answer(self._question(request)):
            return self._inner.ways(request)
        if self._policy.mode == "always":
            return (Way(Rung.FULL, CACHE, LOOK_UP_MS, ("tts",)),)
        return (*self._inner.ways(request), Way(Rung.CACHED, CACHE, LOOK_UP_MS, ("tts",)))

    def n_in_flight(self, replica: str) -> int:
        """See `Ways`."""
        return 0 if replica == CACHE else self._inner.n_in_flight(replica)

    def figures(self) -> Mapping[str, float]:
        """See `ports.Measured`: what the memory does.

        `hits` are questions with an answer, of which `given` were answered with it, and `known_given` with
        the operator's. `compared` answers of the LLM had been remembered; `wrong` ones were different then.
        """
        remembered = self._remembered
        return {
            **{f"cache_{name}_total": n for name, n in self._n.items()},
            "cache_compared_total": remembered.n_compared,
            "cache_wrong_total": remembered.n_wrong,
            "cache_wrong_ratio": remembered.wrong_ratio,
            "cache_trusted_ratio": float(remembered.is_trusted),
            "cache_answers": len(remembered),
        }

    async def faults(self) -> list[str]:
        """What is wrong with the set-up of the LLM behind."""
        return await self._llm.faults() if isinstance(self._llm, Examined) else []

    def _question(self, request: LlmRequest) -> Question | None:
        """What is asked, if answers are remembered at all."""
        return None if self._policy.mode == "off" else question_of(request)

    def _answer(self, question: Question | None) -> str:
        """What may be answered to it; empty for nothing."""
        if question is None:
            return ""
        known = self._known_to(question)
        if known or not self._remembered.is_trusted:
            return known
        return self._remembered.find(question, self._clock.now_ns()) or ""

    def _known_to(self, question: Question) -> str:
        is_ours = "".join(question.instructions) == self._policy.instructions
        return self._known.get(question.words, "") if is_ours else ""

    async def _given(self, request: LlmRequest, answer: str) -> AsyncGenerator[LlmDelta, None]:
        """An answer that was made before."""
        question = question_of(request)
        is_known = question is not None and bool(self._known_to(question))
        self._n["given"] += 1
        self._n["known_given"] += is_known
        if request.trail is not None:
            if request.rung is not Rung.CACHED and self._policy.mode == "always":
                request.trail.took(Rung.CACHED, "wanted", LOOK_UP_MS)
            request.trail.used(Use("llm", CACHE, self._region, first_ms=0.0))
        if not is_known:
            self._audit(request)
        yield LlmDelta(answer)
        yield LlmDelta(usage=Usage())

    def _audit(self, request: LlmRequest) -> None:
        """Every so many answers, have one asked again."""
        self._audit_due += self._policy.audit_ratio
        if self._audit_due < 1.0:
            return
        self._audit_due -= 1.0
        scope = request.scope or request.session
        asked = replace(_without_rung(request), session=AUDIT, scope=scope, draft=True)
        try:
            self._audits.put(replace(asked, orders=None, trail=None, deadline=None))
        except Full:
            return

    async def _heard(self, request: LlmRequest, question: Question | None) -> AsyncGenerator[LlmDelta, None]:
        """What the LLM behind answers, which is remembered if it was only said, and to its end."""
        said, has_calls, last = "", False, LlmDelta(truncated=True)
        async with aclosing(self._llm.reply(request)) as deltas:
            async for delta in deltas:
                said += delta.text
                has_calls = has_calls or delta.call is not None
                last = delta
                yield delta
        if question is not None and not has_calls and not last.truncated and not self._known_to(question):
            self._remembered.keep(question, said.strip(), self._clock.now_ns())

    async def _until_ordered(
        self, request: LlmRequest, question: Question | None, answer: str
    ) -> AsyncGenerator[LlmDelta, None]:
        """The LLM answers, unless it is ordered to do without before its first token."""
        assert request.orders is not None
        inner, news = Orders(), asyncio.Event()

        async def obey(orders: Orders) -> None:
            while (rung := await orders.next()) is not Rung.CACHED:
                inner.give(rung)
            news.set()

        async with Scope() as scope:
            scope.start(obey(request.orders), name="cache-orders")
            deltas = self._heard(replace(request, orders=inner), question)
            async with Asking(deltas, scope, news.set) as asking:
                await news.wait()
                if asking.first is not None or asking.error is not None:
                    async with aclosing(asking.answer()) as whole:
                        async for delta in whole:
                            yield delta
                    return
        async with aclosing(self._given(replace(request, rung=Rung.CACHED), answer)) as given:
            async for delta in given:
                yield delta


def _without_rung(request: LlmRequest) -> LlmRequest:
    """What is not in the cache is answered as if nobody had hoped for that."""
    return replace(request, rung=Rung.FULL) if request.rung is Rung.CACHED else request
