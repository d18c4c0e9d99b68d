"""Did the turns keep their budgets, and what was done about it? Figures for Prometheus.

The number of series is fixed by the program and by what the operator writes into the configuration: routes
are the ways in, the region is the server's own, and a tenant is a label only if it is named in
`telemetry.tenant_labels`. Turns that met a cold replica are never in one histogram with those that did not.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import get_args

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from voicestack.aio.clock import unix_s
from voicestack.core.marks import STAGES, Span
from voicestack.core.rungs import REASONS, Rung
from voicestack.core.turn_record import Outcome, TurnRecord, Verdict, exposed_ms
from voicestack.telemetry.buckets import Buckets
from voicestack.telemetry.exemplars import TurnBuckets
from voicestack.telemetry.replicas import ReplicaReadings
from voicestack.telemetry.slo import SLOS, assess, judge
from voicestack.telemetry.slo_counts import SloCounts

TURN_EDGES_S = (
    *(0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
    *(1.0, 1.1, 1.2, 1.3, 1.5, 2.0, 3.0, 5.0, 10.0),
)
"""50 ms steps where budgets lie; 1.5 s is the line of dead air."""
USED_EDGES = (0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0)
"""Share of the budget: budgets differ by tenant and route, and 1.0 is all of it for everybody."""
PART_EDGES_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3),
    *(0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.5, 5.0),
)
"""What is left of a stage after the endpoint is a few milliseconds where a draft was right."""

WARMTHS = {False: "warm", True: "cold"}
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
TOKENS = ("read", "written", "drafted", "wasted")
OTHER = "other"

Way = tuple[str, str]
"""Route and region."""
HISTOGRAMS = (
    ("response_seconds", "From the user's last sample to the answer's first", TURN_EDGES_S),
    (
        "silence_seconds",
        "From the user's last sample to the first sound of any kind, a filler too",
        TURN_EDGES_S,
    ),
    ("budget_used_ratio", "The response as a share of the turn's own budget", USED_EDGES),
)


class TurnReadings:
    """Turns that are over. Filled from the event loop's thread, one call a turn.

    Args:
        tenants: Those that are told apart; all others are `other`.
        now_s: Unix time, for the burn rates of this server.

    Attributes:
        slo: The same turns by time, for burn rates.
        replicas: Who was asked in them.
        traced: Whether turns become traces too; exemplars then name them.
    """

    def __init__(self, tenants: Sequence[str] = (), now_s: Callable[[], int] = unix_s) -> None:
        self.slo, self._now_s = SloCounts(), now_s
        self.replicas = ReplicaReadings()
        self.traced = False
        self.tenants = frozenset(tenants)
        self._times: dict[str, dict[tuple[Way, bool], TurnBuckets]] = {name: {} for name, _, _ in HISTOGRAMS}
        self._parts = {
            (kind, stage, cold): Buckets(PART_EDGES_S)
            for kind in ("exposed", "hidden")
            for stage in STAGES
            for cold in WARMTHS
        }
        self._verdicts: dict[Way, Counter[Verdict]] = defaultdict(Counter)
        self._outcomes: dict[Way, Counter[Outcome]] = defaultdict(Counter)
        self._rungs: Counter[tuple[Rung, str]] = Counter(
            {(rung, why): 0 for rung in Rung for why in REASONS if rung is not Rung.FULL}
        )
        self._blamed = Counter(dict.fromkeys(STAGES, 0))
        self._tokens = Counter(dict.fromkeys(TOKENS, 0))
        self._judged: Counter[tuple[str, Way, str, bool]] = Counter()
        self._n_drafts = self._n_cut_off = 0

    def recorded(self, record: TurnRecord) -> None:
        """A turn is over."""
        way = record.origin.route, record.origin.region
        cold, verdict, spans = record.was_cold, record.verdict, record.marks.spans()
        self._measure(record, way, cold)
        self._split(spans, cold)
        self._verdicts[way][verdict] += 1
        self._outcomes[way][record.outcome] += 1
        if verdict in ("declared", "missed") and spans:
            self._blamed[record.blamed] += 1
        for taken in record.taken:
            self._rungs[taken.rung, taken.reason if taken.reason in REASONS else OTHER] += 1
        self._tokens["read"] += record.read_tokens
        self._tokens["written"] += record.written_tokens
        self._tokens["drafted"] += record.drafted_tokens
        self._tokens["wasted"] += record.wasted_tokens
        self._n_drafts += record.n_drafts
        self._n_cut_off += record.was_cut_off
        for use in record.uses:
            self.replicas.used(use)
        tenant = record.origin.tenant if record.origin.tenant in self.tenants else OTHER
        for slo, good in judge(record).items():
            self._judged[slo, way, tenant, good] += 1
        self.slo.add(record)

    def _measure(self, record: TurnRecord, way: Way, cold: bool) -> None:
        response_ms, silence_ms = record.marks.response_ms, record.silence_ms
        if record.outcome == "refused":  # what was heard is no answer
            response_ms = None
        values = {
            "response_seconds": None if response_ms is None else response_ms / 1e3,
            "silence_seconds": None if silence_ms is None else silence_ms / 1e3,
            "budget_used_ratio": None if response_ms is None else response_ms / record.budget_ms,
        }
        for name, _, edges in HISTOGRAMS:
            for one in WARMTHS:
                if (way, one) not in self._times[name]:
                    self._times[name][way, one] = TurnBuckets(edges)
            value = values[name]
            if value is not None:
                self._times[name][way, cold].add(value, record.id, record.began_unix_ms / 1e3)

    def _split(self, spans: Sequence[Span], cold: bool) -> None:
        for span in spans:
            self._parts["exposed", span.stage, cold].add(max(0.0, exposed_ms(span)) / 1e3)
            self._parts["hidden", span.stage, cold].add(span.hidden_ms / 1e3)

    def export(self) -> Iterator[Metric]:
        """What is exported of them."""
        yield from self._export_times()
        yield from self._export_parts()
        yield from self._export_ways()
        yield from self._export_counts()
        yield from self._export_slo()
        yield from self.replicas.export()

    def _export_times(self) -> Iterator[Metric]:
        for name, about, _ in HISTOGRAMS:
            labels = ["route", "region", "warmth"]
            family = HistogramMetricFamily(f"voicestack_turn_{name}", about, labels=labels)
            for (way, cold), buckets in self._times[name].items():
                buckets.export(family, [*way, WARMTHS[cold]], traced=self.traced)
            yield family

    def _export_parts(self) -> Iterator[Metric]:
        for kind, about in (
            ("exposed", "What a stage added to the user's waiting: its part of the critical path"),
            ("hidden", "What of a stage passed before the end of the turn was decided, and cost nothing"),
        ):
            labels = ["stage", "warmth"]
            family = HistogramMetricFamily(f"voicestack_turn_{kind}_seconds", about, labels=labels)
            for stage in STAGES:
                for cold, warmth in WARMTHS.items():
                    self._parts[kind, stage, cold].export(family, stage, warmth)
            yield family

    def _export_ways(self) -> Iterator[Metric]:
        labels = ["route", "region"]
        about = "Turns, by whether they kept their budget"
        verdicts = CounterMetricFamily("voicestack_turn_verdicts", about, labels=[*labels, "verdict"])
        for way, of in self._verdicts.items():
            for verdict in VERDICTS:
                verdicts.add_metric([*way, verdict], of[verdict])
        about = "Turns, by how they ended"
        outcomes = CounterMetricFamily("voicestack_turn_outcomes", about, labels=[*labels, "outcome"])
        for way, ended in self._outcomes.items():
            for outcome in OUTCOMES:
                outcomes.add_metric([*way, outcome], ended[outcome])
        yield from (verdicts, outcomes)

    def _export_counts(self) -> Iterator[Metric]:
        about = "Rungs of the ladder that were taken, and why"
        rungs = CounterMetricFamily("voicestack_turn_rungs", about, labels=["rung", "reason"])
        for (rung, reason), n in self._rungs.items():
            rungs.add_metric([rung.value, reason], n)
        about = "Turns over their budget, by the stage with the most time on the critical path"
        blamed = CounterMetricFamily("voicestack_turn_over_budget", about, labels=["stage"])
        for stage, n in self._blamed.items():
            blamed.add_metric([stage], n)
        about = "Tokens of turns: prompts, answers, what drafts wrote, and what of all nobody used"
        tokens = CounterMetricFamily("voicestack_turn_tokens", about, labels=["kind"])
        for kind, n in self._tokens.items():
            tokens.add_metric([kind], n)
        yield from (rungs, blamed, tokens)
        for name, about, n in (
            ("drafts", "Drafts that were begun for turns", self._n_drafts),
            ("cut_offs", "Turns in which the user seems not to have finished", self._n_cut_off),
        ):
            yield CounterMetricFamily(f"voicestack_turn_{name}", about, value=n)

    def _export_slo(self) -> Iterator[Metric]:
        labels = ["slo", "route", "region", "tenant"]
        about = "Turns that count for an objective"
        judged = CounterMetricFamily("voicestack_slo_turns", about, labels=labels)
        about = "Turns that an objective was not met in"
        bad = CounterMetricFamily("voicestack_slo_bad_turns", about, labels=labels)
        for slo, way, tenant in sorted({(slo, way, tenant) for slo, way, tenant, _ in self._judged}):
            n_good, n_bad = (self._judged[slo, way, tenant, good] for good in (True, False))
            judged.add_metric([slo, *way, tenant], n_good + n_bad)
            bad.add_metric([slo, *way, tenant], n_bad)
        yield from (judged, bad, *self._standing())

    def _standing(self) -> Iterator[Metric]:
        """How the objectives stand on this server, for whoever has no recording rules."""
        about = "Share of turns that must be good"
        objective = GaugeMetricFamily("voicestack_slo_objective_ratio", about, labels=["slo"])
        about = "How many times faster than allowed this server spends an error budget"
        burn = GaugeMetricFamily("voicestack_slo_burn_rate", about, labels=["slo", "window_s"])
        about = "What is left of this server's error budget of 30 days, as far as it has been running"
        left = GaugeMetricFamily("voicestack_slo_budget_left_ratio", about, labels=["slo"])
        now_s = self._now_s()
        for slo in SLOS:
            found = assess(slo, partial(self.slo.count, slo, now_s=now_s))
            objective.add_metric([slo.name], slo.objective_ratio)
            left.add_metric([slo.name], found.budget_left_ratio)
            for window_s, count in found.windows.items():
                burn.add_metric([slo.name, str(window_s)], count.burn(slo))
        yield from (objective, burn, left)
