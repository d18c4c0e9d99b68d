"""The ledger of turns: the ring that the dashboard reads, and the store that outlives the process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voicestack.config.derived import budget_of
from voicestack.config.ledger import LedgerSection
from voicestack.config.schema import Config
from voicestack.telemetry.listener import TurnListener
from voicestack.telemetry.metrics import Metrics
from voicestack.telemetry.reading import LedgerReader
from voicestack.telemetry.ring import Ring

if TYPE_CHECKING:
    from voicestack.server.ledger_store import Opened


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
        ConfigError: `ledger.store` cannot be used.
    """
    shares_ms = budget_of(config).shares_ms
    opened = await asyncio.to_thread(_opened, config.ledger, keys_file)
    if opened is None:
        ring = Ring(config.ledger.ring_turns)
        metrics.listeners.append(ring)
        yield Ledger(LedgerReader(ring, shares_ms), metrics.listeners)
        return
    metrics.engines.watch_figures("ledger", opened.writer.figures)
    metrics.listeners += [opened.ring, opened.writer]
    opened.writer.start()
    try:
        yield Ledger(LedgerReader(opened.ring, shares_ms, opened.stored), metrics.listeners)
    finally:
        await asyncio.to_thread(opened.writer.close)


def _opened(said: LedgerSection, keys_file: Path) -> "Opened | None":
    """The store. What it is made of takes half a second to import, so that commands do without."""
    if not said.store:
        return None
    from voicestack.server.ledger_store import open_store

    return open_store(said, keys_file)
