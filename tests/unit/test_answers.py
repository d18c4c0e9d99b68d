"""What was answered before is given again: to whom, how long, and until it turns out wrong. Scripted."""

import asyncio
import unicodedata
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trails import Trail
from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.aio.orders import Orders
from voicestack.aio.scope import Scope
from voicestack.core.errors import StageUnavailable
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId, own_session
from voicestack.core.rungs import Rung
from voicestack.core.tools import Tool, Toolbox, ToolCall, ToolChoice
from voicestack.engines.scripted import ScriptedAnswer, ScriptedLlm
from voicestack.fleet.answers import CACHE, AnswersLlm, Mode, Policy
from voicestack.fleet.questions import agree, normalised, phrases_of, question_of
from voicestack.fleet.remembered import Remembered, Rules
from voicestack.fleet.ways import Way
from voicestack.ports import LlmRequest

SYSTEM = "Be brief."
HOURS = "What are your opening hours?"
KNOWN = {"what are your opening hours": "We are open from 9 to 5."}
TOOLS = Toolbox((Tool("look", "Looks.", {"type": "object"}),))


def ask(text: str = "How is the sea?", *, scope: str = "acme", system: str = SYSTEM) -> LlmRequest:
    messages = (Message("system", system), Message("user", text))
    return LlmRequest(SessionId("s1"), TurnId(1), messages, rung=Rung.CACHED, scope=scope)


class Trial:
    """A slow LLM with a memory, on virtual time."""

    def __init__(
        self, mode: Mode = "rung", *, says: ScriptedAnswer = "It is calm.", **policy: object
    ) -> None:
        self.says = says
        self.behind = ScriptedLlm(self._said, first_token_ms=1_000)
        made = Policy(mode, KNOWN, SYSTEM, **policy)  # type: ignore[arg-type]
        self.llm = AnswersLlm(self.behind, made, clock=LoopClock())
        self.trail = Trail()

    def _said(self, _messages: tuple[Message, ...]) -> ScriptedAnswer:
        return self.says

    async def reply(self, request: LlmRequest | None = None) -> str:
        """What is said; the LLM behind takes a second for it."""
        asked = replace(request or ask(), trail=self.trail)
        async with aclosing(self.llm.reply(asked)) as deltas:
            return "".join([delta.text async for delta in deltas])

    @property
    def n_asked(self) -> int:
        return len(self.behind.requests)

    def figure(self, name: str) -> float:
        return self.llm.figures()[f"cache_{name}"]


def test_the_second_time_the_answer_is_there() -> None:
    trial = Trial()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await trial.reply() == "It is calm."
        trial.says = "It is wild."
        began_s = loop.time()
        assert await trial.reply(ask("how is the SEA")) == "It is calm."
        assert loop.time() == began_s
        assert await trial.reply(ask("how is the sea now")) == "It is wild."

    run_virtual(main())
    assert trial.n_asked == 2
    assert [use.replica for use in trial.trail.uses] == [CACHE]
    assert trial.trail.taken == [], "the planner took the rung, and has said so"
    assert [trial.figure(f"{name}_total") for name in ("hits", "misses", "given")] == [1, 2, 1]


@pytest.mark.parametrize(
    ("mode", "rung", "n_asked", "taken"),
    [
        ("off", Rung.CACHED, 2, []),
        ("rung", Rung.CACHED, 1, []),
        ("rung", Rung.FULL, 2, []),
        ("always", Rung.FULL, 1, [Rung.CACHED]),
    ],
)
def test_when_answers_are_given(mode: Mode, rung: Rung, n_asked: int, taken: list[Rung]) -> None:
    trial = Trial(mode)

    async def main() -> None:
        for _ in range(2):
            assert await trial.reply(replace(ask(), rung=rung)) == "It is calm."

    run_virtual(main())
    assert (trial.n_asked, trial.trail.taken) == (n_asked, taken)
    assert all(asked.rung is not Rung.CACHED for asked in trial.behind.requests)


OTHERS: list[Callable[[LlmRequest], LlmRequest]] = [
    lambda asked: replace(asked, scope="other"),
    lambda asked: replace(asked, model="large"),
    lambda asked: replace(asked, toolbox=TOOLS),
    lambda asked: replace(asked, messages=(Message("system", "Be rude."), *asked.messages[1:])),
    lambda asked: replace(asked, messages=(*asked.messages, Message("agent", "Hm."), asked.messages[1])),
    lambda asked: replace(asked, messages=(*asked.messages, Message("tool", "calm", call_id="c1"))),
    lambda asked: replace(asked, begun="It is"),
    lambda asked: replace(asked, session=own_session("readiness")),
]


