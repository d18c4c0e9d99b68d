"""How long did something take of late, in one case of two, in nineteen of twenty?

KLL sketches (Karnin, Lang, Liberty 2016, https://arxiv.org/abs/1603.05346) from Apache DataSketches: an
update takes some 0.1 us, a quantile 0.1 us, or 7 us right after an update, and a sketch some kB however much
it is told. Sketches cannot forget, so two of them take turns.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

from datasketches import kll_floats_sketch  # type: ignore[import-untyped]


class Kll(Protocol):
    """What is used of `kll_floats_sketch`, which has no types of its own."""

    @property
    def n(self) -> int: ...  # noqa: D102
    def update(self, item: float, /) -> None: ...  # noqa: D102
    def merge(self, sketch: "Kll", /) -> None: ...  # noqa: D102
    def is_empty(self) -> bool: ...  # noqa: D102
    def get_max_value(self) -> float: ...  # noqa: D102
    def get_rank(self, value: float, *, inclusive: bool) -> float: ...  # noqa: D102
    def get_quantile(self, rank: float, *, inclusive: bool) -> float: ...  # noqa: D102
    def get_quantiles(self, ranks: Sequence[float], *, inclusive: bool) -> list[float]: ...  # noqa: D102


SKETCH_ITEMS = 400
"""Kll's k: ranks are wrong by 0.7 % at most in 99 cases of 100; up to so many values are kept as they are."""
RECENT_NS = 60_000_000_000
"""A minute is about six turns of a conversation. Two of them: what is older than two minutes is forgotten."""
SLOW_NS = 600_000_000_000
"""What the last 10 to 20 minutes were like counts as long as the last two say too little."""
ENOUGH = 8
"""Fewer values than this say too little: the largest of 8 is over the 90th percentile more often than not."""
BUCKETS = ("1", "2-3", "4-7", "8-15", "16+")
"""Replies in flight: within a bucket the load differs by less than a factor of two."""
NEAREST = tuple(
    tuple(sorted(range(len(BUCKETS)), key=lambda other: (abs(other - bucket), -other)))
    for bucket in range(len(BUCKETS))
)
"""For each bucket all of them, the nearest first; of two that are as near the one with more load."""
GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, spread evenly however many there are (Weyl's sequence)."""


def bucket_of(n_in_flight: int) -> int:
    """The place in BUCKETS of a load."""
    return min(max(1, n_in_flight).bit_length() - 1, len(BUCKETS) - 1)


class Left:
    """How much longer something will take that has been waited for already.

    The n values that are longer than the wait are a sample of what may happen; one more value that nobody has
    seen is put to them, so that a small sample promises little: the next value is over the largest of n
    with probability 1/(n + 1). It is taken to be as long again as the wait was, or the largest seen.

    Args:
        sketch: What it took before; not empty.
        waited_ms: For how long it has been waited for.
    """

    def __init__(self, sketch: Kll, waited_ms: float = 0.0) -> None:
        self._sketch, self._waited_ms = sketch, waited_ms
        self._p_before = sketch.get_rank(waited_ms, inclusive=True) if waited_ms > 0 else 0.0
        self._n_after = sketch.n * (1.0 - self._p_before)
        self._last_ms = max(sketch.get_max_value(), 2.0 * waited_ms)

    def quantile_ms(self, p: float) -> float:
        """In the share `p` (0..1) of cases it takes no longer from now."""
        p_seen = p * (self._n_after + 1.0) / self._n_after if self._n_after else math.inf
        if p_seen > 1.0:
            return self._last_ms - self._waited_ms
        p_all = self._p_before + p_seen * (1.0 - self._p_before)
        return max(0.0, self._sketch.get_quantile(p_all, inclusive=True) - self._waited_ms)

    def p_over(self, ms: float) -> float:
        """The share of cases in which it takes longer than this from now."""
        until_ms = self._waited_ms + ms
        if until_ms >= self._last_ms:
            return 0.0
        n_over = self._sketch.n * (1.0 - self._sketch.get_rank(until_ms, inclusive=True))
        return (n_over + 1.0) / (self._n_after + 1.0)


def first_of_ms(one: Left, other: Left, p: float) -> float:
    """When the first of two that are independent is there, in the share `p` of cases."""
    low_ms, high_ms = 0.0, min(one.quantile_ms(p), other.quantile_ms(p))
    while high_ms - low_ms > 1.0:
        middle_ms = (low_ms + high_ms) / 2
        if one.p_over(middle_ms) * other.p_over(middle_ms) > 1.0 - p:
            low_ms = middle_ms
        else:
            high_ms = middle_ms
    return high_ms


class Window:
    """The values of the last one to two periods.

    Args:
        period_ns: Its length.
    """

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._ends_ns = -1
        self._now, self._before = _empty(), _empty()
        self._both: Kll | None = None

    def add(self, ms: float, now_ns: int) -> None:
        """Take a value."""
        self._turn(now_ns)
        self._now.update(ms)
        self._both = None

    def sketch(self, now_ns: int) -> Kll:
        """All of them. Do not change it."""
        self._turn(now_ns)
        if self._before.is_empty():
            return self._now
        if self._both is None:
            self._both = _empty()
            self._both.merge(self._before)
            self._both.merge(self._now)
        return self._both

    def _turn(self, now_ns: int) -> None:
        if now_ns < self._ends_ns:
            return
        is_next = now_ns < self._ends_ns + self._period_ns
        self._before = self._now if is_next else _empty()
        self._now, self._both = _empty(), None
        self._ends_ns = self._ends_ns + self._period_ns if is_next else now_ns + self._period_ns


class Times:
    """What one stage of one replica takes, at each load.

    Args:
        supposed_ms: What is taken for values until there are enough.
    """

    def __init__(self, supposed_ms: Iterable[float] = ()) -> None:
        self._recent = [Window(RECENT_NS) for _ in BUCKETS]
        self._slow = [Window(SLOW_NS) for _ in BUCKETS]
        self._supposed_ms = tuple(supposed_ms)
        self._turn_ratio = 0.0

    def add(self, ms: float, bucket: int, now_ns: int, *, finished: bool = True) -> None:
        """Take a value. What did not finish counts for what it would have taken, as far as that is known.

        Left out, or taken as it is, it would make forecasts too good. So it is as if one of the longer ones
        had been drawn, each in its turn: over many of them that is Efron's redistribution to the right,
        which is the Kaplan-Meier estimate.
        """
        if not finished:
            self._turn_ratio = (self._turn_ratio + GOLDEN) % 1.0
            known = self.sketch(bucket, now_ns)
            ms += ms * self._turn_ratio if known is None else Left(known, ms).quantile_ms(self._turn_ratio)
        self._recent[bucket].add(ms, now_ns)
        self._slow[bucket].add(ms, now_ns)

    def sketch(self, bucket: int, now_ns: int) -> Kll | None:
        """What is known for a load, of late if possible, else the nearest load that enough is known of.

        Too little is put to what is supposed; None if nothing is.
        """
        for windows in (self._recent, self._slow):
            for near in NEAREST[bucket]:
                sketch = windows[near].sketch(now_ns)
                if sketch.n >= ENOUGH:
                    return sketch
        return self._thin(now_ns)

    def everything(self, now_ns: int) -> Kll:
        """What was seen of late, at any load."""
        return _merged(window.sketch(now_ns) for window in self._recent)

    def _thin(self, now_ns: int) -> Kll | None:
        """The little that is known, and what is supposed."""
        if not self._supposed_ms:
            return None
        known = _merged(window.sketch(now_ns) for window in self._slow)
        for ms in self._supposed_ms:
            known.update(ms)
        return known


def _empty() -> Kll:
    sketch: Kll = kll_floats_sketch(SKETCH_ITEMS)
    return sketch


def _merged(sketches: Iterable[Kll]) -> Kll:
    merged = _empty()
    for sketch in sketches:
        merged.merge(sketch)
    return merged
