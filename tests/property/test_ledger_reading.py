"""Does it matter to a question which turns are in the ring, and which in the store only? It does not."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.made_up_turns import HOUR_MS, Turns
from tests.support.nearly import same
from tests.support.turn_records import a_record
from voicestack.core.marks import Mark, TurnMarks
from voicestack.core.turn_record import Origin, TurnRecord
from voicestack.telemetry.reading import LedgerReader, Unreadable
from voicestack.telemetry.ring import LONGEST_TURN_MS, Ring
from voicestack.telemetry.slo import PERIOD_S, WINDOWS_S
from voicestack.telemetry.turn_filter import OPERATOR, Reader, TurnFilter
from voicestack.telemetry.turn_table import VERDICTS, TurnTable

NOW_MS = 1_795_885_980_000
"""A whole minute: what the store has of days is counted to the minute."""
ACME = Reader("acme")
LONGER_S = [window_s for window_s in (*WINDOWS_S, PERIOD_S) if window_s >= 3_600]
DAY = TurnFilter(NOW_MS - 24 * HOUR_MS, NOW_MS)


class Stored:
    """Satisfies `reading.Earlier` by a list."""

    def __init__(self, records: Sequence[TurnRecord]) -> None:
        self.records = records
        self.is_readable = True
        self.n_asked = self.n_counted = 0

    def _matching(self, reader: Reader, wanted: TurnFilter) -> list[TurnRecord]:
        if not self.is_readable:
            raise Unreadable("for this test")
        mask = TurnTable.of(self.records).mask(reader, wanted)
        found = [record for record, is_in in zip(self.records, mask, strict=True) if is_in]
        return sorted(found, key=lambda one: (one.began_unix_ms, one.id), reverse=True)

    def newest(
        self, reader: Reader, wanted: TurnFilter, limit: int, after: tuple[int, str] | None = None
    ) -> Sequence[TurnRecord]:
        self.n_asked += 1
        found = self._matching(reader, wanted)
        return [one for one in found if after is None or (one.began_unix_ms, one.id) < after][:limit]

    def each(self, reader: Reader, wanted: TurnFilter, limit: int) -> Iterator[TurnRecord]:
        yield from self.newest(reader, wanted, limit)

    def find(self, reader: Reader, turn_id: str) -> TurnRecord | None:
        found = self._matching(reader, replace(DAY, from_ms=0))
        return next((one for one in found if one.id == turn_id), None)

    def verdicts(self, reader: Reader, wanted: TurnFilter) -> dict[str, int]:
        self.n_counted += 1
        found: list[str] = [one.verdict for one in self._matching(reader, wanted)]
        return {name: found.count(name) for name in VERDICTS}

    def extent(self, reader: Reader) -> tuple[int | None, int]:
        found = self._matching(reader, replace(DAY, from_ms=0))
        return (found[-1].began_unix_ms, len(found)) if found else (None, 0)


def some_turns(seed: int, n: int) -> list[TurnRecord]:
    """In the order in which they end, which is not quite that in which they began."""
    turns = list(Turns(seed).many(n, NOW_MS - HOUR_MS, NOW_MS))
    return sorted(turns, key=lambda one: one.began_unix_ms + crc32(one.id.encode()) % LONGEST_TURN_MS)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 1_000),
    n=st.integers(0, 80),
    n_ring=st.integers(1, 90),
    reader=st.sampled_from([OPERATOR, ACME]),
    wanted=st.sampled_from(
        [
            DAY,
            replace(DAY, rung="draft"),
            replace(DAY, from_ms=NOW_MS - HOUR_MS // 2),
            replace(DAY, to_ms=NOW_MS - HOUR_MS // 2),
        ]
    ),
    is_restarted=st.booleans(),
)
def test_it_does_not_matter_where_a_turn_is(
    seed: int, n: int, n_ring: int, reader: Reader, wanted: TurnFilter, is_restarted: bool
) -> None:
    records = some_turns(seed, n)
    stored = Stored(records)
    ring = Ring(n_ring)
    if is_restarted:
        last = stored.newest(OPERATOR, replace(DAY, from_ms=0), n_ring)
        ring = Ring(n_ring, reversed(last), since_ms=last[-1].began_unix_ms + 1 if len(last) == n_ring else 0)
    else:
        for record in records:
            ring.turn_recorded(record)
    some, whole = LedgerReader(ring, {}, stored), LedgerReader(Ring(1_000, records), {})
    same(some.overview(reader, wanted), whole.overview(reader, wanted))
    assert some.heat(reader, wanted) == whole.heat(reader, wanted)
    assert some.compare(reader, wanted, DAY) == whole.compare(reader, wanted, DAY)
    assert some.extent(reader) == whole.extent(reader)
    after = None
    while True:
        page, other = some.page(reader, wanted, 11, after), whole.page(reader, wanted, 11, after)
        assert page == other
        after = page.after
        if after is None:
            break
    for record in records:
        assert some.find(reader, record.id) == whole.find(reader, record.id)


def test_what_cannot_be_read_is_left_out_and_that_is_said() -> None:
    records = some_turns(1, 100)
    stored, ring = Stored(records), Ring(20)
    for record in records:
        ring.turn_recorded(record)
    ledger = LedgerReader(ring, {}, stored)
    stored.is_readable = False
    page = ledger.overview(OPERATOR, DAY)
    with ring.table() as table:
        assert len(table) == 20
        since_ms = ring.since_ms
    assert (page["n_turns"], page["oldest_unix_ms"]) == (20, since_ms)
    assert len(ledger.page(OPERATOR, DAY, 50).records) == 20
    assert ledger.extent(OPERATOR)["n_turns"] == 20
    with pytest.raises(Unreadable):
        ledger.find(OPERATOR, records[0].id)


def test_the_store_is_asked_once_a_minute_however_many_look() -> None:
    stored, now_ms = Stored(some_turns(1, 100)), [NOW_MS]
    ring = Ring(20, since_ms=NOW_MS)
    ledger = LedgerReader(ring, {}, stored, lambda: now_ms[0])
    for n in range(20):
        wanted = replace(DAY, from_ms=DAY.from_ms - 30_000 + 2_500 * n, to_ms=DAY.to_ms - 30_000 + 2_500 * n)
        assert ledger.overview(OPERATOR, wanted)["n_turns"] == 100
        ledger.heat(OPERATOR, wanted)
        assert ledger.overview(ACME, wanted)["n_turns"] < 100
    assert stored.n_asked == 4  # two tenants, two minutes
    n_short = len(WINDOWS_S) + 1 - len(LONGER_S)  # counted each time: they are quick
    assert stored.n_counted == 4 * len(LONGER_S) + 40 * n_short
    ring.turn_recorded(a_record(id="new.1", began_unix_ms=NOW_MS - 1))
    now_ms[0] += 60_000
    assert ledger.overview(OPERATOR, DAY)["n_turns"] == 101


# --- the ring ---------------------------------------------------------------------------------------------


def heard(record: TurnRecord, after_ms: float) -> TurnMarks:
    at_ns = record.marks.at_ns
    return TurnMarks({**at_ns, Mark.FIRST_HEARD: at_ns[Mark.SPEECH_END] + round(after_ms * 1e6)})


def test_the_ring_keeps_the_last_turns() -> None:
    ring = Ring(50)
    for n in range(1_000):
        ring.turn_recorded(a_record(id=f"sess.{n}"))
        if n == 777:
            assert LedgerReader(ring, {}).extent(OPERATOR)["n_turns"] == 50
    with ring.table() as table:
        assert {one.id for one in table.records} == {f"sess.{n}" for n in range(950, 1_000)}
        assert table.find("sess.949") is None


def test_a_turn_is_heard_after_it_was_recorded() -> None:
    ring, record = Ring(10), a_record()
    ring.turn_recorded(record)
    ring.answer_heard(record.id, heard(record, 640.0))
    ring.answer_heard("sess_unknown.7", heard(record, 640.0))
    ledger = LedgerReader(ring, {})
    found = ledger.find(OPERATOR, record.id)
    assert found is not None
    assert found.marks.heard_after_ms == 640.0
    everything = TurnFilter(0, NOW_MS)
    assert ledger.overview(OPERATOR, everything)["heard"]["p50"] == 640.0
    assert ledger.extent(OPERATOR)["n_turns"] == 1


def test_words_that_turns_were_heard_push_out_no_turn() -> None:
    ring = Ring(20)
    for n in range(20):
        record = a_record(id=f"sess.{n}")
        ring.turn_recorded(record)
        ring.answer_heard(record.id, heard(record, 640.0))
    found = LedgerReader(ring, {}).overview(OPERATOR, TurnFilter(0, NOW_MS))
    assert (found["n_turns"], found["heard"]["n"]) == (20, 20)


def test_another_tenants_turn_is_not_there() -> None:
    ring = Ring(10, [a_record(id="a.1", origin=Origin(tenant="acme")), a_record(id="b.1")])
    ledger = LedgerReader(ring, {})
    assert ledger.find(ACME, "a.1") is not None
    assert ledger.find(ACME, "b.1") is None
    assert ledger.extent(ACME)["n_turns"] == 1
    assert ledger.facets(ACME)["tenants"] == ["acme"]
    assert ledger.facets(Reader("nobody")) == {name: [] for name in ledger.facets(ACME)}
    assert ledger.facets(OPERATOR)["replicas"] == ["asr-0", "llm-0", "llm-1", "tts-0"]
