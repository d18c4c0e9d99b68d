"""Which turn was it that fell into this bucket? A histogram that remembers one turn per bucket."""

from bisect import bisect_left
from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate

from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.samples import Exemplar

TURN_CHARS = 128 - len("turn_id") - len("trace_id") - 32
"""A longer name of a turn is left out: an exemplar's labels may have 128 characters (OpenMetrics 1.0)."""


def trace_id_of(turn: str) -> int:
    """The trace that a turn becomes, 128 bits: the same wherever it is asked for, and for ever."""
    return int.from_bytes(blake2b(turn.encode(), digest_size=16).digest(), "big") or 1


class TurnBuckets:
    """What a histogram of turns counts, and the last turn in each bucket. For one thread only.

    Args:
        edges: Upper edges, rising, in the unit of what is counted.
    """

    def __init__(self, edges: Sequence[float]) -> None:
        self._edges = edges
        self._counts = [0] * (len(edges) + 1)
        self._last: list[tuple[str, float, float] | None] = [None] * (len(edges) + 1)
        self._sum = 0.0

    def add(self, value: float, turn: str, at_s: float) -> None:
        """Count one value.

        Args:
            value: It.
            turn: The turn's name.
            at_s: Unix time.
        """
        place = bisect_left(self._edges, value)
        self._counts[place] += 1
        self._last[place] = turn, value, at_s
        self._sum += value

    def export(self, family: HistogramMetricFamily, labels: Sequence[str], *, traced: bool) -> None:
        """Add the histogram as it is now to what is exported.

        Args:
            family: Where to.
            labels: Their values.
            traced: Whether turns become traces.
        """
        edges = [*map(repr, self._edges), "+Inf"]
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = [
            (edge, n, _exemplar(*last, traced=traced)) if last and len(last[0]) <= TURN_CHARS else (edge, n)
            for edge, n, last in zip(edges, accumulate(self._counts), self._last, strict=True)
        ]
        family.add_metric(labels, buckets, self._sum)


def _exemplar(turn: str, value: float, at_s: float, *, traced: bool) -> Exemplar:
    labels = {"turn_id": turn}
    if traced:
        labels["trace_id"] = f"{trace_id_of(turn):032x}"
    return Exemplar(labels, value, at_s)
