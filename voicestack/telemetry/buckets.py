"""How is a histogram counted that is filled fifty times a second?"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from prometheus_client.metrics_core import HistogramMetricFamily


class Buckets:
    """What a histogram counts. One bisection and two additions; for one thread only.

    Playout fills one 50 times a second for every session. A `prometheus_client.Histogram` takes a lock and
    costs three times as much; only the exposition is left to the library.

    Args:
        edges: Upper edges, rising, in the unit of what is counted.
    """

    def __init__(self, edges: Sequence[float]) -> None:
        self._edges = edges
        self._counts = [0] * (len(edges) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._edges, value)] += 1
        self._sum += value

    def export(self, family: HistogramMetricFamily, *labels: str) -> None:
        """Add the histogram as it is now to what is exported."""
        edges = [*map(repr, self._edges), "+Inf"]
        family.add_metric(labels, list(zip(edges, accumulate(self._counts), strict=True)), self._sum)