@pytest.mark.parametrize("other", OTHERS)
def test_an_answer_is_for_the_same_question_only(other: Callable[[LlmRequest], LlmRequest]) -> None:
    trial = Trial("always")

    async def main() -> None:
        await trial.reply()
        await trial.reply(other(ask()))

    run_virtual(main())
    assert trial.n_asked == 2


def test_without_a_scope_an_answer_stays_in_its_session() -> None:
    trial = Trial("always")

    async def main() -> None:
        for session in ("s1", "s2", "s1"):
            await trial.reply(replace(ask(scope=""), session=SessionId(session)))

    run_virtual(main())
    assert trial.n_asked == 2


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("How is the sea at 5?", "It is calm."),
        ("How is the sea?", "It is 5 degrees."),
        ("How is the sea?", ToolCall("c1", "look", "{}")),
        ("How is the sea?", ("One moment.", ToolCall("c1", "look", "{}"))),
        ("How is the sea?", "calm " * 200),
        ("How is the sea?", ""),
    ],
)
def test_what_is_not_remembered(question: str, says: ScriptedAnswer) -> None:
    trial = Trial("always", says=says)

    async def main() -> None:
        for _ in range(2):
            await trial.reply(ask(question))

    run_virtual(main())
    assert (trial.n_asked, trial.figure("answers")) == (2, 0)


def test_an_answer_that_breaks_off_is_not_remembered() -> None:
    trial = Trial("always")

    async def main() -> None:
        async with aclosing(trial.llm.reply(ask())) as deltas:
            await anext(deltas)
        await trial.reply(replace(ask(), max_tokens=1))
        trial.behind.fail_after_tokens = 2
        with pytest.raises(StageUnavailable):
            await trial.reply()
        assert trial.figure("answers") == 0

    run_virtual(main())


def test_an_answer_grows_old() -> None:
    trial = Trial("always", rules=Rules(ttl_ns=60 * 10**9))

    async def main() -> None:
        await trial.reply()
        await asyncio.sleep(59)
        await trial.reply()
        assert trial.n_asked == 1
        await asyncio.sleep(2)
        await trial.reply()
        assert trial.n_asked == 2

    run_virtual(main())


def test_what_the_operator_answers_needs_no_llm() -> None:
    trial = Trial()

    async def main() -> None:
        assert await trial.reply(ask("what ARE your opening hours")) == KNOWN["what are your opening hours"]
        assert trial.n_asked == 0
        assert await trial.reply(ask(HOURS, system="You are a pirate.")) == "It is calm."
        assert await trial.reply(replace(ask(HOURS), rung=Rung.FULL)) == "It is calm."
        assert await trial.reply(ask(HOURS)) == KNOWN["what are your opening hours"], "nothing replaces it"

    run_virtual(main())
    assert trial.figure("known_given_total") == 2


def test_an_order_to_take_it_is_obeyed_until_the_first_token() -> None:
    trial = Trial()
    orders = Orders()

    async def order(*rungs: Rung) -> None:
        await asyncio.sleep(0.3)
        for rung in rungs:
            orders.give(rung)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await trial.reply()
        trial.says = "It is wild."
        slow = replace(ask(), rung=Rung.FULL, orders=orders)
        async with Scope() as scope:
            scope.start(order(Rung.HEDGE, Rung.CACHED), name="order")
            began_s = loop.time()
            assert await trial.reply(slow) == "It is calm."
            assert loop.time() - began_s == pytest.approx(0.3)
        assert trial.behind.aborted == [trial.behind.requests[1]]
        inner = trial.behind.requests[1].orders
        assert inner is not None
        assert await inner.next() is Rung.HEDGE
        assert await trial.reply(slow) == "It is wild.", "nobody ordered anything"

    run_virtual(main())
    assert trial.figure("wrong_total") == 1


def test_answers_are_asked_again_now_and_then_and_distrusted_when_they_differ() -> None:
    trial = Trial("always", audit_ratio=0.25, rules=Rules(wrong_ratio_max=0.2))

    async def many(n: int) -> None:
        for _ in range(n):
            await trial.reply()
            await asyncio.sleep(2)

    async def main() -> None:
        async with Scope() as scope:
            scope.start(trial.llm.run(), name="audits")
            await many(1 + 40)
            assert (trial.figure("audits_total"), trial.figure("wrong_total")) == (10, 0)
            assert trial.n_asked == 11
            assert all(asked.draft for asked in trial.behind.requests[1:]), "whoever waits is served first"
            n_turns = 0
            while trial.figure("trusted_ratio") == 1.0:
                trial.says = f"It is {'wild' if n_turns % 8 < 4 else 'icy'}, oh {'ho' * n_turns}."
                await many(4)
                n_turns += 1
            assert trial.figure("wrong_ratio") > 0.2
            n_asked = trial.n_asked
            trial.says = "It is calm."
            await many(2)
            assert trial.n_asked == n_asked + 2, "nothing is given again"
            await many(100)
            assert trial.figure("trusted_ratio") == 1.0, "all of the newest hundred were right"

    run_virtual(main(), timeout_s=10_000)


