"""Who is let in now, and how full is the server? Measures what `fleet.admit` decides upon."""

import asyncio
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from voicestack.aio.clock import Clock
from voicestack.config.schema import Config
from voicestack.core.errors import Overloaded
from voicestack.core.marks import TurnMarks
from voicestack.core.queues import QueueReading
from voicestack.core.turn_record import TurnRecord
from voicestack.fleet.admit import (
    SHARE,
    Decision,
    Door,
    Limits,
    Situation,
    StageLoad,
    decide,
    finite,
    headroom_sessions,
)
from voicestack.fleet.capacity import CapacityView
from voicestack.ports import Llm, Measured
from voicestack.server.readiness import Readiness
from voicestack.session.tuning import Engines
from voicestack.telemetry.metrics import Metrics

LOOK_S = 0.1
"""How often the event loop's lateness is looked at; ten wake-ups a second are 0.05 % of a core."""
LOOKS_KEPT = 50
SAMPLE_NS = 1_000_000_000
"""How often queues and sessions are counted."""
MAX_TURNS = 20_000
"""Turns kept: a window of 30 s at 600 turns a second."""
REASONS = ("not_ready", "full", "slow_start", "loop_lag", "kv_cache", "predicted_p95")
NO_ANSWER = ("refused", "failed")
"""Outcomes that count as if the answer had taken for ever."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """Counts at an instant."""

    at_ns: int
    n_sessions: int
    session_ns: int
    queues: Mapping[str, QueueReading]


class Gate:
    """Decides whether another session may come in. Run `run` in a task of its own.

    Args:
        config: Its sections `admission`, `budget` and `server`.
        clock: Times everything.
        n_sessions: How many there are now.
        queues: How those in front of the stages are now.
        kv_used_ratio: Of the language model's KV cache; 0 where nobody knows.
        not_ready: Why nobody can be let in at all; None if somebody can.
        rng: Spreads those who were refused.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        *,
        n_sessions: Callable[[], int],
        queues: Callable[[], Sequence[QueueReading]],
        kv_used_ratio: Callable[[], float] = lambda: 0.0,
        not_ready: Callable[[], str | None] = lambda: None,
        rng: random.Random | None = None,
    ) -> None:
        self._section, self._clock = config.admission, clock
        self._n_max, self._limits = config.server.max_sessions, limits_of(config)
        self._n_sessions, self._queues = n_sessions, queues
        self._kv_used_ratio, self._not_ready = kv_used_ratio, not_ready
        self._rng = rng or random.Random()
        self._door = Door()
        self._turns: deque[tuple[int, float]] = deque(maxlen=MAX_TURNS)
        self._lags_ms: deque[float] = deque(maxlen=LOOKS_KEPT)
        self._samples: deque[_Sample] = deque()
        self._refused: Counter[str] = Counter()
        self._situation = Situation()
        self._admitted_ns: int | None = None
        self._samples.append(_Sample(clock.now_ns(), 0, 0, {}))

    def turn_recorded(self, record: TurnRecord) -> None:
        """A turn is over. Cold ones say nothing about the load, nor do those that were broken off."""
        took_ms = record.marks.response_ms
        if record.was_cold or (took_ms is None and record.outcome not in NO_ANSWER):
            return
        self._turns.append((self._clock.now_ns(), math.inf if took_ms is None else took_ms))

    def answer_heard(self, turn_id: str, marks: TurnMarks) -> None:
        """See `TurnListener`. What counts here is when the answer left."""

    def admits(self) -> Overloaded | None:
        """Why another session cannot be taken now; None if it can. A refusal is counted."""
        reason, decision = self._judge()
        if not reason:
            self._admitted_ns = self._clock.now_ns()
            return None
        self._refused[reason] += 1
        return self._overloaded(reason, decision)

    def takes_requests(self) -> Overloaded | None:
        """Why no request for a stage alone can be taken now; None if it can. Calls come first."""
        reason, decision = self._judge()
        return self._overloaded(reason, decision) if reason not in ("", "slow_start") else None

    def sheds_drafts(self) -> bool:
        """Whether no drafts are to be made now."""
        return self._section.enabled and self._door.sheds_drafts

    def capacity(self) -> CapacityView:
        """How full the server is."""
        reason, decision = self._judge()
        headroom = headroom_sessions(self._now(), self._limits, self._n_max)
        return CapacityView(
            n_sessions=self._n_sessions(),
            max_sessions=self._n_max,
            is_admitting=not reason,
            reason=reason,
            predicted_p95_ms=decision.predicted_p95_ms,
            budget_ms=self._limits.budget_ms,
            headroom_sessions=headroom,
            refused=dict(self._refused),
            queues=tuple(self._queues()),
            sheds_drafts=self.sheds_drafts(),
        )

    def figures(self) -> Mapping[str, float]:
        """See `ports.Measured`: what decides, and who was refused."""
        reason, decision = self._judge()
        predicted_ms = finite(decision.predicted_p95_ms)
        return {
            "admitting": float(not reason),
            "sheds_drafts": float(self.sheds_drafts()),
            "loop_lag_ms": self._situation.lag_ms,
            **({} if predicted_ms is None else {"predicted_p95_ms": predicted_ms}),
            **{f"refused_{why}_total": float(self._refused[why]) for why in REASONS},
        }

    async def run(self) -> None:
        """Watch the event loop, and count, until cancelled."""
        while True:
            due_ns = self._clock.now_ns() + round(LOOK_S * 1e9)
            await asyncio.sleep(LOOK_S)
            self._lags_ms.append(max(0, self._clock.now_ns() - due_ns) / 1e6)
            if self._clock.now_ns() - self._samples[-1].at_ns >= SAMPLE_NS:
                self.sample()

    def sample(self) -> None:
        """Count now. `run` does it every second."""
        now_ns, n = self._clock.now_ns(), self._n_sessions()
        last = self._samples[-1]
        session_ns = last.session_ns + (last.n_sessions + n) * (now_ns - last.at_ns) // 2
        queues = {one.name: one for one in self._queues()}
        self._samples.append(_Sample(now_ns, n, session_ns, queues))
        first_ns = now_ns - round(self._section.window_s * 1e9)
        while len(self._samples) > 2 and self._samples[1].at_ns <= first_ns:
            self._samples.popleft()
        while self._turns and self._turns[0][0] < first_ns:
            self._turns.popleft()
        self._situation = self._measured()
        self._door = decide(self._door, self._now(), self._limits)[0]

    def _judge(self) -> tuple[str, Decision]:
        n_sessions = self._n_sessions()
        nothing = Decision(retry_after_ms=1_000)
        if self._not_ready() is not None:
            return "not_ready", nothing
        if n_sessions >= self._n_max:
            return "full", nothing
        if not self._section.enabled:
            return "", Decision()
        decision = decide(self._door, self._now(), self._limits, self._rng.random())[1]
        return decision.reason, decision

    def _overloaded(self, reason: str, decision: Decision) -> Overloaded:
        said = {
            "not_ready": f"not ready: {self._not_ready()}",
            "full": f"all {self._n_max} sessions are taken",
        }.get(reason, f"too much load: {reason}")
        said += f"; try again in {decision.retry_after_ms / 1000:.1f} s"
        section = self._section
        if section.elsewhere_url and reason != "not_ready":
            said += f" or at {section.elsewhere_url}"  # a close frame has room for 120 characters
        region = section.elsewhere_region or None
        return Overloaded(said, retry_after_ms=decision.retry_after_ms, region=region)

    def _now(self) -> Situation:
        """What was measured, with the sessions of this instant."""
        s, n = self._situation, self._n_sessions()
        since_ns = self._clock.now_ns() - round(self._section.settle_s * 1e9)
        old = min((one.n_sessions for one in self._samples if one.at_ns >= since_ns), default=n)
        n_new = n - min(n, old)
        since_ms = math.inf
        if self._admitted_ns is not None:
            since_ms = (self._clock.now_ns() - self._admitted_ns) / 1e6
        return replace(s, n_sessions=n, n_new=n_new, since_last_ms=since_ms)

    def _measured(self) -> Situation:
        first, last = self._samples[0], self._samples[-1]
        span_ns = max(1, last.at_ns - first.at_ns)
        took_ms = sorted(ms for _, ms in self._turns)
        lags_ms = sorted(self._lags_ms)
        return Situation(
            n_sessions=last.n_sessions,
            n_sessions_mean=(last.session_ns - first.session_ns) / span_ns,
            n_turns=len(took_ms),
            p95_ms=took_ms[_rank(len(took_ms))] if took_ms else None,
            stages=tuple(_loads(first.queues, last.queues, span_ns / 1e6)),
            lag_ms=lags_ms[_rank(len(lags_ms))] if lags_ms else 0.0,
            kv_used_ratio=self._kv_used_ratio(),
        )


