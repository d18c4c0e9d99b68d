"""One replica of a pool: its engine, what is known of it, and the requests that it works on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from types import TracebackType
from typing import Generic, TypeVar

from voicestack.aio.clock import Clock
from voicestack.core.errors import (
    Stage,
    StageError,
    StageExpired,
    StageOverloaded,
    StageRejected,
)
from voicestack.fleet.breaker import Breaker, BreakerPolicy, Result, began, ended, healed
from voicestack.fleet.figures import Pace, ReplicaFigures
from voicestack.fleet.replica import Kind, Replica, ReplicaView, State
from voicestack.ports import Measured

E = TypeVar("E")

FULL_NS = 1_000_000_000
"""A replica that said that it is full is asked again after so long, as `Retry-After: 1` has it."""


@dataclass(frozen=True, slots=True)
class About:
    """What is fixed about a replica.

    Attributes:
        name: Unique among the replicas of its stage.
        region: Where it is.
        stage: What it does.
        kind: How it is reached.
        places: Requests that it computes at the same time.
        cap: Requests that are made at the same time at most; None for any number.
        rtt_ms: The way there and back, until it is measured.
        speculates: It drafts tokens and checks several at once, which makes the first one later.
    """

    name: str
    region: str
    stage: Stage
    kind: Kind = "local"
    places: int = 1
    cap: int | None = None
    rtt_ms: float = 0.0
    speculates: bool = False


@dataclass(slots=True)
class Health:
    """How a replica is, as whoever looks after it says. A new one is thought to be well."""

    rtt_ms: float = 0.0
    state: State = "warm"


@dataclass(eq=False)
class Member(Generic[E]):
    """One replica. For one event loop.

    Attributes:
        engine: Does the work.
        about: What is fixed about it.
        clock: For all durations.
        policy: When its breaker opens.
        pace: What is expected of it until it has been measured.
        state: How it is, asked whenever it matters; None to go by `health`.
        health: Written by whoever looks after it.
        breaker: What is remembered of its failures.
        on_free: Called when a request to it is over.
        on_time: Called with the milliseconds to a first result, or, with False, until nobody waited for it
            any more.
    """

    engine: E
    about: About
    clock: Clock
    policy: BreakerPolicy = BreakerPolicy()
    pace: Pace = Pace()
    state: Callable[[], State] | None = None
    health: Health = field(default_factory=Health)
    breaker: Breaker = Breaker()
    on_free: list[Callable[[], None]] = field(default_factory=list)
    on_time: list[Callable[[float, bool], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.health.rtt_ms = self.about.rtt_ms
        self.figures = ReplicaFigures(self.pace)
        self.calls: dict[int, Call[E]] = {}
        self.full_until_ns = 0
        self.asked_ns: int | None = None
        self.n_requests = self.n_failures = 0

    @property
    def name(self) -> str:
        """Unique among the replicas of its stage."""
        return self.about.name

    def call(self, *, is_timed: bool = True) -> "Call[E]":
        """Ask it for something. Enter the call, say `first` with the first result, and leave it at the end.

        Args:
            is_timed: What it takes says something about what others will.
        """
        return Call(self, is_timed=is_timed)

    def now(self) -> Replica:
        """How it is."""
        now_ns = self.clock.now_ns()
        waiting = [call.begun_ns for call in self.calls.values() if call.is_timed and call.first_ms is None]
        return Replica(
            self.about.name,
            self.about.region,
            self.about.kind,
            self.health.rtt_ms,
            len(self.calls),
            self.about.places,
            self.about.cap,
            self.health.state if self.state is None else self.state(),
            self.breaker.state(now_ns),
            not self.breaker.probing,
            self.figures.expected_ms(now_ns, 0.5),
            self.figures.expected_ms(now_ns, 0.95),
            self.figures.busy_ms,
            max(0.0, (now_ns - min(waiting)) / 1e6 - self.health.rtt_ms) if waiting else 0.0,
            now_ns < self.full_until_ns,
        )

    def heal(self) -> None:
        """A health probe went well."""
        self.breaker = healed(self.breaker, self.clock.now_ns())

    def view(self) -> ReplicaView:
        """What operators see."""
        now_ns = self.clock.now_ns()
        replica = self.now()
        told = self.engine.figures() if isinstance(self.engine, Measured) else {}
        p50_ms, p95_ms = (self.figures.measured_ms(now_ns, quantile) for quantile in (0.5, 0.95))
        return ReplicaView(
            stage=self.about.stage,
            name=replica.name,
            region=replica.region,
            state=replica.state,
            breaker=replica.breaker.value,
            in_flight=replica.in_flight,
            queue=told.get("waiting"),
            kv_used_ratio=told.get("kv_use_ratio"),
            acceptance_ratio=told.get("accept_ratio"),
            first_p50_ms=None if p50_ms is None else p50_ms + replica.rtt_ms,
            first_p95_ms=None if p95_ms is None else p95_ms + replica.rtt_ms,
            requests=self.n_requests,
            failures=self.n_failures,
            about={"rtt_ms": replica.rtt_ms, **told},
        )


class Call(Generic[E]):
    """One request to a replica, from its beginning to its end.

    Attributes:
        begun_ns: When it was made.
        was_warm: Whether the replica was, then.
        first_ms: Until its first result; None while there is none.
        is_timed: Whether that says something about others.
    """

    def __init__(self, member: Member[E], *, is_timed: bool) -> None:
        self._member = member
        self.is_timed = is_timed
        self.begun_ns = 0
        self.was_warm = True
        self.first_ms: float | None = None

    def __enter__(self) -> "Call[E]":
        member = self._member
        self.begun_ns = member.clock.now_ns()
        self.was_warm = member.now().state == "warm"
        member.breaker = began(member.breaker, self.begun_ns)
        member.calls[id(self)] = self
        if self.is_timed:
            member.asked_ns = self.begun_ns
        member.n_requests += 1
        return self

    def first(self) -> None:
        """The first result is there; later ones change nothing."""
        if self.first_ms is None:
            member, now_ns = self._member, self._member.clock.now_ns()
            self.first_ms = (now_ns - self.begun_ns) / 1e6
            if self.is_timed:
                member.figures.first(now_ns, self.first_ms - member.health.rtt_ms)
                self._time(self.first_ms, finished=True)

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        member, now_ns = self._member, self._member.clock.now_ns()
        del member.calls[id(self)]
        took_ms = (now_ns - self.begun_ns) / 1e6
        if error is None and self.is_timed:
            member.figures.whole(took_ms)
        if self.is_timed and self.first_ms is None and not isinstance(error, StageError):
            self._time(took_ms, finished=False)
        if isinstance(error, StageOverloaded):
            member.full_until_ns = now_ns + FULL_NS
        slow_ms = member.policy.slow_ms if self.is_timed else inf
        result = result_of(error, self.first_ms, took_ms, slow_ms)
        member.n_failures += result in ("failed", "rejected")
        member.breaker = ended(member.breaker, result, now_ns, member.policy)
        for callback in member.on_free:
            callback()

    def _time(self, took_ms: float, *, finished: bool) -> None:
        for callback in self._member.on_time:
            callback(took_ms, finished)


def result_of(error: BaseException | None, first_ms: float | None, took_ms: float, slow_ms: float) -> Result:
    """What a request says of its replica.

    Args:
        error: How it ended. What is no error of a stage is whoever asked going away.
        first_ms: Until its first result; None if there was none.
        took_ms: All of it.
        slow_ms: A first result that comes later is slow.

    A replica that is full is well, and so is one whose model calls a function that there is not: neither is
    held against it.
    """
    if isinstance(error, StageRejected):
        return "rejected"
    if isinstance(error, StageError) and error.retryable and not isinstance(error, StageOverloaded):
        return "failed"
    if first_ms is not None:
        return "slow" if first_ms > slow_ms else "good"
    if isinstance(error, StageOverloaded):
        return "dropped"
    is_unanswered = error is None or not isinstance(error, StageError) or isinstance(error, StageExpired)
    return "slow" if is_unanswered and took_ms > slow_ms else "dropped"
