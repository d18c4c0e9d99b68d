"""Where does the time go, how many talk, what fails? Figures for Prometheus.

Durations are seconds, as Prometheus wants them. No label ever holds a session, a turn or a word: the number
of series is fixed by the program.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from platform import python_version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from voicestack.core.marks import STAGES, Mark, TurnMarks

STAGE_EDGES_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3),
    *(0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.5, 5.0),
)
"""A stage takes from under a millisecond (send) to a full silence (endpoint, 200-800 ms); finest there."""

RESPONSE_EDGES_S = (
    *(0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9),
    *(1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0),
)
"""50 ms steps between the gap that people leave (200 ms) and the line of 800 ms; 1.5 s is a failure."""

RATIO_EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1.0)

LATENESS_EDGES_S = (
    *(0.0001, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.009, 0.01),
    *(0.012, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.1, 0.25, 1.0),
)
"""Whole milliseconds up to 10 ms, the limit for the 99th percentile; 50 ms is heard as a gap."""

BARGE_IN_EDGES_S = (
    *(0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5),
    *(0.001, 0.002, 0.003, 0.005, 0.01, 0.05),
)
"""A flush takes tens of microseconds; 5 ms is the limit."""


class Buckets:
    """A histogram that is cheap to fill: one bisection and two additions. For one thread only.

    It is filled 50 times a second for every session, where a `prometheus_client.Histogram`, which takes a
    lock, costs several times as much.

    Args:
        edges_s: Upper edges in seconds, rising.
    """

    def __init__(self, edges_s: Sequence[float]) -> None:
        self._edges_s = edges_s
        self._edges_ns = [round(edge_s * 1e9) for edge_s in edges_s]
        self._counts = [0] * (len(edges_s) + 1)
        self._sum_ns = 0

    def add(self, value_ns: int) -> None:
        """Count one duration."""
        self._counts[bisect_left(self._edges_ns, value_ns)] += 1
        self._sum_ns += value_ns

    def family(self, name: str, documentation: str) -> Metric:
        """The histogram as it is exported."""
        edges = [*map(repr, self._edges_s), "+Inf"]
        counts = list(zip(edges, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(name, documentation, buckets=counts, sum_value=self._sum_ns / 1e9)


@dataclass(frozen=True, slots=True)
class ChildReadings:
    """How to ask how a child process is."""

    n_restarts: Callable[[], int]
    is_ready: Callable[[], bool]


class Metrics:
    """Satisfies `ports.Observer`. One per server, with a registry of its own.

    Args:
        version: Of voicestack.
        profile: Name of the configuration.
    """

    def __init__(self, *, version: str, profile: str) -> None:
        self._registry = registry = CollectorRegistry()
        self._lateness = Buckets(LATENESS_EDGES_S)
        self._barge_in = Buckets(BARGE_IN_EDGES_S)
        self._children: dict[str, ChildReadings] = {}
        self._about = {"version": version, "profile": profile, "python": python_version()}
        stages = Histogram(
            "voicestack_stage_seconds",
            "What a stage took, hidden or not, by the ledger of the turn",
            ["stage"],
            buckets=STAGE_EDGES_S,
            registry=registry,
        )
        self._stages = {stage: stages.labels(stage) for stage, _, _ in STAGES}
        self._response = Histogram(
            "voicestack_response_seconds",
            "From the last sample of the user's speech to the first sample of the answer",
            buckets=RESPONSE_EDGES_S,
            registry=registry,
        )
        self._hidden = Histogram(
            "voicestack_hidden_ratio",
            "Share of a turn's work that was done before the end of the turn was decided",
            buckets=RATIO_EDGES,
            registry=registry,
        )
        self._sessions = Gauge("voicestack_sessions", "Sessions in progress", registry=registry)
        turns = Counter("voicestack_turns", "Replies that ended, by how", ["outcome"], registry=registry)
        self._turns = {outcome: turns.labels(outcome) for outcome in ("answered", "interrupted", "silent")}
        drafts = Counter(
            "voicestack_drafts", "Drafts, by whether they were right", ["won"], registry=registry
        )
        self._drafts = {won: drafts.labels(str(won).lower()) for won in (True, False)}
        self._failures = Counter(
            "voicestack_stage_failures",
            "Errors that engines raised",
            ["stage", "code"],
            registry=registry,
        )
        ProcessCollector(registry=registry)
        registry.register(_Readings(self._read))

    def turn_measured(self, marks: TurnMarks) -> None:
        """See `ports.Observer`."""
        for span in marks.spans():
            self._stages[span.stage].observe(max(0.0, span.duration_ms / 1e3))
        if marks.response_ms is not None:
            self._response.observe(marks.response_ms / 1e3)
        work_ms = marks.work_ms()
        if work_ms > 0:
            self._hidden.observe(marks.hidden_ms() / work_ms)
        heard = Mark.FIRST_SENT in marks.at_ns
        self._turns["interrupted" if marks.interrupted else "answered" if heard else "silent"].inc()

    def playout_sent(self, late_ns: int) -> None:
        """See `ports.Observer`."""
        self._lateness.add(late_ns)

    def barge_in(self, decision_to_flush_ns: int) -> None:
        """See `ports.Observer`."""
        self._barge_in.add(decision_to_flush_ns)

    def draft_ended(self, *, won: bool) -> None:
        """See `ports.Observer`."""
        self._drafts[won].inc()

    def stage_failed(self, stage: str, code: str) -> None:
        """See `ports.Observer`."""
        self._failures.labels(stage, code).inc()

    def session_opened(self) -> None:
        """A peer is connected."""
        self._sessions.inc()

    def session_closed(self) -> None:
        """A peer is gone."""
        self._sessions.dec()

    def watch_child(self, name: str, readings: ChildReadings) -> None:
        """Export how a supervised process is; asked at every scrape. `name` must be unlike others."""
        self._children[name] = readings

    def render(self) -> tuple[bytes, str]:
        """The figures of this instant, and their content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def _read(self) -> Iterator[Metric]:
        yield self._lateness.family(
            "voicestack_playout_lateness_seconds", "How long after it was due a frame left for the peer"
        )
        yield self._barge_in.family(
            "voicestack_barge_in_seconds", "From the decision to interrupt to silence in the server"
        )
        restarts = CounterMetricFamily(
            "voicestack_child_restarts", "Times that a child process was started again", labels=["child"]
        )
        ready = GaugeMetricFamily(
            "voicestack_child_ready", "Whether a child process is usable", labels=["child"]
        )
        for name, child in self._children.items():
            restarts.add_metric([name], child.n_restarts())
            ready.add_metric([name], child.is_ready())
        yield restarts
        yield ready
        yield InfoMetricFamily("voicestack_build", "What is running", value=self._about)


class _Readings(Collector):
    """What is read when it is asked for."""

    def __init__(self, read: Callable[[], Iterator[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        return self._read()
