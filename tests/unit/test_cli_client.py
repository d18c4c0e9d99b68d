"""Callers and benches on virtual time: every instant is exact, so what they measure must be exact too."""

import argparse
import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from tests.support.pipe import Pipe, ServerEnd
from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_echo import DELAY_MS, EchoCall, buzz, calibration_lines, error_of
from voicestack.cli.bench_report import figures
from voicestack.cli.bench_speech import Line
from voicestack.cli.bench_v2v import Outcome, Plan, measure
from voicestack.cli.client import Wait, call, session_update, wait_for_answer
from voicestack.cli.conversation import Conversation, decode_audio
from voicestack.cli.dialing import Link, NoServer, dial, realtime_url
from voicestack.cli.speaker import CALL_RATE_HZ, FRAME_SAMPLES, Mouth, Speaker, Timeline
from voicestack.cli.waveform import last_audible
from voicestack.core.audio import Pcm

MS = CALL_RATE_HZ // 1000
SECOND = CALL_RATE_HZ


Serve = Callable[[ServerEnd], Awaitable[None]]


async def measured(plan: Plan, lines: list[Line], serve: Serve) -> Outcome:
    outcome = Outcome()
    async with Scope() as servers:

        async def dial(_url: str) -> Link:
            pipe = Pipe()

            async def run() -> None:
                await serve(ServerEnd(pipe))

            servers.start(run(), name="server")
            return pipe

        await measure(plan, lines, LoopClock(), outcome=outcome, dial=dial)
    return outcome


def echo(delay_ms: float) -> Serve:
    return lambda end: EchoCall(end, LoopClock(), delay_ms).run()


def test_the_harness_is_exact_when_nothing_takes_time() -> None:
    lines = calibration_lines(6, seed=3)
    outcome = run_virtual(measured(Plan("", n_turns=6), lines, echo(DELAY_MS)))
    found = error_of(outcome.turns, lines, DELAY_MS)
    assert found.n_missing == 0
    assert found.error_ms is not None
    assert found.framing_ms is not None
    assert found.error_ms.n == 6
    assert abs(found.error_ms.p50) < 0.1  # two samples
    assert abs(found.error_ms.max) < 0.1
    assert 0 < found.framing_ms.p50 < 20
    assert max(outcome.late_ms) < 0.1


def test_a_slower_server_is_measured_slower_by_as_much() -> None:
    lines = calibration_lines(2, seed=3)
    waits = []
    for delay_ms in (200, 700):
        outcome = run_virtual(measured(Plan("", n_turns=2), lines, echo(delay_ms)))
        waits.append([turn.wait_ms or 0.0 for turn in sorted(outcome.turns, key=lambda turn: turn.file)])
    assert waits[1] == pytest.approx([wait + 500 for wait in waits[0]], abs=0.1)


def test_an_answer_that_comes_too_late_is_missing_and_not_forgotten() -> None:
    lines = calibration_lines(3, seed=1)
    outcome = run_virtual(measured(Plan("", n_turns=3, timeout_ms=1000), lines, echo(1500)))
    assert [turn.missing for turn in outcome.turns] == [True, True, True]
    assert all(1500 < (turn.late_ms or 0) < 1521 for turn in outcome.turns)
    found = figures(Plan(""), outcome)
    assert found["n_missing"] == 3
    assert found["voice_to_voice_ms"].p50 == float("inf")
    assert b'"p50":null' in orjson.dumps(found)


def test_a_server_that_says_nothing_misses_every_turn() -> None:
    async def deaf(end: ServerEnd) -> None:
        async for message in end:
            if b"session.update" in orjson.dumps(message):
                await end.send('{"type":"session.updated"}')

    outcome = run_virtual(measured(Plan("", n_turns=2, timeout_ms=500), calibration_lines(2, 1), deaf))
    assert [turn.missing for turn in outcome.turns] == [True, True]


