"""A PostgreSQL server for tests: a cluster of its own in a folder of its own, to be killed and started."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import psycopg
import pytest

BINARIES = Path("/usr/lib/postgresql")
ADMIN, SERVER = "admin", "voicestack"
"""Who made the cluster, and who the ledger connects as: somebody whom row-level security holds."""
_names = count(1)


class Postgres:
    """One cluster.

    Args:
        folder: Its files; owned by whoever runs it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._user = folder, _unprivileged()
        self._binaries = _binaries()
        if self._user is not None:
            shutil.chown(folder, self._user)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            [
                "initdb",
                "-D",
                folder / "data",
                "-U",
                ADMIN,
                "--auth=trust",
                "-N",
                "-E",
                "UTF8",
                "--locale=C",
                "--wal-segsize=1",
            ]
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-k", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._folder / "data", "-p", str(self.port), *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._folder,
                user=self._user,
                group=self._group,
                extra_groups=None if self._user is None else [],
            )
        for _ in range(600):
            if self._process.poll() is None:
                try:
                    self.ask("SELECT 1")
                except psycopg.OperationalError:
                    _wait(self._process, 0.05)
                else:
                    return
        raise RuntimeError(f"PostgreSQL does not run:\n{(self._folder / 'log').read_text()}")

    def kill(self) -> None:
        """End it at once, with nothing put in order ("immediate shutdown"): it recovers when it starts."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def new_database(self) -> str:
        """An empty database that belongs to the ledger's user. Returns its URL."""
        name = f"ledger_{next(_names)}"
        self.ask(f"CREATE DATABASE {name} OWNER {SERVER} TEMPLATE template0")
        return f"postgresql://{SERVER}@127.0.0.1:{self.port}/{name}"

    def ask(self, statement: str, database: str = "postgres") -> Sequence[tuple[object, ...]]:
        """Ask as the administrator."""
        where = f"postgresql://{ADMIN}@127.0.0.1:{self.port}/{database}"
        with psycopg.connect(where, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @property
    def _group(self) -> int | None:
        return None if self._user is None else pwd.getpwnam(self._user).pw_gid

    def _run(self, command: Sequence[str | Path]) -> None:
        done = subprocess.run(
            [self._binaries / command[0], *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            cwd=self._folder,
            user=self._user,
            group=self._group,
            extra_groups=None if self._user is None else [],
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a cluster until the block ends."""
    with tempfile.TemporaryDirectory(prefix="voicestack-pg-") as folder:
        server = Postgres(Path(folder))
        server.start()
        server.ask(f"CREATE ROLE {SERVER} LOGIN")
        try:
            yield server
        finally:
            server.kill()


def _binaries() -> Path:
    found = sorted(BINARIES.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.fail("PostgreSQL is missing: apt-get install postgresql    (`make test` does it as root)")
    return found[-1].parent


def _unprivileged() -> str | None:
    """Who runs it: not root, it refuses that."""
    if os.geteuid() != 0:
        return None
    names = {one.pw_name for one in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(process: subprocess.Popen[bytes], limit_s: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(limit_s)
