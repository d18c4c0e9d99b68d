"""Whole conversations on virtual time: exact instants, exact words, nothing left behind."""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import numpy as np
import pytest

from tests.support.dialogue import SETTINGS, Dialogue, converse, speech
from voicestack.core.audio import EAR_RATE_HZ, AudioFrame, Pcm
from voicestack.core.commands import (
    AddItem,
    CancelReply,
    ClearAudio,
    CommitAudio,
    Configure,
    CreateReply,
    DeleteItem,
    RetrieveItem,
    TruncateItem,
)
from voicestack.core.errors import StageRejected, StageUnavailable
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.history import Item
from voicestack.core.ids import ItemId
from voicestack.core.marks import Mark
from voicestack.core.notes import (
    AudioCommitted,
    ItemRetrieved,
    ItemTruncated,
    MessageStarted,
    Note,
    Problem,
    ReplyEnded,
    ReplyStarted,
    UserSaid,
    UserStarted,
    UserStopped,
    UserUnheard,
)
from voicestack.core.settings import ServerVad, SessionSettings
from voicestack.engines.scripted import EnergyVad, EnergyVadStream, ScriptedAsr, ScriptedLlm, ScriptedTts
from voicestack.ports import Certainty, Pause, SpeechWindow, Transcript
from voicestack.turn.policy import Policy

LONG = (
    "Well, this is a rather long answer, and it goes on for quite a while, so that somebody can interrupt it."
)


def ended(dialogue: Dialogue) -> list[ReplyEnded]:
    return [n for n in dialogue.peer.notes(ReplyEnded) if isinstance(n, ReplyEnded)]


def said(end: ReplyEnded) -> Item:
    assert end.item is not None
    return end.item


def kinds(notes: list[Note]) -> list[str]:
    return [type(n).__name__ for n in notes]


class LateVad(EnergyVad):
    """Says what each window is in a later turn of the loop, one window a turn, as Silero VAD does."""

    def open(self, on_window: Callable[[SpeechWindow], None]) -> EnergyVadStream:
        self._waiting: deque[SpeechWindow] = deque()

        def later(window: SpeechWindow) -> None:
            self._waiting.append(window)
            if len(self._waiting) == 1:
                asyncio.get_running_loop().call_soon(judge)

        def judge() -> None:
            on_window(self._waiting[0])
            self._waiting.popleft()
            if self._waiting:
                asyncio.get_running_loop().call_soon(judge)

        return super().open(later)


class ListeningAsr:
    """Satisfies `ports.Asr` by keeping what it was given."""

    def __init__(self) -> None:
        self.heard: list[Pcm] = []

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        frames = [sound.pcm async for sound in sounds if isinstance(sound, AudioFrame)]
        self.heard.append(np.concatenate(frames))
        yield Transcript("what time is it", Certainty.FINAL)


def test_speech_that_is_sent_faster_than_it_was_spoken_is_heard_from_its_beginning() -> None:
    async def script(d: Dialogue) -> None:
        for part in (speech(2600), np.zeros(EAR_RATE_HZ, np.int16)) * 2:
            for i in range(0, len(part), 320):
                d.peer.say_now(part[i : i + 320])
        await asyncio.sleep(5)

    asr = ListeningAsr()
    d = converse(script, asr=asr, vad=LateVad())
    assert len(d.peer.notes(UserStarted)) == 2
    spoken_s = [np.count_nonzero(pcm) / EAR_RATE_HZ for pcm in asr.heard]
    assert spoken_s == pytest.approx([2.6, 2.6], abs=0.05)
    # Beside it the prefix, the silence that ends a turn, and what is taken before it is judged.
    assert all(len(pcm) / EAR_RATE_HZ <= 2.6 + 0.3 + 0.2 + 0.2 for pcm in asr.heard)


