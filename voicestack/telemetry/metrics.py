"""Where does the time go, how many talk, what fails? Figures for Prometheus.

Durations are seconds, as Prometheus wants them. No label ever holds a session, a turn or a word: the number
of series is fixed by the program. (Exemplars, which belong to no series, name turns.)
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from platform import python_version

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from voicestack.core.marks import STAGES, Mark, TurnMarks
from voicestack.core.turn_record import TurnRecord
from voicestack.telemetry.buckets import Buckets
from voicestack.telemetry.calls import CallReadings, call_metrics
from voicestack.telemetry.engines import EngineReadings
from voicestack.telemetry.exposition import write_metrics
from voicestack.telemetry.listener import TurnListener
from voicestack.telemetry.llm import LlmReadings
from voicestack.telemetry.queues import QueueReadings
from voicestack.telemetry.turns import TurnReadings

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


REQUEST_EDGES_S = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""A phrase takes tens of milliseconds, an hour of audio minutes."""

STAGE_REQUESTS = ("transcriptions", "speech", "completions")
REQUEST_OUTCOMES = ("answered", "refused", "failed", "abandoned")


@dataclass(frozen=True, slots=True)
class ChildReadings:
    """How to ask how a child process is."""

    n_restarts: Callable[[], int]
    is_ready: Callable[[], bool]


