"""How do the calls over WebRTC fare? Figures for Prometheus, summed over the calls that are and that were."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric


@dataclass(slots=True)
class PacketTotals:
    """Of all calls since the server began; each figure as in `LinkFigures`."""

    n_received: int = 0
    n_lost: int = 0
    n_late: int = 0
    n_refused: int = 0
    n_sent: int = 0
    recovered_s: float = 0.0
    concealed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CallReadings:
    """How things stand.

    Attributes:
        states: Calls in progress, by state.
        totals: See `PacketTotals`.
        jitter_ms: Of the users' packets, in every connected call.
        round_trip_ms: In every connected call that has told.
        n_resumed: Calls that went on over another connection, since the server began.
    """

    states: Mapping[str, int] = field(default_factory=dict)
    totals: PacketTotals = field(default_factory=PacketTotals)
    jitter_ms: tuple[float, ...] = ()
    round_trip_ms: tuple[float, ...] = ()
    n_resumed: int = 0


def call_metrics(readings: CallReadings) -> Iterator[Metric]:
    """What is exported of them."""
    states = GaugeMetricFamily("voicestack_calls", "Calls over WebRTC in progress", labels=["state"])
    for state, n in readings.states.items():
        states.add_metric([state], n)
    yield states
    totals = readings.totals
    for name, about, value in (
        ("call_packets_received", "Packets of the users' audio", totals.n_received),
        ("call_packets_lost", "Packets of the users' audio that did not come in time", totals.n_lost),
        ("call_packets_late", "Packets of the users' audio that came too late, or twice", totals.n_late),
        ("call_packets_refused", "Packets that could not be decrypted or understood", totals.n_refused),
        ("call_packets_sent", "Packets of the agent's audio", totals.n_sent),
        ("call_recovered_seconds", "Lost audio that the next packet brought along", totals.recovered_s),
        ("call_concealed_seconds", "Lost audio that was made up", totals.concealed_s),
        ("calls_resumed", "Connections that went on with a call", readings.n_resumed),
    ):
        yield CounterMetricFamily(f"voicestack_{name}", about, value=value)
    for name, about, worst_ms in (
        ("call_jitter_worst_seconds", "Jitter of the users' packets, the worst call", readings.jitter_ms),
        ("call_round_trip_worst_seconds", "To the client and back, the worst call", readings.round_trip_ms),
    ):
        yield GaugeMetricFamily(f"voicestack_{name}", about, value=max(worst_ms, default=0.0) / 1e3)
