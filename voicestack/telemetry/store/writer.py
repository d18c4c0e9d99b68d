"""How do turns get to disk without anybody waiting? In batches, by a thread of its own.

A turn that ends costs an append. When the database cannot be written to, turns wait in a bounded queue and
are tried again; only when it is full the oldest are dropped, and counted.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite

from voicestack.core.errors import ConfigError
from voicestack.core.marks import TurnMarks
from voicestack.core.turn_record import TurnRecord
from voicestack.telemetry.store import queries
from voicestack.telemetry.store.codec import body_of, record_of, row_of
from voicestack.telemetry.store.database import Database
from voicestack.telemetry.store.failures import FAULTS, REFUSED, code_of, first_line
from voicestack.telemetry.turn_filter import OPERATOR
from voicestack.telemetry.turn_table import with_marks

log = logging.getLogger(__name__)

FLUSH_S = 0.5
"""So often what has come is written."""
BATCH_TURNS = 500
MAX_WAITING = 20_000
"""Turns, and words that one was heard, that may wait: over an hour of five turns a second; about 40 MB."""
RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Pauses after failures in a row; the last one for all further ones."""
N_FAILURES_PER_LINE = 6
"""So often a failure that goes on is logged again: once a minute."""
CLOSE_S = 5.0
"""So long the end of the server waits for the last turns to be written."""
PRUNE_S = 3_600.0
PRUNE_TURNS = 5_000
"""Deleted in one transaction: other writers wait meanwhile."""
DAY_MS = 86_400_000

Item = TurnRecord | tuple[str, TurnMarks]


class Writer:
    """Writes turns. A `TurnListener`.

    Args:
        database: Where to.
        with_words: Keep what was said and heard.
        keep_days: Older turns are deleted.
        unix_ms: The time.
        max_waiting: See MAX_WAITING.
    """

    def __init__(
        self,
        database: Database,
        *,
        with_words: bool,
        keep_days: int,
        unix_ms: Callable[[], int],
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._database, self._with_words = database, with_words
        self._keep_ms, self._unix_ms, self._max_waiting = keep_days * DAY_MS, unix_ms, max_waiting
        self._waiting: deque[Item] = deque()
        self._batch: list[Item] = []
        self._is_migrated = False
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._n_failures = 0
        self._n_written = self._n_dropped = self._n_refused = 0
        dialect: Any = sqlite if database.is_sqlite else postgresql
        self._insert = dialect.insert

    # --- from the event loop --------------------------------------------------------------------------------

    def turn_recorded(self, record: TurnRecord) -> None:
        """See `TurnListener`."""
        self._put(record)

    def answer_heard(self, turn_id: str, marks: TurnMarks) -> None:
        """See `TurnListener`."""
        self._put((turn_id, marks))

    def _put(self, item: Item) -> None:
        if len(self._waiting) >= self._max_waiting:
            self._waiting.popleft()
            self._n_dropped += 1
        self._waiting.append(item)

    def figures(self) -> Mapping[str, float]:
        """How it fares. See `ports.Measured`."""
        return {
            "written_total": self._n_written,
            "dropped_total": self._n_dropped,
            "refused_total": self._n_refused,
            "waiting_turns": len(self._waiting) + len(self._batch),
            "failures_in_a_row": self._n_failures,
        }

    # --- its life -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and end. Takes CLOSE_S at most; what is not written by then is lost, and said."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)
        n_left = len(self._waiting) + len(self._batch)
        if n_left:
            self._n_dropped += n_left
            log.error(
                "%d turns could not be written any more to %s  [ledger_lost]", n_left, self._database.shown
            )

    def _run(self) -> None:
        until_prune_s = 0.0
        pause_s = FLUSH_S
        while True:
            is_over = self._is_over.wait(pause_s)
            is_well = self.flush()
            if is_over:
                break
            until_prune_s -= pause_s
            if is_well and until_prune_s <= 0:
                until_prune_s = PRUNE_S
                self._attempt(self.prune)
            pause_s = FLUSH_S if is_well else RETRY_S[min(self._n_failures, len(RETRY_S)) - 1]
        self._database.close()

    def flush(self) -> bool:
        """Write until nothing waits. Returns whether that worked. Not beside the thread."""
        while self._batch or self._waiting:
            while self._waiting and len(self._batch) < BATCH_TURNS:
                self._batch.append(self._waiting.popleft())
            if not self._attempt(self._write_batch):
                return False
        return True

    def _attempt(self, work: Callable[[], None]) -> bool:
        """Do it, and log what goes wrong once and not every time."""
        try:
            if not self._is_migrated:
                self._database.migrate()
                self._is_migrated = True
            work()
        except (*FAULTS, ConfigError) as error:
            self._n_failures += 1
            if self._n_failures % N_FAILURES_PER_LINE == 1:
                log.error(
                    "the ledger cannot be written to %s: %s; %d turns wait, and it is tried again  [%s]",
                    self._database.shown,
                    first_line(error),
                    len(self._waiting) + len(self._batch),
                    code_of(error),
                )
            return False
        if self._n_failures:
            log.info("the ledger is written to %s again", self._database.shown)
            self._n_failures = 0
        return True

    # --- in its thread --------------------------------------------------------------------------------------

    def _write_batch(self) -> None:
        try:
            self._write(self._batch)
        except FAULTS as error:
            if code_of(error) != REFUSED:
                raise
            self._write_one_by_one()
        self._batch.clear()

    def _write_one_by_one(self) -> None:
        """One of them is refused for what it is: the others are written, and it is given up."""
        while self._batch:
            try:
                self._write(self._batch[:1])
            except FAULTS as error:
                if code_of(error) != REFUSED:
                    raise
                self._n_refused += 1
                log.error("a turn is refused by the ledger: %s  [%s]", first_line(error), REFUSED)
            del self._batch[0]

    def _write(self, items: Sequence[Item]) -> None:
        records: dict[str, TurnRecord] = {}
        heard_later: list[tuple[str, TurnMarks]] = []
        for item in items:
            if isinstance(item, TurnRecord):
                records[item.id] = item
            elif item[0] in records:
                records[item[0]] = with_marks(records[item[0]], item[1])
            else:
                heard_later.append(item)
        with self._database.writing(OPERATOR) as connection:
            if records:
                rows = [row_of(record, with_words=self._with_words) for record in records.values()]
                connection.execute(queries.written(self._insert), rows)
            for turn_id, marks in heard_later:
                row = connection.execute(queries.one(OPERATOR, turn_id)).mappings().first()
                if row is not None:
                    record = with_marks(record_of(row), marks)
                    body = body_of(record, with_words=self._with_words)
                    connection.execute(queries.replaced_body(OPERATOR, turn_id, body))
        self._n_written += len(records)

    def prune(self) -> None:
        """Delete what is too old. Not beside the thread."""
        before_ms, n_deleted = self._unix_ms() - self._keep_ms, PRUNE_TURNS
        n_all = 0
        while n_deleted == PRUNE_TURNS and not self._is_over.is_set():
            with self._database.writing(OPERATOR) as connection:
                n_deleted = connection.execute(queries.too_old(OPERATOR, before_ms, PRUNE_TURNS)).rowcount
            n_all += n_deleted
        if n_all:
            log.info("%d turns were older than %d days and are deleted", n_all, self._keep_ms // DAY_MS)
