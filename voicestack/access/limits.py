"""May this happen now, or how long until it may? Decided by numbers alone; the time is given."""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

BURST_S = 20
"""Seconds of its rate that somebody who was quiet may use at once: an office comes to work."""

CAPACITY = 65_536
"""Names that are remembered, about 10 MB. Beyond it the one that was quiet for longest is forgotten."""


MINUTE_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a minute, and a burst of a third of them at once. 0 is no limit."""

    per_minute: int

    @property
    def interval_ns(self) -> int:
        """From one to the next in the long run."""
        return MINUTE_NS // self.per_minute

    @property
    def burst(self) -> int:
        """How many may come at the same instant."""
        return max(1, self.per_minute * BURST_S // 60)


def next_free_ns(free_at_ns: int, now_ns: int, rate: Rate) -> tuple[int, int]:
    """One more at `now_ns`.

    A token bucket kept as one number: the instant at which it will be full again.

    Args:
        free_at_ns: That instant, as it was returned last; 0 at first.
        now_ns: Monotonic time.
        rate: Not 0.

    Returns:
        The new instant, and 0; or the old one, and how long to wait before the next try.
    """
    after_ns = max(free_at_ns, now_ns) + rate.interval_ns
    wait_ns = after_ns - now_ns - rate.burst * rate.interval_ns
    return (free_at_ns, wait_ns) if wait_ns > 0 else (after_ns, 0)


@dataclass(frozen=True, slots=True)
class Charge:
    """One more of something, on somebody's account."""

    account: str
    rate: Rate


class Buckets:
    """Token buckets by name, a bounded number of them.

    Args:
        capacity: Names that are remembered. A bucket that is forgotten is full again.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._free_at_ns: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._free_at_ns)

    def take(self, charges: Sequence[Charge], now_ns: int) -> int:
        """Charge all accounts, or none. Returns 0, or the nanoseconds after which all could pay."""
        bills = [charge for charge in charges if charge.rate.per_minute]
        paid = [next_free_ns(self._free_at_ns.get(bill.account, 0), now_ns, bill.rate) for bill in bills]
        wait_ns = max((wait for _, wait in paid), default=0)
        for bill, (free_at_ns, _) in zip(bills, paid, strict=True):
            if not wait_ns:
                self._free_at_ns[bill.account] = free_at_ns
            if bill.account in self._free_at_ns:
                self._free_at_ns.move_to_end(bill.account)
        self._forget()
        return wait_ns

    def overdraw(self, account: str, n: int, per_minute: int, now_ns: int) -> None:
        """So much was used, whether or not it was there."""
        full_ns = max(self.full_at_ns(account), now_ns) + n * MINUTE_NS // per_minute
        self._free_at_ns[account] = full_ns
        self._free_at_ns.move_to_end(account)
        self._forget()

    def full_at_ns(self, account: str) -> int:
        """When the bucket will be full; in the past for one that is."""
        return self._free_at_ns.get(account, 0)

    def _forget(self) -> None:
        while len(self._free_at_ns) > self._capacity:
            self._free_at_ns.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Seat:
    """One more at once, on somebody's account. A cap of 0 is no limit."""

    account: str
    cap: int


class Seats:
    """How many there are at once, by name. Holds only those that are there."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._taken)

    def full(self, seats: Sequence[Seat]) -> Seat | None:
        """The first account that has no seat left."""
        return next((seat for seat in seats if seat.cap and self._taken[seat.account] >= seat.cap), None)

    def take(self, seats: Sequence[Seat]) -> None:
        """Count them. The caller has asked `full` first."""
        self._taken.update(seat.account for seat in seats)

    def leave(self, seats: Sequence[Seat]) -> None:
        """Count them no more."""
        for seat in seats:
            self._taken[seat.account] -= 1
            if self._taken[seat.account] <= 0:
                del self._taken[seat.account]
