"""The gate under load: what becomes of turns, how capacity is found, and which levels are measured."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from voicestack.aio.clock import Clock, SystemClock
from voicestack.cli.bench_speech import Line
from voicestack.cli.bench_v2v import Outcome, Plan, Turn
from voicestack.cli.gate_figures import Events, Times
from voicestack.cli.gate_latency import (
    LoadPlan,
    keeps_up,
    level_figures,
    levels_of,
    measure_capacity,
    measure_levels,
    next_level,
)

LOAD = LoadPlan("ws://127.0.0.1:1", 200, n_repeats=2, n_turns_each=2, n_turns_least=6)


def turn(wait_ms: float | None = None, **changes: object) -> Turn:
    made = Turn(0, "a.wav", "a", wait_ms=wait_ms)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def outcome(*turns: Turn) -> Outcome:
    return Outcome(turns=list(turns))


def test_every_turn_is_one_thing() -> None:
    seen = outcome(
        turn(300.0), turn(400.0), turn(), turn(late_ms=6000.0), turn(early=True), turn(refused=True)
    )
    found = level_figures("v2v.c4", [seen, outcome(turn(350.0))])
    assert found == {
        "v2v.c4.wait_ms": Times(((300.0, 400.0, None, None), (350.0,))),
        "v2v.c4.missing": Events(1, 6),
        "v2v.c4.late": Events(1, 6),
        "v2v.c4.cut_off": Events(1, 6),
        "v2v.c4.refused": Events(1, 7),
    }


def test_a_level_at_which_everybody_is_refused() -> None:
    found = level_figures("v2v.c4", [outcome(turn(refused=True))])
    assert found["v2v.c4.wait_ms"] == Times(((),))
    assert found["v2v.c4.missing"] == Events(0, 0)
    assert found["v2v.c4.refused"] == Events(1, 1)


def test_the_levels() -> None:
    assert levels_of(1) == [1, 2, 4, 16]
    assert levels_of(10) == [1, 4, 12, 16]
    assert levels_of(64) == [1, 4, 16, 77]


def test_keeping_up() -> None:
    assert keeps_up(outcome(turn(300.0), turn(790.0)), 800)
    assert not keeps_up(outcome(turn(300.0), turn(810.0)), 800)
    assert not keeps_up(outcome(turn(300.0), turn()), 800)
    assert not keeps_up(outcome(turn(300.0), turn(refused=True)), 800)
    assert not keeps_up(outcome(), 800)


@given(st.integers(0, 200), st.integers(1, 128))
def test_capacity_is_found_in_a_few_steps(capacity: int, most: int) -> None:
    tried: dict[int, bool] = {}
    while (n := next_level(tried, most)) is not None:
        assert n not in tried
        assert 1 <= n <= most
        tried[n] = n <= capacity
        assert len(tried) <= 12
    found = max((n for n, is_good in tried.items() if is_good), default=0)
    wanted = min(capacity, most)
    assert found <= wanted
    assert wanted - found <= max(1, found // 4) * 2


class Server:
    """Answers so many callers at once in time; the others wait for ever."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.plans: list[Plan] = []

    async def measure(self, plan: Plan, lines: list[Line], clock: Clock, outcome: Outcome) -> None:
        self.plans.append(plan)
        for n in range(plan.n_turns):
            outcome.add(turn(300.0 if n % plan.n_callers < self.capacity else None))


def test_the_capacity_of_a_server() -> None:
    for capacity, found in ((0, 1), (1, 1), (5, 5), (16, 16), (1000, 64)):
        server = Server(capacity)
        assert asyncio.run(measure_capacity(LOAD, 800, 64, [], SystemClock(), by=server.measure)) == found


def test_levels_are_measured_in_turn_and_again() -> None:
    server, told = Server(3), list[str]()
    found = asyncio.run(measure_levels(LOAD, [1, 4], [], SystemClock(), by=server.measure, tell=told.append))
    assert [(plan.n_callers, plan.n_turns, plan.seed) for plan in server.plans] == [
        *((1, 6, 1), (4, 8, 1)),
        *((1, 6, 2), (4, 8, 2)),
    ]
    assert [plan.rate_per_s for plan in server.plans] == [0.5, 2.0, 0.5, 2.0]
    assert found.figures["v2v.c1.missing"] == Events(0, 12)
    assert found.figures["v2v.c4.missing"] == Events(4, 16)
    waits = found.figures["v2v.c4.wait_ms"]
    assert isinstance(waits, Times)
    assert [len(block) for block in waits.blocks] == [8, 8]
    assert [len(runs) for runs in found.details.values()] == [2, 2]
    assert len(told) == 4
    assert "2 missing or late" in told[1]