def test_an_audit_that_fails_says_nothing() -> None:
    trial = Trial("always", audit_ratio=1.0)

    async def main() -> None:
        async with Scope() as scope:
            scope.start(trial.llm.run(), name="audits")
            await trial.reply()
            trial.behind.fail_after_tokens = 0
            await trial.reply()
            await asyncio.sleep(5)
            assert (trial.figure("audits_total"), trial.figure("compared_total")) == (0, 0)
            assert await trial.reply() == "It is calm."

    run_virtual(main())


def test_the_forecaster_is_told_what_is_there() -> None:
    trial, always = Trial(), Trial("always")
    full, cached = Way(Rung.FULL), Way(Rung.CACHED, CACHE, 1.0, ("tts",))

    async def main() -> None:
        await trial.reply()
        await always.reply()
        assert list(trial.llm.ways(ask())) == [full, cached]
        assert list(trial.llm.ways(ask(HOURS))) == [full, cached]
        assert list(trial.llm.ways(ask("Something else?"))) == [full]
        assert list(Trial("off").llm.ways(ask(HOURS))) == [full]
        assert list(always.llm.ways(ask())) == [replace(cached, rung=Rung.FULL)]

    run_virtual(main())


def test_memory_is_bounded_and_one_tenant_does_not_push_out_the_others() -> None:
    kept = Remembered(Rules(max_answers=8))
    asked = [question_of(ask(f"{word} please")) for word in "abcdefgh"]
    other = question_of(ask(scope="other"))
    assert other is not None
    kept.keep(other, "Calm.", 0)
    for question in asked:
        assert question is not None
        kept.keep(question, "Yes.", 0)
    assert len(kept) == 3, "a quarter for each"
    assert kept.find(other, 0) == "Calm."
    assert asked[-1] is not None
    assert kept.find(asked[-1], 0) == "Yes."
    for n in range(40):
        question = question_of(ask("one", scope=f"t{n}"))
        assert question is not None
        kept.keep(question, "Yes.", 0)
    assert len(kept) == 8


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (HOURS, "what are your opening hours", True),
        ("I\u2019d like that", "i'd like that!", True),
        ("Ich möchte das", "ICH MÖCHTE DAS.", True),
        ("do you open", "do you not open", False),
        ("I do like it", "I don't like it", False),
        ("at 3.5", "at 35", False),
        ("at -5", "at 5", False),
        ("it costs 5 €", "it costs 5 $", False),
        ("we're", "were", False),
        ("open at 9:30", "open at 930", False),
    ],
)
def test_what_is_the_same_question(one: str, other: str, same: bool) -> None:
    assert (normalised(one) == normalised(other)) is same


@given(st.text(max_size=40))
def test_no_digit_and_no_letter_is_lost(text: str) -> None:
    plain = unicodedata.normalize("NFKC", text).casefold()
    said = normalised(text)
    assert normalised(said) == said
    assert list(filter(counts, said)) == list(filter(counts, plain))


def counts(char: str) -> bool:
    return char.isdecimal() or char.isalpha()


def test_a_call_that_is_demanded_is_no_question() -> None:
    demanded = replace(TOOLS, choice=ToolChoice("required"))
    assert question_of(replace(ask(), toolbox=demanded)) is None
    assert question_of(ask("...")) is None
    assert question_of(replace(ask(), messages=())) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("It is calm and warm.", "It is calm and warm today.", True),
        ("We are open.", "We are not open.", False),
        ("It costs 5 euros in all.", "It costs 6 euros in all.", False),
        ("It is calm.", "Ships sail at night.", False),
        ("Yes, we can do that.", "Yes, we can't do that.", False),
    ],
)
def test_which_answers_agree(one: str, other: str, same: bool) -> None:
    assert agree(one, other) is same
    assert agree(other, one) is same


def test_an_answer_in_the_pieces_in_which_it_is_spoken() -> None:
    assert phrases_of("Hello there, **friend**. How are you?") == ["Hello there,", "friend.", "How are you?"]
