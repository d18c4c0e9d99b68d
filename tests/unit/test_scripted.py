"""Do the scripted engines, and the virtual time that the tests run them on, do exactly what they say?"""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

import numpy as np
import pytest

from tests.support.virtual_loop import VirtualTimeError, run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.aio.scope import Scope
from voicestack.core.audio import AudioFrame, Pcm
from voicestack.core.errors import StageRejected, StageUnavailable
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.tools import ToolCall
from voicestack.engines.scripted import (
    TTS_AMPLITUDE,
    EnergyVad,
    ScriptedAsr,
    ScriptedLlm,
    ScriptedTts,
    words_of,
)
from voicestack.ports import (
    PAUSE,
    Asr,
    Certainty,
    Llm,
    LlmDelta,
    LlmRequest,
    Pause,
    SpeechRequest,
    SpeechWindow,
    Transcript,
    Tts,
    Vad,
)

VAD: Vad = EnergyVad()
ASR: Asr = ScriptedAsr(["hello"])
LLM: Llm = ScriptedLlm(["hello"])
TTS: Tts = ScriptedTts()


def request(*texts: str, max_tokens: int | None = None) -> LlmRequest:
    messages = tuple(Message("user" if i % 2 == 0 else "agent", text) for i, text in enumerate(texts))
    return LlmRequest(SessionId("s"), TurnId(1), messages, max_tokens)


def frame(pcm: Pcm, start_sample: int = 0) -> AudioFrame:
    return AudioFrame(pcm, start_sample, 0)


def quiet(ms: int) -> AudioFrame:
    return frame(np.zeros(ms * 16, np.int16))


async def sounds_of(items: Iterable[AudioFrame | Pause]) -> AsyncIterator[AudioFrame | Pause]:
    for item in items:
        yield item


async def heard(asr: ScriptedAsr, *items: AudioFrame | Pause) -> list[Transcript]:
    return [transcript async for transcript in asr.transcribe(sounds_of(items))]


async def said(llm: ScriptedLlm, asked: LlmRequest) -> str:
    return "".join([delta.text async for delta in llm.reply(asked)])


# EnergyVad


def loud(n_samples: int, dbfs: float) -> Pcm:
    return np.full(n_samples, 32767 * 10 ** (dbfs / 20), np.int16)


@pytest.mark.parametrize(("dbfs", "p_speech"), [(-44.0, 1.0), (-46.0, 0.0)])
def test_energy_vad_has_its_threshold_where_it_says(dbfs: float, p_speech: float) -> None:
    out: list[SpeechWindow] = []
    EnergyVad(-45.0).open(out.append).push(frame(loud(1024, dbfs), 100))
    assert out == [SpeechWindow(p_speech, 612), SpeechWindow(p_speech, 1124)]


def test_energy_vad_does_not_care_how_audio_is_cut() -> None:
    pcm = np.concatenate([loud(700, -50), loud(900, -20), loud(700, -60)])
    whole: list[SpeechWindow] = []
    EnergyVad().open(whole.append).push(frame(pcm))
    pieces: list[SpeechWindow] = []
    stream = EnergyVad().open(pieces.append)
    for start in range(0, len(pcm), 77):
        stream.push(frame(pcm[start : start + 77], start))
    assert pieces == whole
    assert len(whole) == 2300 // 512


def test_energy_vad_restarts_its_window_after_a_gap_and_is_silent_after_close() -> None:
    out: list[SpeechWindow] = []
    stream = EnergyVad().open(out.append)
    stream.push(frame(loud(300, -20), 0))
    stream.push(frame(loud(512, -20), 5000))
    assert out == [SpeechWindow(1.0, 5512)]
    stream.close()
    stream.push(frame(loud(512, -20), 5512))
    assert len(out) == 1


# ScriptedAsr


def test_partials_grow_with_the_audio_and_the_final_is_the_text() -> None:
    async def main() -> list[Transcript]:
        return await heard(ScriptedAsr(["what time is it"]), *[quiet(20)] * 30)

    assert run_virtual(main()) == [
        Transcript("what", Certainty.PARTIAL, "what"),
        Transcript("what time", Certainty.PARTIAL, "what time"),
        Transcript("what time is it", Certainty.FINAL),
    ]


def test_a_hesitation_settles_on_what_was_said_so_far() -> None:
    async def main() -> list[Transcript]:
        asr = ScriptedAsr(["what is|the time"])
        return await heard(asr, quiet(2000), PAUSE, quiet(300), PAUSE, quiet(300), PAUSE)

    said_so_far = [(t.text, t.certainty) for t in run_virtual(main())]
    assert said_so_far == [
        ("what is", Certainty.PARTIAL),
        ("what is", Certainty.SETTLED),
        ("what is the", Certainty.PARTIAL),
        ("what is the time", Certainty.SETTLED),
        ("what is the time", Certainty.SETTLED),
        ("what is the time", Certainty.FINAL),
    ]


