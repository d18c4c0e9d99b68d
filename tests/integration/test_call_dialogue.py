"""Whole calls over WebRTC on virtual time: who plays, what is told when, what a broken connection costs."""

import asyncio
from collections.abc import Sequence

import numpy as np
import orjson
import pytest

from tests.support.call import Call, in_call
from tests.support.dialogue import speech
from tests.support.realtime_check import check_server_frames
from voicestack.core.history import Item
from voicestack.engines.scripted import ScriptedAsr, ScriptedLlm

LONG = "One two three four five six seven eight nine ten eleven twelve."


async def ask(call: Call) -> None:
    await call.say(speech(600))
    await call.be_silent(300)


def in_order(kinds: Sequence[str], *wanted: str) -> bool:
    """Whether these come, in this order, among others."""
    rest = iter(kinds)
    return all(one in rest for one in wanted)


def check(call: Call) -> None:
    check_server_frames(map(orjson.dumps, call.link.events), extensions=True)


def test_a_turn_is_played_by_the_server_and_told_around_the_response() -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        await ask(call)
        await call.be_silent(2_500)

    call = in_call(script)
    kinds = call.link.kinds
    assert kinds[0] == "session.created"
    assert in_order(
        kinds,
        "input_audio_buffer.speech_started",
        "input_audio_buffer.committed",
        "response.created",
        "response.content_part.added",
        "output_audio_buffer.started",
        "response.output_audio_transcript.delta",
        "rest",
        "response.output_audio.done",
        "response.done",
        "output_audio_buffer.stopped",
        "voicestack.turn.measured",
    )
    assert "response.output_audio.delta" not in kinds
    assert "conversation.item.truncated" not in kinds
    assert kinds.count("output_audio_buffer.started") == kinds.count("output_audio_buffer.stopped") == 1
    check(call)
    assert len(call.link.heard()) == len("It is five o'clock.") * 50 * 24


def test_the_sound_is_ahead_of_its_time_by_the_lead_and_no_more() -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        await ask(call)
        await call.be_silent(2_500)

    link = in_call(script).link
    start_ns, n_samples = link.at_ns("play"), 0
    for at_ns, what, pcm in link.log:
        if what == "play":
            lead_ms = n_samples / 24 - (at_ns - start_ns) / 1e6
            assert lead_ms <= 40 + 1e-6
            n_samples += len(pcm)


def test_barge_in_silences_the_link_first_and_truncates_by_itself() -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        await ask(call)
        await call.until("output_audio_buffer.started")
        await call.be_silent(600)
        await ask(call)
        await call.be_silent(1_000)

    call = in_call(script, llm=ScriptedLlm([LONG, "Yes."]), asr=ScriptedAsr(["count", "stop"]))
    kinds = call.link.kinds
    at = kinds.index("flush")
    assert kinds[at - 1] == "input_audio_buffer.speech_started"
    assert kinds[at + 1] == "output_audio_buffer.cleared"
    assert in_order(
        kinds[at:],
        "output_audio_buffer.cleared",
        "conversation.item.done",
        "response.done",
        "conversation.item.truncated",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
    )
    assert kinds.count("output_audio_buffer.cleared") == kinds.count("conversation.item.truncated") == 1
    flushed_ns = call.link.at_ns("flush")
    assert call.link.at_ns("input_audio_buffer.speech_started") <= flushed_ns
    (truncated,) = [e for e in call.link.events if e["type"] == "conversation.item.truncated"]
    played_ms = (flushed_ns - call.link.at_ns("play")) / 1e6
    assert truncated["audio_end_ms"] == pytest.approx(played_ms, abs=1)
    (agent,) = [entry for entry in call.session.history if entry.id == truncated["item_id"]]
    assert isinstance(agent, Item)
    assert agent.text
    assert LONG.startswith(agent.text)
    assert len(agent.text) * 50 <= played_ms
    check(call)


def test_clearing_the_buffer_stops_what_plays_and_keeps_what_was_heard() -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        call.send("output_audio_buffer.clear")
        await ask(call)
        await call.until("output_audio_buffer.started")
        await asyncio.sleep(0.5)
        call.send("output_audio_buffer.clear")
        call.send("output_audio_buffer.clear")
        await asyncio.sleep(1)

    call = in_call(script, llm=ScriptedLlm([LONG]))
    kinds = call.link.kinds
    assert "error" not in kinds
    assert kinds.count("output_audio_buffer.cleared") == 1
    assert "output_audio_buffer.stopped" not in kinds
    (done,) = [e for e in call.link.events if e["type"] == "response.done"]
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    role, text = call.context()[-1]
    assert role == "agent"
    assert 0 < len(text) * 50 <= 500
    check(call)


