"""Is one set of turns quicker than another, or does it only look so?

The interval of a ratio comes from the bootstrap (Efron, 1979): both sets are drawn again, with replacement,
and the ratio of their percentiles is looked at. The percentile of such a drawing need not be drawn turn by
turn: the k-th of n uniform numbers has a Beta(k, n + 1 - k) distribution, and says which turn stands there.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicestack.core.marks import STAGES
from voicestack.telemetry.overview import Selected, counts, rungs
from voicestack.telemetry.percentiles import SHARES, Floats, mean_ratio, percentiles, rank
from voicestack.telemetry.turn_table import VERDICTS

N_DRAWN = 4_000
SEED = 6
"""The same question has the same answer."""
N_LEAST = 30
"""With fewer turns on a side nothing is said."""
SAME_RATIO = 0.02
"""A difference that nobody hears is none, however certain it is: 2 % of 500 ms are 10 ms."""


def comparison(a: Selected, b: Selected) -> dict[str, Any]:
    """Set `b` over set `a`, as JSON."""
    ratios = {name: _ratio(a, b, SHARES[name]) for name in ("p50", "p95")}
    return {
        "a": summary(a),
        "b": summary(b),
        "stages": [_stage(a, b, place) for place in range(len(STAGES))],
        "ratio": ratios,
        "verdict": verdict_on(ratios),
    }


def summary(selected: Selected) -> dict[str, Any]:
    """One side."""
    rows = selected.rows
    return {
        "n": len(rows),
        "response": percentiles(selected.unmixed["response_ms"]),
        "verdicts": counts(rows["verdict"], VERDICTS),
        "cold_rate": mean_ratio(np.count_nonzero(rows["is_cold"]), len(rows)),
        "cut_off_ratio": mean_ratio(np.count_nonzero(rows["is_cut_off"]), len(rows)),
        "rungs": rungs(rows),
    }


def verdict_on(ratios: Mapping[str, Mapping[str, float] | None]) -> str:
    """`better`, `same`, `worse` or `unknown`. Worse in one percentile is worse, whatever the other says."""
    known = [ratio for ratio in ratios.values() if ratio is not None]
    if not known:
        return "unknown"
    if any(one["low"] > 1 and one["value"] > 1 + SAME_RATIO for one in known):
        return "worse"
    if any(one["high"] < 1 and one["value"] < 1 - SAME_RATIO for one in known):
        return "better"
    return "same"


def _ratio(a: Selected, b: Selected, share: float) -> dict[str, float] | None:
    sides = [_known(side) for side in (a, b)]
    if min(map(len, sides)) < N_LEAST:
        return None
    random = np.random.default_rng(SEED)
    (of_a, drawn_a), (of_b, drawn_b) = (
        (_percentile(side, share), _drawn(side, share, random)) for side in sides
    )
    if of_a <= 0 or drawn_a.min() <= 0:
        return None
    low, high = np.quantile(drawn_b / drawn_a, [0.025, 0.975])
    return {"value": of_b / of_a, "low": float(low), "high": float(high)}


def _known(selected: Selected) -> Floats:
    values: Floats = selected.unmixed["response_ms"]
    return np.sort(values[~np.isnan(values)])


def _percentile(rising: Floats, share: float) -> float:
    return float(rising[rank(len(rising), share)])


def _drawn(rising: Floats, share: float, random: np.random.Generator) -> NDArray[np.float64]:
    n = len(rising)
    kth = rank(n, share) + 1
    places = (n * random.beta(kth, n + 1 - kth, N_DRAWN)).astype(np.int64)
    return rising[np.minimum(places, n - 1)]


def _stage(a: Selected, b: Selected, place: int) -> dict[str, Any]:
    of_a, of_b = (percentiles(side.unmixed["stage_ms"][:, place]) for side in (a, b))
    return {
        "stage": STAGES[place],
        "a_p50": of_a["p50"],
        "a_p95": of_a["p95"],
        "b_p50": of_b["p50"],
        "b_p95": of_b["p95"],
    }
