"""What happens to turns when the disk is full, or the database gone? Nobody waits, and little is lost."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.made_up_turns import HOUR_MS, Turns
from tests.support.postgres import Postgres, postgres
from tests.support.turn_records import a_record
from voicestack.config.load import load
from voicestack.core.errors import ConfigError
from voicestack.core.turn_record import TurnRecord
from voicestack.server.ledger import ledger_of
from voicestack.telemetry.metrics import Metrics
from voicestack.telemetry.reading import Unreadable
from voicestack.telemetry.store.database import Database
from voicestack.telemetry.store.place import url_of
from voicestack.telemetry.store.stored import StoredTurns
from voicestack.telemetry.store.writer import Writer
from voicestack.telemetry.turn_filter import OPERATOR, TurnFilter

NOW_MS = 1_795_886_000_000
EVER = TurnFilter(0, NOW_MS)
PAGES = 60
"""Of 4 kB: room for the tables and some hundred turns."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


def database_at(place: str, max_pages: int | None = None) -> Database:
    url = url_of(place, Path("keys.json"))
    assert url is not None
    return Database(url, max_pages=max_pages)


def writer_of(database: Database, max_waiting: int = 20_000) -> Writer:
    return Writer(database, with_words=True, keep_days=30, unix_ms=lambda: NOW_MS, max_waiting=max_waiting)


def turns(n: int) -> list[TurnRecord]:
    return list(Turns().many(n, NOW_MS - HOUR_MS, NOW_MS))


def ids_in(database: Database) -> set[str]:
    return {one.id for one in StoredTurns(database).newest(OPERATOR, EVER, 10_000)}


def test_turns_wait_until_a_full_disk_has_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    database = database_at(f"sqlite:///{tmp_path}/ledger.db", PAGES)
    database.migrate()
    writer, records = writer_of(database), turns(800)
    for record in records:
        writer.turn_recorded(record)
    assert not writer.flush()
    assert not writer.flush()
    assert caplog.text.count("[ledger_disk_full]") == 1  # said once, not at every attempt
    assert re.search(r"800 turns wait", caplog.text)
    assert writer.figures()["failures_in_a_row"] == 2
    assert "llm" not in caplog.text  # no statement, and nothing of a turn
    database.engine.dispose()
    database.max_pages = None
    assert writer.flush()
    assert "again" in caplog.text
    assert ids_in(database) == {record.id for record in records}
    figures = writer.figures()
    assert (figures["written_total"], figures["dropped_total"], figures["failures_in_a_row"]) == (800, 0, 0)
    database.close()


def test_only_what_no_longer_fits_is_dropped_the_oldest_first(tmp_path: Path) -> None:
    database = database_at(f"sqlite:///{tmp_path}/ledger.db", PAGES)
    database.migrate()
    writer, records = writer_of(database, max_waiting=1_000), turns(2_200)
    for record in records[:700]:
        writer.turn_recorded(record)
    assert not writer.flush()  # it holds a batch of 500 now
    for record in records[700:]:
        writer.turn_recorded(record)
    assert writer.figures()["dropped_total"] == 700
    assert writer.figures()["waiting_turns"] == 1_500
    database.engine.dispose()
    database.max_pages = None
    assert writer.flush()
    assert ids_in(database) == {record.id for record in (*records[:500], *records[-1_000:])}
    database.close()


def test_a_database_that_was_killed_gets_every_turn_when_it_is_back(
    cluster: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    database, records = database_at(cluster.new_database()), turns(300)
    writer = writer_of(database)
    for record in records[:100]:
        writer.turn_recorded(record)
    assert writer.flush()
    cluster.kill()
    for record in records[100:]:
        writer.turn_recorded(record)
    assert not writer.flush()
    assert "[ledger_unavailable]" in caplog.text
    with pytest.raises(Unreadable):
        StoredTurns(database).newest(OPERATOR, EVER, 1)
    cluster.start()
    assert writer.flush()
    assert ids_in(database) == {record.id for record in records}
    assert writer.figures()["dropped_total"] == 0
    database.close()


def test_what_is_lost_in_the_end_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = writer_of(database_at("postgresql://nobody@127.0.0.1:1/none"))
    writer.start()
    writer.turn_recorded(a_record())
    writer.close()
    assert "1 turns could not be written any more" in caplog.text
    assert "[ledger_lost]" in caplog.text
    assert writer.figures()["dropped_total"] == 1


def test_closing_writes_what_has_just_come(tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path}/ledger.db"
    writer, records = writer_of(database_at(place)), turns(1_234)
    writer.start()
    for record in records:
        writer.turn_recorded(record)
    writer.close()
    again = database_at(place)
    assert ids_in(again) == {record.id for record in records}
    again.close()


# --- how a server begins ----------------------------------------------------------------------------------


def opened(folder: Path, *sets: str) -> int:
    """Open the ledger of a server, record a turn, and end. Returns how many turns there were before."""
    return asyncio.run(_opened(folder, *sets))


async def _opened(folder: Path, *sets: str) -> int:
    config = load("scripted", env={}, sets=sets).config
    metrics = Metrics(version="1", profile="test")
    async with ledger_of(config, folder / "keys.json", metrics) as ledger:
        n_before = ledger.reader.extent(OPERATOR)["n_turns"]
        metrics.turn_recorded(a_record(id=f"sess.{n_before}"))
        assert ledger.reader.extent(OPERATOR)["n_turns"] == (n_before or 0) + 1
        assert n_before is not None
        return n_before


def test_turns_outlive_the_server(tmp_path: Path) -> None:
    assert [opened(tmp_path) for _ in range(3)] == [0, 1, 2]
    assert (tmp_path / "ledger.db").stat().st_mode & 0o077 == 0


def test_without_a_store_they_do_not(tmp_path: Path) -> None:
    assert [opened(tmp_path, "ledger.store=") for _ in range(2)] == [0, 0]
    assert list(tmp_path.iterdir()) == []


def test_a_server_starts_without_its_database(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = "ledger.store=postgresql://somebody:secret@127.0.0.1:1/none"
    assert opened(tmp_path, place) == 0
    assert "[ledger_unavailable]" in caplog.text
    assert "secret" not in caplog.text


def test_a_file_that_nobody_asked_for_may_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "ledger.db").mkdir()
    assert opened(tmp_path) == 0
    assert "[ledger_unavailable]" in caplog.text


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("sqlite:////proc/none/ledger.db", "cannot be used"),
        ("sqlite://", "names no file"),
        ("mysql://here/db", "no URL"),
        ("ledger.db", "no URL"),
    ],
)
def test_a_store_that_somebody_asked_for_must_be_usable(tmp_path: Path, place: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        opened(tmp_path, f"ledger.store={place}")
