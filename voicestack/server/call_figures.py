"""What did all links together count? Those that are gone included, so that no total ever falls."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from voicestack.core.audio import EAR_RATE_HZ
from voicestack.telemetry.calls import CallReadings, PacketTotals
from voicestack.transports.link import Link
from voicestack.transports.webrtc import CallState, WebRtcTransport


class CallFigures:
    """Adds up what links count.

    Args:
        calls: The calls in progress.
    """

    def __init__(self, calls: Callable[[], Iterable[WebRtcTransport]]) -> None:
        self._calls = calls
        self._past = PacketTotals()
        self.n_resumed = 0

    def left(self, link: Link) -> None:
        """A link is used no more."""
        _add(self._past, link)

    def readings(self) -> CallReadings:
        """As things stand now."""
        calls = list(self._calls())
        counted = Counter(call.state for call in calls)
        links = [call.link for call in calls if call.link is not None]
        totals = replace(self._past)
        for link in links:
            _add(totals, link)
        figures = [link.figures for link in links]
        return CallReadings(
            states={state.value: counted[state] for state in CallState},
            totals=totals,
            jitter_ms=tuple(one.jitter_ms for one in figures),
            round_trip_ms=tuple(one.rtt_ms for one in figures if one.rtt_ms is not None),
            n_resumed=self.n_resumed,
        )


def _add(totals: PacketTotals, link: Link) -> None:
    counted = link.figures
    totals.n_received += counted.n_packets_in
    totals.n_lost += counted.n_lost
    totals.n_late += counted.n_late
    totals.n_refused += counted.n_refused
    totals.n_sent += counted.n_packets_out
    totals.recovered_s += counted.n_recovered_samples / EAR_RATE_HZ
    totals.concealed_s += counted.n_concealed_samples / EAR_RATE_HZ
