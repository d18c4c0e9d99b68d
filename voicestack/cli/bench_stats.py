"""What do the figures of a bench say, without flattering anybody?

Pure. An answer that never came is not left out: it counts as longer than every answer that did (censored at
the timeout), so a percentile that falls among the missing is infinite and printed as "> timeout".
"""

import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

SHARES = (0.50, 0.90, 0.95, 0.99)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank, no interpolation).

    Args:
        values: At least one; may hold `math.inf`.
        share: 0..1.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values, no percentile")
    rank = math.ceil(share * len(values) - 1e-9)
    return sorted(values)[max(0, rank - 1)]


@dataclass(frozen=True, slots=True)
class Summary:
    """Percentiles of `n` observations; those that lie among the censored ones are infinite."""

    n: int
    n_censored: int
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


def summarise(values: Iterable[float], *, n_censored: int = 0) -> Summary | None:
    """Percentiles of what was seen and of what was not seen in time; None when there is nothing at all."""
    every = [*values, *[math.inf] * n_censored]
    if not every:
        return None
    p50, p90, p95, p99 = (percentile(every, share) for share in SHARES)
    return Summary(len(every), n_censored, p50, p90, p95, p99, max(every))


def spoken_words(text: str) -> list[str]:
    """Words as they are compared: lower case, no punctuation but the apostrophe inside a word."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def edit_distance(reference: Sequence[str], heard: Sequence[str]) -> int:
    """Fewest words to insert, delete or replace that make one into the other (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for n_above, wanted in enumerate(reference, start=1):
        diagonal, row[0] = row[0], n_above
        for at, got in enumerate(heard, start=1):
            diagonal, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, diagonal + (wanted != got))
    return row[-1]


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Word errors of one or more transcripts; `n_words` counts the reference."""

    n_errors: int = 0
    n_words: int = 0

    def __add__(self, other: "WordErrors") -> "WordErrors":
        return WordErrors(self.n_errors + other.n_errors, self.n_words + other.n_words)

    @property
    def rate(self) -> float | None:
        """Errors per reference word, None without any; more than 1 is possible."""
        return self.n_errors / self.n_words if self.n_words else None


def word_errors(reference: str, heard: str) -> WordErrors:
    """Compare what was heard with what was said."""
    wanted = spoken_words(reference)
    return WordErrors(edit_distance(wanted, spoken_words(heard)), len(wanted))


def poisson_starts_s(n: int, rate_per_s: float, rng: random.Random) -> list[float]:
    """When `n` callers arrive who do not know of each other: the first at 0, gaps exponential."""
    starts, at = [], 0.0
    for _ in range(n):
        starts.append(at)
        at += rng.expovariate(rate_per_s)
    return starts


@dataclass(frozen=True, slots=True)
class Buckets:
    """A cumulative histogram as Prometheus exports it: upper edge -> observations up to it."""

    counts: Mapping[float, float]

    @property
    def n(self) -> float:
        """All observations."""
        return self.counts.get(math.inf, 0.0)

    def since(self, before: "Buckets") -> "Buckets":
        """What was added after `before` was read."""
        return Buckets({edge: count - before.counts.get(edge, 0.0) for edge, count in self.counts.items()})

    def quantile(self, share: float) -> float | None:
        """Value below which `share` of the observations lie, linear inside a bucket; None without any.

        Infinite when it lies beyond the last finite edge.
        """
        if self.n <= 0:
            return None
        below_edge, below_count = 0.0, 0.0
        for edge, count in sorted(self.counts.items()):
            if count >= share * self.n:
                if math.isinf(edge):
                    return edge
                return below_edge + (edge - below_edge) * (share * self.n - below_count) / (
                    count - below_count
                )
            below_edge, below_count = edge, count
        return math.inf


_SAMPLE = re.compile(r'^(\w+)_bucket\{(?:[^}]*,)?le="([^"]+)"[^}]*\}\s+(\S+)')


def read_buckets(exposition: str, name: str) -> Buckets:
    """One histogram out of a Prometheus text page, summed over its other labels; empty if it is not there."""
    counts: dict[float, float] = {}
    for line in exposition.splitlines():
        found = _SAMPLE.match(line)
        if found and found[1] == name:
            edge = float(found[2])
            counts[edge] = counts.get(edge, 0.0) + float(found[3])
    return Buckets(counts)


_COUNTER = re.compile(r"^([\w:]+)(?:\{[^}]*\})?\s+(\S+)")


def read_total(exposition: str, name: str) -> float:
    """One counter or gauge out of a Prometheus text page, summed over its labels; 0 if it is not there."""
    found = (_COUNTER.match(line) for line in exposition.splitlines())
    return sum(float(sample[2]) for sample in found if sample and sample[1] == name)
