"""The store of the ledger, opened: what former processes left in it, and what writes to it from now on."""

import logging
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from voicestack.aio.clock import unix_ms
from voicestack.config.ledger import LedgerSection
from voicestack.core.errors import ConfigError
from voicestack.telemetry.reading import Unreadable
from voicestack.telemetry.ring import Ring
from voicestack.telemetry.store.database import Database
from voicestack.telemetry.store.failures import FAULTS, code_of, first_line
from voicestack.telemetry.store.place import AUTO, url_of
from voicestack.telemetry.store.stored import StoredTurns
from voicestack.telemetry.store.writer import Writer
from voicestack.telemetry.turn_filter import OPERATOR, TurnFilter

log = logging.getLogger(__name__)

FOR_EVER_MS = 1 << 60


@dataclass(frozen=True, slots=True)
class Opened:
    """A store that is in use.

    Attributes:
        stored: Reads.
        ring: With the last turns of former processes.
        writer: Writes, once it is started.
    """

    stored: StoredTurns
    ring: Ring
    writer: Writer


def open_store(said: LedgerSection, keys_file: Path) -> Opened | None:
    """Open it. Waits for the database, so not on the event loop. None if turns are kept in memory only.

    Raises:
        ConfigError: what somebody has configured cannot be used. The file that nobody asked for may fail.
    """
    url = url_of(said.store, keys_file)
    database = None if url is None else _opened(said, url)
    if database is None:
        return None
    stored = StoredTurns(database)
    writer = Writer(database, with_words=said.transcripts, keep_days=said.keep_days, unix_ms=unix_ms)
    return Opened(stored, _loaded(stored, said.ring_turns), writer)


def _opened(said: LedgerSection, url: URL) -> Database | None:
    """The database, with its tables up to date if it can be reached now. The writer tries again if not."""
    database = Database(url)
    try:
        database.migrate()
    except ConfigError as error:
        database.close()
        if said.store != AUTO:
            raise
        log.warning("%s; turns are kept in memory only  [ledger_unavailable]", error)
        return None
    except FAULTS as error:
        log.error(
            "ledger.store %s cannot be used now: %s; it is tried again  [%s]",
            database.shown,
            first_line(error),
            code_of(error),
        )
    else:
        log.info("the ledger of turns is in %s", database.shown)
    return database


def _loaded(stored: StoredTurns, n_turns: int) -> Ring:
    """A ring with the last turns of former processes."""
    now_ms = unix_ms()
    try:
        turns = stored.newest(OPERATOR, TurnFilter(0, FOR_EVER_MS), n_turns)
    except Unreadable:
        return Ring(n_turns, since_ms=now_ms)
    since_ms = turns[-1].began_unix_ms + 1 if len(turns) == n_turns else 0
    return Ring(n_turns, reversed(turns), since_ms=since_ms)
