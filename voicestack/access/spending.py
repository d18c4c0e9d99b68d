"""May somebody have one more reply, and what is left of their minute?

The token buckets of `limits.py`, each kept as the instant at which it will be full again. Here a whole
minute's worth may be used at once, because that is how the Realtime API shows limits; and what a reply costs
is known only when it is over, so a bucket may be overdrawn, and there is no further reply until it is not.
"""

import math
from dataclasses import dataclass
from typing import Literal

from voicestack.access.limits import CAPACITY, MINUTE_NS, Buckets
from voicestack.aio.clock import Clock
from voicestack.core.errors import RateLimited
from voicestack.core.standing import Standing


@dataclass(frozen=True, slots=True)
class Spender:
    """Who pays for a session's replies.

    Attributes:
        account: All sessions of an account share its limits.
        responses_per_minute: Replies. 0 is no limit.
        tokens_per_minute: Tokens that the language model reads and writes. 0 is no limit.
    """

    account: str = ""
    responses_per_minute: int = 0
    tokens_per_minute: int = 0


def remaining(free_at_ns: int, now_ns: int, per_minute: int) -> int:
    """How much of `per_minute` is left when all of it will be there at `free_at_ns`. Not below 0."""
    used = -(-max(0, free_at_ns - now_ns) * per_minute // MINUTE_NS)
    return max(0, per_minute - used)


class Spending:
    """What all accounts have used, a bounded number of them.

    Args:
        clock: Tells when.
        capacity: Buckets that are remembered. Forgetting one, that was quiet for longest, fills it.
    """

    def __init__(self, clock: Clock, capacity: int = CAPACITY) -> None:
        self._clock, self._buckets = clock, Buckets(capacity)

    def __len__(self) -> int:
        return len(self._buckets)

    def meter(self, spender: Spender) -> "AccountMeter":
        """What a session of theirs is measured with."""
        return AccountMeter(self, spender)

    def free_at_ns(self, name: str, account: str) -> int:
        """When the bucket will be full; in the past for one that is."""
        return self._buckets.full_at_ns(f"{name} {account}")

    def use(self, name: str, account: str, n: int, per_minute: int) -> None:
        """So much more was used."""
        self._buckets.overdraw(f"{name} {account}", n, per_minute, self._clock.now_ns())

    def now_ns(self) -> int:
        """Monotonic time."""
        return self._clock.now_ns()


class AccountMeter:
    """Satisfies `ports.Meter` for the sessions of one account."""

    def __init__(self, spending: Spending, spender: Spender) -> None:
        self._spending, self._account = spending, spender.account
        self._limits: dict[Literal["requests", "tokens"], int] = {
            "requests": spender.responses_per_minute,
            "tokens": spender.tokens_per_minute,
        }

    def refusal(self) -> RateLimited | None:
        """See `ports.Meter`."""
        for one in self.standings():
            if not one.remaining:
                wait_s = max(1, math.ceil(one.reset_s - 60 + 60 / one.limit))
                reached = f"Rate limit reached for {one.name}: {one.limit} a minute."
                return RateLimited(f"{reached} Please try again in {wait_s} s.")
        return None

    def begin(self) -> None:
        """See `ports.Meter`."""
        self._use("requests", 1)

    def spend(self, n_tokens: int) -> None:
        """See `ports.Meter`."""
        self._use("tokens", n_tokens)

    def standings(self) -> tuple[Standing, ...]:
        """See `ports.Meter`."""
        now_ns = self._spending.now_ns()
        return tuple(self._standing(name, limit, now_ns) for name, limit in self._limits.items() if limit)

    def _standing(self, name: Literal["requests", "tokens"], limit: int, now_ns: int) -> Standing:
        free_at_ns = self._spending.free_at_ns(name, self._account)
        reset_s = -(-max(0, free_at_ns - now_ns) // 1_000_000) / 1000
        return Standing(name, limit, remaining(free_at_ns, now_ns, limit), reset_s)

    def _use(self, name: Literal["requests", "tokens"], n: int) -> None:
        if n and self._limits[name]:
            self._spending.use(name, self._account, n, self._limits[name])
