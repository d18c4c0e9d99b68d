"""Three times the capacity, in virtual time: with the gate those who are let in are answered in time.

Callers arrive open loop and ask three questions each; the language model has four places and takes its time.
The gate, the queue and the deadlines are the real ones; of the session there is only when it asks.
"""

import asyncio
import math
import random
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.aio.scope import Scope
from voicestack.config.load import load
from voicestack.core.deadline import Deadline
from voicestack.core.errors import StageOverloaded
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.marks import Mark, TurnMarks
from voicestack.core.turn_record import Origin, Outcome, TurnRecord
from voicestack.engines.scripted import ScriptedLlm
from voicestack.engines.scripted_load import LoadedLlm, drawn_with
from voicestack.engines.work_times import WorkTimes
from voicestack.ports import LlmRequest
from voicestack.server.gate import Gate

MS = 1_000_000
BUDGET_MS = 800
SPEAKS_S, ENDPOINT_S, ANSWER_S, THINKS_S = 1.7, 0.25, 2.8, (0.4, 1.2)
CLAUSE_TOKENS = 4
SETTLE_S, SECONDS = 40, 100
CAPACITY_PER_S = 2.75
"""Calls a second at which 95 % of all turns are just in time, as `test_the_capacity` says."""


@dataclass
class Crowd:
    """Everybody who calls.

    Attributes:
        took_ms: What each turn of the window took; infinite for one that had no answer.
    """

    rate_per_s: float
    admission: bool
    seed: int
    n_sessions: int = 0
    n_refused: int = 0
    took_ms: list[float] = field(default_factory=list)

    async def run(self) -> None:
        self.clock, self.rng = LoopClock(), random.Random(self.seed)
        firsts = tuple(self.rng.uniform(80, 160) for _ in range(50))
        gaps = tuple(self.rng.uniform(9, 30) for _ in range(50))
        times = WorkTimes((25.0,), firsts, gaps, (10.0,))
        script = ScriptedLlm(["That is a good question, and the answer is quite simple."])
        self.llm = LoadedLlm(script, clock=self.clock, times=times, n_places=4, draw=drawn_with(self.seed))
        sets = [f"admission.enabled={str(self.admission).lower()}", f"budget.turn_ms={BUDGET_MS}"]
        self.gate = Gate(
            load("scripted", env={}, sets=sets).config,
            self.clock,
            n_sessions=lambda: self.n_sessions,
            queues=self.llm.queues,
            rng=self.rng,
        )
        self.zero_ns = self.clock.now_ns()
        async with Scope() as scope:
            watch = scope.start(self.gate.run(), name="gate")
            calls = []
            while self.now_s() < SECONDS:
                if self.gate.admits() is None:
                    calls.append(scope.start(self.call(), name="call"))
                    self.n_sessions += 1
                else:
                    self.n_refused += 1
                await asyncio.sleep(self.rng.expovariate(self.rate_per_s))
            await asyncio.wait(calls)
            watch.cancel()

    def now_s(self) -> float:
        return (self.clock.now_ns() - self.zero_ns) / 1e9

    async def call(self) -> None:
        for _ in range(3):
            await asyncio.sleep(SPEAKS_S)
            asked_s, took_ms = self.now_s(), await self.turn()
            if SETTLE_S <= asked_s < SECONDS:
                self.took_ms.append(took_ms)
            await asyncio.sleep(ANSWER_S + self.rng.uniform(*THINKS_S))
        self.n_sessions -= 1

    async def turn(self) -> float:
        end_ns, took_ms, n = self.clock.now_ns(), math.inf, 0
        await asyncio.sleep(ENDPOINT_S)
        deadline = Deadline(end_ns + BUDGET_MS * MS, end_ns + 10_000 * MS)
        request = LlmRequest(SessionId("s"), TurnId(1), (Message("user", "Why?"),), deadline=deadline)
        with suppress(StageOverloaded):
            async with aclosing(self.llm.reply(request)) as deltas:
                async for _ in deltas:
                    n += 1
                    if n == CLAUSE_TOKENS:
                        took_ms = (self.clock.now_ns() - end_ns) / 1e6
        at = {Mark.SPEECH_END: end_ns}
        if math.isfinite(took_ms):
            at[Mark.FIRST_SENT] = end_ns + round(took_ms * MS)
        outcome: Outcome = "answered" if math.isfinite(took_ms) else "refused"
        self.gate.turn_recorded(TurnRecord("s.1", "s", 1, Origin(), 0, BUDGET_MS, TurnMarks(at), outcome))
        return took_ms

    @property
    def n_in_time(self) -> int:
        return sum(ms <= BUDGET_MS for ms in self.took_ms)

    @property
    def in_time_ratio(self) -> float:
        return self.n_in_time / len(self.took_ms)


def crowd(times_capacity: float, *, admission: bool, seed: int) -> Crowd:
    called = Crowd(CAPACITY_PER_S * times_capacity, admission, seed)
    run_virtual(called.run(), timeout_s=10_000)
    return called


def test_the_capacity() -> None:
    at, beyond = (sum_up(factor, admission=False) for factor in (1.0, 1.15))
    assert at.in_time_ratio >= 0.95
    assert beyond.in_time_ratio < 0.95


def test_with_the_gate_the_admitted_are_in_time_and_nine_tenths_of_the_capacity_is_used() -> None:
    capacity, with_gate = sum_up(1.0, admission=False), sum_up(3.0, admission=True)
    assert with_gate.in_time_ratio >= 0.95
    assert with_gate.n_in_time >= 0.9 * capacity.n_in_time
    assert with_gate.n_refused > 0


def test_without_it_more_than_half_of_all_turns_have_no_answer_in_time() -> None:
    assert sum_up(3.0, admission=False).in_time_ratio < 0.5


def sum_up(times_capacity: float, *, admission: bool) -> Crowd:
    """Of several crowds, since one may be lucky."""
    total = Crowd(0.0, admission, 0)
    for seed in (1, 2, 3):
        one = crowd(times_capacity, admission=admission, seed=seed)
        total.took_ms += one.took_ms
        total.n_refused += one.n_refused
    return total
