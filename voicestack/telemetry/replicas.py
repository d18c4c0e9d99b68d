"""Who was asked in the turns, were they warm, and how soon did they answer? Figures for Prometheus."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

from voicestack.core.turn_record import Use
from voicestack.telemetry.buckets import Buckets
from voicestack.telemetry.llm import FIRST_EDGES_S

N_REPLICAS = 64
"""Replicas, by stage and region, that are told apart: 58 series each. Further ones are OTHER's, so that the
number of series stays what it is however often an autoscaler makes new names."""
OTHER = "other"

Who = tuple[str, str, str]
"""Stage, replica, region."""


class ReplicaReadings:
    """Requests of turns to replicas. Filled from the event loop's thread, one call per stage and turn.

    Args:
        n_replicas: See N_REPLICAS.
    """

    def __init__(self, n_replicas: int = N_REPLICAS) -> None:
        self._n_replicas = n_replicas
        self._first: dict[Who, dict[bool, Buckets]] = {}
        self._requests: Counter[tuple[Who, bool, bool]] = Counter()

    def used(self, use: Use) -> None:
        """A stage was asked."""
        who = use.stage, use.replica, use.region
        if who not in self._first:
            if len(self._first) >= self._n_replicas:
                who = use.stage, OTHER, OTHER
            self._first.setdefault(who, {warm: Buckets(FIRST_EDGES_S) for warm in (True, False)})
        self._requests[who, use.warm, use.won] += 1
        if use.first_ms is not None:
            self._first[who][use.warm].add(use.first_ms / 1e3)

    def export(self) -> Iterator[Metric]:
        """What is exported of them."""
        labels = ["stage", "replica", "region", "warmth"]
        first = HistogramMetricFamily(
            "voicestack_replica_first_seconds",
            "From a turn's request to the first result of the replica that was asked",
            labels=labels,
        )
        requests = CounterMetricFamily(
            "voicestack_replica_requests",
            "Requests of turns, by who was asked and whether the result was used",
            labels=[*labels, "used"],
        )
        for who, by_warmth in self._first.items():
            for warm, buckets in by_warmth.items():
                warmth = "warm" if warm else "cold"
                buckets.export(first, *who, warmth)
                for won in (True, False):
                    requests.add_metric([*who, warmth, str(won).lower()], self._requests[who, warm, won])
        yield from (first, requests)