def test_a_question_and_its_answer() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.be_silent(500)
        await d.peer.say(speech(1000))
        await d.peer.be_silent(3000)

    d = converse(script)
    assert kinds(d.peer.notes()) == [
        "UserStarted",
        *["UserHearing"] * 4,
        "UserStopped",
        "AudioCommitted",
        "ItemAdded",
        "UserSaid",
        "ReplyStarted",
        "MessageStarted",
        "ReplyEnded",
        "TurnMeasured",
    ]
    assert d.context() == [("user", "what time is it"), ("agent", "It is five o'clock.")]
    (end,) = ended(d)
    assert (end.status, said(end).status, said(end).text) == ("completed", "completed", "It is five o'clock.")
    assert len(d.peer.heard_pcm()) == len("It is five o'clock.") * 50 * 24


def test_the_answer_comes_when_the_endpoint_is_decided_because_the_work_was_hidden() -> None:
    """Draft at the soft end: 60 ms of LLM and 40 ms of TTS vanish under 200 ms of silence."""

    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(1024))
        await d.peer.be_silent(3000)

    d = converse(
        script,
        llm=ScriptedLlm(["It is five."], first_token_ms=60),
        tts=ScriptedTts(first_audio_ms=40),
    )
    (turn,) = d.figures.turns
    assert turn.drafted
    assert d.figures.drafts == [True]
    assert turn.between_ms(Mark.ENDPOINT, Mark.FIRST_SENT) == 0
    assert turn.response_ms is not None
    # seven windows of 32 ms are the first multiple past 200 ms; frames come every 20 ms
    assert 200 <= turn.response_ms <= 240
    assert turn.hidden_ms() == pytest.approx(100)
    assert turn.work_ms() == pytest.approx(100)


def test_without_drafts_the_same_turn_pays_for_everything() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(1024))
        await d.peer.be_silent(3000)

    d = converse(
        script,
        llm=ScriptedLlm(["It is five."], first_token_ms=60),
        tts=ScriptedTts(first_audio_ms=40),
        policy=Policy(draft_replies=False),
    )
    (turn,) = d.figures.turns
    assert turn.between_ms(Mark.ENDPOINT, Mark.FIRST_SENT) == pytest.approx(100)
    assert turn.hidden_ms() == 0


def test_a_hesitation_discards_the_draft_and_nothing_of_it_is_seen() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(600))
        await d.peer.be_silent(140)
        await d.peer.say(speech(600))
        await d.peer.be_silent(3000)

    llm = ScriptedLlm(["Half.", "Whole."], first_token_ms=20)
    d = converse(script, asr=ScriptedAsr(["what time | is it"]), llm=llm)
    assert [r.messages[-1].text for r in llm.requests] == ["what time", "what time is it"]
    assert d.figures.drafts == [False, True]
    assert len(d.peer.notes(ReplyStarted)) == 1
    assert d.context()[0] == ("user", "what time is it")
    assert len(llm.closed) == len(llm.requests)


def test_barge_in_stops_at_once_and_keeps_only_what_was_heard() -> None:
    marks: dict[str, int] = {}

    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(1500)
        marks["began"] = d.clock.now_ns()
        await d.peer.say(speech(800))
        await d.peer.be_silent(3000)

    llm = ScriptedLlm([LONG, "Fine."], token_ms=5)
    d = converse(script, asr=ScriptedAsr(["tell me", "stop it"]), llm=llm)
    first, second = ended(d)
    assert (first.status, first.reason) == ("cancelled", "turn_detected")
    assert said(first).status == "incomplete"
    assert LONG.startswith(said(first).text or "?")
    # the model is given exactly the words that were heard
    assert [(m.role, m.text) for m in llm.requests[-1].messages[1:]] == [
        ("user", "tell me"),
        ("agent", said(first).text),
        ("user", "stop it"),
    ]
    assert second.status == "completed"
    last_of_first = max(at for at, turn, _ in d.peer.played if turn == first.turn)
    assert (d.peer.flushed[0] - marks["began"]) / 1e6 <= 150
    assert last_of_first <= d.peer.flushed[0]
    assert d.figures.flush_ns == [0]  # no time passes between decision and silence
    assert first in [n for _, n in d.peer.told]