def paused_line(pause_ms: int) -> Line:
    first, second = buzz(SECOND // 2), buzz(SECOND // 2)
    pcm = np.concatenate([first, np.zeros(pause_ms * MS, dtype=np.int16), second])
    return Line("paused", "a b", pcm, 0, len(pcm) - 1)


def test_an_agent_that_speaks_into_a_pause_is_early() -> None:
    outcome = run_virtual(measured(Plan("", n_turns=2), [paused_line(600)], echo(250)))
    assert [turn.early for turn in outcome.turns] == [True, True]
    assert not any(turn.missing for turn in outcome.turns)
    assert figures(Plan(""), outcome)["n_early"] == 2


def test_a_patient_agent_is_not_early() -> None:
    outcome = run_virtual(measured(Plan("", n_turns=2), [paused_line(100)], echo(250)))
    assert [turn.early for turn in outcome.turns] == [False, False]
    assert all(turn.wait_ms is not None for turn in outcome.turns)


def test_callers_arrive_when_they_want_to_and_share_the_turns() -> None:
    plan = Plan("", n_turns=7, n_callers=3, rate_per_s=0.2)
    outcome = run_virtual(measured(plan, calibration_lines(4, 1), echo(200)))
    assert sorted(turn.caller for turn in outcome.turns) == [0, 0, 0, 1, 1, 2, 2]
    assert len(outcome.connect_ms) == 3


def test_a_refused_caller_leaves_missing_answers() -> None:
    async def refuse(_url: str) -> Link:
        raise NoServer("full")

    outcome = Outcome()
    plan = Plan("", n_turns=4, n_callers=2)
    run_virtual(measure(plan, calibration_lines(1, 1), LoopClock(), outcome=outcome, dial=refuse))
    assert len(outcome.turns) == 4
    assert all(turn.missing for turn in outcome.turns)
    assert not any(turn.refused for turn in outcome.turns)
    assert outcome.failures == ["caller 0: full", "caller 1: full"]


class HangsUp:
    """A connection that is closed at once."""

    def __init__(self, code: int) -> None:
        self._code = code

    async def send(self, message: str) -> None: ...

    async def recv(self) -> str:
        raise ConnectionClosedError(Close(self._code, ""), None)

    async def close(self) -> None: ...


@pytest.mark.parametrize(("code", "refused"), [(1013, True), (1011, False)])
def test_only_a_server_without_room_refuses(code: int, refused: bool) -> None:
    async def connect(_url: str) -> Link:
        return HangsUp(code)

    outcome = Outcome()
    plan = Plan("", n_turns=2, n_callers=2)
    run_virtual(measure(plan, calibration_lines(1, 1), LoopClock(), outcome=outcome, dial=connect))
    assert [turn.refused for turn in outcome.turns] == [refused] * 2
    assert figures(plan, outcome)["n_refused"] == 2 * refused
    assert all(turn.missing for turn in outcome.turns)


class Talkative:
    """A server that answers with four seconds of sound and stops `stop_ms` after it hears the user again."""

    def __init__(self, end: ServerEnd, stop_ms: float | None) -> None:
        self._end = end
        self._stop_ms = stop_ms
        self._heard_s = 0.0
        self._hushed = False
        self._speaking = False
        self.truncations: list[int] = []

    async def run(self) -> None:
        async with Scope() as scope:
            scope.start(self._answer(), name="answer")
            async for message in self._end:
                event = orjson.loads(message)
                if event["type"] == "session.update":
                    await self._tell(type="session.updated")
                elif event["type"] == "conversation.item.truncate":
                    self.truncations.append(event["audio_end_ms"])
                elif self._speaking and self._stop_ms is None:
                    continue  # it does not listen while it speaks
                elif last_audible(decode_audio(event["audio"]), CALL_RATE_HZ) is not None:
                    self._heard_s = asyncio.get_running_loop().time()
                    if self._speaking and not self._hushed:
                        self._hushed = True
                        scope.start(self._hush(), name="hush")

    async def _hush(self) -> None:
        await asyncio.sleep((self._stop_ms or 0) / 1000)
        self._speaking = False
        await self._tell(type="input_audio_buffer.speech_started")

    async def _answer(self) -> None:
        n_turns, loop = 0, asyncio.get_running_loop()
        while True:
            await asyncio.sleep(0.05)
            if not self._heard_s or loop.time() < self._heard_s + 0.2:
                continue
            n_turns += 1
            self._heard_s, self._speaking, self._hushed = 0.0, True, False
            reply, item = f"resp_{n_turns}", f"item_{n_turns}"
            await self._tell(type="input_audio_buffer.committed", item_id=f"user_{n_turns}")
            await self._tell(type="response.created", response={"id": reply})
            await self._tell(type="response.output_item.added", response_id=reply, item={"id": item})
            sound = base64.b64encode(buzz(FRAME_SAMPLES).tobytes()).decode()
            for _ in range(200):
                if not self._speaking:
                    break
                await self._tell(
                    type="response.output_audio.delta", response_id=reply, item_id=item, delta=sound
                )
                await asyncio.sleep(0.02)
            status = "completed" if self._speaking else "cancelled"
            self._speaking = False
            await self._tell(type="response.done", response={"id": reply, "status": status})

    async def _tell(self, **event: Any) -> None:
        await self._end.send(orjson.dumps(event).decode())


def interrupted(stop_ms: float | None) -> tuple[Outcome, list[Talkative]]:
    servers: list[Talkative] = []

    def serve(end: ServerEnd) -> Awaitable[None]:
        servers.append(Talkative(end, stop_ms))
        return servers[-1].run()

    plan = Plan("", n_turns=1, n_interruptions=3)
    return run_virtual(measured(plan, calibration_lines(4, 2), serve)), servers


def test_the_time_to_silence_begins_with_the_user() -> None:
    outcome, servers = interrupted(100)
    stops = [cut.stop_ms for cut in outcome.interruptions]
    assert all(cut.cut for cut in outcome.interruptions)
    # The server hears the first sample with its 20 ms frame, and what it had sent until then was playing.
    assert stops == pytest.approx([120.0] * 3, abs=1.0)
    assert len(servers[0].truncations) == 3
    assert all(300 <= heard_ms <= 1100 for heard_ms in servers[0].truncations)


def test_an_agent_that_speaks_on_counts_with_all_it_says() -> None:
    outcome, _ = interrupted(None)
    assert all((cut.stop_ms or 0) > 1000 for cut in outcome.interruptions)
    assert not any(cut.cut for cut in outcome.interruptions)


def test_a_call_that_is_not_configured_says_what_the_server_said() -> None:
    async def refusing(end: ServerEnd) -> None:
        async for _ in end:
            await end.send('{"type":"error","error":{"message":"no such voice"}}')
            return

    outcome = run_virtual(measured(Plan("", n_turns=1), calibration_lines(1, 1), refusing))
    assert "no such voice" in outcome.failures[0]


def test_what_was_said_and_heard_is_told_line_by_line() -> None:
    lines: list[tuple[str, str]] = []
    seen = Conversation(Speaker(Timeline(0)), on_line=lambda who, text: lines.append((who, text)))
    events: list[dict[str, Any]] = [
        {"type": "input_audio_buffer.committed", "item_id": "u1"},
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "u1",
            "transcript": " hello ",
        },
        {"type": "response.created", "response": {"id": "r1"}},
        {"type": "response.output_audio_transcript.delta", "response_id": "r1", "delta": "Good "},
        {"type": "response.output_audio_transcript.delta", "response_id": "r1", "delta": "day."},
        {"type": "response.done", "response": {"id": "r1", "status": "completed"}},
        {"type": "input_audio_buffer.committed", "item_id": "u2"},
        {
            "type": "conversation.item.input_audio_transcription.failed",
            "item_id": "u2",
            "error": {"message": "lost"},
        },
    ]
    for event in events:
        assert seen.receive(event, 0) == []
    assert lines == [("user", "hello"), ("agent", "Good day.")]
    assert [(one.text, one.error) for one in seen.utterances] == [("hello", None), (None, "lost")]


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": "response.created"},
        {"type": "response.done"},
        {"type": "response.output_item.added"},
        {"type": "response.output_audio.delta", "delta": "!!!"},
        {"type": "error"},
        {"type": "something.new", "x": 1},
    ],
)
def test_an_odd_event_does_no_harm(event: dict[str, Any]) -> None:
    assert Conversation(Speaker(Timeline(0))).receive(event, 0) == []


