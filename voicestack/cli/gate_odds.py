"""Could it be chance? The statistics of the gate, exact where that is cheap.

Pure: everything that is drawn comes from a generator with a fixed seed, so that the same figures always get
the same answer.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

N_DRAWS = 2000
"""Bootstrap samples: 20 of them lie beyond the end of an interval at 1 %."""
_SEED = 1
_Z_95 = 1.959964

Blocks = Sequence[Sequence[float]]


def p_of_excess(differences: Sequence[int]) -> float:
    """How likely is it that paired differences add up to so much, or more, if either side may be the worse?

    The sign of every difference is as good as a coin (Fisher's randomisation test; for differences of one it
    is McNemar's exact test). Counted out, not drawn.

    Args:
        differences: Now minus before, item by item.

    Returns:
        0..1; 1 when nothing differs.
    """
    sizes = [abs(difference) for difference in differences if difference]
    if not sizes:
        return 1.0
    odds = np.ones(1)  # odds[k]: that the positive ones add up to k
    for size in sizes:
        grown = np.zeros(len(odds) + size)
        grown[: len(odds)] += odds / 2
        grown[size:] += odds / 2
        odds = grown
    n_more = sum(max(0, difference) for difference in differences)
    return float(odds[n_more:].sum())


def p_of_more(n_wrong: int, n_of: int, n_wrong_before: int, n_of_before: int) -> float:
    """How likely are so many, or more, on this side, if both have the same odds? Fisher's exact test."""
    n_wrong_both, n_both = n_wrong + n_wrong_before, n_of + n_of_before
    every = math.comb(n_both, n_of)
    most = min(n_wrong_both, n_of)
    ways = sum(
        math.comb(n_wrong_both, n) * math.comb(n_both - n_wrong_both, n_of - n)
        for n in range(n_wrong, most + 1)
    )
    return ways / every


def wilson(n_wrong: int, n_of: int) -> tuple[float, float]:
    """The 95 % interval of a share (E. B. Wilson 1927): honest for 0 of n, too."""
    share, z2 = n_wrong / n_of, _Z_95**2
    middle = (share + z2 / (2 * n_of)) / (1 + z2 / n_of)
    half = _Z_95 / (1 + z2 / n_of) * math.sqrt(share * (1 - share) / n_of + z2 / (4 * n_of**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def ratio_interval(items: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """The 95 % interval of sum(wrong) / sum(of) over other items of this sort (bootstrap over items)."""
    drawn = _redrawn(np.array(items, dtype=np.float64))
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return float(low), float(high)


def difference_interval(pairs: Sequence[tuple[int, int, int]]) -> tuple[float, float]:
    """The 95 % interval of the difference of two ratios over the same items.

    Args:
        pairs: For each item: wrong now, wrong before, and of how many.
    """
    drawn = _redrawn(np.array(pairs, dtype=np.float64))
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / drawn[:, 2], [0.025, 0.975])
    return float(low), float(high)


def _redrawn(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums of the columns in N_DRAWS samples of the rows, shape (N_DRAWS, n_columns)."""
    n_rows = len(rows)
    weights = np.random.default_rng(_SEED).multinomial(n_rows, np.full(n_rows, 1 / n_rows), size=N_DRAWS)
    sums: NDArray[np.float64] = weights @ rows
    return sums


def shift_interval(before: Blocks, now: Blocks, share: float, *, p_beyond: float) -> tuple[float, float]:
    """Between what does the change of a percentile lie? Bootstrap of repetitions, and of what is in them.

    Args:
        before: A sample for each repetition, none of them empty; infinite where something did not come.
        now: The same.
        share: 0..1, of the percentile (nearest rank).
        p_beyond: The odds that it lies beyond either end.

    Returns:
        The ends of now minus before. Two infinite percentiles do not differ.
    """
    rng = np.random.default_rng(_SEED)
    old, new = _quantiles(before, share, rng), _quantiles(now, share, rng)
    with np.errstate(invalid="ignore"):
        shifts = np.sort(np.where(np.isinf(old) & np.isinf(new), 0.0, new - old))
    at = int(p_beyond * N_DRAWS)
    return float(shifts[at]), float(shifts[-1 - at])


def _quantiles(blocks: Blocks, share: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """The percentile in N_DRAWS redrawn measurements."""
    arrays = [np.array(block, dtype=np.float64) for block in blocks]
    longest = max(len(array) for array in arrays)
    drawn = np.full((N_DRAWS, len(arrays), longest), np.nan)  # sorted behind everything, infinite or not
    chosen = rng.integers(len(arrays), size=(N_DRAWS, len(arrays)))
    for number, array in enumerate(arrays):
        places = np.argwhere(chosen == number)
        picks = rng.integers(len(array), size=(len(places), len(array)))
        drawn[places[:, 0], places[:, 1], : len(array)] = array[picks]
    values = np.sort(drawn.reshape(N_DRAWS, -1), axis=1)
    n_values = np.count_nonzero(~np.isnan(values), axis=1)
    ranks = np.maximum(0, np.ceil(share * n_values - 1e-9).astype(np.intp) - 1)
    found: NDArray[np.float64] = values[np.arange(N_DRAWS), ranks]
    return found
