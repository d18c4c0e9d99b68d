"""Beats when nobody asks, never while somebody does."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.aio.scope import Scope
from voicestack.core.errors import StageUnavailable
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId, own_session
from voicestack.engines.heartbeat import Heartbeat, Pulse, wait_ns
from voicestack.engines.llm_figures import LlmFigures
from voicestack.ports import LlmDelta, LlmRequest

S = 1_000_000_000
MESSAGES = (Message("system", "Be brief."), Message("user", "Hello."))
USER = LlmRequest(SessionId("sess_1"), TurnId(1), MESSAGES)
WARM_UP = LlmRequest(own_session("warm-up"), TurnId(1), MESSAGES)


class FakeLlm:
    """Primes take as long as the test says, and end when their session is released."""

    def __init__(self, measures: LlmFigures) -> None:
        self.measures, self.took_ms, self.fails = measures, 20.0, False
        self.began_s: list[float] = []
        self._stops: dict[SessionId, asyncio.Event] = {}

    async def prime(self, request: LlmRequest) -> None:
        self.began_s.append(LoopClock().now_ns() / S - 1000)
        with self.measures.prime(request) as priming:
            if self.fails:
                raise StageUnavailable("gone", stage="llm")
            stop = self._stops[request.session] = asyncio.Event()
            try:
                async with asyncio.timeout(self.took_ms / 1e3):
                    await stop.wait()
                priming.was_stopped = True
            except TimeoutError:
                pass

    def release(self, session: SessionId) -> None:
        if stop := self._stops.pop(session, None):
            stop.set()

    async def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        with self.measures.reply(request, is_up=True) as watch:
            await asyncio.sleep(1.0)
            watch.got(LlmDelta("yes"))
            yield LlmDelta("yes")


def beating(*, every_s: float = 5, budget_ms: float = 100) -> tuple[FakeLlm, Heartbeat]:
    clock = LoopClock()
    measures = LlmFigures(clock)
    with measures.prime(WARM_UP):
        pass
    llm = FakeLlm(measures)
    pulse = Pulse(round(every_s * S), budget_ms)
    return llm, Heartbeat(llm, measures, clock=clock, messages=MESSAGES, pulse=pulse)


@pytest.mark.parametrize(
    ("quiet_since_s", "again_s", "expected_s"),
    [
        (None, None, 5),
        (None, 101, 5),
        (100, None, 5),
        (98, None, 3),
        (90, None, 0),
        (90, 101, 1),
        (99, 99, 0),
    ],
)
def test_when_the_next_is_due(quiet_since_s: int | None, again_s: int | None, expected_s: int) -> None:
    quiet_since_ns = None if quiet_since_s is None else quiet_since_s * S
    again_ns = None if again_s is None else again_s * S
    assert wait_ns(100 * S, quiet_since_ns, again_ns, 5 * S) == expected_s * S


def test_it_beats_while_nobody_asks() -> None:
    async def main() -> None:
        llm, heart = beating()
        async with Scope() as scope:
            scope.start(heart.run(), name="heart")
            await asyncio.sleep(20)
        assert llm.began_s == pytest.approx([5, 10.02, 15.04])
        assert heart.doubt() is None
        assert heart.figures()["heartbeats_total"] == 3
        assert heart.figures()["heartbeat_last_ms"] == pytest.approx(20)

    run_virtual(main())


def test_a_model_that_was_never_asked_anything_is_left_alone() -> None:
    async def main() -> None:
        clock = LoopClock()
        measures = LlmFigures(clock)
        llm = FakeLlm(measures)
        pulse = Pulse(S, 100)
        async with Scope() as scope:
            heart = Heartbeat(llm, measures, clock=clock, messages=MESSAGES, pulse=pulse)
            scope.start(heart.run(), name="heart")
            await asyncio.sleep(10)
        assert llm.began_s == []

    run_virtual(main())


def test_a_user_puts_it_off_and_ends_it() -> None:
    async def main() -> None:
        llm, heart = beating()
        llm.took_ms = 90
        async with Scope() as scope:
            scope.start(heart.run(), name="heart")
            await asyncio.sleep(3)
            async for _ in llm.reply(USER):  # from 3 to 4
                pass
            await asyncio.sleep(5.05)  # the beat at 9.0 is under way
            assert len(llm.began_s) == 1
            async for _ in llm.reply(USER):  # from 9.05 to 10.05
                pass
            await asyncio.sleep(5.5)
        assert llm.began_s == pytest.approx([9.0, 15.05])
        figures = heart.figures()
        assert figures["heartbeats_stopped_total"] == 1
        assert figures["heartbeats_total"] == 1
        assert heart.doubt() is None

    run_virtual(main())


def test_a_slow_beat_is_a_doubt_until_one_is_quick_again() -> None:
    async def main() -> None:
        llm, heart = beating()
        async with Scope() as scope:
            scope.start(heart.run(), name="heart")
            llm.took_ms = 400
            await asyncio.sleep(5.5)
            assert heart.doubt() == "the language model's heartbeat took 400 ms; the budget is 100 ms"
            assert not llm.measures.is_warm
            llm.took_ms = 20
            await asyncio.sleep(1.0)  # it looks again after a second, not after five
            assert heart.doubt() is None
            assert llm.measures.is_warm
        assert heart.figures()["heartbeats_slow_total"] == 1

    run_virtual(main())


def test_a_server_that_is_gone_is_a_doubt() -> None:
    async def main() -> None:
        llm, heart = beating()
        llm.fails = True
        async with Scope() as scope:
            scope.start(heart.run(), name="heart")
            await asyncio.sleep(7.5)
            assert heart.doubt() == "the language model's heartbeat failed"
            assert llm.began_s == pytest.approx([5, 6, 7])
            llm.fails = False
            await asyncio.sleep(1)
            assert heart.doubt() is None
        assert heart.figures()["heartbeats_failed_total"] == 3

    run_virtual(main())
