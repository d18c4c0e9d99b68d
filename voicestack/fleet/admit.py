"""May another session come in? Only if the turns of all would still be answered in time. Pure.

What is asked is not how busy the machine is but how long a turn would take: the 95th percentile of the turns
of late, and what further sessions would add to it in front of each stage. A session that has just come shows
little of its load, so many of them are not let in at a time.
"""

import math
from dataclasses import dataclass
from typing import Literal

from voicestack.fleet.queueing import wait_ms

SHARE = 0.95

Reason = Literal["", "slow_start", "loop_lag", "kv_cache", "predicted_p95"]


@dataclass(frozen=True, slots=True)
class StageLoad:
    """A stage with places, in the window.

    Attributes:
        name: Its.
        n_places: Pieces of work at the same time.
        busy_ratio: Share of the places that was taken, 0..1; less than 1 even where all were.
        service_ms: What a piece of work took one for on average.
        service_cv2: The squared coefficient of variation of that.
        hidden_ms: Of a wait, what nobody notices: the user speaks meanwhile.
    """

    name: str
    n_places: int
    busy_ratio: float
    service_ms: float
    service_cv2: float = 1.0
    hidden_ms: float = 0.0

    def wait_ms(self, growth: float) -> float:
        """What nineteen turns of twenty would not wait longer than here, with so many times the load."""
        busy_ratio = self.busy_ratio * growth
        waited_ms = wait_ms(busy_ratio, self.n_places, self.service_ms, SHARE, self.service_cv2)
        return max(0.0, waited_ms - self.hidden_ms)


@dataclass(frozen=True, slots=True)
class Situation:
    """How things stand, and stood in the window.

    Attributes:
        n_sessions: Now.
        n_sessions_mean: In the window: they made the load.
        n_new: Sessions now that do not show their load yet.
        since_last_ms: Since the last one was let in.
        n_turns: Turns that were measured in the window.
        p95_ms: Of what they took from the user's last sample to the answer's first; infinite where too many
            had no answer. None without turns.
        stages: What has places.
        lag_ms: How late the event loop is.
        kv_used_ratio: Of the language model's KV cache, 0..1; 0 where nobody knows.
    """

    n_sessions: int = 0
    n_sessions_mean: float = 0.0
    n_new: int = 0
    since_last_ms: float = math.inf
    n_turns: int = 0
    p95_ms: float | None = None
    stages: tuple[StageLoad, ...] = ()
    lag_ms: float = 0.0
    kv_used_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What is let in.

    Attributes:
        budget_ms: Of a turn.
        target_ratio: Of the budget, what the predicted 95th percentile may be.
        hysteresis_ratio: Of the budget; it must have fallen by so much before anybody is let in again.
        floor_sessions: So many are never refused.
        start_sessions: New sessions at a time at least.
        settle_ms: So long a session is new.
        min_turns: Fewer turns in the window say nothing.
        lag_max_ms: Of the event loop.
        kv_max_ratio: Of the KV cache.
        drafts_below_ratio: Drafts are made while no stage is busier.
        retry_after_ms: What who is refused is told, on average.
    """

    budget_ms: float = 800
    target_ratio: float = 1.0
    hysteresis_ratio: float = 0.05
    floor_sessions: int = 4
    start_sessions: int = 8
    settle_ms: float = 10_000
    min_turns: int = 10
    lag_max_ms: float = 50
    kv_max_ratio: float = 0.9
    drafts_below_ratio: float = 0.6
    retry_after_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class Door:
    """What is remembered from one decision to the next.

    Attributes:
        reason: Why it is closed; empty while it is open.
        sheds_drafts: Whether no drafts are to be made.
    """

    reason: Reason = ""
    sheds_drafts: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether another session may come in.

    Attributes:
        reason: Why not; empty if it may.
        predicted_p95_ms: Of a turn, with it; None if nobody can tell.
        retry_after_ms: When to try again; 0 if it may come in.
    """

    reason: Reason = ""
    predicted_p95_ms: float | None = None
    retry_after_ms: int = 0

    @property
    def is_admitted(self) -> bool:
        """Whether it may."""
        return not self.reason