def test_what_was_heard_is_what_the_pace_says() -> None:
    """Audio is sent 120 ms ahead; words in that lead were not heard."""

    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(1500)
        await d.peer.say(speech(800))

    d = converse(script, llm=ScriptedLlm([LONG]))
    (first,) = ended(d)
    sent_ms = sum(len(f.pcm) for _, t, f in d.peer.played if t == first.turn) / 24
    sent_words = "".join(f.text for _, t, f in d.peer.played if t == first.turn).strip()
    started_ns = next(at for at, t, _ in d.peer.played if t == first.turn)
    heard_ms = (d.peer.flushed[0] - started_ns) / 1e6
    assert 100 <= sent_ms - heard_ms <= 140
    assert sent_words.startswith(said(first).text or "?")
    assert d.session.history.speech(said(first).id).heard_by(heard_ms) == said(first).text


def test_the_clients_truncate_has_the_last_word() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(1500)
        await d.peer.say(speech(800))
        item_id = said(ended(d)[0]).id
        d.peer.send(TruncateItem(item_id, 499))
        d.peer.send(RetrieveItem(item_id))
        await d.peer.be_silent(3000)

    llm = ScriptedLlm([LONG, "Fine."])
    d = converse(script, asr=ScriptedAsr(["tell me", "stop it"]), llm=llm)
    (retrieved,) = d.peer.notes(ItemRetrieved)
    assert isinstance(retrieved, ItemRetrieved)
    assert isinstance(retrieved.item, Item)
    assert retrieved.item.text == "Well,"  # "this" ends at 500 ms
    assert llm.requests[-1].messages[2].text == "Well,"
    assert len(d.peer.notes(ItemTruncated)) == 1


def test_truncating_what_cannot_be_truncated_is_refused_and_harmless() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(3000)
        user, agent = (item.id for item in d.session.history)
        d.peer.send(TruncateItem(user, 10, "e1"))
        d.peer.send(TruncateItem(agent, 60_000, "e2"))
        d.peer.send(TruncateItem(ItemId("nobody"), 10, "e3"))
        d.peer.send(TruncateItem(agent, 60_000, "e4"))

    d = converse(script)
    problems = [n for n in d.peer.notes(Problem) if isinstance(n, Problem)]
    assert [p.event_id for p in problems] == ["e1", "e2", "e3", "e4"]
    assert d.context()[1] == ("agent", "It is five o'clock.")


def test_speech_before_the_first_word_of_the_answer_joins_the_question() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(400)
        await d.peer.say(speech(640))
        await d.peer.be_silent(4000)

    llm = ScriptedLlm(lambda ms: "Now." if "Paris" in ms[-1].text else "Never.", first_token_ms=1000)
    d = converse(script, asr=ScriptedAsr(["what time", "in Paris"]), llm=llm)
    assert [e.status for e in ended(d)] == ["cancelled", "completed"]
    assert d.context() == [("user", "what time in Paris"), ("agent", "Now.")]
    assert ended(d)[0].item is None


def test_a_cough_gets_no_answer() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(200))
        await d.peer.be_silent(2000)

    d = converse(script, asr=ScriptedAsr([""]))
    assert d.peer.notes(ReplyStarted) == []
    assert [n.text for n in d.peer.notes(UserSaid) if isinstance(n, UserSaid)] == [""]


def test_a_click_is_not_even_speech() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(20))
        await d.peer.be_silent(2000)

    assert converse(script).peer.notes() == []


def test_a_slow_recogniser_is_waited_for() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(4000)

    d = converse(script, asr=ScriptedAsr(["what time is it"], settle_ms=900, final_ms=900))
    assert d.context()[1] == ("agent", "It is five o'clock.")


def test_a_recogniser_that_is_too_late_is_still_answered() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(15_000)

    d = converse(script, asr=ScriptedAsr(["what time is it"], settle_ms=2500, final_ms=2500))
    assert d.context() == [("user", "what time is it"), ("agent", "It is five o'clock.")]


