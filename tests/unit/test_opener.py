"""A smaller LLM opens an answer: when it may, who wins, and what becomes of the loser. Scripted."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace

import pytest

from tests.support.replicas import member, roster
from tests.support.trails import Trail
from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.aio.orders import Orders
from voicestack.aio.scope import Scope
from voicestack.core.deadline import Deadline
from voicestack.core.errors import StageError, StageUnavailable
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId, is_own
from voicestack.core.rungs import Rung
from voicestack.core.tools import Tool, Toolbox, ToolCall, ToolChoice
from voicestack.engines.scripted import ScriptedAnswer, ScriptedLlm
from voicestack.fleet.llm_pool import LlmPool
from voicestack.fleet.opened_reply import Small
from voicestack.fleet.opener import OpenerLlm
from voicestack.fleet.opening import MAX_WORDS, Opening, Seam, may_open
from voicestack.fleet.rehearsal import Rehearsal
from voicestack.fleet.ways import Way
from voicestack.ports import LlmDelta, LlmRequest

ASKED = (Message("system", "Be brief."), Message("user", "How is the sea today?"))
REQUEST = LlmRequest(SessionId("s1"), TurnId(1), ASKED)
OPENED = replace(REQUEST, rung=Rung.SMALL_OPENER)
TOOLS = Toolbox((Tool("look"),))


class GoingLlm(ScriptedLlm):
    """Goes on from what has been said already; its rest has been scripted."""

    rest = "calm, and rather warm."

    async def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        if not request.begun:
            async with aclosing(super().reply(request)) as deltas:
                async for delta in deltas:
                    yield delta
            return
        self.requests.append(request)
        await asyncio.sleep(0.5)
        for word in self.rest.split(" "):
            yield LlmDelta(f" {word}")


class Trial:
    """A slow LLM and a quick one, on virtual time."""

    def __init__(
        self,
        *,
        big_ms: float = 1_000,
        small_ms: float = 100,
        says: ScriptedAnswer = "The sea today is calm, I think.",
        error: StageError | None = None,
    ) -> None:
        self.big = GoingLlm(["It is calm and warm today."], first_token_ms=big_ms, token_ms=10)
        failing = 0 if error else None
        self.small = ScriptedLlm(
            [says], first_token_ms=small_ms, token_ms=10, fail_after_tokens=failing, error=error
        )
        self.opener = Small(self.small, "tiny", avoided=("yes", "I'm sorry"))
        self.llm = OpenerLlm(self.big, self.opener, clock=LoopClock())
        self.trail = Trail()

    async def reply(self, request: LlmRequest) -> tuple[str, float]:
        """What is said, and after how many milliseconds it began."""
        loop = asyncio.get_running_loop()
        began_s, first_ms, said = loop.time(), None, ""
        async with aclosing(self.llm.reply(replace(request, trail=self.trail))) as deltas:
            async for delta in deltas:
                if delta.text and first_ms is None:
                    first_ms = (loop.time() - began_s) * 1e3
                said += delta.text
        return said, first_ms or 0.0

    def run(self, request: LlmRequest = OPENED) -> tuple[str, float]:
        return run_virtual(self.reply(request))

    def count(self, name: str) -> float:
        return self.llm.figures()[f"opener_{name}_total"]


def opened(text: str, *avoided: str) -> str:
    opening = Opening(avoided)
    for char in text:
        if (clause := opening.push(char)) is not None:
            return clause
    return opening.end()


def test_the_small_one_opens_and_the_big_one_goes_on() -> None:
    trial = Trial()
    said, first_ms = trial.run()
    assert said == "The sea today is calm, calm, and rather warm."
    assert first_ms == pytest.approx(140), "five words of 10 ms"
    whole, rest = trial.big.requests
    assert (whole.begun, rest.begun) == ("", "The sea today is calm,")
    assert trial.big.aborted == [whole], "the prompt is computed; its answer is not wanted"
    assert trial.trail.n_wasted == 0
    (use,) = trial.trail.uses
    assert (use.replica, use.won) == ("tiny", True)
    assert use.first_ms == pytest.approx(140)
    assert (trial.count("asked"), trial.count("heard")) == (1, 1)


def test_the_big_one_wins_when_its_first_token_is_sooner() -> None:
    trial = Trial(big_ms=120)
    said, first_ms = trial.run()
    assert said == "It is calm and warm today."
    assert first_ms == pytest.approx(120)
    assert len(trial.big.requests) == 1
    assert trial.small.aborted == trial.small.requests
    assert trial.trail.n_wasted == 3, "what the small one had written by then"
    assert [use.won for use in trial.trail.uses] == [False]
    assert (trial.count("late"), trial.count("wasted_tokens")) == (1, 3)


def test_a_big_one_that_begins_again_is_not_heard_twice() -> None:
    trial = Trial()
    trial.big.rest = "The sea today is calm, and rather warm."
    assert trial.run()[0] == "The sea today is calm, and rather warm."


def test_the_loser_stops_at_once() -> None:
    trial = Trial(big_ms=120)

    async def main() -> None:
        async with aclosing(trial.llm.reply(OPENED)) as deltas:
            await anext(deltas)
            await asyncio.sleep(0)
            assert trial.small.aborted == trial.small.requests

    run_virtual(main())


def test_an_order_that_comes_later_is_obeyed_and_others_are_passed_on() -> None:
    trial, orders = Trial(), Orders()

    async def main() -> tuple[str, float]:
        async with Scope() as scope:

            async def order() -> None:
                await asyncio.sleep(0.3)
                orders.give(Rung.HEDGE)
                orders.give(Rung.SMALL_OPENER)
                orders.give(Rung.SMALL_OPENER)

            scope.start(order(), name="order")
            return await trial.reply(replace(REQUEST, orders=orders))

    said, first_ms = run_virtual(main())
    assert said.startswith("The sea today is calm,")
    assert first_ms == pytest.approx(440)
    inner = trial.big.requests[0].orders
    assert inner is not None
    assert inner is not orders
    assert run_virtual(inner.next()) is Rung.HEDGE
    assert trial.count("asked") == 1


def test_without_the_rung_the_small_one_is_not_asked() -> None:
    trial = Trial()
    assert trial.run(REQUEST)[0] == "It is calm and warm today."
    assert trial.run(replace(REQUEST, rung=Rung.HEDGE, orders=Orders()))[0] == "It is calm and warm today."
    assert trial.small.requests == []
    assert trial.big.requests[1].rung is Rung.HEDGE


@pytest.mark.parametrize(
    "request_",
    [
        replace(REQUEST, toolbox=TOOLS),
        replace(REQUEST, messages=(*ASKED, Message("agent", "", (ToolCall("c1", "look"),)))),
        replace(REQUEST, messages=(*ASKED, Message("tool", "calm", call_id="c1"))),
        replace(REQUEST, begun="It is"),
    ],
)
def test_never_beside_tools(request_: LlmRequest) -> None:
    trial = Trial()
    trial.run(replace(request_, rung=Rung.SMALL_OPENER))
    assert trial.small.requests == []
    assert not may_open(request_)
    assert [way.rung for way in trial.llm.ways(request_)] == [Rung.FULL]


def test_tools_that_may_not_be_used_are_none() -> None:
    assert may_open(replace(REQUEST, toolbox=replace(TOOLS, choice=ToolChoice("none"))))


@pytest.mark.parametrize(
    "says",
    [
        "I'm sorry, but I cannot say.",
        "Yes, it is calm today.",
        "There are 3 ships.",
        '{"name": "look"} of course',
        "look(sea) and then",
        "...",
        "",
        ToolCall("c1", "look", "{}"),
    ],
)
def test_an_opener_that_is_not_good_enough_is_not_heard(says: ScriptedAnswer) -> None:
    trial = Trial(says=says)
    said, first_ms = trial.run()
    assert said == "It is calm and warm today."
    assert first_ms == pytest.approx(1_000)
    assert (trial.count("rejected"), trial.count("heard")) == (1, 0)
    assert trial.count("wasted_tokens") == trial.trail.n_wasted


def test_a_small_one_that_fails_changes_nothing() -> None:
    trial = Trial(error=StageUnavailable("gone", stage="llm"))
    assert trial.run()[0] == "It is calm and warm today."
    assert trial.count("failed") == 1
    assert [use.won for use in trial.trail.uses] == [False]


def test_a_big_one_that_fails_is_told_at_once() -> None:
    trial = Trial(big_ms=20)
    trial.big.fail_after_tokens = 0
    with pytest.raises(StageUnavailable):
        trial.run()


def test_what_the_small_one_is_asked() -> None:
    trial = Trial()
    trial.run(replace(REQUEST, rung=Rung.SMALL_OPENER, model="m", draft=True, max_tokens=50))
    (small,) = trial.small.requests
    assert small.messages == ASKED
    assert (small.max_tokens, small.model, small.draft, small.rung) == (24, "", True, Rung.FULL)
    assert (small.orders, small.trail) == (None, None)
    assert trial.big.requests[1].max_tokens == 45


def test_an_answer_that_is_heard_already_has_no_limit() -> None:
    trial = Trial()

    async def main() -> None:
        now_ns = LoopClock().now_ns()
        deadline = Deadline(now_ns + 10**8, now_ns + 10**9)
        await trial.reply(replace(REQUEST, rung=Rung.SMALL_OPENER, deadline=deadline))
        assert [asked.deadline for asked in trial.big.requests] == [deadline, None]

    run_virtual(main())


@pytest.mark.parametrize("after_s", [0.05, 0.2, 0.8])
def test_whoever_hangs_up_leaves_nothing_behind(after_s: float) -> None:
    trial = Trial()

    async def main() -> None:
        deltas = trial.llm.reply(replace(REQUEST, rung=Rung.SMALL_OPENER))
        try:
            async with asyncio.timeout(after_s), aclosing(deltas):
                async for _ in deltas:
                    pass
        except TimeoutError:
            pass

    run_virtual(main())
    assert len(trial.small.closed) == len(trial.small.requests) == 1
    assert all(asked in trial.big.closed for asked in trial.big.requests if not asked.begun)


@pytest.mark.parametrize("after_s", [0.05, 1.005, 1.6])
@pytest.mark.parametrize("n_turns", range(6))
def test_whoever_is_cancelled_twice_leaves_nothing_behind(after_s: float, n_turns: int) -> None:
    trial = Trial(small_ms=1_550)
    pool = LlmPool(roster([member("local", trial.big)]), clock=LoopClock())
    llm = OpenerLlm(pool, trial.opener, clock=LoopClock())

    async def read() -> None:
        async with aclosing(llm.reply(replace(OPENED, orders=Orders()))) as deltas:
            async for _ in deltas:
                await asyncio.sleep(0.1)  # a full playout

    async def main() -> None:
        async with Scope() as scope:
            reading = scope.start(read(), name="reply")
            await asyncio.sleep(after_s)
            reading.cancel()
            for _ in range(n_turns):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            for _ in range(5):
                await asyncio.sleep(0)
            assert trial.big.closed == trial.big.requests
            assert trial.small.closed == trial.small.requests

    run_virtual(main())


def test_both_read_along_and_both_forget() -> None:
    trial = Trial()
    run_virtual(trial.llm.prime(REQUEST))
    run_virtual(trial.llm.prime(replace(REQUEST, toolbox=TOOLS)))
    trial.llm.release(SessionId("s1"))
    assert (len(trial.big.primes), len(trial.small.primes)) == (2, 1)
    assert trial.big.released == trial.small.released == [SessionId("s1")]


def test_the_forecaster_is_told_of_it_once_it_is_known_how_long_it_takes() -> None:
    trial = Trial()
    assert list(trial.llm.ways(REQUEST)) == [Way(Rung.FULL)]
    rehearsal = Rehearsal(trial.opener, ASKED, clock=LoopClock(), every_s=15)

    async def rehearse(for_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                await rehearsal.run()

    run_virtual(rehearse(3))
    assert list(trial.llm.ways(REQUEST)) == [Way(Rung.FULL)], "five say nothing"
    run_virtual(rehearse(60))
    full, small = trial.llm.ways(REQUEST)
    assert (small.rung, small.replica, small.stages) == (Rung.SMALL_OPENER, "tiny", ("tts",))
    assert small.extra_ms == pytest.approx(140)
    assert trial.llm.figures()["opener_expected_ms"] == pytest.approx(140)
    assert 10 <= rehearsal.n_done <= 20, "often at first, then now and then"
    trial.small.fail_after_tokens = 0
    run_virtual(rehearse(1))
    assert list(trial.llm.ways(REQUEST)) == [full], "what fails is not counted on"
    assert all(is_own(asked.session) for asked in trial.small.requests)


@pytest.mark.parametrize(
    ("text", "opener"),
    [
        ("The sea today is calm, I think.", "The sea today is calm,"),
        ("Hello there! What", "Hello there!"),
        ("Calm.", "Calm."),
        ("I would say that it looks rather calm out there now", "I would say that it looks rather calm"),
        ("I would say that it looks like the sea is", "I would say that it looks like"),
        ("**Well**, the sea is", "**Well**, the sea is"),
        ("sorry, I am", ""),
    ],
)
def test_an_opener_is_a_short_clause(text: str, opener: str) -> None:
    assert opened(text, "sorry") == opener
    assert len(opener.split()) <= MAX_WORDS


@pytest.mark.parametrize(
    ("begun", "text", "joined"),
    [
        ("The sea,", " I think, is calm.", " I think, is calm."),
        ("The sea,", "I think, is calm.", " I think, is calm."),
        ("The sea", ", I think", ", I think"),
        ("The sea,", "The sea, I think", " I think"),
        ("The sea,", " the sea, I think", " I think"),
        ("The sea,", "The seal is", " The seal is"),
        ("The sea,", "The", " The"),
        ("The sea,", "", ""),
    ],
)
def test_nothing_is_said_twice(begun: str, text: str, joined: str) -> None:
    for n in range(1, len(text) + 1):
        seam = Seam(begun)
        parts = [text[at : at + n] for at in range(0, len(text), n)]
        assert "".join(map(seam.push, parts)) + seam.end() == joined
