"""Which value do 50, 95 and 99 of 100 turns not exceed? Exactly, and for many groups at once.

The percentile is the nearest rank: the smallest value that so many do not exceed, a value that has been
measured. Nothing is interpolated.
"""

from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

SHARES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def percentiles(values: Floats) -> dict[str, Any]:
    """`n`, the percentiles and `max` of what is a number among the values; None where there is none."""
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return {"n": 0, **dict.fromkeys(SHARES), "max": None}
    ranked = {name: float(known[rank(len(known), share)]) for name, share in SHARES.items()}
    return {"n": len(known), **ranked, "max": float(known[-1])}


def rank(n: int, share: float) -> int:
    """Where in so many rising values the percentile stands, from 0. `n` is at least 1."""
    return max(0, int(np.ceil(share * n - 1e-9)) - 1)


def grouped(values: Floats, groups: Ints, n_groups: int) -> tuple[Ints, dict[str, list[float | None]]]:
    """The same by group.

    Args:
        values: Shape (n,). NaN are left out.
        groups: Shape (n,): where each value belongs, 0 to `n_groups` - 1.
        n_groups: How many groups there are.

    Returns:
        How many values each group has, shape (n_groups,), and its percentiles, None where it has no value.
    """
    known = ~np.isnan(values)
    values, groups = values[known], groups[known]
    order = np.lexsort((values, groups))
    rising = values[order]
    n = np.bincount(groups, minlength=n_groups)
    starts = np.cumsum(n) - n
    out: dict[str, list[float | None]] = {}
    for name, share in SHARES.items():
        ranks = np.maximum(0, np.ceil(share * n - 1e-9).astype(np.int64) - 1)
        places = np.minimum(starts + ranks, len(rising) - 1)
        out[name] = [float(rising[place]) if count else None for place, count in zip(places, n, strict=True)]
    return n, out


def mean_ratio(part: SupportsFloat, whole: SupportsFloat) -> float | None:
    """The share; None of nothing."""
    return float(part) / float(whole) if float(whole) else None
