"""What can be given up so that an answer comes in time? The ladder, and how far a turn went down it."""

from dataclasses import dataclass
from enum import Enum


class Rung(Enum):
    """One thing to do about a budget that would be missed. In the order in which they are thought of.

    What is further down costs the user, or whoever pays, more; so the planner takes the first that fits.
    """

    FULL = "full"
    """Nothing is given up."""
    DRAFT = "draft"
    """The answer was begun at a soft end, before it was certain that the user had finished."""
    SHORT_CLAUSE = "short_clause"
    """The voice begins after fewer words."""
    SPECULATION = "speculation"
    """Speculative decoding is switched for this reply: off for the first token's sake, on for the others'."""
    HEDGE = "hedge"
    """A second warm replica is asked as well; whoever is first answers."""
    SMALL_OPENER = "small_opener"
    """A smaller LLM writes the first clause; the other one goes on from there."""
    CACHED = "cached"
    """An answer, or the beginning of one, that was made before."""
    SHED = "shed"
    """Another replica, or another region, answers."""
    FILLER = "filler"
    """Something true is said that is no answer; the answer follows."""
    REFUSAL = "refusal"
    """It is said that there will be no answer."""

    @property
    def place(self) -> int:
        """0 for the first rung; higher is worse."""
        return _PLACES[self]

    @property
    def is_answer(self) -> bool:
        """Whether the user gets an answer by it. What fills a silence is none."""
        return self not in (Rung.FILLER, Rung.REFUSAL)


_PLACES = {rung: place for place, rung in enumerate(Rung)}


@dataclass(frozen=True, slots=True)
class Forecast:
    """When the first sample of an answer could be there if a rung is taken now.

    Attributes:
        rung: It.
        p50_ms: From now, in one turn of two.
        p95_ms: From now, in nineteen turns of twenty.
        replica: Who would do it; empty where there is no choice.
    """

    rung: Rung
    p50_ms: float
    p95_ms: float
    replica: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """A rung that was taken in a turn, and why.

    Attributes:
        rung: It.
        reason: Why, one of REASONS: stable, for programs.
        at_ns: When, on the monotonic clock of the process.
        remaining_ms: What was left of the budget then; below 0 it had been missed.
        forecast_ms: The 95th percentile that the rung promised then; None where nobody asked.
    """

    rung: Rung
    reason: str
    at_ns: int
    remaining_ms: float
    forecast_ms: float | None = None


REASONS = (
    "forecast",  # what was under way would not have been in time
    "late",  # something is later than its stage's budget allows
    "failed",  # a stage failed
    "overloaded",  # a stage refused more work
    "unavailable",  # no replica is left
    "silence",  # nothing true had been said for too long
    "gave_up",  # nobody wants the answer any more
    "soft_end",  # the user fell silent
    "load",  # many replies are computed at once
    "wanted",  # the operator wants it always
)
