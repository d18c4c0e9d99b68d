"""What is known of one replica: who it is, how it is, and what operators are shown of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from voicestack.core.errors import Stage
from voicestack.fleet.breaker import BreakerState

Kind = Literal["local", "voicestack", "openai"]
"""`local` runs beside this server; `voicestack` is another one; `openai` anything with that API."""
State = Literal["warm", "cold", "asleep", "down"]


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica, as it is now: what a choice is made from.

    Attributes:
        name: Unique among the replicas of its stage.
        region: Where it is.
        kind: How it is reached.
        rtt_ms: The way there and back; 0 here.
        in_flight: Requests that it works on for this server.
        places: Requests that it computes at the same time; more of them queue there.
        cap: Requests that this server makes at the same time at most; None for any number.
        state: How it is.
        breaker: What its breaker lets through.
        may_probe: A half-open breaker's one request is not under way.
        first_ms: Median time to the first result, without the way there and back.
        late_ms: The 95th percentile.
        busy_ms: Mean time for a whole request.
        waited_ms: For how long the request has waited that has waited longest for its first result.
        is_full: It said a moment ago that it takes nothing more.
    """

    name: str
    region: str
    kind: Kind = "local"
    rtt_ms: float = 0.0
    in_flight: int = 0
    places: int = 1
    cap: int | None = None
    state: State = "warm"
    breaker: BreakerState = BreakerState.CLOSED
    may_probe: bool = True
    first_ms: float = 0.0
    late_ms: float = 0.0
    busy_ms: float = 0.0
    waited_ms: float = 0.0
    is_full: bool = False

    @property
    def is_good(self) -> bool:
        """Whether nothing speaks against asking it."""
        return self.state == "warm" and self.breaker is BreakerState.CLOSED and not self.is_full

    @property
    def queue_ms(self) -> float:
        """How long one more request would wait for a place, if those before it come as evenly as they end."""
        return max(0, self.in_flight + 1 - self.places) * self.busy_ms / self.places

    def forecast_ms(self, cold_ms: float, *, late: bool = False) -> float:
        """When one more request would have its first result, without the way there and back.

        Args:
            cold_ms: What a replica that is not warm takes longer.
            late: In nineteen cases of twenty, not in one of two.

        A request that already waits longer than all those before it says more than they do.
        """
        usual_ms = self.late_ms if late else self.first_ms
        return max(usual_ms, self.waited_ms) + self.queue_ms + (0.0 if self.state == "warm" else cold_ms)


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """What operators see of a replica. Ready for JSON; None: not known, or there is none."""

    stage: Stage
    name: str
    region: str
    state: State
    breaker: Literal["closed", "half_open", "open"] | None
    in_flight: int
    queue: float | None
    kv_used_ratio: float | None
    acceptance_ratio: float | None
    first_p50_ms: float | None
    first_p95_ms: float | None
    requests: int
    failures: int
    about: Mapping[str, float] = field(default_factory=dict)

    def figures(self) -> dict[str, float]:
        """The same as `ports.Measured` has it: what this server sees of the replica, and not what it says."""
        read = {
            "requests_total": float(self.requests),
            "failures_total": float(self.failures),
            "in_flight_requests": float(self.in_flight),
            "is_warm": float(self.state == "warm"),
            "is_closed": float(self.breaker in (None, "closed")),
            "first_p50_ms": self.first_p50_ms,
            "first_p95_ms": self.first_p95_ms,
            "rtt_ms": self.about.get("rtt_ms"),
        }
        return {name: value for name, value in read.items() if value is not None}
