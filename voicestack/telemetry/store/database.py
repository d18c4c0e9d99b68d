"""The database of the ledger: opening it, bringing it up to date, and transactions on somebody's behalf."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import URL, Connection, Engine, create_engine, event, text

from voicestack.core.errors import ConfigError
from voicestack.telemetry.store.place import shown
from voicestack.telemetry.store.tables import EVERY_TENANT, TENANT_SETTING, json_text
from voicestack.telemetry.turn_filter import Reader

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
CONNECT_S = 3
"""Longest wait for a database that does not answer."""
BUSY_MS = 5_000
"""Longest wait for another writer of the same SQLite file."""
STATEMENT_MS = 20_000
"""Longest question to PostgreSQL: nobody looks at a page that takes longer."""
MIGRATION_LOCK = 0x766F6963
"""Of two servers that start at once one brings the tables up to date: an advisory lock, "voic"."""
OWNER_ONLY = 0o600


class Database:
    """The database of one ledger. For any thread.

    Args:
        url: From `place.url_of`.
        max_pages: The longest that a SQLite file may become, in pages of 4 kB; None for no limit.
    """

    def __init__(self, url: URL, *, max_pages: int | None = None) -> None:
        self.shown, self._url, self.max_pages = shown(url), url, max_pages
        self.is_sqlite = url.drivername == "sqlite"
        connect: dict[str, Any] = (
            {"timeout": BUSY_MS / 1000}
            if self.is_sqlite
            else {"connect_timeout": CONNECT_S, "options": f"-c statement_timeout={STATEMENT_MS}"}
        )
        self.engine: Engine = create_engine(
            url,
            connect_args=connect,
            json_serializer=json_text,
            json_deserializer=orjson.loads,
            pool_size=3,
            max_overflow=2,
            pool_timeout=CONNECT_S,
            pool_pre_ping=not self.is_sqlite,
        )
        if self.is_sqlite:
            event.listen(self.engine, "connect", self._prepare)

    def migrate(self) -> None:
        """Bring the tables up to date. Nothing is done where they are.

        Raises:
            ConfigError: the file cannot be made, or a newer voicestack has written the ledger.
            SQLAlchemyError: the database cannot be reached or used.
        """
        from alembic import command  # half of what an import of this file would take
        from alembic.config import Config as AlembicConfig
        from alembic.util import CommandError

        config = AlembicConfig()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with self._alone() as connection:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise ConfigError(
                    f"ledger.store {self.shown} was written by another version of voicestack: {error}"
                ) from error
        self._warn_of_superuser()

    @contextmanager
    def reading(self, reader: Reader) -> Iterator[Connection]:
        """A transaction in which PostgreSQL shows what the reader may see, and nothing else."""
        with self.engine.connect() as connection, connection.begin():
            self.show(connection, reader)
            yield connection

    @contextmanager
    def writing(self, writer: Reader) -> Iterator[Connection]:
        """A transaction that is kept when the block ends well."""
        with self.engine.begin() as connection:
            self.show(connection, writer)
            yield connection

    def close(self) -> None:
        """End all connections."""
        self.engine.dispose()

    def show(self, connection: Connection, reader: Reader) -> None:
        """Say on whose behalf the rest of the transaction is."""
        if not self.is_sqlite:
            tenant = EVERY_TENANT if reader.is_operator else reader.tenant
            connection.execute(
                text("SELECT set_config(:name, :tenant, true)"), {"name": TENANT_SETTING, "tenant": tenant}
            )

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """A transaction that no other process migrates in at the same time."""
        if not self.is_sqlite:
            with self.engine.begin() as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
                yield connection
            return
        with self._locked_file(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def _locked_file(self) -> Iterator[None]:
        """Make the file, for its owner alone, and hold a lock beside it."""
        path = Path(str(self._url.database))
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, OWNER_ONLY))
            lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, OWNER_ONLY)
        except OSError as error:
            raise ConfigError(f"ledger.store {path} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _prepare(self, connection: Any, _: Any) -> None:
        """A log beside the file, so that readers and the writer do not wait for each other."""
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        if self.max_pages is not None:
            connection.execute(f"PRAGMA max_page_count={self.max_pages}")

    def _warn_of_superuser(self) -> None:
        if self.is_sqlite:
            return
        with self.engine.connect() as connection:
            query = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
            if connection.execute(text(query)).scalar():
                log.warning(
                    "ledger.store %s: this user of the database is above row-level security; give the server "
                    "one that is not (CREATE ROLE voicestack LOGIN)  [ledger_superuser]",
                    self.shown,
                )
