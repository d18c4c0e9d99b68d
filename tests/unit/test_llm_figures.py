"""What is counted of a reply, and which replies met a cold model."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.core.answers import LlmAnswer
from voicestack.core.errors import StageTimeout, StageUnavailable
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId, own_session
from voicestack.core.notes import Usage
from voicestack.engines.llm_figures import ENOUGH, LlmFigures, cold_cause
from voicestack.ports import LlmDelta, LlmRequest

USER = LlmRequest(SessionId("sess_1"), TurnId(1), (Message("user", "hi"),))
DRAFT = LlmRequest(SessionId("sess_1"), TurnId(1), (Message("user", "hi"),), draft=True)
OWN = LlmRequest(own_session("readiness"), TurnId(1), (Message("user", "hi"),))


class Bench:
    """Replies as a test wants them, on virtual time."""

    def __init__(self) -> None:
        self.figures = LlmFigures(LoopClock())
        self.answers: list[LlmAnswer] = []
        self.figures.on_answer.append(self.answers.append)

    async def reply(
        self,
        first_ms: float,
        words: Sequence[str] = ("Yes",),
        *,
        gap_ms: float = 10,
        request: LlmRequest = USER,
        is_up: bool = True,
        error: BaseException | None = None,
        held_ms: float = 0,
    ) -> None:
        with self.figures.reply(request, is_up=is_up) as watch:
            for n, word in enumerate(words):
                await asyncio.sleep((gap_ms if n else first_ms) / 1e3)
                watch.got(LlmDelta(word))
                await asyncio.sleep(held_ms / 1e3)
                watch.asked()
            if error is not None:
                raise error
            watch.got(LlmDelta(usage=Usage(40, 32, len(words))))


def test_what_a_reply_took() -> None:
    async def main() -> None:
        bench = Bench()
        await bench.reply(50, ("The", " capital", " of", " France", " is", " Paris."))
        (answer,) = bench.answers
        assert answer.outcome == "answered"
        assert answer.first_token_ms == pytest.approx(50)
        assert answer.first_clause_ms == pytest.approx(90)  # "The capital of France" ends when " is" begins
        assert answer.gaps_ms == pytest.approx([10.0] * 5)
        assert answer.usage == Usage(40, 32, 6)
        assert answer.n_deltas == 6
        assert not answer.is_draft

    run_virtual(main())


def test_an_answer_shorter_than_a_phrase_is_one_when_it_ends() -> None:
    async def main() -> None:
        bench = Bench()
        await bench.reply(50, ("Well", " yes"))
        assert bench.answers[0].first_clause_ms == pytest.approx(60)

    run_virtual(main())


def test_a_reader_that_is_busy_does_not_make_the_server_slow() -> None:
    async def main() -> None:
        bench = Bench()
        await bench.reply(50, ("a", "b", "c"), held_ms=500)
        assert bench.answers[0].gaps_ms == []

    run_virtual(main())


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (StageTimeout("late", stage="llm"), "stage_timeout"),
        (StageUnavailable("gone", stage="llm"), "stage_unavailable"),
        (GeneratorExit(), "aborted"),
        (asyncio.CancelledError(), "aborted"),
    ],
)
def test_how_it_ended(error: BaseException, outcome: str) -> None:
    async def main() -> None:
        bench = Bench()
        with pytest.raises(type(error)):
            await bench.reply(50, ("The", " capital"), request=DRAFT, error=error)
        (answer,) = bench.answers
        assert answer.outcome == outcome
        assert answer.is_draft
        assert answer.first_clause_ms is None
        assert bench.figures.figures()["aborts_total"] == (outcome == "aborted")

    run_virtual(main())


def test_the_first_after_a_start_is_cold_until_one_has_said_something() -> None:
    async def main() -> None:
        bench = Bench()
        with pytest.raises(StageTimeout):
            await bench.reply(0, (), error=StageTimeout("late", stage="llm"))
        await bench.reply(50)
        await bench.reply(50)
        bench.figures.started()
        await bench.reply(50)
        assert [answer.cold for answer in bench.answers] == ["first", "first", "", "first"]
        assert bench.figures.figures()["cold_ratio"] == pytest.approx(3 / 4)

    run_virtual(main())


def test_our_own_turns_take_the_cold_and_are_in_no_figure() -> None:
    async def main() -> None:
        bench = Bench()
        await bench.reply(5000, request=OWN)
        await bench.reply(50)
        assert [answer.cold for answer in bench.answers] == [""]
        figures = bench.figures.figures()
        assert figures["replies_total"] == 1
        assert figures["first_token_p50_ms"] == pytest.approx(50)

    run_virtual(main())


def test_a_server_that_is_down_or_slow_to_beat_is_not_warm() -> None:
    async def main() -> None:
        bench = Bench()
        await bench.reply(50, request=OWN)
        await bench.reply(50, is_up=False)
        bench.figures.is_warm = False
        await bench.reply(50)
        bench.figures.is_warm = True
        await bench.reply(50)
        assert [answer.cold for answer in bench.answers] == ["not_warm", "not_warm", ""]

    run_virtual(main())


def test_twice_the_median_is_slow_unless_others_were_served() -> None:
    async def main() -> None:
        bench = Bench()
        await bench.reply(50, request=OWN)
        await bench.reply(101)
        for _ in range(ENOUGH):
            await bench.reply(50)
        await bench.reply(101)
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.reply(10, ("a",) * 40))
            await asyncio.sleep(0.001)
            group.create_task(bench.reply(101))
        assert [answer.cold for answer in bench.answers if (answer.first_token_ms or 0) > 100] == [
            "",
            "slow",
            "",
        ]

    run_virtual(main())


def test_a_server_that_has_become_slower_is_slow_for_a_while_only() -> None:
    async def main() -> None:
        bench = Bench()
        for _ in range(300):
            await bench.reply(50)
        for _ in range(300):
            await bench.reply(200)
        assert bench.answers[300].cold == "slow"
        assert bench.answers[-1].cold == ""

    run_virtual(main())


def test_causes_by_rank() -> None:
    assert (
        cold_cause(is_first=True, is_warm=False, is_alone=True, first_token_ms=900.0, p50_ms=50.0) == "first"
    )
    assert cold_cause(is_first=False, is_warm=True, is_alone=True, first_token_ms=None, p50_ms=50.0) == ""
    assert cold_cause(is_first=False, is_warm=True, is_alone=True, first_token_ms=100.0, p50_ms=50.0) == ""


def test_primes_by_how_they_ended() -> None:
    async def main() -> None:
        figures = LlmFigures(LoopClock())
        with figures.prime(USER):
            assert figures.quiet_since_ns is None
        with figures.prime(USER) as priming:
            priming.was_stopped = True
        with pytest.raises(asyncio.CancelledError), figures.prime(USER):
            raise asyncio.CancelledError
        with pytest.raises(StageUnavailable), figures.prime(USER):
            raise StageUnavailable("gone", stage="llm")
        with figures.prime(OWN):
            pass
        found = figures.figures()
        primes = [found[f"primes_{how}_total"] for how in ("done", "stopped", "failed")]
        assert primes == [1, 2, 1]
        assert figures.quiet_since_ns == LoopClock().now_ns()

    run_virtual(main())
