"""Which networks are tried, and what did each of them do to what was heard?

Pure: the cells of a grid, and the arithmetic over what a trial recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from voicestack.cli.bench_impair import Impairment
from voicestack.cli.bench_stats import Summary, summarise
from voicestack.cli.rtc_ear import Arrival, Playing, played_with
from voicestack.core.audio import EAR_RATE_HZ

LOSSES_PERCENT = (0, 1, 3, 5, 10)
JITTERS_MS = (0, 20, 60, 120)
FRAME_NS = 20_000_000
_FRAME_EAR_SAMPLES = EAR_RATE_HZ // 50
BUFFER_MS = 60.0
"""The playout buffer of a caller's client, for what it would have to conceal. Browsers adapt theirs between
about 40 and 200 ms."""
_N_MEDIAN = 5
SETTLED_MS = 20.0
"""A packet. A delay that is within so much of what it was before a burst is back at its target."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One network: the same in both directions.

    Attributes:
        loss_percent: Packets that never arrive, in runs (Gilbert and Elliott).
        jitter_ms: Up to so much delay, drawn anew for each packet, so packets overtake each other.
    """

    loss_percent: float
    jitter_ms: float

    @property
    def name(self) -> str:
        """As it is written on the command line."""
        return f"{self.loss_percent:g}x{self.jitter_ms:g}"

    def impairment(self, *, n_burst: float, delay_ms: float, keeps_order: bool) -> Impairment:
        """The path. `n_burst` packets are lost in a row on average."""
        return Impairment.of(
            self.loss_percent / 100,
            n_burst=n_burst if self.loss_percent else None,
            delay_ms=delay_ms,
            jitter_ms=self.jitter_ms,
            keeps_order=keeps_order,
        )


def cell(text: str) -> Cell:
    """Read `3x20`: 3 % loss, 20 ms jitter.

    Raises:
        ValueError: it is something else.
    """
    loss, separator, jitter = text.partition("x")
    found = Cell(float(loss), float(jitter))
    if not separator or not 0 <= found.loss_percent < 100 or not 0 <= found.jitter_ms < 1000:
        raise ValueError(text)
    return found


def full_grid() -> list[Cell]:
    """Every loss with every jitter."""
    return [Cell(loss, jitter) for jitter in JITTERS_MS for loss in LOSSES_PERCENT]


@dataclass(frozen=True, slots=True)
class Delivered:
    """Some of the user's audio at the ear.

    Attributes:
        end_sample: At EAR_RATE_HZ, counted from the first packet of the call.
        at_ns: When it was delivered.
        arrived_ns: When the packet was here that it is from, or that showed it to be lost.
    """

    end_sample: int
    at_ns: int
    arrived_ns: int


def delays_of(delivered: Sequence[Delivered], spoken_ns: Sequence[int]) -> list[tuple[int, float]]:
    """For each piece: when its last sample was spoken, and how long after that it was at the ear, ms.

    Args:
        delivered: In order.
        spoken_ns: For each packet of the call, when its last sample had been spoken.
    """
    found = []
    for one in delivered:
        frame = -(-one.end_sample // _FRAME_EAR_SAMPLES) - 1
        if 0 <= frame < len(spoken_ns):
            found.append((spoken_ns[frame], (one.at_ns - spoken_ns[frame]) / 1e6))
    return found


def back_after_ms(delays: Sequence[tuple[int, float]], burst_end_ns: int, target_ms: float) -> float | None:
    """How long after a burst the delay was at its target for good; None if it never was.

    A single late piece is the machine's doing: the median of five in a row decides.

    Args:
        delays: As of `delays_of`.
        burst_end_ns: When the network was good again.
        target_ms: The delay that counts as before, at most.
    """
    after = [(spoken, late) for spoken, late in delays if spoken >= burst_end_ns]
    groups = [after[at : at + _N_MEDIAN] for at in range(len(after) - _N_MEDIAN + 1)]
    bad = [group for group in groups if median(late for _, late in group) > target_ms]
    if not groups or groups[-1] in bad:
        return None
    return (
        max(0.0, (max(spoken + late * 1e6 for spoken, late in bad[-1]) - burst_end_ns) / 1e6) if bad else 0.0
    )


@dataclass(slots=True)
class UserHeard:
    """What of the user's audio came to the ear, over all calls of a cell. Samples at EAR_RATE_HZ."""

    delay_ms: list[float] = field(default_factory=list)
    held_ms: list[float] = field(default_factory=list)
    n_samples: int = 0
    n_recovered_samples: int = 0
    n_concealed_samples: int = 0
    off_ms: list[float] = field(default_factory=list)
    """Of each call: how much longer or shorter what was heard is than what was spoken."""

    def figures(self) -> dict[str, Summary | float | None]:
        """For a person and a program."""
        n_samples = self.n_samples
        return {
            "mouth_to_ear_ms": summarise(self.delay_ms),
            "held_ms": summarise(self.held_ms),
            "recovered_share": self.n_recovered_samples / n_samples if n_samples else None,
            "concealed_share": self.n_concealed_samples / n_samples if n_samples else None,
            "worst_off_ms": max(self.off_ms, key=abs, default=None),
        }


@dataclass(slots=True)
class AgentHeard:
    """What of the agent's audio arrived at the callers, over all calls of a cell."""

    delay_ms: list[float] = field(default_factory=list)
    playing: Playing = field(default_factory=Playing)

    def add(self, arrivals: Sequence[Arrival], due_ns: Sequence[int]) -> None:
        """One call: packets as they came, and when each of them was due, in the order of their numbers."""
        if not arrivals:
            return
        first = min(one.sequence for one in arrivals)
        for one in arrivals:
            if one.sequence - first < len(due_ns):
                self.delay_ms.append((one.arrived_ns - due_ns[one.sequence - first]) / 1e6)
        self.playing += played_with(arrivals, BUFFER_MS)

    def figures(self) -> dict[str, Summary | float | None]:
        """For a person and a program."""
        n_sent = self.playing.n_sent
        return {
            "delay_ms": summarise(self.delay_ms),
            "lost_share": self.playing.n_lost / n_sent if n_sent else None,
            "concealed_share": self.playing.concealed_share,
        }
