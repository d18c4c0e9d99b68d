"""Who asks the ledger what? Every question passes here, with the name of whoever asks.

The last turns come from the ring; those before them from the store, if there is one. Where both have a turn,
the ring's is taken.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from voicestack.aio.clock import unix_ms
from voicestack.core.errors import VoiceStackError
from voicestack.core.turn_record import TurnRecord
from voicestack.telemetry.comparison import comparison
from voicestack.telemetry.kept import KEPT_MS, Kept
from voicestack.telemetry.overview import Selected, heat, overview
from voicestack.telemetry.pages import Page, Place, merged, page_of
from voicestack.telemetry.ring import Ring
from voicestack.telemetry.slo import BUDGET, Count, assess
from voicestack.telemetry.turn_filter import Reader, TurnFilter
from voicestack.telemetry.turn_table import ORIGINS, RUNGS, VERDICTS, TurnTable

FACETS = {f"{name}s": name for name in ORIGINS}
MAX_EARLIER = 50_000
"""Turns that one question reads from the store, the newest: a second or two. Answers say how far they go."""
HOUR_MS = 3_600_000


class Unreadable(VoiceStackError):
    """The store cannot be read now."""

    code = "ledger_unavailable"
    retryable = True


class Earlier(Protocol):
    """Turns from before the ring. Every method raises Unreadable when it cannot."""

    def newest(
        self, reader: Reader, wanted: TurnFilter, limit: int, after: tuple[int, str] | None = None
    ) -> Sequence[TurnRecord]:
        """So many turns, the newest first, after the one that began then and has that name."""
        ...

    def each(self, reader: Reader, wanted: TurnFilter, limit: int) -> Iterator[TurnRecord]:
        """The same one by one: when one is looked at, those before it can be forgotten."""
        ...

    def find(self, reader: Reader, turn_id: str) -> TurnRecord | None:
        """One turn; None also for another tenant's."""
        ...

    def verdicts(self, reader: Reader, wanted: TurnFilter) -> Mapping[str, int]:
        """How many turns have each verdict."""
        ...

    def extent(self, reader: Reader) -> tuple[int | None, int]:
        """When the oldest turn began, Unix ms, and how many there are."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """The turns of a question.

    Attributes:
        selected: They.
        since_ms: Those that began before could not be had; None if there are all.
    """

    selected: Selected
    since_ms: int | None


class LedgerReader:
    """Answers questions. For any thread but the event loop's: they take milliseconds, or wait for the store.

    Args:
        ring: The last turns.
        shares_ms: What each stage may take, by name.
        earlier: The turns before those; None without a store. What it is asked for is kept for a minute.
        unix_ms: The time.
    """

    def __init__(
        self,
        ring: Ring,
        shares_ms: Mapping[str, float],
        earlier: Earlier | None = None,
        unix_ms: Callable[[], int] = unix_ms,
    ) -> None:
        self._ring, self._shares_ms, self._earlier = ring, shares_ms, earlier
        self._found, self._counts = Kept[Found](4, unix_ms), Kept[Count](256, unix_ms)

    def overview(self, reader: Reader, wanted: TurnFilter) -> dict[str, Any]:
        """See the function."""
        found = self._select(reader, wanted)
        page = overview(found.selected, self._shares_ms, lambda: self._slo(reader, wanted))
        return {**page, "oldest_unix_ms": found.since_ms}

    def heat(self, reader: Reader, wanted: TurnFilter) -> dict[str, Any]:
        """See the function."""
        found = self._select(reader, wanted)
        return {**heat(found.selected), "oldest_unix_ms": found.since_ms}

    def compare(self, reader: Reader, a: TurnFilter, b: TurnFilter) -> dict[str, Any]:
        """See the function `comparison`."""
        return comparison(self._select(reader, a).selected, self._select(reader, b).selected)

    def page(self, reader: Reader, wanted: TurnFilter, limit: int, after: Place | None = None) -> Page:
        """Some of the turns, the newest first."""
        with self._ring.table() as table:
            page = page_of(table, np.flatnonzero(table.mask(reader, wanted)), limit, after)
            horizon_ms = self._ring.since_ms
            n_recent = int(
                np.count_nonzero(table.mask(reader, replace(wanted, from_ms=max(horizon_ms, wanted.from_ms))))
            )
        if self._earlier is None or wanted.from_ms >= horizon_ms:
            return page
        place = None if after is None else (after.began_ms, after.turn_id)
        try:
            stored = self._earlier.newest(reader, wanted, limit + 1, place)
            before = replace(wanted, to_ms=min(wanted.to_ms, horizon_ms))
            n_before = sum(self._earlier.verdicts(reader, before).values())
        except Unreadable:
            return page
        return merged(page, stored, limit, n_recent + n_before)

    def find(self, reader: Reader, turn_id: str) -> TurnRecord | None:
        """One turn; None also for another tenant's."""
        with self._ring.table() as table:
            record = table.find(turn_id)
        if record is not None:
            return record if reader.is_operator or record.origin.tenant == reader.tenant else None
        return None if self._earlier is None else self._earlier.find(reader, turn_id)

    def facets(self, reader: Reader) -> dict[str, list[str]]:
        """The words that there are to filter by, in the turns of the ring."""
        with self._ring.table() as table:
            rows, words = table.rows[table.visible(reader)], table.vocabularies
            found = {
                facet: sorted(words[name].words[code] for code in np.unique(rows[name]))
                for facet, name in FACETS.items()
            }
            groups = words["replicas"].words
            replicas = sorted({name for code in np.unique(rows["replicas"]) for name in groups[code]})
            taken = int(np.bitwise_or.reduce(rows["rungs"])) if len(rows) else 0
        return {
            **found,
            "replicas": replicas,
            "rungs": [name for n, name in enumerate(RUNGS) if taken & 1 << n],
        }

    def extent(self, reader: Reader) -> dict[str, int | None]:
        """How many turns the reader can see, and when the oldest began."""
        with self._ring.table() as table:
            began_ms = table.rows["began_ms"][table.visible(reader)]
            since_ms = self._ring.since_ms
        n_turns, oldest_ms = len(began_ms), int(began_ms.min()) if len(began_ms) else None
        if self._earlier is not None and since_ms:
            try:
                stored_ms, n_stored = self._earlier.extent(reader)
            except Unreadable:
                pass
            else:
                n_turns = max(n_turns, n_stored)
                oldest_ms = min((ms for ms in (oldest_ms, stored_ms) if ms is not None), default=None)
        return {"n_turns": n_turns, "oldest_unix_ms": oldest_ms}

    def _select(self, reader: Reader, wanted: TurnFilter) -> Found:
        with self._ring.table() as table:
            horizon_ms = self._ring.since_ms
            if self._earlier is None or wanted.from_ms >= horizon_ms:
                selected = Selected.of(table, table.mask(reader, wanted), wanted)
                return Found(selected, None if wanted.from_ms >= horizon_ms else horizon_ms)
        wanted = to_the_minute(wanted)
        try:
            return self._found.get((reader, wanted), lambda: self._far_back(reader, wanted))
        except Unreadable:
            return self._ring_only(reader, wanted)

    def _far_back(self, reader: Reader, wanted: TurnFilter) -> Found:
        """From the store, too. Takes a second or two for MAX_EARLIER turns."""
        assert self._earlier is not None
        with self._ring.table() as table:
            mask = table.mask(reader, wanted)
            recent = [table.records[place] for place in np.flatnonzero(mask).tolist()]
            before = replace(wanted, to_ms=min(wanted.to_ms, self._ring.since_ms))
        both, since_ms = TurnTable(MAX_EARLIER + len(recent), keeps_records=False), wanted.to_ms
        for record in self._earlier.each(reader, before, MAX_EARLIER):
            both.add([record])
            since_ms = record.began_unix_ms
        is_cut = len(both) == MAX_EARLIER
        both.add(recent)
        return Found(Selected.of(both, both.mask(reader, wanted), wanted), since_ms if is_cut else None)

    def _ring_only(self, reader: Reader, wanted: TurnFilter) -> Found:
        with self._ring.table() as table:
            selected = Selected.of(table, table.mask(reader, wanted), wanted)
            return Found(selected, self._ring.since_ms)

    def _slo(self, reader: Reader, wanted: TurnFilter) -> dict[str, object]:
        """How the objective stands at the end of the period, for the same turns but of any time."""

        def counted(window_s: int) -> Count:
            window = replace(wanted, from_ms=max(0, wanted.to_ms - window_s * 1000))
            with self._ring.table() as table:
                if self._earlier is None or window.from_ms >= self._ring.since_ms:
                    codes = table.rows["verdict"][table.mask(reader, window)]
                    by_verdict = dict(
                        zip(VERDICTS, np.bincount(codes, minlength=len(VERDICTS)).tolist(), strict=True)
                    )
                    return _count(by_verdict)
            return self._stored_count(reader, window)

        return assess(BUDGET, counted).as_json()

    def _stored_count(self, reader: Reader, window: TurnFilter) -> Count:
        assert self._earlier is not None
        earlier, window = self._earlier, to_the_minute(window)
        try:
            return self._counts.get((reader, window), lambda: _count(earlier.verdicts(reader, window)))
        except Unreadable:
            return Count()


def to_the_minute(wanted: TurnFilter) -> TurnFilter:
    """A period of an hour or more, by whole minutes: the same question for a minute."""
    if wanted.to_ms - wanted.from_ms < HOUR_MS:
        return wanted
    from_ms, to_ms = (-(-at // KEPT_MS) * KEPT_MS for at in (wanted.from_ms, wanted.to_ms))
    return replace(wanted, from_ms=from_ms, to_ms=to_ms)


def _count(by_verdict: Mapping[str, int]) -> Count:
    met, declared, missed = (by_verdict.get(name, 0) for name in ("met", "declared", "missed"))
    return Count(met + declared + missed, declared + missed)
