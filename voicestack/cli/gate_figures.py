"""What did the gate measure? Three shapes of figures, all of which are better when they are smaller.

Pure. Every figure keeps what it was made of, so that two runs can be compared as the statistics need it:
the same recordings and questions in pairs, waits and counts as two samples.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from voicestack.cli.bench_stats import percentile
from voicestack.cli.gate_odds import ratio_interval, wilson


@dataclass(frozen=True, slots=True)
class PerItem:
    """What was wrong, item by item: words of a recording, or one answer.

    Attributes:
        items: By the item's key: (how many were wrong, of how many).
    """

    items: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    kind: Literal["per_item"] = "per_item"

    @property
    def n_wrong(self) -> int:
        """All that was wrong."""
        return sum(n_wrong for n_wrong, _ in self.items.values())

    @property
    def n_of(self) -> int:
        """Of so many."""
        return sum(n_of for _, n_of in self.items.values())

    @property
    def ratio(self) -> float | None:
        """The wrong share; None of nothing. More than 1 is possible with inserted words."""
        return self.n_wrong / self.n_of if self.n_of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the share of such items lies, at 95 %."""
        if not self.n_of:
            return None
        if all(n_of == 1 for _, n_of in self.items.values()):
            return wilson(self.n_wrong, self.n_of)
        return ratio_interval(list(self.items.values()))

    def only(self, keys: set[str]) -> "PerItem":
        """These items alone."""
        return PerItem({key: item for key, item in self.items.items() if key in keys})


@dataclass(frozen=True, slots=True)
class Events:
    """How often something unwanted happened.

    Attributes:
        n_wrong: So often.
        n_of: In so many tries.
    """

    n_wrong: int
    n_of: int
    kind: Literal["events"] = "events"

    @property
    def ratio(self) -> float | None:
        """The share; None without tries."""
        return self.n_wrong / self.n_of if self.n_of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where it lies, at 95 %."""
        return wilson(self.n_wrong, self.n_of) if self.n_of else None


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took, in milliseconds.

    Attributes:
        blocks: One for each repetition of the measurement. None is something that did not come in time: it
            counts as longer than everything that did.
    """

    blocks: tuple[tuple[float | None, ...], ...]
    kind: Literal["times"] = "times"

    @property
    def values(self) -> list[float]:
        """All of them; what did not come is infinite."""
        return [math.inf if value is None else value for block in self.blocks for value in block]

    def quantile(self, share: float) -> float | None:
        """A percentile by nearest rank; None of nothing, infinite among what did not come."""
        values = self.values
        return percentile(values, share) if values else None


Figure = PerItem | Events | Times