def at_ms(ms: float) -> int:
    return round(ms * 1e6)


def sound(ms: int, level: int = 1000) -> Pcm:
    return np.full(ms * MS, level, dtype=np.int16)


def test_audio_plays_when_it_arrives_or_after_what_is_queued() -> None:
    speaker = Speaker(Timeline(0))
    speaker.push("a", sound(40), at_ms(100))
    speaker.push("a", sound(40), at_ms(110))
    speaker.push("a", sound(40), at_ms(300))
    heard = np.flatnonzero(speaker.render())
    assert heard[0] == 100 * MS
    assert speaker.end_sample == 340 * MS
    assert len(heard) == 120 * MS
    assert (speaker.n_gaps, speaker.gap_samples) == (1, 120 * MS)
    assert not speaker.is_silent(at_ms(339))
    assert speaker.is_silent(at_ms(340))


def test_a_flush_leaves_what_was_played() -> None:
    speaker = Speaker(Timeline(0))
    for _ in range(5):
        speaker.push("a", sound(40), at_ms(100))
    assert speaker.flush(at_ms(170)) == 130 * MS
    assert speaker.end_sample == 170 * MS
    assert speaker.played_ms("a", at_ms(500)) == 70
    assert speaker.flush(at_ms(171)) == 0
    speaker.push("b", sound(40), at_ms(180))
    assert np.flatnonzero(speaker.render(item_id="b"))[0] == 180 * MS
    assert speaker.n_gaps == 0