class BrokenAsr:
    """Satisfies `ports.Asr`, for a moment."""

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        async for _ in sounds:
            raise StageUnavailable("the recogniser is gone", stage="asr")
        yield Transcript("", Certainty.FINAL)


def test_a_dead_recogniser_is_told_and_the_session_lives() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(2000)
        d.peer.send(AddItem(Item(ItemId("typed"), "user", "hello")))
        d.peer.send(CreateReply())
        await d.peer.be_silent(3000)

    d = converse(script, asr=BrokenAsr())
    assert len(d.peer.notes(UserUnheard)) == 1
    assert d.figures.failures == [("asr", "stage_unavailable")]
    assert d.context() == [("user", "hello"), ("agent", "It is five o'clock.")]


def test_an_llm_that_dies_unheard_is_asked_again_and_nobody_notices() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(4000)

    llm = ScriptedLlm(["It is five o'clock."], fail_after_tokens=0, n_failures=1, first_token_ms=500)
    d = converse(script, llm=llm)
    assert len(llm.requests) == 2
    assert [e.status for e in ended(d)] == ["completed"]
    assert d.context()[1] == ("agent", "It is five o'clock.")


def test_an_llm_that_dies_while_it_is_heard_leads_to_an_honest_sentence() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(9000)
        await d.peer.say(speech(640))
        await d.peer.be_silent(9000)

    llm = ScriptedLlm([LONG, "I am back."], fail_after_tokens=8, n_failures=1, token_ms=30)
    d = converse(script, llm=llm, apology="Sorry, I lost it.")
    first, second = ended(d)
    assert first.status == "failed"
    assert (said(first).text or "").endswith("Sorry, I lost it.")
    assert (said(first).text or "").startswith("Well, this is")
    assert (second.status, said(second).text) == ("completed", "I am back.")


def test_an_llm_that_rejects_is_not_asked_again() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(6000)

    llm = ScriptedLlm(["x"], fail_after_tokens=0, error=StageRejected("no such model", stage="llm"))
    d = converse(script, llm=llm, refusal="Sorry.")
    assert ended(d)[0].status == "failed"
    assert said(ended(d)[0]).text == "Sorry."
    assert d.figures.failures[-1] == ("llm", "stage_rejected")


def test_a_typed_turn() -> None:
    async def script(d: Dialogue) -> None:
        await asyncio.sleep(0.1)
        d.peer.send(AddItem(Item(ItemId("typed"), "user", "hello")))
        d.peer.send(CreateReply())
        await asyncio.sleep(5)

    d = converse(script, settings=SessionSettings(modality="text", instructions="Be brief."))
    assert d.context() == [("user", "hello"), ("agent", "It is five o'clock.")]
    assert len(d.peer.heard_pcm()) == 0
    assert "".join(f.text for _, _, f in d.peer.played) == "It is five o'clock."


def test_push_to_talk() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        d.peer.send(CommitAudio())
        await d.peer.be_silent(500)
        d.peer.send(CreateReply())
        await d.peer.be_silent(3000)

    d = converse(script, settings=SessionSettings(turn_detection=None))
    assert kinds(d.peer.notes(UserStarted, UserStopped)) == []
    assert d.context()[:2] == [("user", "what time is it"), ("agent", "It is five o'clock.")]


def test_a_commit_of_nothing_is_refused_by_the_right_name() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(40))
        d.peer.send(CommitAudio("e1"))

    d = converse(script, settings=SessionSettings(turn_detection=None))
    (problem,) = d.peer.notes(Problem)
    assert isinstance(problem, Problem)
    assert problem.error.wire_code == "input_audio_buffer_commit_empty"  # type: ignore[attr-defined]


