"""Is it as good as what was accepted? One finding for each figure, and what the whole run comes to.

Pure. A figure has regressed when it is worse by more than a tolerance *and* by more than chance explains; it
is too bad when it breaks a limit of the labelled set, whatever was accepted.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from voicestack.cli.gate_figures import Events, Figure, PerItem, Times
from voicestack.cli.gate_odds import (
    difference_interval,
    p_of_excess,
    p_of_more,
    shift_interval,
)

P_CHANCE = 0.10
"""Of a quality figure. The same engines give the same words again: nothing fails by chance when nothing has
changed, and what is left to chance is the choice of the questions. Four answers lost and none won fail."""
P_CHANCE_EVENTS = 0.01
"""Of a count, and of either percentile of the waits: four levels have two dozen of them, and these differ
from run to run."""
POINTS = 0.01
"""A share may be worse by this: what the quality of a change is commonly allowed to cost."""
SLOWER_RATIO, SLOWER_MS = 0.05, 5.0
"""A percentile may be worse by this: the larger of the two. Two runs on a quiet machine differ as much."""
MIN_ITEMS = 4
"""With fewer, even the loss of all may be chance."""
MIN_FOR_P50, MIN_FOR_P95 = 10, 20
"""Fewer waits have no such percentile: with less than 20 it is the longest of all."""
WORST_SHOWN = 3


class Verdict(Enum):
    """What is said of a figure."""

    SAME = "same"
    BETTER = "better"
    NOISE = "within chance"
    TOLERATED = "within tolerance"
    CHANGED = "changed"
    NEW = "new"
    UNMEASURED = "too few"
    ELSEWHERE = "other machine"
    REGRESSED = "REGRESSED"
    TOO_BAD = "TOO BAD"
    GONE = "NOT MEASURED"


FAILURES = frozenset({Verdict.REGRESSED, Verdict.TOO_BAD, Verdict.GONE})


@dataclass(frozen=True, slots=True)
class Finding:
    """What is said of one figure.

    Attributes:
        name: The figure's name, with `.p50` or `.p95` for waits.
        verdict: See there.
        accepted: What it was, None where there is nothing to compare with.
        now: What it is.
        low: The change lies between this and
        high: this, as far as chance goes.
        unit: "ratio", "ms" or "texts".
        worst: Keys of the items that got worse most.
        limit: The limit that it breaks.
    """

    name: str
    verdict: Verdict
    accepted: float | None = None
    now: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = "ratio"
    worst: tuple[str, ...] = ()
    limit: float | None = None

    @property
    def fails(self) -> bool:
        """Whether the gate fails for this."""
        return self.verdict in FAILURES


@dataclass(frozen=True, slots=True)
class Run:
    """What is compared of a run: its figures, and the words of its answers by the question's key."""

    figures: Mapping[str, Figure] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms two runs are compared.

    Attributes:
        limits: The largest share that is allowed, by figure.
        parts: What was measured this time: the first words of names. Other figures are left out.
        same_machine: Otherwise times and losses under load are shown and not judged.
        strict: Then they fail.
    """

    limits: Mapping[str, float] = field(default_factory=dict)
    parts: frozenset[str] = frozenset()
    same_machine: bool = True
    strict: bool = False


def compare(accepted: Run, now: Run, terms: Terms) -> list[Finding]:
    """All findings, in the order of the figures."""
    findings: list[Finding] = []
    for name in [*now.figures, *(name for name in accepted.figures if name not in now.figures)]:
        if name.split(".")[0] not in terms.parts:
            continue
        old, new = accepted.figures.get(name), now.figures.get(name)
        if new is None:
            elsewhere = old is not None and depends_on_machine(name, old) and not terms.same_machine
            is_gone = terms.strict or not elsewhere
            findings.append(Finding(name, Verdict.GONE if is_gone else Verdict.ELSEWHERE))
            continue
        found = _compared(name, old, new)
        if depends_on_machine(name, new) and not terms.same_machine:
            found = [_elsewhere(one, strict=terms.strict) for one in found]
        findings += [_limited(one, terms.limits.get(name)) for one in found]
    if now.texts and accepted.texts:
        findings.append(_texts(accepted.texts, now.texts))
    return findings


def depends_on_machine(name: str, figure: Figure) -> bool:
    """Whether another machine gives another figure: all times, and whatever happens under load."""
    return isinstance(figure, Times) or name.startswith("v2v.")


def _compared(name: str, old: Figure | None, new: Figure) -> list[Finding]:
    if isinstance(new, Times):
        before = old if isinstance(old, Times) else None
        return [
            _percentile(f"{name}.p{share * 100:.0f}", before, new, share, n_least)
            for share, n_least in ((0.50, MIN_FOR_P50), (0.95, MIN_FOR_P95))
        ]
    if isinstance(new, Events):
        return [_events(name, old, new)] if isinstance(old, Events) else [_first(name, new.ratio)]
    return [_items(name, old, new)] if isinstance(old, PerItem) else [_first(name, new.ratio)]


def _first(name: str, now: float | None, unit: str = "ratio") -> Finding:
    return Finding(name, Verdict.NEW, now=now, unit=unit)


def _items(name: str, old: PerItem, new: PerItem) -> Finding:
    """The same items, in pairs. Items that only one of the runs has are left out of the comparison."""
    pairs = {
        key: (new.items[key][0], old.items[key][0], new.items[key][1])
        for key in new.items
        if key in old.items and new.items[key][1] == old.items[key][1]
    }
    if not pairs:
        return _first(name, new.ratio) if new.items else Finding(name, Verdict.UNMEASURED)
    n_of = sum(of for _, _, of in pairs.values())
    ratio, before = (sum(pair[at] for pair in pairs.values()) / n_of for at in (0, 1))
    differences = [n_now - n_before for n_now, n_before, _ in pairs.values()]
    odds = p_of_excess(differences), p_of_excess([-one for one in differences])
    low, high = difference_interval(list(pairs.values()))
    excess = {key: n_now - n_before for key, (n_now, n_before, _) in pairs.items() if n_now > n_before}
    worst = sorted(excess, key=lambda key: -excess[key])[:WORST_SHOWN]
    verdict = _judged(ratio - before, POINTS, *(p <= P_CHANCE for p in odds))
    if len(pairs) < MIN_ITEMS and ratio != before:
        verdict = Verdict.UNMEASURED
    return Finding(name, verdict, before, ratio, low, high, worst=tuple(worst))


def _judged(change: float, tolerance: float, is_worse: bool, is_better: bool) -> Verdict:
    """What a change is called; the last two say whether chance explains it hardly."""
    if change == 0:
        return Verdict.SAME
    if not (is_worse if change > 0 else is_better):
        return Verdict.NOISE
    if change < 0:
        return Verdict.BETTER
    return Verdict.REGRESSED if change > tolerance else Verdict.TOLERATED


def _events(name: str, old: Events, new: Events) -> Finding:
    ratio, before = new.ratio, old.ratio
    if ratio is None or before is None:
        return Finding(name, Verdict.UNMEASURED, before, ratio)
    odds = (
        p_of_more(new.n_wrong, new.n_of, old.n_wrong, old.n_of),
        p_of_more(old.n_wrong, old.n_of, new.n_wrong, new.n_of),
    )
    (new_low, new_high), (old_low, old_high) = new.interval or (0.0, 1.0), old.interval or (0.0, 1.0)
    change = ratio - before
    # Newcombe's interval for the difference of two shares (1998, method 10).
    low = change - math.hypot(ratio - new_low, old_high - before)
    high = change + math.hypot(new_high - ratio, before - old_low)
    verdict = _judged(change, POINTS, *(p <= P_CHANCE_EVENTS for p in odds))
    return Finding(name, verdict, before, ratio, low, high)


def _percentile(name: str, old: Times | None, new: Times, share: float, n_least: int) -> Finding:
    now, before = new.quantile(share), old.quantile(share) if old else None
    if old is None or before is None:
        return _first(name, now, "ms")
    if now is None or min(len(old.values), len(new.values)) < n_least:
        return Finding(name, Verdict.UNMEASURED, before, now, unit="ms")
    low, high = shift_interval(_blocks(old), _blocks(new), share, p_beyond=P_CHANCE_EVENTS)
    change = 0.0 if math.isinf(now) and math.isinf(before) else now - before
    tolerance = max(SLOWER_MS, SLOWER_RATIO * before)
    verdict = _judged(change, tolerance, low > 0, high < 0)
    return Finding(name, verdict, before, now, low, high, "ms")


def _blocks(times: Times) -> list[list[float]]:
    return [[math.inf if value is None else value for value in block] for block in times.blocks if block]


def _elsewhere(found: Finding, *, strict: bool) -> Finding:
    """A finding that another machine explains."""
    if found.accepted is None:
        return found
    verdict = Verdict.REGRESSED if strict and found.verdict is Verdict.REGRESSED else Verdict.ELSEWHERE
    return Finding(found.name, verdict, found.accepted, found.now, found.low, found.high, found.unit)


def _limited(found: Finding, limit: float | None) -> Finding:
    """A finding whose figure may not exceed `limit`."""
    if limit is None or found.now is None or found.now <= limit or found.fails:
        return found
    return Finding(
        found.name,
        Verdict.TOO_BAD,
        *(found.accepted, found.now, found.low, found.high, found.unit, found.worst),
        limit=limit,
    )


def _texts(accepted: Mapping[str, str], now: Mapping[str, str]) -> Finding:
    """How many greedy answers are not what they were. No failure: the figures say whether they are right."""
    both = [key for key in now if key in accepted]
    changed = [key for key in both if now[key] != accepted[key]]
    verdict = Verdict.CHANGED if changed else Verdict.SAME
    return Finding("llm.texts", verdict, 0.0, float(len(changed)), unit="texts", worst=tuple(changed))
