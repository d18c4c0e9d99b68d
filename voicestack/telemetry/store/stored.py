"""What can be read from the ledger on disk, and by whom?"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection

from voicestack.core.turn_record import TurnRecord
from voicestack.telemetry.reading import Unreadable
from voicestack.telemetry.store import queries
from voicestack.telemetry.store.codec import record_of
from voicestack.telemetry.store.database import Database
from voicestack.telemetry.store.failures import FAULTS, code_of, first_line
from voicestack.telemetry.turn_filter import Reader, TurnFilter

STREAMED_TURNS = 200
"""Read at once of many."""

log = logging.getLogger(__name__)


class StoredTurns:
    """Satisfies `reading.Earlier`. For any thread but the event loop's: every method may wait.

    Args:
        database: Where.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(
        self, reader: Reader, wanted: TurnFilter, limit: int, after: tuple[int, str] | None = None
    ) -> Sequence[TurnRecord]:
        """So many turns, the newest first, after the one that began then and has that name."""
        with self._reading(reader) as connection:
            rows = connection.execute(queries.newest(reader, wanted, limit, after)).mappings()
            return [record_of(row) for row in rows]

    def each(self, reader: Reader, wanted: TurnFilter, limit: int) -> Iterator[TurnRecord]:
        """The same one by one: when one is looked at, those before it can be forgotten."""
        with self._reading(reader) as connection:
            streamed = connection.execution_options(yield_per=STREAMED_TURNS)
            for row in streamed.execute(queries.newest(reader, wanted, limit)).mappings():
                yield record_of(row)

    def find(self, reader: Reader, turn_id: str) -> TurnRecord | None:
        """One turn; None also for another tenant's."""
        with self._reading(reader) as connection:
            row = connection.execute(queries.one(reader, turn_id)).mappings().first()
            return None if row is None else record_of(row)

    def verdicts(self, reader: Reader, wanted: TurnFilter) -> dict[str, int]:
        """How many turns have each verdict; those that none has are left out."""
        with self._reading(reader) as connection:
            rows = connection.execute(queries.verdicts(reader, wanted))
            return {row.verdict: row.n for row in rows}

    def extent(self, reader: Reader) -> tuple[int | None, int]:
        """When the oldest turn began, Unix ms, and how many there are."""
        with self._reading(reader) as connection:
            oldest_ms, n_turns = connection.execute(queries.oldest(reader)).one()
            return oldest_ms, n_turns

    @contextmanager
    def _reading(self, reader: Reader) -> Iterator[Connection]:
        try:
            with self._database.reading(reader) as connection:
                yield connection
        except FAULTS as error:
            log.warning("the ledger cannot be read: %s  [%s]", first_line(error), code_of(error))
            raise Unreadable("the ledger's store cannot be read") from error
