"""Who asks the ledger what? Every question passes here, with the name of whoever asks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from voicestack.core.turn_record import TurnRecord
from voicestack.telemetry.comparison import comparison
from voicestack.telemetry.overview import Selected, heat, overview
from voicestack.telemetry.ring import Ring
from voicestack.telemetry.slo import BUDGET, Count, assess
from voicestack.telemetry.turn_filter import Reader, TurnFilter
from voicestack.telemetry.turn_rows import turn_row
from voicestack.telemetry.turn_table import ORIGINS, RUNGS, TurnTable

FACETS = {f"{name}s": name for name in ORIGINS}


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the list of turns, the newest first, a page begins: after this turn."""

    began_ms: int
    turn_id: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some turns of a list.

    Attributes:
        records: The newest first.
        after: Where the next page begins; None if there is none.
        n_total: How many turns the whole list has.
    """

    records: Sequence[TurnRecord]
    after: Place | None
    n_total: int


class LedgerReader:
    """Answers questions. For any thread; the long ones belong into a thread of their own.

    Args:
        ring: The last turns.
        shares_ms: What each stage may take, by name.
    """

    def __init__(self, ring: Ring, shares_ms: Mapping[str, float]) -> None:
        self._ring, self._shares_ms = ring, shares_ms

    def overview(self, reader: Reader, wanted: TurnFilter) -> dict[str, Any]:
        """See the function."""
        return overview(self._select(reader, wanted), self._shares_ms, lambda: self._slo(reader, wanted))

    def heat(self, reader: Reader, wanted: TurnFilter) -> dict[str, Any]:
        """See the function."""
        return heat(self._select(reader, wanted))

    def compare(self, reader: Reader, a: TurnFilter, b: TurnFilter) -> dict[str, Any]:
        """See the function `comparison`."""
        return comparison(self._select(reader, a), self._select(reader, b))

    def page(self, reader: Reader, wanted: TurnFilter, limit: int, after: Place | None = None) -> Page:
        """Some of the turns, the newest first."""
        with self._ring.table() as table:
            return page_of(table, np.flatnonzero(table.mask(reader, wanted)), limit, after)

    def find(self, reader: Reader, turn_id: str) -> TurnRecord | None:
        """One turn; None also for another tenant's."""
        with self._ring.table() as table:
            record = table.find(turn_id)
        if record is None or not (reader.is_operator or record.origin.tenant == reader.tenant):
            return None
        return record

    def facets(self, reader: Reader) -> dict[str, list[str]]:
        """The words that there are to filter by."""
        with self._ring.table() as table:
            rows = table.rows
            if not reader.is_operator:
                rows = rows[rows["tenant"] == table.vocabularies["tenant"].known(reader.tenant)]
            found = {
                facet: sorted(table.vocabularies[name].words[code] for code in np.unique(rows[name]))
                for facet, name in FACETS.items()
            }
            groups = table.vocabularies["replicas"].words
            replicas = sorted({name for code in np.unique(rows["replicas"]) for name in groups[code]})
            taken = int(np.bitwise_or.reduce(rows["rungs"])) if len(rows) else 0
        return {
            **found,
            "replicas": replicas,
            "rungs": [rung for n, rung in enumerate(RUNGS) if taken & 1 << n],
        }

    def extent(self, reader: Reader) -> dict[str, int | None]:
        """How many turns the reader can see, and when the oldest began."""
        with self._ring.table() as table:
            began_ms = table.rows["began_ms"]
            if not reader.is_operator:
                of_theirs = table.rows["tenant"] == table.vocabularies["tenant"].known(reader.tenant)
                began_ms = began_ms[of_theirs]
            return {
                "n_turns": len(began_ms),
                "oldest_unix_ms": int(began_ms.min()) if len(began_ms) else None,
            }

    def _select(self, reader: Reader, wanted: TurnFilter) -> Selected:
        with self._ring.table() as table:
            return Selected.of(table, table.mask(reader, wanted), wanted)

    def _slo(self, reader: Reader, wanted: TurnFilter) -> dict[str, object]:
        """How the objective stands at the end of the period, for the same turns but of any time."""
        select: Callable[[int], Selected] = lambda window_s: self._select(  # noqa: E731
            reader, replace(wanted, from_ms=wanted.to_ms - window_s * 1000)
        )

        def counted(window_s: int) -> Count:
            verdicts = np.bincount(select(window_s).rows["verdict"], minlength=4)
            met, declared, missed, _ = verdicts.tolist()
            return Count(met + declared + missed, declared + missed)

        return assess(BUDGET, counted).as_json()


def page_of(table: TurnTable, found: Any, limit: int, after: Place | None) -> Page:
    """A page of a list.

    Args:
        table: The turns.
        found: Places in it of those in the list. Shape (n,), int.
        limit: Turns on a page.
        after: Where it begins.
    """
    records = table.records
    rising = found[np.argsort(table.rows["began_ms"][found], kind="stable")]
    began_ms = table.rows["began_ms"][rising]
    end = len(rising)
    if after is not None:
        end = int(np.searchsorted(began_ms, after.began_ms, side="right"))
    page: list[TurnRecord] = []
    while end > 0 and len(page) <= limit:  # turns of the same millisecond, by name
        at_ms = began_ms[end - 1]
        start = int(np.searchsorted(began_ms, at_ms, side="left"))
        same = sorted((records[place] for place in rising[start:end]), key=lambda one: one.id, reverse=True)
        page += [
            one
            for one in same
            if after is None or (one.began_unix_ms, one.id) < (after.began_ms, after.turn_id)
        ]
        end = start
    shown = page[:limit]
    more = len(page) > limit
    return Page(shown, Place(shown[-1].began_unix_ms, shown[-1].id) if more else None, len(rising))


def rows_of(page: Page) -> dict[str, Any]:
    """A page as JSON."""
    after = None if page.after is None else f"{page.after.began_ms}.{page.after.turn_id}"
    return {"turns": [turn_row(record) for record in page.records], "next": after, "n_total": page.n_total}
