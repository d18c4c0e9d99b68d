"""May a replica be asked, after what became of the requests to it? A circuit breaker, as values.

::

    CLOSED  --too many failures, or too slow-->  OPEN  --after a while-->  HALF_OPEN (one probe)
       ^                                           ^                          |
       +---------------- the probe went well ------|--------------------------+
                                                   +-- it failed, or was slow
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal


class BreakerState(Enum):
    """What a breaker lets through."""

    CLOSED = "closed"  # everything
    HALF_OPEN = "half_open"  # one request, to see
    OPEN = "open"  # nothing


Result = Literal["good", "slow", "failed", "rejected", "dropped"]
"""What became of a request, for its replica: `slow` it answered later than the budget allows, `rejected` it
said that it never will, `dropped` nobody waited long enough to know."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, and for how long.

    Attributes:
        failures: So many failures in a row. Envoy's `consecutive_5xx` is 5, which at one turn every few
            seconds would cost five users their answer; the third one is evidence enough.
        failure_ratio: Or so many of the last `window`, resilience4j's `failureRateThreshold` of 50 %.
        slow_ratio: Or so many of them later than `slow_ms`; a slow answer costs less than none.
        slow_ms: First result later than this is slow: the budget.
        window: Requests that are looked at.
        least: With fewer of them ratios mean nothing.
        open_ms: First time out. Envoy's `base_ejection_time` is 30 s; a probe costs one token, so that it can
            be tried sooner.
        max_open_ms: Longest one: it doubles with every probe that fails. Envoy's is 300 s.
    """

    failures: int = 3
    failure_ratio: float = 0.5
    slow_ratio: float = 0.8
    slow_ms: float = 800
    window: int = 20
    least: int = 10
    open_ms: float = 2_000
    max_open_ms: float = 60_000


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is remembered of one replica.

    Attributes:
        recent: What became of its last requests, oldest first.
        until_ns: Until when nothing is let through; None while everything is.
        n_opened: How often it has opened since it was closed.
        probing: The one request of a half-open breaker is under way.
        is_out: The replica said that it will never serve; only a health probe helps.
    """

    recent: tuple[Result, ...] = ()
    until_ns: int | None = None
    n_opened: int = 0
    probing: bool = False
    is_out: bool = False

    def state(self, now_ns: int) -> BreakerState:
        """What it lets through now."""
        if self.until_ns is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self.is_out or now_ns < self.until_ns else BreakerState.HALF_OPEN

    def allows(self, now_ns: int) -> bool:
        """Whether a request may be made now."""
        state = self.state(now_ns)
        return state is BreakerState.CLOSED or (state is BreakerState.HALF_OPEN and not self.probing)


def began(breaker: Breaker, now_ns: int) -> Breaker:
    """A request is made. Of a half-open breaker it is the probe."""
    if breaker.state(now_ns) is BreakerState.HALF_OPEN:
        return replace(breaker, probing=True)
    return breaker


def ended(breaker: Breaker, result: Result, now_ns: int, policy: BreakerPolicy) -> Breaker:
    """What follows from what became of a request. Pure.

    A result that comes while the breaker is open is of a request from before: only one that is good counts
    there, as it is evidence, and none makes it stay open longer.
    """
    state = breaker.state(now_ns)
    if result == "dropped":
        return replace(breaker, probing=False) if breaker.probing else breaker
    if result == "rejected":
        return _opened(breaker, now_ns, policy, is_out=True)
    if state is BreakerState.HALF_OPEN and breaker.probing:
        return Breaker((result,)) if result == "good" else _opened(breaker, now_ns, policy)
    if state is not BreakerState.CLOSED:
        return breaker
    noted = replace(breaker, recent=(*breaker.recent, result)[-policy.window :])
    is_bad = result != "good" and _is_too_much(noted.recent, policy)
    return _opened(noted, now_ns, policy) if is_bad else noted


def healed(breaker: Breaker, now_ns: int) -> Breaker:
    """A health probe went well: a replica that had refused for good may be tried again, with one request."""
    return replace(breaker, is_out=False, until_ns=now_ns, probing=False) if breaker.is_out else breaker


def _opened(breaker: Breaker, now_ns: int, policy: BreakerPolicy, *, is_out: bool = False) -> Breaker:
    open_ms = min(policy.open_ms * 2 ** min(breaker.n_opened, 30), policy.max_open_ms)
    return Breaker((), now_ns + round(open_ms * 1e6), breaker.n_opened + 1, is_out=is_out or breaker.is_out)


def _is_too_much(recent: tuple[Result, ...], policy: BreakerPolicy) -> bool:
    last = recent[-policy.failures :]
    if len(last) == policy.failures and all(result == "failed" for result in last):
        return True
    if len(recent) < policy.least:
        return False
    n_failed, n_slow = recent.count("failed"), recent.count("slow")
    return n_failed >= policy.failure_ratio * len(recent) or n_failed + n_slow >= max(
        policy.slow_ratio, policy.failure_ratio
    ) * len(recent)