def test_cancelling_and_clearing_as_browsers_do_is_one_stop() -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        await ask(call)
        await call.until("output_audio_buffer.started")
        call.send("response.cancel")
        call.send("output_audio_buffer.clear")
        await asyncio.sleep(1)

    call = in_call(script, llm=ScriptedLlm([LONG]))
    assert call.link.kinds.count("flush") == 1
    assert call.link.kinds.count("output_audio_buffer.cleared") == 1
    assert "error" not in call.link.kinds


def test_appended_audio_is_ignored_and_a_written_reply_is_not_played() -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        call.send("input_audio_buffer.append", audio="AAAA" * 1000)
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]}
        call.send("conversation.item.create", item=item)
        call.send("response.create", response={"output_modalities": ["text"]})
        await call.until("response.done")
        await asyncio.sleep(0.5)

    call = in_call(script)
    assert call.session.ears.n_samples == 0
    kinds = call.link.kinds
    assert "response.output_text.delta" in kinds
    assert not any(kind.startswith("output_audio_buffer") or kind in ("error", "rest") for kind in kinds)
    assert len(call.link.heard()) == 0
    check(call)


def test_a_reply_beside_the_conversation_is_played_when_nothing_else_is() -> None:
    aside = {"conversation": "none", "input": [], "output_modalities": ["audio"]}

    async def script(call: Call) -> None:
        call.link.on_open()
        call.send("response.create", response=aside)  # played, until the conversation wants to speak
        await call.until("output_audio_buffer.started")
        await ask(call)
        await call.until("output_audio_buffer.started", 2)
        call.send("response.create", response=aside)  # not played: the conversation's reply is
        await call.until("response.done", 3)
        await asyncio.sleep(0.1)

    call = in_call(script, llm=ScriptedLlm([LONG, LONG, "No."]))
    told = [e for e in call.link.events if e["type"].startswith("output_audio_buffer")]
    created = [e["response"]["id"] for e in call.link.events if e["type"] == "response.created"]
    assert [(e["type"].rpartition(".")[2], created.index(e["response_id"])) for e in told] == [
        ("started", 0),
        ("cleared", 0),
        ("started", 1),
        ("stopped", 1),
    ]
    assert call.link.kinds.count("flush") == 1
    check(call)


def test_what_was_told_before_the_channel_opened_is_told_when_it_opens() -> None:
    async def script(call: Call) -> None:
        await ask(call)
        await asyncio.sleep(0.3)
        assert call.link.events == []
        call.link.on_open()
        await call.until("response.done")

    kinds = in_call(script).link.kinds
    assert kinds[:2] == ["session.created", "input_audio_buffer.speech_started"]


def test_a_client_that_never_connects_is_reaped() -> None:
    async def script(call: Call) -> None:
        await call.ended.wait()

    call = in_call(script)
    assert call.lost is not None
    assert "15000 ms" in str(call.lost)
    assert call.link.kinds == ["close"]


def test_a_client_without_our_events_has_no_grace() -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        await asyncio.sleep(1)
        call.link.on_closed("consent expired")
        await call.ended.wait()

    call = in_call(script, grace_ms=0)
    assert "consent expired" in str(call.lost)


def test_hanging_up_is_no_loss() -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        call.transport.hang_up()
        await call.ended.wait()

    call = in_call(script)
    assert call.lost is None
    assert call.link.kinds == ["session.created", "close"]


def test_a_broken_connection_cuts_the_reply_and_a_new_one_finds_the_conversation() -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        await ask(call)
        await call.until("output_audio_buffer.started")
        await asyncio.sleep(0.5)
        first = call.link
        first.on_closed("the network is gone")
        assert [entry.status for entry in call.session.history if isinstance(entry, Item)][-1] == "incomplete"
        heard = call.context()[-1]
        assert heard[0] == "agent"
        assert 0 < len(heard[1]) * 50 <= 500
        await asyncio.sleep(4)
        first.on_message('{"type":"input_audio_buffer.clear"}')  # too late
        first.on_audio(speech(20), call.clock.now_ns())
        call.come_back().on_open()
        created, resumed = call.link.events
        assert created["type"] == "session.created"
        assert created["session"]["id"] == "sess_1"
        assert resumed["type"] == "voicestack.conversation.resumed"
        assert [(item["role"], item["text"]) for item in resumed["items"]] == [
            ("user", "count"),
            ("assistant", heard[1]),
        ]
        await ask(call)
        await call.until("output_audio_buffer.stopped")
        assert first.kinds.count("flush") == 0  # it was gone

    call = in_call(script, llm=ScriptedLlm([LONG, "Yes."]), asr=ScriptedAsr(["count", "go on"]))
    assert call.lost is None
    assert [text for _, text in call.context()][-2:] == ["go on", "Yes."]
    check(call)