def test_a_part_of_the_timeline_can_be_rendered() -> None:
    speaker = Speaker(Timeline(0))
    speaker.push("a", sound(40, 1), 0)
    speaker.push("a", sound(40, 2), 0)
    part = speaker.render(30 * MS, 100 * MS)
    assert len(part) == 70 * MS
    assert part[:: 10 * MS].tolist() == [1, 2, 2, 2, 2, 0, 0]
    assert not len(speaker.render(90 * MS, 80 * MS))


def test_the_user_speaks_at_the_next_frame_and_one_thing_after_the_other() -> None:
    mouth = Mouth()
    assert not mouth.frame().any()
    first, second = mouth.say(sound(30, 1)), mouth.say(sound(30, 2))
    assert (first.start_sample, second.start_sample) == (20 * MS, 50 * MS)
    frames = np.concatenate([mouth.frame() for _ in range(4)])
    assert frames[:: 10 * MS].tolist() == [1, 1, 1, 2, 2, 2, 0, 0]
    assert mouth.render()[:: 10 * MS].tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 0, 0]


def test_a_wait_is_measured_from_the_last_speech() -> None:
    timeline = Timeline(0)
    mouth, speaker = Mouth(), Speaker(timeline)
    said = mouth.say(sound(1000))
    assert wait_for_answer(speaker, said, 900 * MS) == Wait(None, early=False)
    speaker.push("a", sound(100), at_ms(1300))
    assert wait_for_answer(speaker, said, 900 * MS) == Wait(400.0, early=False)
    earlier = Speaker(timeline)
    earlier.push("a", sound(100), at_ms(500))
    assert wait_for_answer(earlier, said, 900 * MS) == Wait(None, early=True)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("ws://h:1", "ws://h:1/v1/realtime?model=voicestack&voicestack_events=1"),
        ("http://h:1/", "ws://h:1/v1/realtime?model=voicestack&voicestack_events=1"),
        ("https://h", "wss://h/v1/realtime?model=voicestack&voicestack_events=1"),
        ("localhost:8080", "ws://localhost:8080/v1/realtime?model=voicestack&voicestack_events=1"),
        ("ws://h/x?model=m", "ws://h/x?model=m&voicestack_events=1"),
    ],
)
def test_the_address_of_the_endpoint(given: str, url: str) -> None:
    assert realtime_url(given) == url


def test_a_session_says_only_what_was_asked_for() -> None:
    plain = session_update()["session"]
    assert plain["audio"]["input"]["turn_detection"] == {"type": "server_vad"}
    assert "max_output_tokens" not in plain
    manual = session_update(turns=False, silence_ms=200, max_output_tokens=9)["session"]
    assert manual["audio"]["input"]["turn_detection"] is None
    assert manual["max_output_tokens"] == 9


@pytest.mark.parametrize("url", ["ws://127.0.0.1:9", "gopher://x"])
def test_no_server_is_one_friendly_line(url: str) -> None:
    async def knock() -> None:
        async with call(url, LoopClock(), update=session_update(), dial=dial):
            pass

    with pytest.raises(NoServer) as failed:
        asyncio.run(knock())
    assert "\n" not in str(failed.value)
    assert url in str(failed.value)


def talk(*argv: str) -> int:
    from voicestack.cli import talk as command

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(list(argv)))


def test_talk_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.wav"
    text.write_text("hello")
    assert talk(str(text)) == 2
    assert talk(str(tmp_path / "missing.wav")) == 2
    assert talk() == 2
    assert talk(str(text), "--mic") == 2
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 4
    assert "not a WAV file" in printed[0]
    assert "No such file" in printed[1]
