"""The planner knows of openers and remembered answers, orders them, and the turn is kept. On virtual time."""

from collections.abc import AsyncGenerator
from typing import Any

from tests.support.dialogue import SETTINGS, Dialogue, converse, speech
from voicestack.aio.clock import LoopClock
from voicestack.core.budget import Budget
from voicestack.core.notes import ReplyEnded
from voicestack.core.turn_record import TurnRecord
from voicestack.engines.scripted import ScriptedLlm
from voicestack.fleet.answers import CACHE, AnswersLlm, Policy
from voicestack.fleet.forecasts import SketchForecaster
from voicestack.fleet.inner_ways import ways_of
from voicestack.fleet.opened_reply import Small
from voicestack.fleet.opener import OpenerLlm
from voicestack.ports import Llm, LlmDelta, LlmRequest

SLOW_MS = 1_800
KNOWN = {"what time is it": "It is always time for tea."}
BUDGET = Budget(shares_ms={"asr": 50, "dispatch": 5, "llm": 100, "tts": 75})


class SlowLlm(ScriptedLlm):
    """Slow, and goes on from whatever has been said."""

    async def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        if request.begun:
            yield LlmDelta(" it is five o'clock.")
            return
        async for delta in super().reply(request):
            yield delta


def slow() -> ScriptedLlm:
    return SlowLlm(["It is five o'clock."], first_token_ms=SLOW_MS)


async def two_questions(d: Dialogue) -> None:
    for _ in range(2):
        await d.peer.say(speech(640))
        await d.peer.be_silent(8_000)


def turns(llm: Llm, **changes: Any) -> tuple[list[TurnRecord], list[str]]:
    """Two questions: what is known of their turns, and what was said."""
    forecaster = SketchForecaster(LoopClock(), ways_of(llm), BUDGET)
    d = converse(two_questions, llm=llm, forecaster=forecaster, budget=BUDGET, **changes)
    said = [note.item for note in d.peer.notes(ReplyEnded) if isinstance(note, ReplyEnded)]
    return d.figures.records, [item.text or "" for item in said if item is not None]


def rungs(record: TurnRecord) -> list[str]:
    return [one.rung.value for one in record.taken if one.rung.value != "draft"]


def test_a_turn_that_would_be_late_is_opened_by_the_smaller_llm() -> None:
    small = Small(ScriptedLlm(["As far as I can tell, it is late."], first_token_ms=60, token_ms=5), "tiny")
    for _ in range(10):
        small.times.took(100)
    records, said = turns(OpenerLlm(slow(), small, clock=LoopClock()))
    for record in records:
        assert rungs(record)[-1] == "small_opener"
        assert (record.verdict, record.outcome) == ("met", "answered")
        assert [use.replica for use in record.uses if use.won] == ["tiny"]
    assert said[0] == "As far as I can tell, it is five o'clock."


def test_a_turn_that_would_be_late_is_answered_from_memory() -> None:
    policy = Policy("rung", KNOWN, SETTINGS.instructions)
    records, said = turns(AnswersLlm(slow(), policy, clock=LoopClock()))
    assert rungs(records[0])[-1] == "cached"
    assert (records[0].verdict, records[0].outcome) == ("met", "answered")
    assert [use.replica for use in records[0].uses if use.won] == [CACHE]
    assert said[0] == KNOWN["what time is it"]
    assert "cached" not in rungs(records[1]), "it depends on what was said before"


def test_an_llm_in_time_is_left_alone() -> None:
    small = Small(ScriptedLlm(["As far as I can tell, it is late."]), "tiny")
    for _ in range(10):
        small.times.took(100)
    policy = Policy("rung", KNOWN, SETTINGS.instructions)
    quick = ScriptedLlm(["It is five o'clock."], first_token_ms=50)
    llm = AnswersLlm(OpenerLlm(quick, small, clock=LoopClock()), policy, clock=LoopClock())
    records, said = turns(llm)
    assert [rungs(record) for record in records] == [[], []]
    assert said == ["It is five o'clock."] * 2
