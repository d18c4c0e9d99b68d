"""How are the figures written down for whoever asks for them?"""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

OPENMETRICS = "application/openmetrics-text"

_WRITE: Callable[[Collector], bytes] = openmetrics.generate_latest


def wants_openmetrics(accept: str) -> bool:
    """Whether the Accept header of a request names OpenMetrics, as Prometheus' does."""
    wanted = (part.split(";")[0].strip().lower() for part in accept.split(","))
    return OPENMETRICS in wanted


def write_metrics(
    registry: CollectorRegistry, accept: str = "", *, exemplars: bool = True
) -> tuple[bytes, str]:
    """All figures, and their content type: OpenMetrics if it is asked for, else Prometheus' older text.

    Args:
        registry: Has them.
        accept: The request's header.
        exemplars: Show which turns fell into which bucket. Only OpenMetrics can.
    """
    if not wants_openmetrics(accept):
        return exposition.generate_latest(registry), exposition.CONTENT_TYPE_LATEST
    shown = registry if exemplars else _Anonymous(registry)
    return _WRITE(shown), openmetrics.CONTENT_TYPE_LATEST


class _Anonymous(Collector):
    """The same without exemplars."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample._replace(exemplar=None) for sample in metric.samples]
            yield metric