def test_an_answer_that_nobody_could_hear_is_given_when_the_client_is_back() -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        await call.say(speech(600))
        call.link.on_closed("the network is gone")
        await asyncio.sleep(3)
        assert call.context() == [("user", "what time is it")]
        call.come_back()
        await asyncio.sleep(1)
        call.link.on_open()
        await call.until("output_audio_buffer.stopped")

    call = in_call(script)
    assert call.context() == [("user", "what time is it"), ("agent", "It is five o'clock.")]
    assert "error" not in call.link.kinds
    assert np.abs(call.link.heard()).max() > 0


def test_the_grace_ends_the_call() -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        begun_ns = call.clock.now_ns()
        call.link.on_closed("the network is gone")
        await call.ended.wait()
        assert (call.clock.now_ns() - begun_ns) / 1e6 == pytest.approx(5_000)
        assert call.transport.is_over
        link = call.come_back()
        assert link.kinds == ["close"]

    assert in_call(script).lost is None


def test_a_second_connection_that_fails_leaves_as_much_grace() -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        call.link.on_closed("the network is gone")
        await asyncio.sleep(4)
        call.come_back()
        await asyncio.sleep(15.1)  # it never connects
        assert not call.transport.is_over
        call.come_back().on_open()
        await asyncio.sleep(10)
        assert not call.transport.is_over

    in_call(script)


def test_a_second_connection_takes_over_from_one_that_still_lives() -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        await ask(call)
        await call.until("output_audio_buffer.started")
        await asyncio.sleep(0.4)
        first = call.link
        call.come_back()
        assert first.kinds[-1] == "close"
        assert first.kinds.count("flush") == 1
        call.link.on_open()
        await ask(call)
        await call.until("output_audio_buffer.stopped")

    call = in_call(script, llm=ScriptedLlm([LONG, "Yes."]), asr=ScriptedAsr(["count", "go on"]))
    assert [text for _, text in call.context()][-1] == "Yes."


def test_when_an_answer_was_heard_is_measured_on_the_sessions_clock() -> None:
    offset_ms = 1e9  # the client's clock is somewhere else

    async def script(call: Call) -> None:
        call.link.on_open()
        call.send("voicestack.clock.ping", client_ms=offset_ms)
        pong = await call.until("voicestack.clock.pong")
        assert pong["client_ms"] == offset_ms
        to_server_ms = pong["server_ms"] - offset_ms
        begun_ns = call.clock.now_ns()
        await ask(call)
        started = await call.until("output_audio_buffer.started")
        sent_ns = call.link.at_ns("play")
        await asyncio.sleep(0.3)
        client_ms = offset_ms + (sent_ns - begun_ns) / 1e6 + 80  # 80 ms of network and buffers
        fields = {"response_id": started["response_id"], "heard_ms": client_ms + to_server_ms}
        call.send("voicestack.audio.heard", **fields, error_ms=2.5)
        call.send("voicestack.audio.heard", **fields, error_ms=2.5)  # a second time
        measured = await call.until("voicestack.turn.measured")
        assert measured["heard_after_ms"] == pytest.approx(measured["response_ms"] + 80)

    call = in_call(script)
    assert call.figures.heard_after_ms == [pytest.approx((call.figures.turns[0].response_ms or 0) + 80)]
    assert call.figures.n_disbelieved == 1
    check(call)


@pytest.mark.parametrize(("late_ms", "error_ms"), [(-5, 2), (10_000, 2), (80, 501)])
def test_what_cannot_be_is_counted_and_not_believed(late_ms: float, error_ms: float) -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        begun_ns = call.clock.now_ns()
        await ask(call)
        started = await call.until("output_audio_buffer.started")
        heard_ms = (call.link.at_ns("play") - begun_ns) / 1e6 + late_ms
        call.send(
            "voicestack.audio.heard",
            response_id=started["response_id"],
            heard_ms=heard_ms,
            error_ms=error_ms,
        )
        assert (await call.until("voicestack.turn.measured"))["heard_after_ms"] is None

    call = in_call(script)
    assert (call.figures.heard_after_ms, call.figures.n_disbelieved) == ([], 1)


def test_word_that_comes_after_the_turn_still_counts() -> None:
    async def script(call: Call) -> None:
        call.link.on_open()
        begun_ns = call.clock.now_ns()
        await ask(call)
        measured = await call.until("voicestack.turn.measured")
        assert measured["heard_after_ms"] is None
        started = await call.until("output_audio_buffer.started")
        heard_ms = (call.link.at_ns("play") - begun_ns) / 1e6 + 200
        call.send("voicestack.audio.heard", response_id=started["response_id"], heard_ms=heard_ms, error_ms=1)

    call = in_call(script, llm=ScriptedLlm(["Yes."]))
    assert call.figures.heard_after_ms == [pytest.approx((call.figures.turns[0].response_ms or 0) + 200)]
    assert call.figures.heard_ids == [call.figures.records[0].id]
    assert call.figures.n_disbelieved == 0