def test_utterances_take_the_texts_in_turn_and_delays_are_exact() -> None:
    async def main() -> list[tuple[str, Certainty, int]]:
        asr = ScriptedAsr(["one", ""], settle_ms=15, final_ms=40)
        out, start_ns = [], LoopClock().now_ns()
        for _ in range(3):
            async for t in asr.transcribe(sounds_of([PAUSE])):
                out.append((t.text, t.certainty, LoopClock().now_ns() - start_ns))
        return out

    ms = 1_000_000
    assert run_virtual(main()) == [
        ("one", Certainty.SETTLED, 15 * ms),
        ("one", Certainty.FINAL, 55 * ms),
        ("", Certainty.SETTLED, 70 * ms),
        ("", Certainty.FINAL, 110 * ms),
        ("one", Certainty.SETTLED, 125 * ms),
        ("one", Certainty.FINAL, 165 * ms),
    ]


# ScriptedLlm


def test_the_same_question_gets_the_same_answer_and_the_next_one_the_next() -> None:
    async def main() -> list[str]:
        llm = ScriptedLlm(["It is noon.", "You are welcome."])
        first, second = request("time?"), request("time?", "It is noon.", "thanks")
        return [await said(llm, asked) for asked in (first, first, second)]

    assert run_virtual(main()) == ["It is noon.", "It is noon.", "You are welcome."]


def test_an_answer_can_be_a_function_of_what_the_model_was_given() -> None:
    async def main() -> str:
        return await said(ScriptedLlm(lambda messages: messages[-1].text.upper()), request("hello there"))

    assert run_virtual(main()) == "HELLO THERE"


