"""The ledger of turns: the ring that the dashboard reads, and the store that outlives the process."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from voicestack.aio.clock import unix_ms
from voicestack.config.derived import budget_of
from voicestack.config.ledger import LedgerSection
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError
from voicestack.telemetry.listener import TurnListener
from voicestack.telemetry.metrics import Metrics
from voicestack.telemetry.reading import LedgerReader, Unreadable
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
class Ledger:
    """The ledger of one server.

    Attributes:
        reader: Answers questions.
        listeners: Who is told of turns. Others may join.
    """

    reader: LedgerReader
    listeners: list[TurnListener]


@asynccontextmanager
async def ledger_of(config: Config, keys_file: Path, metrics: Metrics) -> AsyncIterator[Ledger]:
    """Keep the ledger within the block. When it ends, what has been recorded is written.

    Args:
        config: The configuration.
        keys_file: `ledger.store = "auto"` is beside it.
        metrics: Tells of turns, and is told how the writer fares.

    Raises:
        ConfigError: `ledger.store` cannot be.
    """
    said = config.ledger
    database = await asyncio.to_thread(_opened, said, url_of(said.store, keys_file))
    shares_ms = budget_of(config).shares_ms
    if database is None:
        ring = Ring(said.ring_turns)
        metrics.listeners.append(ring)
        yield Ledger(LedgerReader(ring, shares_ms), metrics.listeners)
        return
    stored = StoredTurns(database)
    ring = await asyncio.to_thread(_loaded, stored, said.ring_turns)
    writer = Writer(database, with_words=said.transcripts, keep_days=said.keep_days, unix_ms=unix_ms)
    metrics.engines.watch_figures("ledger", writer.figures)
    metrics.listeners += [ring, writer]
    writer.start()
    try:
        yield Ledger(LedgerReader(ring, shares_ms, stored), metrics.listeners)
    finally:
        await asyncio.to_thread(writer.close)


def _opened(said: LedgerSection, url: URL | None) -> Database | None:
    """The database, with its tables up to date if it can be reached now. The writer tries again if not.

    Raises:
        ConfigError: what somebody has configured cannot be used. The file that nobody asked for may fail.
    """
    if url is None:
        return None
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