def limits_of(config: Config) -> Limits:
    """What the configuration lets in."""
    section = config.admission
    return Limits(
        budget_ms=config.budget.turn_ms,
        target_ratio=section.target_ratio,
        hysteresis_ratio=section.hysteresis_ratio,
        floor_sessions=section.floor_sessions,
        start_sessions=section.start_sessions,
        settle_ms=section.settle_s * 1e3,
        min_turns=section.min_turns,
        lag_max_ms=section.lag_max_ms,
        kv_max_ratio=section.kv_max_ratio,
        drafts_below_ratio=section.drafts_below_ratio,
        retry_after_ms=section.retry_after_ms,
    )


def _rank(n: int) -> int:
    """Which of n sorted values is the 95th percentile (nearest rank)."""
    return max(0, math.ceil(SHARE * n - 1e-9) - 1)


def _loads(
    first: Mapping[str, QueueReading], last: Mapping[str, QueueReading], span_ms: float
) -> list[StageLoad]:
    loads = []
    for name, now in last.items():
        if not now.n_places:
            continue
        before = first.get(name, QueueReading(name))
        busy_ms, n_served = now.busy_ms - before.busy_ms, now.n_served - before.n_served
        service_ms = busy_ms / max(1, n_served)
        busy_ratio = min(0.99, busy_ms / (now.n_places * span_ms))
        hidden_ms = service_ms if now.is_hidden else 0.0
        loads.append(StageLoad(name, now.n_places, busy_ratio, service_ms, now.service_cv2, hidden_ms))
    return loads


def gate_of(
    config: Config,
    engines: Engines,
    readiness: Readiness,
    metrics: Metrics,
    *,
    clock: Clock,
    n_sessions: Callable[[], int],
) -> Gate:
    """The server's gate: it is told of every turn, and its figures are exported."""
    gate = Gate(
        config,
        clock,
        n_sessions=n_sessions,
        queues=metrics.queues.all,
        kv_used_ratio=lambda: _kv_used_ratio(engines.llm),
        not_ready=lambda: None if readiness.ever else str(readiness.reason),
    )
    metrics.listeners.append(gate)
    metrics.engines.watch_figures("admission", gate.figures)
    return gate


def _kv_used_ratio(llm: Llm) -> float:
    return llm.figures().get("kv_use_ratio", 0.0) if isinstance(llm, Measured) else 0.0