def predicted_p95_ms(now: Situation, limits: Limits, n_sessions: int) -> float | None:
    """What a turn would take, in nineteen cases of twenty, with so many sessions; None if nobody can tell.

    The turns of the window took what they took with the load of the window. To that is added what the wait in
    front of each stage grows by: each session is taken to bring the load of those that made it.
    """
    if now.p95_ms is None or now.n_turns < limits.min_turns or now.n_sessions_mean <= 0:
        return None
    growth = n_sessions / now.n_sessions_mean
    return now.p95_ms + sum(stage.wait_ms(growth) - stage.wait_ms(1.0) for stage in now.stages)


def decide(door: Door, now: Situation, limits: Limits, jitter: float = 0.5) -> tuple[Door, Decision]:
    """May another one come in?

    Args:
        door: As the last decision left it.
        now: See there.
        limits: See there.
        jitter: 0..1, random: so that those who were refused together do not come back together.
    """
    predicted_ms = predicted_p95_ms(now, limits, now.n_sessions + 1)
    reason = _closed(door, now, limits, predicted_ms)
    busiest = max((stage.busy_ratio for stage in now.stages), default=0.0)
    eased = limits.hysteresis_ratio if door.sheds_drafts else 0.0
    is_crowded = bool(reason) and now.n_sessions >= limits.floor_sessions
    sheds = is_crowded or busiest > limits.drafts_below_ratio - eased
    door = Door(reason, sheds_drafts=sheds)
    if not reason and _starts_slowly(now, limits):
        reason = "slow_start"
    if not reason or now.n_sessions < limits.floor_sessions:
        return door, Decision("", predicted_ms)
    return door, Decision(reason, predicted_ms, round(limits.retry_after_ms * (0.5 + jitter)))


def _starts_slowly(now: Situation, limits: Limits) -> bool:
    """Whether too many are new, or come at once: those who begin together go on to speak together."""
    n_most = max(limits.start_sessions, now.n_sessions - now.n_new)
    gap_ms = limits.settle_ms / n_most / 2
    is_rush = 2 * now.n_new >= limits.start_sessions and now.since_last_ms < gap_ms
    return is_rush or now.n_new >= n_most


def _closed(door: Door, now: Situation, limits: Limits, predicted_ms: float | None) -> Reason:
    """Why nobody should come in; once closed it takes a little less to stay so."""
    if now.lag_ms > limits.lag_max_ms * _eased(door, "loop_lag", limits):
        return "loop_lag"
    if now.kv_used_ratio > limits.kv_max_ratio * _eased(door, "kv_cache", limits):
        return "kv_cache"
    target = limits.target_ratio - (limits.hysteresis_ratio if door.reason == "predicted_p95" else 0.0)
    if predicted_ms is not None and predicted_ms > target * limits.budget_ms:
        return "predicted_p95"
    return ""


def _eased(door: Door, reason: Reason, limits: Limits) -> float:
    return 1.0 - limits.hysteresis_ratio if door.reason == reason else 1.0


def headroom_sessions(now: Situation, limits: Limits, max_sessions: int) -> int | None:
    """How many more could come in, one after the other; None if nobody can tell."""
    if predicted_p95_ms(now, limits, now.n_sessions + 1) is None:
        return None

    def fits(n_more: int) -> bool:
        ms = predicted_p95_ms(now, limits, now.n_sessions + n_more)
        return ms is not None and ms <= limits.target_ratio * limits.budget_ms

    low, high = 0, max(0, max_sessions - now.n_sessions)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def finite(ms: float | None) -> float | None:
    """What can be written into JSON: beyond all bounds is no number there."""
    return None if ms is None or math.isinf(ms) else ms
