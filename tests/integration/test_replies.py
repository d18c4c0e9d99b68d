"""Replies that call tools, that stand beside the conversation, and that follow a silence: on virtual time."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from tests.support.dialogue import SETTINGS, Dialogue, converse, speech
from voicestack.core.commands import (
    AddItem,
    CancelReply,
    Configure,
    CreateReply,
    DeleteItem,
    RetrieveItem,
    TruncateItem,
)
from voicestack.core.errors import StageUnavailable
from voicestack.core.history import CallItem, Item, Message, OutputItem
from voicestack.core.ids import ItemId, SessionId, TurnId
from voicestack.core.images import MAX_IMAGES_BYTES, Image
from voicestack.core.notes import (
    AudioCommitted,
    CallEnded,
    CallStarted,
    CallWritten,
    ItemRetrieved,
    MessageStarted,
    Note,
    Problem,
    ReplyEnded,
    ReplyStarted,
    UserSaid,
    UserSilent,
    UserStarted,
)
from voicestack.core.settings import ReplyOptions, ServerVad
from voicestack.core.tools import CallDelta, Tool, Toolbox, ToolCall
from voicestack.engines.scripted import ScriptedAsr, ScriptedLlm
from voicestack.ports import LlmDelta, LlmRequest
from voicestack.session.asides import MAX_ASIDES

WEATHER = Toolbox((Tool("get_weather", "The weather in a city."),))
WITH_TOOL = replace(SETTINGS, toolbox=WEATHER)


@dataclass(slots=True)
class CallingLlm:
    """Says `says`, then calls, then waits; answers in words when a tool's output is there.

    Attributes:
        requests: What it was asked.
        released: The sessions that are over.
    """

    says: str = ""
    calls: Sequence[CallDelta] = (
        CallDelta(0, "call_1", "get_weather"),
        CallDelta(0, "call_1", "get_weather", '{"city":'),
        CallDelta(0, "call_1", "get_weather", ' "Oslo"}'),
    )
    pause_s: float = 0.02
    dies: bool = False
    truncated: bool = False
    requests: list[LlmRequest] = field(default_factory=list)
    released: list[SessionId] = field(default_factory=list)

    async def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        self.requests.append(request)
        if request.messages[-1].role == "tool":
            yield LlmDelta(f"It is {request.messages[-1].text}.")
            return
        if self.says:
            yield LlmDelta(self.says)
        for delta in self.calls:
            await asyncio.sleep(self.pause_s)
            yield LlmDelta(call=delta)
        if self.dies:
            raise StageUnavailable("gone", stage="llm")
        yield LlmDelta(truncated=self.truncated)

    async def prime(self, request: LlmRequest) -> None:
        assert request.toolbox == WEATHER

    def release(self, session: SessionId) -> None:
        self.released.append(session)


def of_kind(d: Dialogue, *kinds: type) -> list[Note]:
    return d.peer.notes(*kinds)


def ended(d: Dialogue) -> list[ReplyEnded]:
    return [n for n in d.peer.notes(ReplyEnded) if isinstance(n, ReplyEnded)]


async def asks(d: Dialogue, then_ms: float = 3000) -> None:
    await d.peer.say(speech(640))
    await d.peer.be_silent(then_ms)


# --- tools ----------------------------------------------------------------------------------------------


def test_a_call_its_output_and_the_answer() -> None:
    llm = CallingLlm()

    async def script(d: Dialogue) -> None:
        await asks(d)
        d.peer.send(AddItem(OutputItem(ItemId("out"), "call_1", "sunny")))
        d.peer.send(CreateReply())
        await d.peer.be_silent(3000)

    d = converse(script, llm=llm, asr=ScriptedAsr(["what about oslo"]), settings=WITH_TOOL)
    started, *written, call_ended = of_kind(d, CallStarted, CallWritten, CallEnded)
    assert isinstance(started, CallStarted)
    assert (started.item.call, started.item.status) == (ToolCall("call_1", "get_weather"), "in_progress")
    assert "".join(n.arguments for n in written if isinstance(n, CallWritten)) == '{"city": "Oslo"}'
    assert isinstance(call_ended, CallEnded)
    assert call_ended.item.call == ToolCall("call_1", "get_weather", '{"city": "Oslo"}')
    assert [(e.status, e.item and e.item.text) for e in ended(d)] == [
        ("completed", None),
        ("completed", "It is sunny."),
    ]
    assert len(of_kind(d, MessageStarted)) == 1, "a reply that only calls says nothing"
    assert llm.requests[-1].messages[1:] == (
        Message("user", "what about oslo"),
        Message("agent", "", (ToolCall("call_1", "get_weather", '{"city": "Oslo"}'),)),
        Message("tool", "sunny", call_id="call_1"),
    )
    assert all(request.toolbox == WEATHER for request in llm.requests)


def test_nothing_of_a_drafts_call_is_seen_before_the_turn_is_over() -> None:
    """The call is written 60 ms after the soft end, and the turn is decided 200 ms after it."""

    async def script(d: Dialogue) -> None:
        await asks(d)

    d = converse(script, llm=CallingLlm(), settings=WITH_TOOL)
    assert d.figures.drafts == [True]
    told = {type(note).__name__: at for at, note in reversed(d.peer.told)}
    assert told["CallStarted"] == told["CallEnded"] == told["ReplyStarted"], "all at once, at the end"


def test_a_discarded_drafts_call_is_never_seen() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(160)
        await asks(d)

    d = converse(script, llm=CallingLlm(), asr=ScriptedAsr(["oslo | or bergen"]), settings=WITH_TOOL)
    assert d.figures.drafts == [False, True]
    assert len(of_kind(d, CallStarted)) == len(of_kind(d, CallEnded)) == 1


def test_what_is_said_comes_before_what_is_called() -> None:
    async def script(d: Dialogue) -> None:
        await asks(d, 6000)

    d = converse(script, llm=CallingLlm("Let me look that up for you."), settings=WITH_TOOL)
    kinds = [type(note).__name__ for note in of_kind(d, MessageStarted, CallStarted, CallEnded, ReplyEnded)]
    assert kinds == ["MessageStarted", "CallStarted", "CallEnded", "ReplyEnded"]
    call_at = next(at for at, note in d.peer.told if isinstance(note, CallEnded))
    last_frame_at = d.peer.played[-1][0]
    assert call_at < last_frame_at - 500_000_000, "a tool need not wait until everything has been spoken"
    assert [type(entry) for entry in d.session.history] == [Item, Item, CallItem]


def test_several_calls() -> None:
    calls = [
        CallDelta(0, "call_1", "get_weather", '{"city": "Oslo"}'),
        CallDelta(1, "call_2", "get_weather", '{"city": "Rome"}'),
    ]

    async def script(d: Dialogue) -> None:
        await asks(d)
        d.peer.send(AddItem(OutputItem(ItemId("out_1"), "call_1", "cold")))

    d = converse(script, llm=CallingLlm(calls=calls), settings=WITH_TOOL)
    first_ended, second_started = of_kind(d, CallEnded, CallStarted)[1:3]
    assert isinstance(first_ended, CallEnded)
    assert isinstance(second_started, CallStarted)
    assert first_ended.item.call.call_id == "call_1"
    # The second call has no output yet: the LLM does not hear of it.
    assert [m.calls for m in d.session.history.messages("") if m.calls] == [
        (ToolCall("call_1", "get_weather", '{"city": "Oslo"}'),)
    ]


def test_a_call_that_is_interrupted_is_incomplete() -> None:
    async def script(d: Dialogue) -> None:
        await asks(d, 400)
        await asks(d, 300)

    slow = [CallDelta(0, "call_1", "get_weather"), CallDelta(0, "call_1", "get_weather", "{}")]
    d = converse(script, llm=CallingLlm(calls=slow, pause_s=0.3), settings=WITH_TOOL)
    call_ended = of_kind(d, CallEnded)[0]
    assert isinstance(call_ended, CallEnded)
    assert call_ended.item.status == "incomplete"
    assert ended(d)[0].status == "cancelled"


def test_a_call_that_is_cut_off_by_the_token_limit_is_incomplete() -> None:
    async def script(d: Dialogue) -> None:
        await asks(d)

    d = converse(script, llm=CallingLlm(truncated=True), settings=WITH_TOOL)
    (call_ended,) = of_kind(d, CallEnded)
    assert isinstance(call_ended, CallEnded)
    assert call_ended.item.status == "incomplete"
    assert [(e.status, e.reason) for e in ended(d)] == [("incomplete", "max_output_tokens")]


def test_an_llm_that_dies_in_a_call_is_not_asked_again() -> None:
    """Its first half was passed on: a second one would be another call."""

    async def script(d: Dialogue) -> None:
        await asks(d, 6000)

    llm = CallingLlm(dies=True)
    d = converse(script, llm=llm, settings=replace(WITH_TOOL, turn_detection=ServerVad()), prime=False)
    assert len(llm.requests) <= 2
    assert ended(d)[-1].status == "failed"
    assert len({n.item.id for n in of_kind(d, CallStarted) if isinstance(n, CallStarted)}) == 1


def test_an_output_without_its_call_is_refused() -> None:
    async def script(d: Dialogue) -> None:
        d.peer.send(AddItem(OutputItem(ItemId("out"), "call_9", "sunny"), event_id="e1"))
        d.peer.send(AddItem(CallItem(ItemId("c"), ToolCall("call_9", "get_weather", "{}"))))
        d.peer.send(AddItem(OutputItem(ItemId("out"), "call_9", "sunny")))

    d = converse(script)
    (problem,) = of_kind(d, Problem)
    assert isinstance(problem, Problem)
    assert getattr(problem.error, "wire_code", None) == "invalid_tool_call_id"
    assert problem.event_id == "e1"
    assert [entry.id for entry in d.session.history] == ["c", "out"]


# --- asides ---------------------------------------------------------------------------------------------

ASIDE = ReplyOptions(aside=True, modality="text", tag="t1", entries=(Item(ItemId("i"), "user", "Classify."),))


def test_there_is_an_end_to_the_pictures_of_a_conversation() -> None:
    def picture(name: str) -> AddItem:
        image = Image("data:image/png;base64," + "A" * (MAX_IMAGES_BYTES // 2 - 100))
        return AddItem(Item(ItemId(name), "user", images=(image,)), event_id=name)

    async def script(d: Dialogue) -> None:
        for name in ("one", "two", "three"):
            d.peer.send(picture(name))
        d.peer.send(DeleteItem(ItemId("one")))
        d.peer.send(picture("four"))
        await d.peer.be_silent(100)

    d = converse(script)
    (problem,) = of_kind(d, Problem)
    assert isinstance(problem, Problem)
    assert problem.event_id == "three"
    assert [entry.id for entry in d.session.history] == ["two", "four"]


def test_what_was_said_can_be_had_again_as_it_was_heard() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(1000))
        await d.peer.be_silent(600)  # in the middle of the answer
        await d.peer.say(speech(1000))
        await d.peer.be_silent(4000)
        for entry in list(d.session.history):
            d.peer.send(RetrieveItem(entry.id))
        last = d.session.history.last_id()
        assert last is not None
        d.peer.send(TruncateItem(last, 250))
        d.peer.send(RetrieveItem(last))
        await d.peer.be_silent(100)

    d = converse(script, keep_audio_s=30)
    got = [note for note in of_kind(d, ItemRetrieved) if isinstance(note, ItemRetrieved)]
    assert [note.item.role for note in got if isinstance(note.item, Item)] == [
        "user",
        "agent",
        "user",
        "agent",
        "agent",
    ]
    (question, cut, _, whole, truncated) = [note.sound for note in got]
    assert question is not None
    assert question.rate_hz == 16_000
    loud = np.flatnonzero(np.abs(question.pcm) > 1000)
    assert len(loud) > 14_000, "all of a second of speech"
    assert cut is not None
    assert whole is not None
    assert truncated is not None
    heard_ms = d.session.history.spoken_ms(got[1].item.id)
    assert heard_ms is not None
    assert 0 < len(cut.pcm) / 24 < heard_ms, "less was heard than was sent"
    assert len(whole.pcm) == len("It is five o'clock.") * 50 * 24
    assert len(truncated.pcm) == 250 * 24


def test_nothing_is_kept_by_default() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(1000))
        await d.peer.be_silent(3000)
        for entry in list(d.session.history):
            d.peer.send(RetrieveItem(entry.id))
        await d.peer.be_silent(100)

    got = of_kind(converse(script), ItemRetrieved)
    assert [note.sound for note in got if isinstance(note, ItemRetrieved)] == [None, None]


def test_an_aside_is_given_while_the_agent_speaks_and_leaves_no_trace() -> None:
    asked: list[tuple[Message, ...]] = []

    def answer(messages: Sequence[Message]) -> str:
        asked.append(tuple(messages))
        return "Sports." if messages[-1].text == "Classify." else "It is a quarter past five in the morning."

    async def script(d: Dialogue) -> None:
        await asks(d, 800)
        d.peer.send(CreateReply(ASIDE))
        await d.peer.say(speech(300))  # interrupts the agent, not the aside
        await d.peer.be_silent(6000)

    d = converse(script, llm=ScriptedLlm(answer, first_token_ms=400))
    aside = next(n for n in of_kind(d, ReplyStarted) if isinstance(n, ReplyStarted) and n.aside)
    assert aside.tag == "t1"
    assert aside.turn < 0
    results = {e.turn: e for e in ended(d)}
    assert results[aside.turn].status == "completed"
    said = results[aside.turn].item
    assert said is not None
    assert said.text == "Sports."
    assert any(e.reason == "turn_detected" for e in ended(d))
    assert "Sports." not in str(d.context())
    assert (Message("system", "Be brief."), Message("user", "Classify.")) in asked


def test_an_aside_can_be_cancelled_by_name_and_alone() -> None:
    async def script(d: Dialogue) -> None:
        d.peer.send(CreateReply(ASIDE))
        d.peer.send(CreateReply(replace(ASIDE, tag="t2")))
        first, _ = (n for n in of_kind(d, ReplyStarted) if isinstance(n, ReplyStarted))
        d.peer.send(CancelReply(first.turn))
        d.peer.send(CancelReply(first.turn, "again"))
        await d.peer.be_silent(3000)

    d = converse(script)
    assert [(e.turn, e.status, e.reason) for e in ended(d)] == [
        (TurnId(-1), "cancelled", "client_cancelled"),
        (TurnId(-2), "completed", None),
    ]
    (problem,) = of_kind(d, Problem)
    assert isinstance(problem, Problem)
    assert getattr(problem.error, "wire_code", None) == "response_cancel_not_active"


def test_there_is_a_limit_to_asides_and_each_is_released() -> None:
    llm = CallingLlm(says="Yes.", calls=())

    async def script(d: Dialogue) -> None:
        for _ in range(MAX_ASIDES + 1):
            d.peer.send(CreateReply(ASIDE))
        await d.peer.be_silent(3000)
        d.peer.send(CreateReply(ASIDE))
        await d.peer.be_silent(1000)

    d = converse(script, llm=llm, settings=WITH_TOOL)
    assert len(ended(d)) == MAX_ASIDES + 1
    (problem,) = of_kind(d, Problem)
    assert isinstance(problem, Problem)
    assert getattr(problem.error, "wire_code", None) == "rate_limit_exceeded"
    assert len(set(llm.released)) == MAX_ASIDES + 2  # and the conversation's own


def test_an_aside_that_fails_says_so() -> None:
    async def script(d: Dialogue) -> None:
        d.peer.send(CreateReply(ASIDE))
        await d.peer.be_silent(1000)
        await asks(d)

    d = converse(script, llm=ScriptedLlm(["Five."], fail_after_tokens=0, n_failures=1))
    failed, fine = ended(d)
    assert failed.status == "failed"
    assert failed.error is not None
    assert fine.status == "completed"


def test_asides_end_with_the_session() -> None:
    async def script(d: Dialogue) -> None:
        d.peer.send(CreateReply(replace(ASIDE, modality="audio")))
        await d.peer.be_silent(300)

    converse(script)  # fails on leaked tasks


def test_a_reply_to_chosen_items_is_part_of_the_conversation() -> None:
    asked: list[tuple[Message, ...]] = []

    def answer(messages: Sequence[Message]) -> str:
        asked.append(tuple(messages))
        return "Yes."

    async def script(d: Dialogue) -> None:
        for name in ("one", "two"):
            d.peer.send(AddItem(Item(ItemId(name), "user", name)))
        d.peer.send(CreateReply(ReplyOptions(entries=(ItemId("two"), Item(ItemId("x"), "user", "three")))))
        await d.peer.be_silent(3000)
        d.peer.send(CreateReply(ReplyOptions(entries=(ItemId("nine"),)), "e2"))

    d = converse(script, llm=ScriptedLlm(answer), prime=False)
    assert asked == [(Message("system", "Be brief."), Message("user", "two three"))]
    assert d.context() == [("user", "one two"), ("agent", "Yes.")]
    (problem,) = of_kind(d, Problem)
    assert isinstance(problem, Problem)
    assert getattr(problem.error, "wire_code", None) == "item_not_found"


# --- recordings -----------------------------------------------------------------------------------------


def recording(name: str = "rec") -> AddItem:
    return AddItem(Item(ItemId(name), "user", None, spoken=True), sound=speech(1500))


def test_a_recording_is_heard_and_answered_when_its_words_are_there() -> None:
    async def script(d: Dialogue) -> None:
        d.peer.send(recording())
        d.peer.send(CreateReply())
        assert of_kind(d, ReplyStarted) == [], "its words are not there yet"
        await d.peer.be_silent(4000)
        d.peer.send(RetrieveItem(ItemId("rec")))

    d = converse(script, asr=ScriptedAsr(["what time is it"], final_ms=300))
    said = next(n for n in of_kind(d, UserSaid) if isinstance(n, UserSaid))
    assert (said.item_id, said.text, said.audio_ms) == ("rec", "what time is it", 1500)
    assert [e.status for e in ended(d)] == ["completed"]
    assert d.context() == [("user", "what time is it"), ("agent", "It is five o'clock.")]
    (retrieved,) = of_kind(d, ItemRetrieved)
    assert isinstance(retrieved, ItemRetrieved)
    assert retrieved.item == Item(ItemId("rec"), "user", "what time is it", spoken=True)


def test_a_recording_alone_is_not_answered_and_a_wish_can_be_taken_back() -> None:
    async def script(d: Dialogue) -> None:
        d.peer.send(recording())
        d.peer.send(CreateReply())
        d.peer.send(CancelReply())
        await d.peer.be_silent(3000)

    d = converse(script, asr=ScriptedAsr(["what time is it"], final_ms=300))
    assert of_kind(d, ReplyStarted, Problem) == []
    assert d.context() == [("user", "what time is it")]


def test_two_recordings_are_answered_together() -> None:
    async def script(d: Dialogue) -> None:
        d.peer.send(recording("one"))
        d.peer.send(recording("two"))
        d.peer.send(CreateReply())
        await d.peer.be_silent(4000)

    d = converse(script, asr=ScriptedAsr(["what time", "is it"], final_ms=300))
    assert len(of_kind(d, ReplyStarted)) == 1
    assert d.context()[0] == ("user", "what time is it")


# --- silence --------------------------------------------------------------------------------------------

IDLE = replace(SETTINGS, turn_detection=ServerVad(silence_duration_ms=200, idle_timeout_ms=5000))


def test_a_silent_user_is_spoken_to_again() -> None:
    async def script(d: Dialogue) -> None:
        await asks(d, 8000)

    llm = ScriptedLlm(lambda m: "Are you there?" if m[-1].text.startswith("(") else "It is five.")
    d = converse(script, llm=llm, settings=IDLE)
    (silent,) = of_kind(d, UserSilent)
    assert isinstance(silent, UserSilent)
    assert silent.audio_end_ms - silent.audio_start_ms == 5000
    committed = of_kind(d, AudioCommitted)[-1]
    assert isinstance(committed, AudioCommitted)
    assert committed.item_id == silent.item_id
    first_end = next(at for at, note in d.peer.told if isinstance(note, ReplyEnded))
    at = next(at for at, note in d.peer.told if isinstance(note, UserSilent))
    assert (at - first_end) / 1e6 == pytest.approx(5000, abs=1)
    assert d.context() == [("user", "what time is it"), ("agent", "It is five. Are you there?")]


def test_whoever_speaks_is_not_silent() -> None:
    async def script(d: Dialogue) -> None:
        for _ in range(3):
            await asks(d, 4500)

    d = converse(script, settings=IDLE, asr=ScriptedAsr(["a", "b", "c"]))
    assert of_kind(d, UserSilent) == []
    assert len(of_kind(d, UserStarted)) == 3


def test_the_timeout_can_be_taken_back() -> None:
    async def script(d: Dialogue) -> None:
        await asks(d, 3000)
        d.peer.send(Configure(SETTINGS))
        await d.peer.be_silent(9000)

    d = converse(script, settings=IDLE)
    assert of_kind(d, UserSilent) == []


def test_a_user_who_waits_for_a_function_of_the_peers_is_not_silent() -> None:
    async def script(d: Dialogue) -> None:
        await asks(d, 16_000)
        assert of_kind(d, UserSilent) == []
        d.peer.send(AddItem(OutputItem(ItemId("out"), "call_1", "sunny")))
        await d.peer.be_silent(3000)
        d.peer.send(CreateReply())
        await d.peer.be_silent(7000)

    d = converse(script, llm=CallingLlm(), settings=replace(IDLE, toolbox=WEATHER), prime=False)
    assert len(of_kind(d, CallEnded)) >= 1
    assert len(of_kind(d, UserSilent)) == 1, "after the answer it counts again"


def test_tools_leave_less_room_for_the_conversation() -> None:
    def n_messages(toolbox: Toolbox) -> int:
        llm = CallingLlm(says="Yes.", calls=())

        async def script(d: Dialogue) -> None:
            for n in range(20):
                d.peer.send(AddItem(Item(ItemId(f"u{n}"), "user", "a question " * 5)))
                d.peer.send(AddItem(Item(ItemId(f"a{n}"), "agent", "an answer " * 5)))
            d.peer.send(CreateReply(ReplyOptions(toolbox=toolbox)))
            await d.peer.be_silent(500)

        converse(script, llm=llm, context_tokens=600, prime=False)
        return len(llm.requests[-1].messages)

    large = Toolbox((Tool("f", "What it does, and when. " * 30),))
    assert 3 < n_messages(large) < n_messages(Toolbox()) < 41
