"""Engines that follow a script and take their time: in virtual time, so that every wait is exact."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.aio.scope import Scope
from voicestack.core.audio import AudioFrame
from voicestack.core.deadline import Deadline
from voicestack.core.errors import ConfigError, StageOverloaded
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.engines.scripted import ScriptedAsr, ScriptedLlm, ScriptedTts
from voicestack.engines.scripted_load import LoadedAsr, LoadedLlm, LoadedTts, drawn_with
from voicestack.engines.work_times import WorkTimes, read_times
from voicestack.ports import Certainty, LlmRequest, SpeechRequest

TIMES = WorkTimes((30.0,), (200.0,), (10.0,), (40.0,))
ASKED = LlmRequest(SessionId("s"), TurnId(1), (Message("user", "Hello?"),))
MS = 1_000_000


def llm(n_places: int = 1) -> LoadedLlm:
    return LoadedLlm(
        ScriptedLlm(["one two three"]),
        clock=LoopClock(),
        times=TIMES,
        n_places=n_places,
        draw=drawn_with(1),
    )


async def first_ms(engine: LoadedLlm, request: LlmRequest = ASKED, pause_ms: float = 0.0) -> float:
    """Read a reply to its end, pausing after the first token; when that was there, after the beginning."""
    clock, came_ms = LoopClock(), -1.0
    began_ns = clock.now_ns()
    async with aclosing(engine.reply(request)) as deltas:
        async for _ in deltas:
            if came_ms < 0:
                came_ms = (clock.now_ns() - began_ns) / 1e6
                await asyncio.sleep(pause_ms / 1e3)
    return came_ms


async def timed(engine: LoadedLlm, into: list[float], pause_ms: float = 0.0) -> None:
    """The same, for a task of its own."""
    into.append(await first_ms(engine, pause_ms=pause_ms))


def test_one_after_the_other_on_one_place_and_at_once_on_two() -> None:
    async def main() -> list[float]:
        found: list[float] = []
        for n_places in (1, 2):
            engine = llm(n_places)
            async with Scope() as scope:
                await asyncio.wait([scope.start(timed(engine, found), name=f"{n}") for n in range(2)])
        return found

    # Three words and the end are four pieces: 200 + 3 * 10 ms until the place is free.
    assert run_virtual(main()) == pytest.approx([200, 430, 200, 200], abs=0.1)


def test_a_reader_who_dawdles_keeps_nobody_waiting() -> None:
    async def main() -> float:
        engine = llm()
        async with Scope() as scope:
            scope.start(timed(engine, [], pause_ms=5_000), name="slow reader")
            await asyncio.sleep(0)
            return await first_ms(engine)

    assert run_virtual(main()) == pytest.approx(430, abs=0.1)


def test_whoever_breaks_off_gives_the_place_back() -> None:
    async def main() -> float:
        engine = llm()
        async with Scope() as scope:
            task = scope.start(timed(engine, []), name="breaks off")
            await asyncio.sleep(0.05)
            task.cancel()
            return await first_ms(engine)

    assert run_virtual(main()) == pytest.approx(200, abs=0.1)


def test_in_an_overload_replies_that_would_be_late_are_refused_and_new_ones_are_in_time() -> None:
    async def main() -> tuple[int, int, int]:
        engine, clock = llm(), LoopClock()
        refused = in_time = 0

        async def turn() -> None:
            nonlocal refused, in_time
            began_ns = clock.now_ns()
            deadline = Deadline(began_ns + 700 * MS, began_ns + 10_000 * MS)
            request = LlmRequest(ASKED.session, ASKED.turn, ASKED.messages, deadline=deadline)
            try:
                waited_ms = await first_ms(engine, request)
            except StageOverloaded:
                refused += 1
            else:
                in_time += waited_ms <= 700

        async with Scope() as scope:
            tasks = []
            for _ in range(300):  # three times what can be done: 230 ms of work every 77 ms
                tasks.append(scope.start(turn(), name="turn"))
                await asyncio.sleep(0.077)
            await asyncio.wait(tasks)
        (reading,) = engine.queues()
        return refused, in_time, reading.refused["late"]

    refused, in_time, counted = run_virtual(main())
    assert refused == counted > 100
    assert in_time >= 0.9 * 100  # of the hundred that one place can do in that time


def test_phrases_and_words_take_places_too() -> None:
    async def main() -> tuple[float, float]:
        clock = LoopClock()
        tts = LoadedTts(ScriptedTts(), clock=clock, times=TIMES, n_places=1, draw=drawn_with(1))
        asr = LoadedAsr(ScriptedAsr(["hello"]), clock=clock, times=TIMES, n_places=1, draw=drawn_with(1))

        async def say() -> None:
            async with aclosing(tts.speak(SpeechRequest("Hello."))) as frames:
                async for _ in frames:
                    pass

        async def sounds() -> AsyncIterator[AudioFrame]:
            yield AudioFrame(np.ones(320, np.int16), 0, 0)

        began_ns = clock.now_ns()
        async with Scope() as scope:
            await asyncio.wait([scope.start(say(), name=f"{n}") for n in range(2)])
        said_ms = (clock.now_ns() - began_ns) / 1e6
        async with aclosing(asr.transcribe(sounds())) as transcripts:
            heard = [one async for one in transcripts]
        assert heard[-1].certainty is Certainty.FINAL
        return said_ms, (clock.now_ns() - began_ns) / 1e6 - said_ms

    assert run_virtual(main()) == pytest.approx((80, 30), abs=0.1)


def test_the_same_seed_gives_the_same_times() -> None:
    one, same, other = drawn_with(7), drawn_with(7), drawn_with(8)
    column = tuple(map(float, range(100)))
    rows = [[draw(column) for _ in range(20)] for draw in (one, same, other)]
    assert rows[0] == rows[1] != rows[2]


@pytest.mark.parametrize("text", ["", "{}", '{"times": {"asr_final_ms": [1]}}', '{"times": []}'])
def test_a_file_without_times_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "times.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"scripted\.times: .*times\.json"):
        read_times(path)


def test_a_file_with_less_than_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    columns = {name: [1.0] for name in WorkTimes.__dataclass_fields__}
    path.write_text(json.dumps({"times": columns | {"llm_token_ms": [-1.0]}}))
    with pytest.raises(ConfigError, match="less than nothing"):
        read_times(path)
    path.write_text(json.dumps({"times": columns}))
    assert read_times(path).tts_phrase_ms == (1.0,)
