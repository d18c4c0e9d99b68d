"""What is given up so that the answer comes in time, when is that asked again, and when must be spoken?

One rule: of the rungs that are allowed and in time in nineteen cases of twenty, the first. Around it:

- None is in time: the one that is late by least, or one further down that is a good deal quicker in one case
  of two; and the user is told meanwhile (`Choice.say`).
- What is chosen need not be taken yet (`Choice.take_in_ms`): while what is under way may well be in time
  and the chosen rung still is if it is taken later, waiting costs nothing, and often the answer comes.
- A better rung than the current comes back only with time to spare (`Budget.hysteresis_ratio` of the budget),
  or when it is quicker than the current one as well; so small changes of what is left cannot make the choice
  flap.

All numbers are milliseconds from now. "In time" is the 95th percentile: the budget is one for p95.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from voicestack.core.budget import Budget
from voicestack.core.rungs import Forecast, Rung

MARGIN_MS = 10.0
"""So much before the last instant things are done: timers on a busy event loop are late by a few."""
MIN_LOOK_MS = 2.0
"""Nothing is asked again sooner: whoever waits learns little in less, and timers are not more exact."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be done about the answer now.

    Attributes:
        rung: How it is made. Always one that gives an answer.
        forecast: When it comes so; None if nothing was forecast.
        reason: One of `core.rungs.REASONS`; empty when nothing is given up.
        say: FILLER: it will not be in time, so something else must be said meanwhile. None: it is in time, or
            nobody knows, or it may not be said. Nothing is refused on a forecast: who refuses at once never
            learns that an outage is over.
        in_time: False: no rung that is allowed would be.
        take_in_ms: How long taking it can be put off if the answer may come without; 0: take it now.
    """

    rung: Rung
    forecast: Forecast | None = None
    reason: str = ""
    say: Rung | None = None
    in_time: bool = True
    take_in_ms: float = 0.0


def plan(
    remaining_ms: float, forecasts: Iterable[Forecast], budget: Budget, current: Rung | None = None
) -> Choice:
    """Choose a rung.

    With the same forecasts and current rung, more time never gives a worse one; a rung that is not in time is
    never chosen when one that is allowed is; and a choice, made again as the current one, stays.

    Args:
        remaining_ms: What is left until the answer should be audible; below 0 it is late.
        forecasts: When the answer could be there by each rung that can still be taken; in any order. Of
            several for one rung (replicas) the quickest counts.
        budget: What is allowed.
        current: The rung in force, of this turn or the one before; None for none.
    """
    ways = _ways(forecasts, budget)
    if not ways:
        return Choice(current if current is not None and current.is_answer else Rung.FULL)
    needs_ms = _needs_ms(ways, budget, current)
    in_time = [rung for rung in ways if needs_ms[rung] <= remaining_ms]
    rung = in_time[0] if in_time else _least_late(ways, needs_ms, budget)
    reason = "" if rung is Rung.FULL else "forecast" if remaining_ms > 0 else "late"
    if not in_time:
        say = Rung.FILLER if budget.allows(Rung.FILLER) else None
        return Choice(rung, ways[rung], reason, say, in_time=False)
    may_do = current is not None and current in ways and ways[current].p50_ms <= remaining_ms
    slack_ms = remaining_ms - ways[rung].p95_ms - MARGIN_MS if may_do and rung is not current else 0.0
    return Choice(rung, ways[rung], reason, take_in_ms=max(0.0, slack_ms))


def look_again_in_ms(
    remaining_ms: float, forecasts: Iterable[Forecast], budget: Budget, choice: Choice
) -> float:
    """When `plan` should be asked again if the answer is not there by then.

    That is just before the first instant at which something can be lost by waiting: the choice may no longer
    be in time (it has made no progress at all until then), or a worse rung that still is will not be. If
    none is in time nothing can be lost: infinity. To begin anew all the same made recorded turns later.

    Args:
        remaining_ms: As for `plan`.
        forecasts: As for `plan`.
        budget: As for `plan`.
        choice: What `plan` said.
    """
    ways = _ways(forecasts, budget)
    slacks_ms = [remaining_ms - way.p95_ms for rung, way in ways.items() if rung.place >= choice.rung.place]
    ahead_ms = [
        slack_ms - MARGIN_MS if slack_ms > MARGIN_MS else slack_ms for slack_ms in slacks_ms if slack_ms >= 0
    ]
    return max(MIN_LOOK_MS, min(ahead_ms, default=math.inf))


def filler_due_in_ms(
    remaining_ms: float, budget: Budget, filler_ms: float, choice: Choice | None = None
) -> float:
    """When the making of a filler must begin if nothing has been heard by then; 0 for at once.

    The last instant is `Budget.say_by_ms` less what the filler takes. When the answer is, more likely than
    not, later than that anyway, the filler comes as soon as the budget is spent: it delays nothing, and
    a silence that is known to go on is not kept.

    Args:
        remaining_ms: As for `plan`.
        budget: As for `plan`.
        filler_ms: How long it takes until the filler is audible.
        choice: What `plan` said last; None if it has not been asked.
    """
    say_in_ms = remaining_ms + budget.say_by_ms - budget.turn_ms
    forecast = choice.forecast if choice is not None else None
    if forecast is not None and forecast.p50_ms > say_in_ms:
        say_in_ms = min(say_in_ms, remaining_ms)
    return max(0.0, say_in_ms - filler_ms)


def _ways(forecasts: Iterable[Forecast], budget: Budget) -> dict[Rung, Forecast]:
    """The quickest forecast for each rung that gives an answer and is allowed, best rung first."""
    ways: dict[Rung, Forecast] = {}
    for forecast in sorted(forecasts, key=lambda forecast: (forecast.rung.place, forecast.p95_ms)):
        if forecast.rung.is_answer and budget.allows(forecast.rung):
            ways.setdefault(forecast.rung, forecast)
    return ways


def _needs_ms(ways: dict[Rung, Forecast], budget: Budget, current: Rung | None) -> dict[Rung, float]:
    """How much time must be left for each rung to be taken."""
    needs_ms = {rung: way.p95_ms for rung, way in ways.items()}
    if current is None or current not in ways:
        return needs_ms
    spare_ms = budget.hysteresis_ratio * budget.turn_ms
    for rung, way in ways.items():
        if rung.place < current.place and way.p95_ms > ways[current].p95_ms:
            needs_ms[rung] += spare_ms
    return needs_ms


def _least_late(ways: dict[Rung, Forecast], needs_ms: dict[Rung, float], budget: Budget) -> Rung:
    """The rung when none is in time. Whatever is left, so that more time never makes it worse."""
    safest = min(ways, key=lambda rung: needs_ms[rung])
    further = [rung for rung in ways if rung.place >= safest.place]
    quickest = min(further, key=lambda rung: ways[rung].p50_ms)
    gain_ms = ways[safest].p50_ms - ways[quickest].p50_ms
    return quickest if gain_ms > budget.hysteresis_ratio * budget.turn_ms else safest
