"""When would the first sample of the answer be there? Out of what each stage took of late, at such a load."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import hypot

from voicestack.aio.clock import Clock
from voicestack.core.budget import Budget
from voicestack.core.rungs import Forecast, Rung
from voicestack.fleet.sketches import Left, Times, bucket_of, first_of_ms
from voicestack.fleet.ways import Way, Ways
from voicestack.ports import LlmRequest

SUPPOSED_RATIOS = (0.5, 0.75, 1.0, 1.5, 2.0)
"""What a stage is supposed to take before it was ever measured, in parts of what the budget allows it."""
SHORT_CLAUSE_RATIO = 0.5
"""The first clause takes so much of its time when the voice begins after half as many words."""
SHORT_CLAUSE = ("clause", Rung.SHORT_CLAUSE)
MAX_TIMES = 256
"""Stages of replicas whose times are kept apart, 100 kB each at most; others count for the stage only."""

P50AndP95 = tuple[float, float]
"""Of a duration, in milliseconds."""


@dataclass(frozen=True, slots=True)
class StageTimes:
    """What a stage of a replica took in the last one to two minutes, at any load. For people.

    `replica` is empty for all of the stage together; milliseconds.
    """

    stage: str
    replica: str
    n: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class SketchForecaster:
    """Satisfies `ports.Forecaster` and `ports.Measured`. For one event loop.

    Args:
        clock: To forget what is old.
        ways: What could be done.
        budget: Its shares are what stages are supposed to take before they were measured.
        short_clause_ratio: See SHORT_CLAUSE_RATIO; 1.0 if the first clause cannot be made shorter.
    """

    def __init__(
        self, clock: Clock, ways: Ways, budget: Budget, *, short_clause_ratio: float = SHORT_CLAUSE_RATIO
    ) -> None:
        self._clock, self.ways = clock, ways
        self._short_clause_ratio = short_clause_ratio
        tts_ms = budget.shares_ms.get("tts", 0.0)
        shares_ms = {"asr": budget.shares_ms.get("asr", 0.0), "llm": budget.shares_ms.get("llm", 0.0)}
        shares_ms |= {"clause": tts_ms / 2, "tts": tts_ms / 2}  # the budget has them together
        self._times = {
            (stage, ""): Times(ratio * share_ms for ratio in SUPPOSED_RATIOS)
            for stage, share_ms in shares_ms.items()
        }

    def forecasts(self, request: LlmRequest, waited_ms: float | None) -> tuple[Forecast, ...]:
        """See `ports.Forecaster`.

        What is under way is `request.rung`; `waited_ms` is since whoever makes that was asked. What is
        further down would begin now, and what has been given up is not taken back. Before anything is under
        way all would begin now.
        """
        ways = list(self.ways.ways(request))
        if not ways:
            return ()
        asked = _Asked(ways[0].replica, request.rung, waited_ms)
        offered = ways if waited_ms is None else _from(request.rung, ways)
        out = [self._forecast(way, asked) for way in offered]
        is_whole = offered[0].rung in (Rung.FULL, Rung.DRAFT) and "clause" in offered[0].stages
        if is_whole and self._short_clause_ratio < 1.0:
            out.append(self._forecast(replace(offered[0], rung=Rung.SHORT_CLAUSE), asked))
        return tuple(out)

    def expect_filler_ms(self) -> float:
        """See `ports.Forecaster`: as long as the first sound of any phrase takes."""
        return self._left("tts", "", self.ways.n_in_flight("")).quantile_ms(0.95)

    def observe(self, stage: str, replica: str, took_ms: float, *, finished: bool = True) -> None:
        """See `ports.Forecaster`. A `short_clause` tells what the whole clause would have taken.

        Otherwise nothing would be learnt of clauses while they are short, and they stayed so for ever.
        """
        if stage == "short_clause":
            stage, took_ms = "clause", took_ms / self._short_clause_ratio
        now_ns = self._clock.now_ns()
        bucket = bucket_of(self.ways.n_in_flight(replica))
        for name in {"", replica}:
            times = self._times.get((stage, name))
            if times is None:
                if len(self._times) >= MAX_TIMES:
                    continue
                times = self._times[stage, name] = Times()
            times.add(took_ms, bucket, now_ns, finished=finished)

    def times(self) -> list[StageTimes]:
        """What was measured of late, by stage and replica."""
        now_ns, out = self._clock.now_ns(), list[StageTimes]()
        for (stage, replica), times in self._times.items():
            sketch = times.everything(now_ns)
            if sketch.n:
                p50_ms, p95_ms, p99_ms = sketch.get_quantiles([0.5, 0.95, 0.99], inclusive=True)
                out.append(StageTimes(stage, replica, sketch.n, p50_ms, p95_ms, p99_ms))
        return out

    def figures(self) -> Mapping[str, float]:
        """See `ports.Measured`: by stage, all replicas together. `times` has them apart."""
        out: dict[str, float] = {}
        for times in self.times():
            if not times.replica:
                out[f"{times.stage}_p50_ms"] = times.p50_ms
                out[f"{times.stage}_p95_ms"] = times.p95_ms
                out[f"{times.stage}_samples"] = times.n
        return out

    def _forecast(self, way: Way, asked: "_Asked") -> Forecast:
        n_in_flight = self.ways.n_in_flight(way.replica) + (asked.waited_ms is None)
        parts: list[P50AndP95] = []
        if "llm" in way.stages:
            parts.append(self._llm(way, asked, n_in_flight))
        for stage in way.stages:
            if stage != "llm":
                writer = asked.first if way.rung is Rung.HEDGE else way.replica  # who wins is not known
                replica = writer if stage == "clause" else ""
                left = self._left(stage, replica, n_in_flight)
                ratio = self._short_clause_ratio if (stage, way.rung) == SHORT_CLAUSE else 1.0
                parts.append((ratio * left.quantile_ms(0.5), ratio * left.quantile_ms(0.95)))
        p50_ms, p95_ms = _sum_of(parts)
        return Forecast(way.rung, p50_ms + way.extra_ms, p95_ms + way.extra_ms, way.replica)

    def _llm(self, way: Way, asked: "_Asked", n_in_flight: int) -> P50AndP95:
        """The time to the first token."""
        is_under_way = asked.waited_ms is not None and way.rung in (asked.rung, Rung.SHORT_CLAUSE)
        left = self._left("llm", way.replica, n_in_flight, asked.waited_ms if is_under_way else None)
        if way.rung is not Rung.HEDGE or is_under_way:  # what had been asked before is late: not counted on
            return left.quantile_ms(0.5), left.quantile_ms(0.95)
        first = self._left("llm", asked.first, n_in_flight, asked.waited_ms)
        return first_of_ms(left, first, 0.5), first_of_ms(left, first, 0.95)

    def _left(self, stage: str, replica: str, n_in_flight: int, waited_ms: float | None = None) -> Left:
        """Of a replica that too little is known of, what the stage takes elsewhere."""
        now_ns, bucket = self._clock.now_ns(), bucket_of(n_in_flight)
        for name in (replica, ""):
            times = self._times.get((stage, name))
            sketch = times.sketch(bucket, now_ns) if times is not None else None
            if sketch is not None:
                return Left(sketch, waited_ms or 0.0)
        raise AssertionError(stage)  # all stages of `ways.STAGES` are supposed to take something


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is under way: the replica that was asked first, the rung, and for how long; None: nothing is."""

    first: str
    rung: Rung
    waited_ms: float | None


def _from(rung: Rung, ways: list[Way]) -> list[Way]:
    """The way that is under way, and those further down the ladder.

    That of a rung that is not the LLM's (a draft, a short clause) is the first, FULL.
    """
    under_way = next((way for way in ways if way.rung is rung), ways[0])
    return [replace(under_way, rung=rung), *(way for way in ways if way.rung.place > rung.place)]


def _sum_of(parts: list[P50AndP95]) -> P50AndP95:
    """Of durations in a row. Their spreads add up in squares, as those of independent durations do.

    Adding up the 95th percentiles would forecast what happens once in hundreds of turns: an answer that is
    given up for less. `voicestack bench planner` publishes how often the sum was kept.
    """
    p50_ms = sum(p50_ms for p50_ms, _ in parts)
    return p50_ms, p50_ms + hypot(*(p95_ms - p50_ms for p50_ms, p95_ms in parts))
