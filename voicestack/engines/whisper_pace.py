"""How often is an unfinished utterance decoded again, and how much of it? As the load leaves room for.

Decoding a window again costs the same work each time, so everybody who speaks gets the same share of it.
"""

from dataclasses import dataclass

COST_WEIGHT = 0.2
"""Of the newest window in the moving mean of what one costs: the last ten or so count."""


@dataclass(frozen=True, slots=True)
class PaceRules:
    """The limits.

    Attributes:
        cadence_min_s: Partial words are not looked for more often than this ...
        cadence_max_s: ... nor less often, whatever the load.
        window_max_s: Length of the window while there is room.
        window_min_s: Length of the window under load.
        busy_ratio: Of the model's time, what partial words may take; the rest is for settled and final ones.
    """

    cadence_min_s: float = 0.4
    cadence_max_s: float = 2.0
    window_max_s: float = 20.0
    window_min_s: float = 8.0
    busy_ratio: float = 0.5


@dataclass(frozen=True, slots=True)
class Pace:
    """What an utterance keeps to now: new sound per window, and the length from which the window moves up."""

    cadence_s: float
    window_s: float


def pace(rules: PaceRules, n_speaking: int, window_cost_s: float) -> Pace:
    """What fits.

    Args:
        rules: The limits.
        n_speaking: Utterances that are open on one model, at least 1.
        window_cost_s: What the model spends on a window: the time of its batch divided by the batch.
    """
    wanted_s = max(1, n_speaking) * window_cost_s / rules.busy_ratio
    cadence_s = min(max(wanted_s, rules.cadence_min_s), rules.cadence_max_s)
    span_s = rules.cadence_max_s - rules.cadence_min_s
    strain = (cadence_s - rules.cadence_min_s) / span_s if span_s > 0 else 0.0
    window_s = rules.window_max_s - strain * (rules.window_max_s - rules.window_min_s)
    return Pace(cadence_s, window_s)


def mean_cost_s(before_s: float, newest_s: float) -> float:
    """The moving mean of what a window costs; `before_s` is 0 at first."""
    return newest_s if before_s == 0.0 else before_s + COST_WEIGHT * (newest_s - before_s)
