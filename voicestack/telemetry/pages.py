"""How is a long list of turns read page by page, the newest first?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicestack.core.turn_record import TurnRecord
from voicestack.telemetry.turn_table import TurnTable


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in the list: that of the turn that began then and has that name.

    Of two turns of the same millisecond the one with the greater name is the newer.
    """

    began_ms: int
    turn_id: str

    @classmethod
    def of(cls, record: TurnRecord) -> "Place":
        """Where a turn stands."""
        return cls(record.began_unix_ms, record.id)


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


def page_of(table: TurnTable, found: NDArray[np.intp], limit: int, after: Place | None) -> Page:
    """A page of a list.

    Args:
        table: The turns.
        found: Places in it of those in the list. Shape (n,).
        limit: Turns on a page.
        after: The last turn of the page before.
    """
    began_ms, n_total = table.rows["began_ms"][found], len(found)
    if after is not None:
        found, began_ms = found[began_ms <= after.began_ms], began_ms[began_ms <= after.began_ms]
    order = np.argsort(-began_ms, kind="stable")
    page: list[TurnRecord] = []
    start = 0
    while start < len(order) and len(page) <= limit:
        end = int(np.searchsorted(-began_ms[order], -began_ms[order[start]], side="right"))
        same = [table.records[place] for place in found[order[start:end]]]
        same.sort(key=Place.of, reverse=True)
        page += [record for record in same if after is None or Place.of(record) < after]
        start = end
    return _cut(page, limit, n_total)


def merged(page: Page, others: Sequence[TurnRecord], limit: int, n_total: int) -> Page:
    """One page of two that begin at the same place; a turn that is in both is taken from the first."""
    records = {record.id: record for record in (*others, *page.records)}
    rows = sorted(records.values(), key=Place.of, reverse=True)
    cut = _cut(rows, limit, n_total)
    if cut.after is None and page.after is not None:
        return Page(cut.records, Place.of(cut.records[-1]), n_total)
    return cut


def _cut(records: Sequence[TurnRecord], limit: int, n_total: int) -> Page:
    shown = records[:limit]
    after = Place.of(shown[-1]) if len(records) > limit else None
    return Page(shown, after, n_total)
