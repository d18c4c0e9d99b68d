"""What would have been done about each recorded turn, and what would have been best?

A turn is known in full: what it took, and what it would have taken by every other rung. Whoever decides sees
only what a session sees: what earlier turns took, and that this one's first token has not come yet.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from voicestack.aio.clock import Timer
from voicestack.cli.planner_trace import Served
from voicestack.core.budget import Budget
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.rungs import Forecast, Rung
from voicestack.fleet.forecasts import SketchForecaster
from voicestack.fleet.ways import Way, Ways
from voicestack.ports import Forecaster, LlmRequest
from voicestack.turn.plan import look_again_in_ms, plan

HERE, THERE = "here", "there"
"""The replica that is asked first, and the other one."""
RTT_MS = 70.0
"""To another region on the same continent; `fleet` takes what it measures."""
P_CACHED = 0.2
"""So many turns have an answer, or a beginning, that was made before."""
MISSED_COST = 1.0
"""More than any rung costs: a late answer is worse than what was given up for one that is in time."""
LATE_COST_PER_MS = 0.001
"""And each second that it is late costs as much again."""
MOST_COST = 10.0
"""Nobody waits longer than ten seconds: callers hang up."""


@dataclass(frozen=True, slots=True)
class Case:
    """One turn with all that could have been done about it.

    Attributes:
        here: What it took.
        there: What it would have taken at another replica under the same load.
        is_cached: Whether there is an answer that was made before.
    """

    here: Served
    there: Served
    is_cached: bool


@dataclass(frozen=True, slots=True)
class Played:
    """What became of a turn: when it was audible, and how far down the ladder it went."""

    rung: Rung
    audible_ms: float


@dataclass(frozen=True, slots=True)
class Score:
    """All turns together.

    Attributes:
        n: Turns.
        missed_ratio: Those whose answer was late.
        mean_place: How far down the ladder they went: 0 is FULL, 7 SHED.
        regret: How much more they cost than what would have been best, on average. A turn costs the place of
            its rung in parts of the ladder, and if it is late MISSED_COST and LATE_COST_PER_MS.
    """

    n: int
    missed_ratio: float
    mean_place: float
    regret: float


Decide = Callable[[Case, float], Played]


def cases_of(turns: Sequence[Served], seed: int) -> list[Case]:
    """Each turn with another one at the same load for what the other replica would have taken."""
    rng = random.Random(seed)
    by_load: dict[int, list[Served]] = {}
    for turn in turns:
        by_load.setdefault(turn.n_in_flight, []).append(turn)
    return [
        Case(turn, rng.choice(by_load[turn.n_in_flight]), rng.random() < P_CACHED)
        for turn in sorted(turns, key=lambda turn: turn.at_ms)
    ]


def cost(played: Played, remaining_ms: float) -> float:
    """See `Score.regret`."""
    rung_cost, late_ms = played.rung.place / len(Rung), played.audible_ms - remaining_ms
    return rung_cost + (min(MISSED_COST + LATE_COST_PER_MS * late_ms, MOST_COST) if late_ms > 0 else 0.0)


def best(case: Case, remaining_ms: float) -> Played:
    """What somebody would have done who knows how everything goes."""
    rungs = [Rung.FULL, Rung.SHORT_CLAUSE, Rung.HEDGE, Rung.SHED, *([Rung.CACHED] if case.is_cached else [])]
    return min(
        (Played(rung, audible_ms(case, rung, 0.0)) for rung in rungs),
        key=lambda played: cost(played, remaining_ms),
    )


def nothing(case: Case, remaining_ms: float) -> Played:
    """What a server without a budget does."""
    return Played(Rung.FULL, audible_ms(case, Rung.FULL, 0.0))


def audible_ms(case: Case, rung: Rung, at_ms: float) -> float:
    """When the answer is audible if the rung is taken so long after the beginning."""
    here, there = case.here, case.there
    match rung:
        case Rung.SHORT_CLAUSE:
            return max(at_ms, here.llm_ms + here.short_clause_ms) + here.short_tts_ms
        case Rung.HEDGE if at_ms + there.llm_ms < here.llm_ms:
            return at_ms + _whole_ms(there)
        case Rung.CACHED:
            return at_ms + here.tts_ms
        case Rung.SHED:
            return at_ms + RTT_MS + _whole_ms(there)
    return _whole_ms(here)


def _whole_ms(served: Served) -> float:
    return served.llm_ms + served.clause_ms + served.tts_ms


def first_token_ms(case: Case, rung: Rung, at_ms: float) -> float:
    """When the first token is there. There is nothing more to be decided then."""
    match rung:
        case Rung.HEDGE:
            return min(case.here.llm_ms, at_ms + case.there.llm_ms)
        case Rung.SHED:
            return at_ms + RTT_MS + case.there.llm_ms
        case Rung.CACHED:
            return at_ms
    return case.here.llm_ms


class Planned:
    """Decides as sessions do, turn after turn.

    Args:
        budget: Of every turn.
        measured: Forecast from what turns took before. Otherwise a stage is expected to take its share of the
            budget, whatever it took before, and is given up when it has taken that: fixed thresholds.
    """

    def __init__(self, budget: Budget, *, measured: bool) -> None:
        self._budget, self._now, self._ways = budget, _Now(), _Offered()
        self._forecaster: Forecaster = (
            SketchForecaster(self._now, self._ways, budget) if measured else Shares(budget, self._ways)
        )
        self._begun = Rung.FULL

    def __call__(self, case: Case, remaining_ms: float) -> Played:
        """Go through a turn: choose at its beginning, and again whenever something could be lost."""
        self._now.ms, self._ways.case = case.here.at_ms, case
        self._ways.n_others = case.here.n_in_flight - 1
        begun, look_ms = self._choose(remaining_ms, self._begun, None)
        rung, at_ms, taken_ms = begun, look_ms, 0.0
        self._ways.n_others += 1
        while at_ms < first_token_ms(case, rung, taken_ms):
            asked_ms = 0.0 if rung in (Rung.FULL, Rung.SHORT_CLAUSE) else taken_ms
            chosen, look_ms = self._choose(remaining_ms - at_ms, rung, at_ms - asked_ms)
            if chosen.place > rung.place:
                rung, taken_ms = chosen, at_ms
            at_ms += look_ms
        self._learn(case, rung, taken_ms)
        self._begun = begun
        return Played(rung, audible_ms(case, rung, taken_ms))

    def promise_ms(self, case: Case) -> float:
        """What the 95th percentile of an answer by FULL would be forecast now."""
        self._now.ms, self._ways.case = case.here.at_ms, case
        self._ways.n_others = case.here.n_in_flight - 1
        return self._forecaster.forecasts(_REQUEST, None)[0].p95_ms

    def _choose(self, remaining_ms: float, rung: Rung, waited_ms: float | None) -> tuple[Rung, float]:
        offered = self._forecaster.forecasts(replace(_REQUEST, rung=rung), waited_ms)
        choice = plan(remaining_ms, offered, self._budget, rung)
        taken = rung if choice.take_in_ms > 0 else choice.rung
        return taken, look_again_in_ms(remaining_ms, offered, self._budget, choice)

    def _learn(self, case: Case, rung: Rung, taken_ms: float) -> None:
        """Tell the forecaster what a session would have seen of the turn."""
        first_ms, observe = first_token_ms(case, rung, taken_ms), self._forecaster.observe
        asked = {HERE: (case.here, 0.0)}
        if rung in (Rung.HEDGE, Rung.SHED):
            asked[THERE] = (case.there, taken_ms + (RTT_MS if rung is Rung.SHED else 0.0))
        until_ms = taken_ms if rung in (Rung.SHED, Rung.CACHED) else first_ms
        for replica, (served, since_ms) in asked.items():
            came = since_ms + served.llm_ms <= (until_ms if replica == HERE else first_ms)
            waited_ms = until_ms - since_ms
            if came:
                observe("llm", replica, served.llm_ms)
                is_short = rung is Rung.SHORT_CLAUSE
                stage, took_ms = (
                    ("short_clause", served.short_clause_ms) if is_short else ("clause", served.clause_ms)
                )
                observe(stage, replica, took_ms)
            elif waited_ms > 0:
                observe("llm", replica, waited_ms, finished=False)
        observe("tts", "", case.here.tts_ms)


class Shares:
    """Satisfies `Forecaster` with what is written in the budget."""

    def __init__(self, budget: Budget, ways: Ways) -> None:
        self._ways, self._llm_ms = ways, budget.shares_ms["llm"]
        self._clause_ms = self._tts_ms = budget.shares_ms["tts"] / 2

    def forecasts(self, request: LlmRequest, waited_ms: float | None) -> tuple[Forecast, ...]:
        """See `Forecaster`."""
        late = waited_ms is not None and waited_ms >= self._llm_ms
        left_ms = math.inf if late else self._llm_ms - (waited_ms or 0.0)
        rest_ms = self._clause_ms + self._tts_ms
        expected_ms = {Rung.SHORT_CLAUSE: left_ms + rest_ms - self._clause_ms / 2}
        for way in self._ways.ways(request):
            llm_ms = left_ms if way.rung is Rung.FULL else self._llm_ms
            whole_ms = llm_ms + rest_ms if "llm" in way.stages else self._tts_ms
            expected_ms[way.rung] = whole_ms + way.extra_ms
        return tuple(Forecast(rung, ms, ms) for rung, ms in expected_ms.items())

    def expect_filler_ms(self) -> float:
        """See `Forecaster`."""
        return self._tts_ms

    def observe(self, stage: str, replica: str, took_ms: float, *, finished: bool = True) -> None:
        """See `Forecaster`. Nothing is learnt."""


class _Now:
    """Satisfies `Clock`: the time of the recording."""

    def __init__(self) -> None:
        self.ms = 0.0

    def now_ns(self) -> int:
        return round(self.ms * 1e6)

    def call_at(self, at_ns: int, callback: Callable[[], None]) -> Timer:
        raise NotImplementedError


class _Offered:
    """Satisfies `Ways`: here, there, and what was made before."""

    def __init__(self) -> None:
        self.case: Case | None = None
        self.n_others = 0

    def ways(self, request: LlmRequest) -> Sequence[Way]:
        ways = [Way(Rung.FULL, HERE), Way(Rung.HEDGE, THERE), Way(Rung.SHED, THERE, RTT_MS)]
        if self.case is not None and self.case.is_cached:
            ways.append(Way(Rung.CACHED, stages=("tts",)))
        return ways

    def n_in_flight(self, replica: str) -> int:
        return self.n_others


_REQUEST = LlmRequest(SessionId("planner"), TurnId(1), ())


def score(cases: Sequence[Case], decide: Decide, remaining_ms: float) -> Score:
    """Let somebody decide about all of them, in order."""
    played = [decide(case, remaining_ms) for case in cases]
    least = [cost(best(case, remaining_ms), remaining_ms) for case in cases]
    return Score(
        len(cases),
        fmean(one.audible_ms > remaining_ms for one in played),
        fmean(one.rung.place for one in played),
        fmean(cost(one, remaining_ms) - cost_ms for one, cost_ms in zip(played, least, strict=True)),
    )


def kept_ratio(cases: Sequence[Case], budget: Budget) -> float:
    """How often the 95th percentile that was forecast for FULL is kept: 0.95 if forecasts are honest."""
    planned = Planned(budget, measured=True)
    kept = []
    for case in cases:
        kept.append(audible_ms(case, Rung.FULL, 0.0) <= planned.promise_ms(case))
        planned(case, math.inf)  # nothing is given up, all is learnt
    return fmean(kept)