def test_tokens_come_when_they_should_with_usage_at_the_end() -> None:
    async def main() -> None:
        llm, clock = ScriptedLlm(["a b c"], first_token_ms=100, token_ms=10), LoopClock()
        start_ns = clock.now_ns()
        deltas = [(d, (clock.now_ns() - start_ns) // 1_000_000) async for d in llm.reply(request("x y"))]
        assert [(d.text, ms) for d, ms in deltas] == [("a", 100), (" b", 110), (" c", 120), ("", 120)]
        last = deltas[-1][0]
        assert not last.truncated
        assert last.usage is not None
        assert (last.usage.input_tokens, last.usage.output_tokens) == (2, 3)
        assert llm.closed == llm.requests == [request("x y")]
        assert llm.aborted == []

    run_virtual(main())


def test_a_limit_truncates() -> None:
    async def main() -> None:
        deltas = [d async for d in ScriptedLlm(["a b c"]).reply(request("x", max_tokens=2))]
        assert "".join(d.text for d in deltas) == "a b"
        assert deltas[-1].truncated
        assert deltas[-1].usage is not None
        assert deltas[-1].usage.output_tokens == 2

    run_virtual(main())


def test_closing_and_cancelling_are_seen() -> None:
    async def main() -> None:
        llm = ScriptedLlm(["a b c"], first_token_ms=50)
        async with contextlib.aclosing(llm.reply(request("closed"))) as deltas:
            await anext(deltas)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await said(llm, request("cancelled"))
        assert llm.aborted == llm.closed == [request("closed"), request("cancelled")]

    run_virtual(main())


@pytest.mark.parametrize("n_tokens", [0, 2, 3])
def test_it_fails_where_it_is_told_to(n_tokens: int) -> None:
    async def main() -> None:
        llm = ScriptedLlm(["a b c"], fail_after_tokens=n_tokens, n_failures=1)
        answer = llm.reply(request("x"))
        for _ in range(n_tokens):
            assert (await anext(answer)).text
        with pytest.raises(StageUnavailable):
            await anext(answer)
        assert llm.aborted == [request("x")]
        assert await said(llm, request("x")) == "a b c"

    run_virtual(main())


def test_the_error_can_be_chosen_and_lasts() -> None:
    async def main() -> None:
        error = StageRejected("no such model", stage="llm")
        llm = ScriptedLlm(["a"], fail_after_tokens=0, error=error)
        for _ in range(2):
            with pytest.raises(StageRejected):
                await said(llm, request("x"))
        await llm.prime(request("y"))
        llm.release(SessionId("s"))
        assert (llm.primes, llm.released) == ([request("y")], ["s"])

    run_virtual(main())


# ScriptedTts


@pytest.mark.parametrize("text", ["Hello, world.", " and  more\n", "", " ", "x"])
def test_frames_carry_exactly_the_phrase(text: str) -> None:
    async def main() -> None:
        tts = ScriptedTts()
        frames = [f async for f in tts.speak(SpeechRequest(text))]
        assert "".join(f.text for f in frames) == text
        assert sum(len(f.pcm) for f in frames) == len(text) * 1200
        assert all(len(f.pcm) == 480 for f in frames[:-1])
        assert tts.closed == tts.requests == [SpeechRequest(text)]

    run_virtual(main())


def test_a_word_is_in_the_frame_of_its_last_sample() -> None:
    async def main() -> list[tuple[int, str]]:
        spoken = [f.text async for f in ScriptedTts(ms_per_char=50).speak(SpeechRequest("Hello, world."))]
        return [(n, text) for n, text in enumerate(spoken) if text]

    # "Hello," ends at 300 ms, the last sample of frame 14; " world." at 650 ms, in the middle of frame 32.
    assert run_virtual(main()) == [(14, "Hello,"), (32, " world.")]


def test_speed_shortens_and_the_first_frame_can_be_late() -> None:
    async def main() -> None:
        clock = LoopClock()
        start_ns = clock.now_ns()
        tts = ScriptedTts(8000, first_audio_ms=30)
        frames = [f async for f in tts.speak(SpeechRequest("ten chars.", speed=2.0))]
        assert clock.now_ns() - start_ns == 30_000_000
        assert sum(len(f.pcm) for f in frames) == 10 * 50 * 8 // 2

    run_virtual(main())


def test_the_tone_is_audible_and_has_no_clicks() -> None:
    async def main() -> Pcm:
        return np.concatenate([f.pcm async for f in ScriptedTts().speak(SpeechRequest("x" * 50))])

    pcm = run_virtual(main())
    assert len(pcm) == 60_000
    assert np.abs(pcm).max() == pytest.approx(TTS_AMPLITUDE, abs=2)
    assert np.abs(np.diff(pcm.astype(int))).max() < TTS_AMPLITUDE * 2 * np.pi * 440 / 24_000 * 1.01


@pytest.mark.parametrize("text", ["", " ", "a", " a", "a ", "\na\t b\n", "a\n"])
def test_words_joined_are_the_text(text: str) -> None:
    assert "".join(words_of(text)) == text


# virtual time


def test_six_minutes_take_no_time_and_are_exact() -> None:
    async def main() -> int:
        clock = LoopClock()
        start_ns = clock.now_ns()
        for _ in range(18_000):
            await asyncio.sleep(0.02)
        await asyncio.sleep(1 / 3)
        return clock.now_ns() - start_ns

    assert run_virtual(main()) == pytest.approx(360_333_333_333, abs=1)


def test_timers_fire_in_order_at_their_instant() -> None:
    async def main() -> list[tuple[str, int]]:
        clock, out = LoopClock(), list[tuple[str, int]]()
        start_ns = clock.now_ns()

        def note(name: str) -> None:
            out.append((name, clock.now_ns() - start_ns))

        clock.call_at(start_ns + 70_000_001, lambda: note("later"))
        clock.call_at(start_ns + 70_000_000, lambda: note("sooner"))
        clock.call_at(start_ns + 10, lambda: note("never")).cancel()
        await asyncio.sleep(0.1)
        return out

    assert [name for name, _ in run_virtual(main())] == ["sooner", "later"]
    assert [ns for _, ns in run_virtual(main())] == pytest.approx([70_000_000, 70_000_001], abs=1)


def test_deadlock_names_who_waits() -> None:
    async def waits_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        async with Scope() as scope:
            scope.start(waits_for_ever(), name="the reply")
            await waits_for_ever()

    with pytest.raises(VirtualTimeError, match=r"deadlock(.|\n)*the reply at .*test_scripted"):
        run_virtual(main())


def test_too_long_and_spinning_are_errors() -> None:
    async def repeats(delay_s: float) -> None:
        for _ in itertools.count():
            await asyncio.sleep(delay_s)

    with pytest.raises(VirtualTimeError, match="not done after 5 virtual seconds"):
        run_virtual(repeats(1), timeout_s=5)
    with pytest.raises(VirtualTimeError, match="spinning"):
        run_virtual(repeats(0))


def test_a_task_left_behind_is_an_error_that_names_it() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        main.kept = loop.create_task(asyncio.sleep(9), name="left over")  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    with pytest.raises(VirtualTimeError, match="left over"):
        run_virtual(main())


def test_what_a_callback_raises_is_raised() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(0.01)

    with pytest.raises(ZeroDivisionError):
        run_virtual(main())


def test_there_are_neither_sockets_nor_threads() -> None:
    async def threads() -> None:
        await asyncio.to_thread(len, "")

    async def sockets() -> None:
        with socket.socket() as unconnected:
            asyncio.get_running_loop().add_reader(unconnected, lambda: None)

    with pytest.raises(RuntimeError, match="no threads"):
        run_virtual(threads())
    with pytest.raises(RuntimeError, match="no I/O"):
        run_virtual(sockets())


def test_llm_calls_by_the_script_and_goes_on_after_the_result() -> None:
    call = ToolCall("c1", "look", '{"at": "the clock"}')
    llm = ScriptedLlm([("One moment.", call), "It is noon."])
    asked = request("what time is it")
    told = (Message("agent", "One moment.", calls=(call,)), Message("tool", "12:00", call_id="c1"))

    async def main() -> list[list[LlmDelta]]:
        first = [delta async for delta in llm.reply(asked)]
        again = [delta async for delta in llm.reply(replace(asked, messages=(*asked.messages, *told)))]
        return [first, again]

    first, again = run_virtual(main())
    assert "".join(delta.text for delta in first) == "One moment."
    pieces = [delta.call for delta in first if delta.call]
    assert len(pieces) > 1
    assert {(piece.index, piece.call_id, piece.name) for piece in pieces} == {(0, "c1", "look")}
    assert "".join(piece.arguments for piece in pieces) == call.arguments
    assert "".join(delta.text for delta in again) == "It is noon."