def test_a_commit_needs_100_ms_each_time() -> None:
    by_hand = SessionSettings(turn_detection=None)

    async def script(d: Dialogue) -> None:
        d.peer.send(Configure(by_hand))
        await d.peer.say(speech(99))
        d.peer.send(CommitAudio("e1"))
        await d.peer.say(speech(1))
        d.peer.send(CommitAudio("e2"))
        d.peer.send(CommitAudio("e3"))
        await d.peer.be_silent(500)

    d = converse(script)
    problems = [n for n in d.peer.notes(Problem) if isinstance(n, Problem)]
    assert [n.event_id for n in problems] == ["e1", "e3"]
    assert "99.00ms" in str(problems[0].error)
    assert " 0.00ms" in str(problems[1].error)
    assert len(d.peer.notes(AudioCommitted)) == 1


def test_cancelling() -> None:
    async def script(d: Dialogue) -> None:
        d.peer.send(CancelReply(None, "nothing to cancel"))
        await d.peer.say(speech(640))
        await d.peer.be_silent(1000)
        d.peer.send(CreateReply(event_id="one is active"))
        d.peer.send(CancelReply())
        await d.peer.be_silent(1000)

    d = converse(script, llm=ScriptedLlm([LONG]))
    (end,) = ended(d)
    assert (end.status, end.reason) == ("cancelled", "client_cancelled")
    codes = [n.error.wire_code for n in d.peer.notes(Problem)]  # type: ignore[union-attr]
    assert codes == ["response_cancel_not_active", "conversation_already_has_active_response"]


def test_interruptions_can_be_forbidden_and_what_was_said_is_answered_later() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(600)
        await d.peer.say(speech(640))
        await d.peer.be_silent(9000)

    vad = ServerVad(silence_duration_ms=200, interrupt_response=False)
    llm = ScriptedLlm([LONG, "And two."])
    d = converse(
        script, asr=ScriptedAsr(["one", "two"]), llm=llm, settings=SessionSettings(turn_detection=vad)
    )
    assert [e.status for e in ended(d)] == ["completed", "completed"]
    assert d.context()[-1] == ("agent", "And two.")


def test_the_client_may_answer_by_itself() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(2000)
        assert d.peer.notes(ReplyStarted) == []
        d.peer.send(CreateReply())
        await d.peer.be_silent(3000)

    vad = ServerVad(silence_duration_ms=200, create_response=False)
    d = converse(script, settings=SessionSettings(turn_detection=vad))
    assert [e.status for e in ended(d)] == ["completed"]


def test_settings_change_in_mid_utterance_without_losing_it() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        d.peer.send(Configure(SessionSettings(turn_detection=ServerVad(silence_duration_ms=800))))
        await d.peer.be_silent(4000)

    d = converse(script)
    assert d.context()[0] == ("user", "what time is it")
    (stopped,) = d.peer.notes(UserStopped)
    assert isinstance(stopped, UserStopped)
    assert stopped.audio_end_ms >= 640 + 800


def test_switching_the_detection_off_in_mid_utterance_ends_it_without_losing_it() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        d.peer.send(Configure(SessionSettings(turn_detection=None)))
        await d.peer.be_silent(200)
        d.peer.send(CreateReply())
        await d.peer.be_silent(4000)

    d = converse(script)
    assert len(d.peer.notes(UserStopped)) == len(d.peer.notes(UserStarted)) == 1
    assert d.context() == [("user", "what time is it"), ("agent", "It is five o'clock.")]


def test_a_buffer_that_is_cleared_in_mid_word_does_not_keep_the_user_speaking_for_ever() -> None:
    """Found by the fuzzer: nothing was left by which to see that no more audio came."""

    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        d.peer.send(ClearAudio())
        await asyncio.sleep(3)
        assert len(d.peer.notes(UserStopped)) == 1
        d.peer.send(CreateReply())
        await asyncio.sleep(3)

    d = converse(script)
    assert [e.status for e in ended(d)][-1] == "completed"


def test_a_stream_that_stops_in_mid_word_ends_the_utterance() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await asyncio.sleep(4)

    d = converse(script)
    assert d.context()[1] == ("agent", "It is five o'clock.")


