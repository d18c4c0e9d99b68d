"""What do the engines say of themselves, and where did their start-up time go? Figures for Prometheus."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

TOTAL = "_total"

Read = Callable[[], Mapping[str, float]]


class EngineReadings:
    """Asks the engines at every scrape."""

    def __init__(self) -> None:
        self._figures: dict[str, Read] = {}
        self._starts: dict[str, Read] = {}

    def watch_figures(self, engine: str, figures: Read) -> None:
        """Export what `ports.Measured` gives. One per engine."""
        self._figures[engine] = figures

    def watch_start(self, process: str, phases_s: Read) -> None:
        """Export what each phase of the last start of a process took, in seconds by the phase's name."""
        self._starts[process] = phases_s

    def export(self) -> Iterator[Metric]:
        """What is exported of them. The names of figures are fixed by the programs."""
        counts = CounterMetricFamily(
            "voicestack_engine_counts", "What an engine has counted", labels=["engine", "figure"]
        )
        readings = GaugeMetricFamily(
            "voicestack_engine_figure",
            "What an engine reads off itself; the unit is the end of the figure's name",
            labels=["engine", "figure"],
        )
        for engine, figures in self._figures.items():
            for name, value in figures().items():
                if name.endswith(TOTAL):
                    counts.add_metric([engine, name.removesuffix(TOTAL)], value)
                else:
                    readings.add_metric([engine, name], value)
        phases = GaugeMetricFamily(
            "voicestack_start_phase_seconds",
            "What the phases of a process's last start took, from spawning it to its first turn",
            labels=["process", "phase"],
        )
        for process, read in self._starts.items():
            for phase, value_s in read().items():
                phases.add_metric([process, phase], value_s)
        yield from (counts, readings, phases)
