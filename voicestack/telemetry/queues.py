"""What waits in front of the stages, and what was turned away? Figures for Prometheus."""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from voicestack.core.queues import QueueReading

Read = Callable[[], Sequence[QueueReading]]


class QueueReadings:
    """Asks the queues at every scrape. Their names, and the reasons, are fixed by the program."""

    def __init__(self) -> None:
        self._reads: list[Read] = []

    def watch(self, read: Read) -> None:
        """Export these, too. Each queue has a name of its own."""
        self._reads.append(read)

    def all(self) -> list[QueueReading]:
        """How all of them are now."""
        return [one for read in self._reads for one in read()]

    def export(self) -> Iterator[Metric]:
        """What is exported of them."""
        labels = ["queue"]
        waiting = GaugeMetricFamily("voicestack_queue_waiting", "Work that waits for a place", labels=labels)
        oldest = GaugeMetricFamily(
            "voicestack_queue_oldest_wait_seconds", "For how long the first of it has waited", labels=labels
        )
        busy = GaugeMetricFamily("voicestack_queue_busy_places", "Work that has a place", labels=labels)
        refused = CounterMetricFamily(
            "voicestack_queue_refused", "Work that was turned away, by why", labels=["queue", "reason"]
        )
        for one in self.all():
            waiting.add_metric([one.name], one.n_waiting)
            oldest.add_metric([one.name], (one.oldest_wait_ms or 0.0) / 1e3)
            busy.add_metric([one.name], one.n_busy)
            for reason, n in one.refused.items():
                refused.add_metric([one.name, reason], n)
        yield from (waiting, oldest, busy, refused)