def test_a_whole_file_at_once_is_heard_by_media_time() -> None:
    async def script(d: Dialogue) -> None:
        await asyncio.sleep(0.01)
        d.peer.say_now(speech(1000))
        d.peer.say_now(speech(1000)[:0])
        d.peer.say_now((speech(1000) * 0).astype("int16"))
        await asyncio.sleep(4)

    d = converse(script)
    (stopped,) = d.peer.notes(UserStopped)
    assert isinstance(stopped, UserStopped)
    assert stopped.audio_end_ms <= 2000
    assert d.context()[1] == ("agent", "It is five o'clock.")


def test_the_longest_reply_is_cut_where_the_session_says() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(4000)

    d = converse(
        script,
        llm=ScriptedLlm([LONG]),
        settings=SessionSettings(max_output_tokens=4, turn_detection=SETTINGS.turn_detection),
    )
    (end,) = ended(d)
    assert (end.status, end.reason) == ("incomplete", "max_output_tokens")
    assert said(end).text == "Well, this is a"


def test_the_llm_is_primed_while_the_user_speaks() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(1500))
        await d.peer.be_silent(2000)

    llm = ScriptedLlm(["Yes."])
    converse(script, asr=ScriptedAsr(["one two three four"]), llm=llm)
    primed = [r.messages[-1].text for r in llm.primes]
    start = ["Be brief."] * 2  # when the session begins, and when the user does
    assert primed[:6] == [*start, "one", "one two", "one two three", "one two three four"]
    assert primed[-1] == "Yes."  # and the next turn's prefix after the answer


def test_deleting_the_item_that_is_being_spoken() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(700)
        started = d.peer.notes(MessageStarted)[0]
        assert isinstance(started, MessageStarted)
        d.peer.send(DeleteItem(started.item_id))
        await d.peer.be_silent(8000)

    d = converse(script, llm=ScriptedLlm([LONG]))
    assert len(ended(d)) == 1
    assert d.context() == [("user", "what time is it")]


class StuckAsr:
    """Reads nothing for a second."""

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        await asyncio.sleep(1.0)
        async for _ in sounds:
            pass
        yield Transcript("what time is it", Certainty.FINAL)


def test_what_waits_in_the_queues_can_be_read() -> None:
    waiting: list[dict[str, float]] = []

    async def script(d: Dialogue) -> None:
        waiting.append(d.session.queued_ms())
        await d.peer.say(speech(800))
        waiting.append(d.session.queued_ms())
        await d.peer.be_silent(2000)
        waiting.append(d.session.queued_ms())
        await d.peer.be_silent(6000)
        waiting.append(d.session.queued_ms())

    converse(script, asr=StuckAsr(), llm=ScriptedLlm([LONG]), queue_ms=300.0)
    idle = {"asr": 0.0, "playout": 0.0}
    assert waiting[0] == waiting[3] == idle
    assert waiting[1]["asr"] == pytest.approx(800, abs=100)
    assert waiting[1]["playout"] == 0.0
    assert waiting[2]["asr"] == 0.0
    assert 200 <= waiting[2]["playout"] <= 340


def test_pacing_is_steady() -> None:
    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(8000)

    d = converse(script, llm=ScriptedLlm([LONG]))
    instants = [at for at, _, _ in d.peer.played]
    lead = [at for at in instants if at == instants[0]]
    assert len(lead) == 7  # 120 ms ahead: the seventh frame is due at once too
    gaps = {b - a for a, b in itertools.pairwise(instants[6:])}
    assert gaps <= {20_000_000, 10_000_000, 0}
    assert max(d.figures.late_ns) == 0


def test_a_bug_ends_this_session_with_its_own_name() -> None:
    class Buggy(ScriptedTts):
        def speak(self, request):  # type: ignore[no-untyped-def]
            raise AssertionError("a bug")

    async def script(d: Dialogue) -> None:
        await d.peer.say(speech(640))
        await d.peer.be_silent(4000)

    with pytest.raises(AssertionError, match="a bug"):
        converse(script, tts=Buggy())
