"""Nobody waits in silence: what a session does when a stage is slow, stuck or dead. On virtual time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.support.dialogue import SETTINGS, Dialogue, converse, speech
from voicestack.core.audio import AudioFrame, SpokenFrame
from voicestack.core.budget import Budget
from voicestack.core.commands import AddItem, CreateReply
from voicestack.core.errors import StageOverloaded, StageUnavailable
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.history import Item
from voicestack.core.ids import ItemId
from voicestack.core.marks import Mark
from voicestack.core.notes import ReplyEnded
from voicestack.core.rungs import Forecast, Rung
from voicestack.core.turn_record import DEAD_AIR_MS, TurnRecord, Use
from voicestack.engines.scripted import ScriptedAsr, ScriptedLlm, ScriptedTts
from voicestack.ports import Certainty, LlmRequest, Pause, SpeechRequest, Transcript
from voicestack.session.pace import FILLER_EVERY_MS, SHORT_WORDS
from voicestack.session.tuning import Engines, Tuning
from voicestack.turn.plan import MARGIN_MS
from voicestack.turn.policy import Policy

FILLER = "One moment, please."
REFUSAL = "I'm sorry, I can't answer that right now."
EXCUSE = "Sorry, I didn't catch that."
NO_DRAFTS = Policy(draft_replies=False)
ANSWER = "It is five o'clock."


class StuckTts(ScriptedTts):
    """Says prepared sentences, and nothing else ever."""

    def __init__(self) -> None:
        super().__init__()
        self.works = True

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        if not self.works:
            await asyncio.get_running_loop().create_future()
        async for frame in super().speak(request):
            yield frame


class BadAsr(ScriptedAsr):
    """Fails, or never comes to an end, until it is told not to."""

    def __init__(self, *, stuck: bool) -> None:
        super().__init__(["what time is it"])
        self.stuck, self.broken = stuck, True

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        if self.broken and not self.stuck:
            raise StageUnavailable("no recogniser", stage="asr")
        async for transcript in super().transcribe(sounds, hints):
            if self.broken and transcript.certainty is not Certainty.PARTIAL:
                await asyncio.get_running_loop().create_future()
            yield transcript


async def one_question(d: Dialogue, wait_ms: float = 14_000) -> None:
    await d.peer.say(speech(640))
    await d.peer.be_silent(wait_ms)


def ask(**engines: Any) -> tuple[Dialogue, TurnRecord]:
    """Ask one question; returns the dialogue and the only turn of it."""
    d = converse(one_question, **engines)
    (record,) = d.figures.records
    return d, record


def rungs(record: TurnRecord) -> list[tuple[str, str]]:
    return [(one.rung.value, one.reason) for one in record.taken]


def spoken(d: Dialogue) -> list[str]:
    """What each reply said, as the peer knows it."""
    items = [note.item for note in d.peer.notes(ReplyEnded) if isinstance(note, ReplyEnded)]
    return [item.text or "" for item in items if item is not None]


def test_a_turn_in_time_needs_no_rung_but_the_draft() -> None:
    d, record = ask()
    assert rungs(record) == [("draft", "soft_end")]
    assert (record.verdict, record.outcome) == ("met", "answered")
    assert spoken(d) == [ANSWER]


def test_a_slow_llm_is_covered_by_something_true_before_the_answer() -> None:
    d, record = ask(llm=ScriptedLlm([ANSWER], first_token_ms=4_000), policy=NO_DRAFTS)
    assert rungs(record) == [("filler", "silence")]
    assert record.silence_ms is not None
    assert record.silence_ms <= DEAD_AIR_MS
    assert record.marks.response_ms is not None
    assert record.marks.response_ms > 4_000, "a filler is no answer"
    assert (record.verdict, record.outcome) == ("declared", "answered")
    assert spoken(d) == [f"{FILLER} {ANSWER}"]
    assert d.context()[-1] == ("agent", ANSWER), "the LLM would learn to begin like that"


def test_a_second_silence_is_filled_too_and_a_stuck_llm_is_given_up() -> None:
    d, record = ask(llm=ScriptedLlm([ANSWER], first_token_ms=1e9), fillers=("One.", "Two."), policy=NO_DRAFTS)
    assert rungs(record)[:2] == [("filler", "silence"), ("filler", "silence")]
    assert rungs(record)[-1] == ("refusal", "gave_up")
    apart_ms = (record.taken[1].at_ns - record.taken[0].at_ns) / 1e6
    assert apart_ms == pytest.approx(FILLER_EVERY_MS, abs=5)
    given_up_ms = (record.taken[-1].at_ns - record.marks.at_ns[Mark.SPEECH_END]) / 1e6
    assert given_up_ms == pytest.approx(Budget().give_up_ms, abs=5)
    assert (record.verdict, record.outcome, record.failure) == ("declared", "refused", "stage_timeout")
    assert spoken(d) == [f"One. Two. Two. {REFUSAL}"]


def test_after_a_turn_that_was_given_up_the_next_is_answered() -> None:
    llm = ScriptedLlm([ANSWER], first_token_ms=1e9)

    async def script(d: Dialogue) -> None:
        await one_question(d)
        llm._first_token_ms = 0
        await one_question(d, 4_000)

    d = converse(script, llm=llm)
    assert [one.outcome for one in d.figures.records] == ["refused", "answered"]
    assert d.figures.records[1].verdict == "met"


def test_an_llm_that_is_down_is_said_to_be_at_once() -> None:
    d, record = ask(llm=ScriptedLlm([ANSWER], fail_after_tokens=0), policy=NO_DRAFTS)
    assert rungs(record) == [("refusal", "failed")]
    assert record.silence_ms is not None
    assert record.silence_ms < 500
    assert spoken(d) == [REFUSAL]
    assert d.context() == [("user", "what time is it")], "the question is still open"


def test_a_failure_behind_a_filler_is_tried_again_and_the_filler_is_not_cut() -> None:
    llm = ScriptedLlm([ANSWER], first_token_ms=1_600, fail_after_tokens=0, n_failures=1)
    d, record = ask(llm=llm, policy=NO_DRAFTS)
    assert spoken(d) == [f"{FILLER} {ANSWER}"]
    assert record.outcome == "answered"
    filler_ms = sum(len(f.pcm) for _, _, f in d.peer.played if f.filler) / 24
    assert filler_ms == pytest.approx(len(FILLER) * 50, rel=0.1)


def test_a_stuck_voice_still_says_what_was_prepared() -> None:
    tts = StuckTts()

    async def script(d: Dialogue) -> None:
        await asyncio.sleep(0.2)
        tts.works = False
        await one_question(d)

    d = converse(script, tts=tts)
    (record,) = d.figures.records
    assert [rung for rung, _ in rungs(record)] == ["draft", "filler", "filler", "filler", "refusal"]
    assert record.silence_ms is not None
    assert record.silence_ms <= DEAD_AIR_MS
    assert spoken(d)[0].endswith(REFUSAL)


def test_a_recogniser_that_fails_is_admitted() -> None:
    d, record = ask(asr=BadAsr(stuck=False))
    assert rungs(record) == [("refusal", "failed")]
    assert (record.verdict, record.outcome) == ("declared", "refused")
    assert spoken(d) == [EXCUSE]


def test_a_stuck_recogniser_is_covered_in_time() -> None:
    d, record = ask(asr=BadAsr(stuck=True))
    assert record.silence_ms is not None
    assert record.silence_ms <= DEAD_AIR_MS
    assert spoken(d) == [FILLER]


def test_words_that_come_late_are_answered_and_the_wait_is_the_users() -> None:
    d = converse(one_question, asr=ScriptedAsr(["what time is it"], settle_ms=0, final_ms=2_500))
    assert spoken(d) == [ANSWER], "the draft's guess stands for them"
    d = converse(one_question, asr=ScriptedAsr(["what time is it"], settle_ms=2_500, final_ms=10))
    assert spoken(d) == [FILLER, ANSWER]
    promised, answered = d.figures.records
    assert promised.silence_ms is not None
    assert promised.silence_ms <= DEAD_AIR_MS
    assert answered.silence_ms == promised.silence_ms
    assert answered.marks.response_ms is not None
    assert answered.marks.response_ms > 2_500


def test_a_user_who_speaks_into_a_filler_silences_it() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(1_800)
        await d.peer.say(speech(640))
        await d.peer.be_silent(6_000)

    llm = ScriptedLlm([ANSWER], first_token_ms=1_500)
    d = converse(script, llm=llm, policy=NO_DRAFTS, fillers=("A very long sentence to wait with, really.",))
    first, second = d.figures.records
    assert first.outcome == "interrupted"
    assert first.was_cut_off
    assert second.outcome == "answered"
    assert d.context() == [("user", "what time is it what time is it"), ("agent", ANSWER)]


def test_without_enforcement_nothing_is_said_meanwhile() -> None:
    d, record = ask(llm=ScriptedLlm([ANSWER], first_token_ms=4_000), budget=Budget(enforced=False))
    assert rungs(record) == [("draft", "soft_end")]
    assert record.verdict == "missed"
    assert spoken(d) == [ANSWER]


def test_rungs_that_are_switched_off_are_not_taken() -> None:
    budget = Budget(rungs=frozenset(Rung) - {Rung.FILLER, Rung.REFUSAL})
    d, record = ask(llm=ScriptedLlm([ANSWER], first_token_ms=4_000), budget=budget, policy=NO_DRAFTS)
    assert rungs(record) == []
    assert spoken(d) == [ANSWER]


def test_with_no_rung_to_take_a_turn_may_last_beyond_its_limit() -> None:
    budget = Budget(rungs=frozenset(), give_up_ms=3_000)
    d, record = ask(llm=ScriptedLlm([ANSWER], first_token_ms=4_000), budget=budget, policy=NO_DRAFTS)
    assert rungs(record) == []
    assert spoken(d) == [ANSWER]


def test_sentences_that_are_made_late_are_said_late() -> None:
    class Slow(ScriptedTts):
        async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
            await asyncio.sleep(2.5)
            async for frame in super().speak(request):
                yield frame

    _, record = ask(llm=ScriptedLlm([ANSWER], first_token_ms=6_000), tts=Slow(), policy=NO_DRAFTS)
    assert rungs(record)[0] == ("filler", "silence")
    assert record.silence_ms is not None
    assert 1_500 < record.silence_ms < 2_000


def test_a_typed_turn_in_text_is_never_filled() -> None:
    async def script(d: Dialogue) -> None:
        d.peer.send(AddItem(Item(ItemId("typed"), "user", "hello")))
        d.peer.send(CreateReply())
        await asyncio.sleep(8)

    d = converse(
        script, llm=ScriptedLlm([ANSWER], first_token_ms=4_000), settings=replace(SETTINGS, modality="text")
    )
    assert spoken(d) == [ANSWER]


class Foresight:
    """Satisfies `ports.Forecaster`: what it says is what the test wants it to say."""

    def __init__(self, *forecasts: Forecast) -> None:
        self.offered = forecasts
        self.seen: list[tuple[str, float, bool]] = []
        self.waited_ms: list[float | None] = []

    def forecasts(self, request: LlmRequest, waited_ms: float | None) -> tuple[Forecast, ...]:
        self.waited_ms.append(waited_ms)
        return self.offered

    def expect_filler_ms(self) -> float:
        return 0.0

    def observe(self, stage: str, replica: str, took_ms: float, *, finished: bool = True) -> None:
        self.seen.append((stage, took_ms, finished))


def foresee(llm: ScriptedLlm, foresight: Foresight, **changes: Any) -> tuple[Dialogue, TurnRecord]:
    d = converse(one_question, llm=llm, forecaster=foresight, **changes)
    return d, d.figures.records[0]


def test_the_rung_that_fits_is_in_the_request_before_anybody_is_asked() -> None:
    llm = ScriptedLlm(["Oh well, my dear friend, it is five o'clock by now."])
    foresight = Foresight(Forecast(Rung.FULL, 900, 2_000), Forecast(Rung.SHORT_CLAUSE, 20, 30))
    _, record = foresee(llm, foresight, policy=NO_DRAFTS)
    assert [one.rung for one in llm.requests] == [Rung.SHORT_CLAUSE]
    assert llm.requests[0].deadline is not None
    assert rungs(record) == [("short_clause", "forecast")]
    assert record.taken[0].forecast_ms == 30


def test_a_short_clause_reaches_the_voice_after_fewer_words() -> None:
    said: list[str] = []

    class Listening(ScriptedTts):
        async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
            said.append(request.text)
            async for frame in super().speak(request):
                yield frame

    foresight = Foresight(Forecast(Rung.FULL, 900, 2_000), Forecast(Rung.SHORT_CLAUSE, 20, 30))
    foresee(ScriptedLlm(["it is now five by the old clock"]), foresight, tts=Listening(), policy=NO_DRAFTS)
    first = next(text for text in said if text.startswith("it"))
    assert len(first.split()) <= SHORT_WORDS


def test_a_reply_under_way_is_ordered_to_hedge_before_the_slack_is_gone() -> None:
    class Late(Foresight):
        def forecasts(self, request: LlmRequest, waited_ms: float | None) -> tuple[Forecast, ...]:
            super().forecasts(request, waited_ms)
            full_ms = 100 if (waited_ms or 0) < 50 else 3_000
            return (Forecast(Rung.FULL, full_ms, full_ms), Forecast(Rung.HEDGE, 40, 60))

    llm = ScriptedLlm([ANSWER], first_token_ms=1_000)
    d, record = foresee(llm, Late(), policy=NO_DRAFTS)
    taken = [one for one in record.taken if one.rung is Rung.HEDGE]
    assert len(taken) == 1, "once"
    assert taken[0].remaining_ms >= 60, "while it still could be in time"
    orders = llm.requests[0].orders
    assert orders is not None
    assert asyncio.run(orders.next()) is Rung.HEDGE
    assert spoken(d)[0].endswith(ANSWER)


def test_a_rung_that_can_be_put_off_is_not_taken_if_the_answer_comes() -> None:
    """Half of the answers come in time: worth waiting for, as long as a hedge would still be in time."""
    foresight = Foresight(Forecast(Rung.FULL, 100, 3_000), Forecast(Rung.HEDGE, 40, 60))
    llm = ScriptedLlm([ANSWER], first_token_ms=20)
    _, record = foresee(llm, foresight, policy=NO_DRAFTS)
    assert rungs(record) == []
    assert llm.requests[0].rung is Rung.FULL


def test_a_draft_is_hedged_before_it_is_committed() -> None:
    """The hedge takes 600 ms: when the endpoint is decided it would be too late for it."""
    foresight = Foresight(Forecast(Rung.FULL, 0, 3_000), Forecast(Rung.HEDGE, 400, 600))
    _, record = foresee(ScriptedLlm([ANSWER], first_token_ms=2_500), foresight)
    assert rungs(record)[:2] == [("draft", "soft_end"), ("hedge", "forecast")]
    hedge = record.taken[1]
    assert 600 <= hedge.remaining_ms <= 600 + 2 * MARGIN_MS
    assert hedge.at_ns < record.marks.at_ns[Mark.ENDPOINT]


def test_what_was_measured_and_what_was_never_finished_is_learned() -> None:
    foresight = Foresight()
    foresee(ScriptedLlm([ANSWER], token_ms=40), foresight)
    assert [stage for stage, _, finished in foresight.seen if finished] == ["clause", "tts"]
    assert foresight.seen[0][1] > 40
    foresight = Foresight()
    foresee(ScriptedLlm([ANSWER], token_ms=1e9), foresight, policy=NO_DRAFTS)
    assert [(stage, finished) for stage, _, finished in foresight.seen] == [("clause", False)]
    assert foresight.seen[0][1] > 9_000


def test_what_is_known_to_be_late_is_filled_as_soon_as_it_is_and_never_refused_on_a_forecast() -> None:
    hopeless = Foresight(Forecast(Rung.FULL, 60_000, 90_000))
    d, record = foresee(ScriptedLlm([ANSWER], first_token_ms=2_500), hopeless, policy=NO_DRAFTS)
    assert rungs(record) == [("filler", "late")]
    assert record.silence_ms is not None
    assert record.silence_ms <= Budget().turn_ms
    assert spoken(d) == [f"{FILLER} {ANSWER}"]


def test_what_is_refused_for_want_of_room_is_not_asked_for_again() -> None:
    llm = ScriptedLlm([ANSWER], fail_after_tokens=0, error=StageOverloaded("full", stage="llm"))
    _, record = ask(llm=llm, policy=NO_DRAFTS)
    assert rungs(record) == [("refusal", "overloaded")]
    assert len(llm.requests) == 1


def test_the_ledger_says_who_recognised_the_words() -> None:
    class Elsewhere(ScriptedAsr):
        async def transcribe(
            self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
        ) -> AsyncGenerator[Transcript, None]:
            async for one in super().transcribe(sounds, hints):
                yield replace(one, use=Use("asr", "spare", "eu-2", first_ms=40.0))

    _, record = ask(asr=Elsewhere(["what time is it"]))
    assert [(use.stage, use.replica, use.region) for use in record.uses] == [("asr", "spare", "eu-2")]


def test_the_sentences_are_made_once_for_all_sessions() -> None:
    tts = ScriptedTts()
    engines = Engines(None, None, None, tts)  # type: ignore[arg-type]
    made: list[str] = []

    class Counting(ScriptedTts):
        async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
            made.append(request.text)
            async for frame in super().speak(request):
                yield frame

    async def twice() -> None:
        voice = SpeechRequest("", "default", 1.0)
        for _ in range(2):
            await engines.prompts.prepare(Counting(), (Tuning().refusal, Tuning().excuse), voice)

    asyncio.run(twice())
    assert made == [Tuning().refusal, Tuning().excuse]
