"""How many turns were good, over thirty days, in memory that does not grow?"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from voicestack.core.turn_record import TurnRecord
from voicestack.telemetry.slo import PERIOD_S, SLOS, Count, Slo, judge

SLOT_S = (30, 3_600)
"""Half minutes for windows up to six hours, hours for longer ones."""
SLOTS = 720
"""Of each: six hours, and thirty days."""
N_KEYS = 256
"""Combinations of tenant, route and region that are told apart: 35 kB each. Further ones are OTHER's."""

_COLUMN = {slo.name: 2 * place for place, slo in enumerate(SLOS)}


class Key(NamedTuple):
    """Whose turns. What is empty is not asked for."""

    tenant: str = ""
    route: str = ""
    region: str = ""


EVERYBODY = Key()
OTHER = Key("other", "other", "other")


class SloCounts:
    """Turns that were good and bad, by half minute and by hour. For one thread only.

    Args:
        n_keys: See N_KEYS.
    """

    def __init__(self, n_keys: int = N_KEYS) -> None:
        self._n_keys = n_keys
        self._rings: dict[Key, tuple[_Ring, ...]] = {}

    def add(self, record: TurnRecord) -> None:
        """Count a turn where it belongs in time. One that is too old for the ring is left out of it."""
        origin = record.origin
        rings = self._of(Key(origin.tenant, origin.route, origin.region))
        good = judge(record)
        for ring in rings:
            ring.add(record.began_unix_ms // 1000, good)

    def count(self, slo: Slo, window_s: int, now_s: int, whose: Key = EVERYBODY) -> Count:
        """What there was in the last `window_s` seconds, to the slot.

        Args:
            slo: The objective.
            window_s: Up to PERIOD_S.
            now_s: Unix time.
            whose: Only these turns.
        """
        assert 0 < window_s <= PERIOD_S
        total = Count()
        for key, (fine, coarse) in self._rings.items():
            if all(asked in ("", held) for asked, held in zip(whose, key, strict=True)):
                ring = fine if window_s <= SLOT_S[0] * SLOTS else coarse
                total += ring.count(_COLUMN[slo.name], window_s, now_s)
        return total

    def keys(self) -> Iterator[Key]:
        """All that have had turns."""
        return iter(self._rings)

    def _of(self, key: Key) -> "tuple[_Ring, ...]":
        rings = self._rings.get(key)
        if rings is None:
            if len(self._rings) >= self._n_keys - 1:
                key = OTHER
            rings = self._rings.setdefault(key, tuple(_Ring(slot_s) for slot_s in SLOT_S))
        return rings


class _Ring:
    """Numbers per slot of time; a slot that comes round again begins at zero."""

    def __init__(self, slot_s: int) -> None:
        self._slot_s = slot_s
        self._which = np.full(SLOTS, -1, np.int64)
        self._counts = np.zeros((SLOTS, 2 * len(SLOS)), np.uint32)

    def add(self, at_s: int, good: Mapping[str, bool]) -> None:
        which = at_s // self._slot_s
        place = which % SLOTS
        held = self._which[place]
        if held > which:
            return
        if held < which:
            self._which[place] = which
            self._counts[place] = 0
        for name, is_good in good.items():
            self._counts[place, _COLUMN[name] + (not is_good)] += 1

    def count(self, column: int, window_s: int, now_s: int) -> Count:
        first = (now_s - window_s) // self._slot_s + 1
        rows = (self._which >= first) & (self._which <= now_s // self._slot_s)
        n_good, n_bad = self._counts[rows, column : column + 2].sum(axis=0, dtype=np.int64).tolist()
        return Count(n_good + n_bad, n_bad)