class Metrics:
    """Satisfies `ports.Observer`. One per server, filled from the event loop's thread.

    Args:
        version: Of voicestack.
        profile: Name of the configuration.
        tenants: Those that figures about objectives tell apart.

    Attributes:
        llm: What requests to the language model took.
        engines: What the engines say of themselves, and how they started.
        turns: Budgets, rungs, objectives.
        listeners: Who else is told of turns. Must not wait.
        exports: What else is exported, asked at every scrape.
        queues: What waits in front of the stages.
    """

    def __init__(self, *, version: str, profile: str, tenants: Sequence[str] = ()) -> None:
        self._about = {"version": version, "profile": profile, "python": python_version()}
        self._stages = {stage: Buckets(STAGE_EDGES_S) for stage in STAGES}
        self._response = Buckets(RESPONSE_EDGES_S)
        self._heard = Buckets(RESPONSE_EDGES_S)
        self._n_disbelieved = 0
        self._hidden = Buckets(RATIO_EDGES)
        self._lateness = Buckets(LATENESS_EDGES_S)
        self._packet_lateness = Buckets(LATENESS_EDGES_S)
        self._barge_in = Buckets(BARGE_IN_EDGES_S)
        self._turns = Counter({"answered": 0, "interrupted": 0, "silent": 0})
        self._drafts = Counter({"true": 0, "false": 0})
        self._failures: Counter[tuple[str, str]] = Counter()
        self._requests = {endpoint: Buckets(REQUEST_EDGES_S) for endpoint in STAGE_REQUESTS}
        self._outcomes = Counter({(one, how): 0 for one in STAGE_REQUESTS for how in REQUEST_OUTCOMES})
        self._children: dict[str, ChildReadings] = {}
        self.listeners: list[TurnListener] = []
        self.llm = LlmReadings()
        self.engines = EngineReadings()
        self.turns = TurnReadings(tenants)
        self.exports: list[Callable[[], Iterator[Metric]]] = []
        self.queues = QueueReadings()
        self._n_sessions = 0
        self._queued_ms: Callable[[], Sequence[Mapping[str, float]]] = tuple
        self._calls: Callable[[], CallReadings] = CallReadings
        self._refusals: Callable[[], Mapping[str, int]] = dict
        self._registry = CollectorRegistry()
        self._registry.register(_Readings(self._read))
        ProcessCollector(registry=self._registry)

    def turn_measured(self, marks: TurnMarks) -> None:
        """See `ports.Observer`."""
        for span in marks.spans():
            self._stages[span.stage].add(span.duration_ms / 1e3)
        if marks.response_ms is not None:
            self._response.add(marks.response_ms / 1e3)
        work_ms = marks.work_ms()
        if work_ms > 0:
            self._hidden.add(marks.hidden_ms() / work_ms)
        heard = Mark.FIRST_SENT in marks.at_ns
        self._turns["interrupted" if marks.interrupted else "answered" if heard else "silent"] += 1

    def turn_recorded(self, record: TurnRecord) -> None:
        """See `ports.Observer`."""
        self.turns.recorded(record)
        for listener in self.listeners:
            listener.turn_recorded(record)

    def answer_heard(self, turn_id: str, marks: TurnMarks) -> None:
        """See `ports.Observer`."""
        for listener in self.listeners:
            listener.answer_heard(turn_id, marks)
        if marks.heard_after_ms is not None:
            self._heard.add(marks.heard_after_ms / 1e3)

    def heard_disbelieved(self) -> None:
        """See `ports.Observer`."""
        self._n_disbelieved += 1

    def playout_sent(self, late_ns: int) -> None:
        """See `ports.Observer`."""
        self._lateness.add(late_ns / 1e9)

    def barge_in(self, decision_to_flush_ns: int) -> None:
        """See `ports.Observer`."""
        self._barge_in.add(decision_to_flush_ns / 1e9)

    def draft_ended(self, *, won: bool) -> None:
        """See `ports.Observer`."""
        self._drafts["true" if won else "false"] += 1

    def stage_failed(self, stage: str, code: str) -> None:
        """See `ports.Observer`."""
        self._failures[stage, code] += 1

    def stage_requested(self, endpoint: str, outcome: str, duration_s: float) -> None:
        """A request for a stage alone is over: one of STAGE_REQUESTS, one of REQUEST_OUTCOMES."""
        self._outcomes[endpoint, outcome] += 1
        if outcome == "answered":
            self._requests[endpoint].add(duration_s)

    def session_opened(self) -> None:
        """A peer is connected."""
        self._n_sessions += 1

    def session_closed(self) -> None:
        """A peer is gone."""
        self._n_sessions -= 1

    def watch_child(self, name: str, readings: ChildReadings) -> None:
        """Export how a supervised process is, asking at every scrape. Each has a name of its own."""
        self._children[name] = readings

    def watch_queues(self, queued_ms: Callable[[], Sequence[Mapping[str, float]]]) -> None:
        """Export how much audio waits, asking every session at every scrape."""
        self._queued_ms = queued_ms

    def call_packet_sent(self, late_ns: int) -> None:
        """A packet of the agent's voice left for the network, so much after it was due."""
        self._packet_lateness.add(late_ns / 1e9)

    def watch_calls(self, readings: Callable[[], CallReadings]) -> None:
        """Export how calls over WebRTC fare, asking at every scrape."""
        self._calls = readings

    def watch_refusals(self, refusals: Callable[[], Mapping[str, int]]) -> None:
        """Export how many were not let in, by the code that they were told."""
        self._refusals = refusals

    def render(self, accept: str = "", *, exemplars: bool = True) -> tuple[bytes, str]:
        """The figures of this instant, and their content type; see `write_metrics`."""
        return write_metrics(self._registry, accept, exemplars=exemplars)

    def _read(self) -> Iterator[Metric]:
        yield from self._histograms()
        yield from self._counts()
        yield GaugeMetricFamily("voicestack_sessions", "Sessions in progress", value=self._n_sessions)
        yield from self._queues()
        yield from call_metrics(self._calls())
        yield from self.llm.export()
        yield from self.engines.export()
        yield from self.turns.export()
        for export in self.exports:
            yield from export()
        yield from self.queues.export()
        yield InfoMetricFamily("voicestack_build", "What is running", value=self._about)

    def _queues(self) -> Iterator[Metric]:
        sessions = self._queued_ms()
        for name, about, total in (
            ("queued_audio_seconds", "Audio that waits in a queue, all sessions together", sum),
            ("queued_audio_longest_seconds", "Audio that waits in a queue, the worst session", max),
        ):
            family = GaugeMetricFamily(f"voicestack_{name}", about, labels=["queue"])
            for queue in ("asr", "playout"):
                family.add_metric([queue], total([0.0, *(one.get(queue, 0.0) for one in sessions)]) / 1e3)
            yield family

    def _histograms(self) -> Iterator[Metric]:
        about = "What a stage took by the ledger of the turn, hidden or not"
        stages = HistogramMetricFamily("voicestack_stage_seconds", about, labels=["stage"])
        for stage, buckets in self._stages.items():
            buckets.export(stages, stage)
        yield stages
        about = "How long a request for a stage alone took that was answered to its end"
        requests = HistogramMetricFamily("voicestack_stage_request_seconds", about, labels=["endpoint"])
        for endpoint, buckets in self._requests.items():
            buckets.export(requests, endpoint)
        yield requests
        for name, about, buckets in (
            ("response_seconds", "From the user's last sample to the answer's first", self._response),
            ("heard_seconds", "From the user's last sample to the answer's first at the ear", self._heard),
            ("hidden_ratio", "Share of the work done before the end of the turn was decided", self._hidden),
            ("playout_lateness_seconds", "How long after it was due a frame left", self._lateness),
            (
                "call_packet_lateness_seconds",
                "Likewise a packet of a call over WebRTC",
                self._packet_lateness,
            ),
            ("barge_in_seconds", "From the decision to interrupt to silence in the server", self._barge_in),
        ):
            family = HistogramMetricFamily(f"voicestack_{name}", about, labels=())
            buckets.export(family)
            yield family

    def _counts(self) -> Iterator[Metric]:
        turns = CounterMetricFamily("voicestack_turns", "Replies that ended, by how", labels=["outcome"])
        for outcome, n in self._turns.items():
            turns.add_metric([outcome], n)
        drafts = CounterMetricFamily(
            "voicestack_drafts", "Drafts, by whether they were right", labels=["won"]
        )
        for won, n in self._drafts.items():
            drafts.add_metric([won], n)
        labels = ["stage", "code"]
        failures = CounterMetricFamily(
            "voicestack_stage_failures", "Errors that engines raised", labels=labels
        )
        for failure, n in self._failures.items():
            failures.add_metric(failure, n)
        labels = ["endpoint", "outcome"]
        requests = CounterMetricFamily(
            "voicestack_stage_requests", "Requests for a stage alone, by how they ended", labels=labels
        )
        for request, n in self._outcomes.items():
            requests.add_metric(request, n)
        yield requests
        refusals = CounterMetricFamily("voicestack_refusals", "Who was not let in, by why", labels=["code"])
        for code, n in self._refusals().items():
            refusals.add_metric([code], n)
        yield CounterMetricFamily(
            "voicestack_heard_implausible",
            "Answers that clients say were heard before they were sent, or in the future",
            value=self._n_disbelieved,
        )
        labels = ["child"]
        restarts = CounterMetricFamily(
            "voicestack_child_restarts", "Restarts of child processes", labels=labels
        )
        ready = GaugeMetricFamily(
            "voicestack_child_ready", "Whether a child process is usable", labels=labels
        )
        for name, child in self._children.items():
            restarts.add_metric([name], child.n_restarts())
            ready.add_metric([name], child.is_ready())
        yield from (turns, drafts, failures, refusals, restarts, ready)


class _Readings(Collector):
    """What is read when it is asked for."""

    def __init__(self, read: Callable[[], Iterator[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        return self._read()
