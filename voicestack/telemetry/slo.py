"""How much of what was promised to users is left, and is it being used up too fast?

An objective is a share of turns that must be good. What may be bad is the error budget; the burn rate says
how many times faster than allowed it is spent: at 1 it lasts exactly the period, at 14.4 two days of thirty.
An alert looks at two windows: the long one says that it matters, the short one that it still goes on (Google,
The Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts"). Pure: whoever asks brings
the time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from voicestack.core.marks import Mark
from voicestack.core.turn_record import DEAD_AIR_MS, TurnRecord

PERIOD_S = 30 * 86_400
"""What an error budget is for: 30 days, as in the workbook."""


@dataclass(frozen=True, slots=True)
class Slo:
    """One promise.

    Attributes:
        name: Of it, for programs.
        objective_ratio: Share of turns that must be good, over 0 and under 1.
        about: For people.
    """

    name: str
    objective_ratio: float
    about: str


BUDGET = Slo("budget", 0.95, "turns whose answer came within the budget; a filler in time does not count")
DEAD_AIR = Slo("dead_air", 0.999, f"turns in which something was heard within {DEAD_AIR_MS} ms")
COLD = Slo("cold", 0.999, "turns that met no cold replica")
SLOS = (BUDGET, DEAD_AIR, COLD)


def judge(record: TurnRecord) -> Mapping[str, bool]:
    """Whether the turn was good, by the name of each objective that it counts for.

    A turn that is not measured (typed, or the user spoke on) says nothing about the budget. One in which
    nothing was to be said, or that the user cut short before anything was, says nothing about dead air.
    """
    good: dict[str, bool] = {}
    if record.verdict != "unmeasured":
        good[BUDGET.name] = record.verdict == "met"
    is_dead = was_dead_air(record)
    if is_dead is not None:
        good[DEAD_AIR.name] = not is_dead
    if record.uses:
        good[COLD.name] = not record.was_cold
    return good


def was_dead_air(record: TurnRecord) -> bool | None:
    """Whether the user heard nothing for too long, or nothing at all; None where that cannot be said."""
    silence_ms = record.silence_ms
    if silence_ms is not None:
        return silence_ms > DEAD_AIR_MS
    waited_for_nothing = record.outcome in ("failed", "refused") and Mark.SPEECH_END in record.marks.at_ns
    return True if waited_for_nothing else None


@dataclass(frozen=True, slots=True)
class Count:
    """Turns of some time that count for an objective, and those of them that were bad."""

    n: int = 0
    n_bad: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.n + other.n, self.n_bad + other.n_bad)

    @property
    def bad_ratio(self) -> float:
        """Share of bad turns; 0 where there were none at all."""
        return self.n_bad / self.n if self.n else 0.0

    def burn(self, slo: Slo) -> float:
        """How many times faster than allowed the error budget is spent."""
        return self.bad_ratio / (1.0 - slo.objective_ratio)


@dataclass(frozen=True, slots=True)
class Rule:
    """When to call somebody.

    Attributes:
        name: Of it, for programs: `page_1h` and the like.
        long_s: The window that says that it matters.
        short_s: The window that says that it still goes on: a twelfth.
        burn: Both must be over this burn rate.
    """

    name: str
    long_s: int
    short_s: int
    burn: float


RULES = (
    Rule("page_1h", 3_600, 300, 14.4),
    Rule("page_6h", 21_600, 1_800, 6.0),
    Rule("ticket_3d", 259_200, 21_600, 1.0),
)
"""2 % of the budget in an hour, 5 % in six, 10 % in three days: the workbook's table 5-8. (An objective of
95 % cannot burn faster than 20: the first rule fires when 72 % of turns are bad.)"""

N_BAD_LEAST = 3
"""Fewer bad turns in the long window call nobody: with ten turns a day each is a burn rate of thousands."""

WINDOWS_S = tuple(sorted({window_s for rule in RULES for window_s in (rule.long_s, rule.short_s)}))


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule, held against what was counted. `burn` is the lesser of its two windows' burn rates."""

    rule: Rule
    burn: float
    is_firing: bool


@dataclass(frozen=True, slots=True)
class Assessment:
    """How an objective stands.

    Attributes:
        slo: It.
        windows: What was counted, by window in seconds, rising.
        period: What was counted in the whole period.
        alerts: One per rule.
    """

    slo: Slo
    windows: Mapping[int, Count]
    period: Count
    alerts: tuple[Alert, ...]

    @property
    def budget_left_ratio(self) -> float:
        """What is left of the error budget: 1 untouched, 0 used up, below 0 overdrawn."""
        return 1.0 - self.period.burn(self.slo)

    def as_json(self) -> dict[str, object]:
        """For the dashboard's API."""
        return {
            "name": self.slo.name,
            "objective": self.slo.objective_ratio,
            "windows": [
                {"window_s": window_s, "n": count.n, "bad": count.n_bad, "burn": count.burn(self.slo)}
                for window_s, count in self.windows.items()
            ],
            "budget_left_ratio": self.budget_left_ratio,
            "alerts": [
                {
                    "name": alert.rule.name,
                    "firing": alert.is_firing,
                    "burn": alert.burn,
                    "threshold": alert.rule.burn,
                }
                for alert in self.alerts
            ],
        }


def assess(slo: Slo, counted: Callable[[int], Count]) -> Assessment:
    """Hold an objective against what was counted.

    Args:
        slo: It.
        counted: What there was in so many last seconds. Asked for WINDOWS_S and PERIOD_S.
    """
    windows = {window_s: counted(window_s) for window_s in WINDOWS_S}
    return Assessment(slo, windows, counted(PERIOD_S), tuple(_alert(slo, rule, windows) for rule in RULES))


def _alert(slo: Slo, rule: Rule, windows: Mapping[int, Count]) -> Alert:
    long, short = windows[rule.long_s], windows[rule.short_s]
    burn = min(long.burn(slo), short.burn(slo))
    return Alert(rule, burn, is_firing=burn > rule.burn and long.n_bad >= N_BAD_LEAST)
