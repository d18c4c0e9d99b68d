"""By which factor is it slower, and could that be chance? Pure.

Both versions do the same thing in turn, on one machine, within seconds: what else the machine does hits both,
and cancels out of their ratio. What is judged is the mean of the logarithms of these ratios (so that twice as
slow and twice as quick cancel), with Student's interval: there are few of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

T_98 = (
    31.82,
    6.965,
    4.541,
    3.747,
    3.365,
    3.143,
    2.998,
    2.896,
    2.821,
    2.764,
    2.718,
    2.681,
    2.650,
    2.624,
    2.602,
)
"""Student's t for 1, 2, 3 ... degrees of freedom, 1 % beyond either end; the last one for any more."""


NOISE_RATIO = 0.25
"""Where it may be slower by more than this, nothing has been found out."""


class Verdict(Enum):
    """What is said of a figure."""

    BETTER = "better"
    SAME = "same"
    TOLERATED = "within tolerance"
    REGRESSED = "REGRESSED"
    UNKNOWN = "too few"
    NOISY = "too much noise"


@dataclass(frozen=True, slots=True)
class Ratio:
    """How a figure has changed; it is better when it is smaller.

    Attributes:
        value: Now, as a multiple of what was accepted: the geometric mean of the pairs.
        low: It lies between this and
        high: this, in 98 of 100 such runs.
        n: Pairs.
    """

    value: float
    low: float
    high: float
    n: int

    def verdict(self, tolerance_ratio: float) -> Verdict:
        """Regressed: slower by more than tolerated *and* by more than chance explains."""
        if self.n < 2:
            return Verdict.UNKNOWN
        if self.low > 1.0:
            return Verdict.REGRESSED if self.value > 1.0 + tolerance_ratio else Verdict.TOLERATED
        if self.high < 1.0:
            return Verdict.BETTER
        return Verdict.SAME if self.high <= 1.0 + NOISE_RATIO else Verdict.NOISY


def ratio_of(pairs: Sequence[tuple[float, float]]) -> Ratio | None:
    """The ratio of second to first of each pair; None of nothing.

    Args:
        pairs: Accepted, now. Only pairs of positive figures count.
    """
    logs = [math.log(now / accepted) for accepted, now in pairs if accepted > 0 and now > 0]
    n = len(logs)
    if not n:
        return None
    mean = math.fsum(logs) / n
    if n < 2:
        return Ratio(math.exp(mean), 0.0, math.inf, n)
    variance = math.fsum((one - mean) ** 2 for one in logs) / (n - 1)
    half = T_98[min(n - 1, len(T_98)) - 1] * math.sqrt(variance / n)
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half), n)
