"""How are ten thousand turns counted in a few milliseconds? As columns, one row per turn.

A row is made once, when somebody asks for figures for the first time after the turn. Words become numbers by
way of a vocabulary, so that every question is a comparison of whole columns.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from voicestack.core.marks import STAGES, Mark, TurnMarks, hidden_ms, work_ms
from voicestack.core.rungs import Rung
from voicestack.core.turn_record import Outcome, TurnRecord, Verdict
from voicestack.telemetry.slo import was_dead_air
from voicestack.telemetry.turn_filter import Reader, TurnFilter

VERDICTS: tuple[str, ...] = get_args(Verdict)
OUTCOMES: tuple[str, ...] = get_args(Outcome)
RUNGS = tuple(rung.value for rung in Rung)
ORIGINS = ("tenant", "route", "profile", "region", "release")

ROW = np.dtype(
    [
        ("began_ms", np.int64),
        ("budget_ms", np.float64),
        ("response_ms", np.float64),
        ("heard_ms", np.float64),
        ("silence_ms", np.float64),
        ("hidden_ms", np.float64),
        ("work_ms", np.float64),
        ("stage_ms", np.float64, len(STAGES)),
        ("stage_hidden_ms", np.float64, len(STAGES)),
        ("verdict", np.int8),
        ("outcome", np.int8),
        ("blamed", np.int8),
        ("rungs", np.int32),
        *((name, np.int32) for name in ORIGINS),
        ("replicas", np.int32),
        ("n_drafts", np.int32),
        ("drafted_tokens", np.int32),
        ("wasted_tokens", np.int32),
        ("is_cold", np.bool_),
        ("is_cut_off", np.bool_),
        ("is_drafted", np.bool_),
        ("is_interrupted", np.bool_),
        ("is_dead_air", np.bool_),
    ]
)
"""One turn. Times that were not measured are NaN; no stage to blame is -1; rungs are bits by their place."""

Rows = NDArray[np.void]
Mask = NDArray[np.bool_]


class Vocabulary:
    """Numbers for words, in the order in which they came."""

    def __init__(self) -> None:
        self.words: list[Any] = []
        self._codes: dict[Any, int] = {}

    def code(self, word: Any) -> int:
        """Its number, a new one if need be."""
        code = self._codes.get(word)
        if code is None:
            code = self._codes[word] = len(self.words)
            self.words.append(word)
        return code

    def known(self, word: Any) -> int:
        """Its number, or one that no row has."""
        return self._codes.get(word, -2)


class TurnTable:
    """The last turns, as records and as rows. When it is full the oldest go.

    Args:
        n_max: Turns held at most.
        keeps_records: Otherwise there are rows only: a record is twenty objects that the collector looks at.

    Attributes:
        vocabularies: The words behind the numbers in the rows.
        has_dropped: Whether any turn had to go.
    """

    def __init__(self, n_max: int, *, keeps_records: bool = True) -> None:
        self._n_max, self._keeps_records = n_max, keeps_records
        self._slots: dict[str, int] = {}
        self._ids: list[str] = []
        self._records: list[TurnRecord] = []
        self._next = 0
        self.has_dropped = False
        self._rows = np.zeros(min(n_max, 1_024), ROW)
        self.vocabularies = {name: Vocabulary() for name in (*ORIGINS, "replicas")}

    @classmethod
    def of(cls, records: Sequence[TurnRecord]) -> "TurnTable":
        """A table of just these."""
        table = cls(max(1, len(records)))
        table.add(records)
        return table

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def rows(self) -> Rows:
        """All rows, in no particular order. Shape (n_turns,), dtype ROW."""
        return self._rows[: len(self._ids)]

    @property
    def records(self) -> Sequence[TurnRecord]:
        """All records, in the order of `rows`; empty if none are kept."""
        return self._records

    def add(self, records: Iterable[TurnRecord]) -> None:
        """Put them in. One with the id of another replaces it."""
        for record in records:
            slot = self._slots.get(record.id)
            if slot is None:
                slot = self._slots[record.id] = self._free_slot(record.id)
            if self._keeps_records:
                self._records[slot : slot + 1] = [record]
            self._rows[slot] = self._row(record)

    def heard(self, turn_id: str, marks: TurnMarks) -> None:
        """The peer has said when a turn that is here was heard. Of others nothing is kept."""
        record = self.find(turn_id)
        if record is not None:
            self.add([with_marks(record, marks)])

    def find(self, turn_id: str) -> TurnRecord | None:
        """The turn of that name, if records are kept."""
        slot = self._slots.get(turn_id) if self._keeps_records else None
        return None if slot is None else self._records[slot]

    def visible(self, reader: Reader) -> Mask:
        """Which rows the reader may see. Shape (n_turns,)."""
        if reader.is_operator:
            return np.ones(len(self), np.bool_)
        mask: Mask = self.rows["tenant"] == self.vocabularies["tenant"].known(reader.tenant)
        return mask

    def mask(self, reader: Reader, wanted: TurnFilter) -> Mask:
        """Which rows the reader may see and wants to. Shape (n_turns,)."""
        rows = self.rows
        mask = self.visible(reader)
        mask &= (rows["began_ms"] >= wanted.from_ms) & (rows["began_ms"] < wanted.to_ms)
        for name in ORIGINS:
            word = getattr(wanted, name)
            if word is not None:
                mask &= rows[name] == self.vocabularies[name].known(word)
        for name, names in (("verdict", VERDICTS), ("outcome", OUTCOMES)):
            if (word := getattr(wanted, name)) is not None:
                mask &= rows[name] == names.index(word)
        if wanted.stage is not None:
            mask &= rows["blamed"] == STAGES.index(wanted.stage)
        if wanted.rung is not None:
            mask &= rows["rungs"] & (1 << RUNGS.index(wanted.rung)) != 0
        if wanted.replica is not None:
            groups = self.vocabularies["replicas"].words
            mask &= np.isin(
                rows["replicas"], [n for n, group in enumerate(groups) if wanted.replica in group]
            )
        if wanted.is_cold is not None:
            mask &= rows["is_cold"] == wanted.is_cold
        return mask

    @property
    def oldest_ms(self) -> int | None:
        """When the turn began that would have to go next; None while there is room."""
        return int(self._rows["began_ms"][self._next]) if len(self._ids) == self._n_max else None

    def _free_slot(self, turn_id: str) -> int:
        if len(self._ids) < self._n_max:
            slot = len(self._ids)
            self._ids.append(turn_id)
            if slot >= len(self._rows):
                grown = np.zeros(min(self._n_max, 2 * len(self._rows)), ROW)
                grown[:slot] = self._rows
                self._rows = grown
            return slot
        self.has_dropped = True
        slot, self._next = self._next, (self._next + 1) % self._n_max
        del self._slots[self._ids[slot]]
        self._ids[slot] = turn_id
        return slot

    def _row(self, record: TurnRecord) -> tuple[Any, ...]:
        marks, codes = record.marks, self.vocabularies
        spans = marks.spans()
        lasted, hidden = [np.nan] * len(STAGES), [np.nan] * len(STAGES)
        for span in spans:
            place = STAGES.index(span.stage)
            lasted[place], hidden[place] = span.duration_ms, span.hidden_ms
        blamed = STAGES.index(record.blamed) if record.blamed else -1
        rungs = 0
        for taken in record.taken:
            rungs |= 1 << taken.rung.place
        return (
            record.began_unix_ms,
            record.budget_ms,
            _number(marks.response_ms),
            _number(marks.heard_after_ms),
            _number(record.silence_ms),
            hidden_ms(spans),
            work_ms(spans),
            lasted,
            hidden,
            VERDICTS.index(record.verdict),
            OUTCOMES.index(record.outcome),
            blamed,
            rungs,
            *(codes[name].code(getattr(record.origin, name)) for name in ORIGINS),
            codes["replicas"].code(frozenset(use.replica for use in record.uses)),
            record.n_drafts,
            record.drafted_tokens,
            record.wasted_tokens,
            record.was_cold,
            record.was_cut_off,
            marks.drafted,
            marks.interrupted,
            was_dead_air(record) is True,
        )


def with_marks(record: TurnRecord, marks: TurnMarks) -> TurnRecord:
    """The record with an instant that became known later: when it was heard. Nothing else changes.

    Args:
        record: It; its instants may be counted from elsewhere (`store.codec`).
        marks: All marks of the turn as the peer's word was taken.
    """
    heard_after_ns = marks.at_ns[Mark.FIRST_HEARD] - marks.at_ns[Mark.FIRST_SENT]
    sent_ns = record.marks.at_ns.get(Mark.FIRST_SENT)
    if sent_ns is None:
        return record
    at_ns = {**record.marks.at_ns, Mark.FIRST_HEARD: sent_ns + heard_after_ns}
    return replace(record, marks=replace(record.marks, at_ns=at_ns))


def _number(value: float | None) -> float:
    return np.nan if value is None else value
