"""Does the store of turns keep what it is given, and show each tenant its own? SQLite and PostgreSQL."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import make_url, text
from sqlalchemy.exc import ProgrammingError

from tests.support.made_up_turns import HOUR_MS, TENANTS, Turns
from tests.support.postgres import Postgres, postgres
from tests.support.turn_records import a_record
from voicestack.core.marks import Mark, TurnMarks
from voicestack.core.turn_record import Origin, TurnRecord
from voicestack.telemetry.store import queries
from voicestack.telemetry.store.codec import row_of
from voicestack.telemetry.store.database import Database
from voicestack.telemetry.store.place import url_of
from voicestack.telemetry.store.stored import StoredTurns
from voicestack.telemetry.store.tables import METADATA, TURNS
from voicestack.telemetry.store.writer import Writer
from voicestack.telemetry.turn_filter import OPERATOR, Reader, TurnFilter
from voicestack.telemetry.turn_rows import turn_row
from voicestack.telemetry.turn_table import TurnTable

NOW_MS = 1_795_886_000_000
EVER = TurnFilter(0, NOW_MS + HOUR_MS)
ACME = Reader("acme")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    cluster: Postgres = request.getfixturevalue("cluster")
    return cluster.new_database()


@pytest.fixture
def open_database(place: str, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    opened: list[Database] = []

    def open_() -> Database:
        url = url_of(place, tmp_path / "keys.json")
        assert url is not None
        opened.append(Database(url))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


@pytest.fixture
def database(open_database: Callable[[], Database]) -> Database:
    return open_database()


def writer_of(database: Database, **options: bool | int) -> Writer:
    settings = {"with_words": True, "keep_days": 30, **options}
    return Writer(database, unix_ms=lambda: NOW_MS, **settings)  # type: ignore[arg-type]


def write(database: Database, records: Sequence[TurnRecord], **options: bool | int) -> Writer:
    writer = writer_of(database, **options)
    for record in records:
        writer.turn_recorded(record)
    database.migrate()
    assert writer.flush()
    return writer


def some_turns(n: int = 300) -> list[TurnRecord]:
    turns = Turns(bad_from_ms=NOW_MS - 4 * HOUR_MS)
    return list(turns.many(n, NOW_MS - 8 * HOUR_MS, NOW_MS))


def newest_first(records: Sequence[TurnRecord]) -> list[TurnRecord]:
    return sorted(records, key=lambda one: (one.began_unix_ms, one.id), reverse=True)


def test_what_was_written_is_read_again(database: Database) -> None:
    records = some_turns()
    write(database, records)
    found = StoredTurns(database).newest(OPERATOR, EVER, 1_000)
    assert [turn_row(one) for one in found] == [turn_row(one) for one in newest_first(records)]
    assert list(StoredTurns(database).each(OPERATOR, EVER, 250)) == found[:250]


def test_a_turn_is_kept_once_however_often_it_is_written(database: Database) -> None:
    record = a_record()
    write(database, [record, record])
    write(database, [replace(record, failure="stage_timeout")])
    (found,) = StoredTurns(database).newest(OPERATOR, EVER, 10)
    assert found.failure == "stage_timeout"


@pytest.mark.parametrize("is_written_before", [False, True])
def test_the_word_that_a_turn_was_heard_comes_later(database: Database, is_written_before: bool) -> None:
    record = a_record()
    marks = TurnMarks(
        {**record.marks.at_ns, Mark.FIRST_HEARD: record.marks.at_ns[Mark.FIRST_SENT] + 95_000_000}
    )
    writer = write(database, [record] if is_written_before else [])
    if not is_written_before:
        writer.turn_recorded(record)
    writer.answer_heard(record.id, marks)
    writer.answer_heard("sess_unknown.1", marks)
    assert writer.flush()
    found = StoredTurns(database).find(OPERATOR, record.id)
    assert found is not None
    assert found.marks.heard_after_ms == pytest.approx(marks.heard_after_ms)
    assert found.marks.spans() == record.marks.spans()


def test_words_are_kept_only_where_that_is_wanted(database: Database, place: str, tmp_path: Path) -> None:
    record = a_record(user_text="my secret", agent_text="your secret")
    write(database, [record], with_words=False)
    found = StoredTurns(database).find(OPERATOR, record.id)
    assert found is not None
    assert (found.user_text, found.agent_text) == ("", "")
    if place.startswith("sqlite"):
        assert all(b"secret" not in path.read_bytes() for path in tmp_path.iterdir())
    write(database, [record], with_words=True)
    found = StoredTurns(database).find(OPERATOR, record.id)
    assert found is not None
    assert found.user_text == "my secret"


@pytest.mark.parametrize("said", ["\0 and \ud800", "🙂 ' \" ; DROP TABLE turns; --", "x" * 100_000])
def test_whatever_is_said_can_be_kept(database: Database, said: str) -> None:
    write(database, [a_record(user_text=said)])
    (found,) = StoredTurns(database).newest(OPERATOR, EVER, 10)
    assert found.user_text == said.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def test_a_turn_that_cannot_be_kept_takes_no_other_with_it(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    bad = a_record(id="sess_2.1", failure=object())
    writer = write(database, [a_record(), bad, a_record(id="sess_3.1", user_text="mine")])
    assert {one.id for one in StoredTurns(database).newest(OPERATOR, EVER, 10)} == {"sess_1.2", "sess_3.1"}
    assert writer.figures()["refused_total"] == 1
    assert writer.figures()["written_total"] == 2
    assert "[ledger_record_refused]" in caplog.text
    assert "mine" not in caplog.text


_FILTERED = (
    *(("tenant", "acme"), ("tenant", "nobody"), ("route", "webrtc"), ("profile", "cpu")),
    *(("region", "ap-south"), ("release", "0.4.0"), ("verdict", "missed"), ("outcome", "refused")),
    *(("rung", "filler"), ("rung", "draft"), ("stage", "llm"), ("is_cold", True), ("is_cold", False)),
    *(("replica", "llm-3-eu-west"), ("replica", "llm-3"), ("replica", "%"), ("replica", ",")),
)
FILTERS = [
    *(replace(EVER, **{name: word}) for name, word in _FILTERED),  # type: ignore[arg-type]
    TurnFilter(NOW_MS - 2 * HOUR_MS, NOW_MS - HOUR_MS, region="eu-west", rung="hedge", is_cold=False),
]


def test_filters_mean_the_same_as_in_memory(database: Database) -> None:
    records = some_turns()
    write(database, records)
    stored, table = StoredTurns(database), TurnTable.of(records)
    n_found = 0
    for reader, wanted in itertools.product((OPERATOR, ACME), FILTERS):
        of_memory = {records[n].id for n, is_in in enumerate(table.mask(reader, wanted)) if is_in}
        found = stored.newest(reader, wanted, 1_000)
        assert {one.id for one in found} == of_memory, (reader, wanted)
        assert sum(stored.verdicts(reader, wanted).values()) == len(found)
        n_found += len(found)
    assert n_found > 500


def test_pages_follow_each_other(database: Database) -> None:
    records = [replace(one, began_unix_ms=one.began_unix_ms // 400_000 * 400_000) for one in some_turns(120)]
    write(database, records)
    stored, seen, after = StoredTurns(database), list[TurnRecord](), None
    while page := stored.newest(OPERATOR, EVER, 7, after):
        seen += page
        after = (page[-1].began_unix_ms, page[-1].id)
    assert [one.id for one in seen] == [one.id for one in newest_first(records)]


# --- whose turns ------------------------------------------------------------------------------------------


def test_no_question_shows_a_tenant_anything_of_another(database: Database) -> None:
    records = some_turns(60)
    write(database, records)
    stored = StoredTurns(database)
    for tenant in (*TENANTS, "nobody", "*", "%", "acme' OR '1'='1"):
        reader = Reader(tenant)
        own = {one.id for one in records if one.origin.tenant == tenant}
        for wanted in (EVER, *(replace(EVER, tenant=other) for other in TENANTS)):
            assert {one.id for one in stored.newest(reader, wanted, 1_000)} <= own
            assert {one.id for one in stored.each(reader, wanted, 1_000)} <= own
            assert sum(stored.verdicts(reader, wanted).values()) <= len(own)
        assert stored.extent(reader)[1] == len(own)
        assert {one.id for one in records if stored.find(reader, one.id)} == own
    assert stored.extent(OPERATOR)[1] == len(records)


def test_nobody_asks_without_being_somebody() -> None:
    with pytest.raises(ValueError, match="tenant"):
        Reader("")


def test_every_statement_names_the_reader() -> None:
    """What is built for a tenant has the tenant in it; what is built for the operator has none."""
    built: dict[str, Callable[[Reader], object]] = {
        "newest": lambda reader: queries.newest(reader, EVER, 5, (1, "a")),
        "one": lambda reader: queries.one(reader, "a"),
        "verdicts": lambda reader: queries.verdicts(reader, EVER),
        "oldest": queries.oldest,
        "replaced_body": lambda reader: queries.replaced_body(reader, "a", {}),
        "too_old": lambda reader: queries.too_old(reader, 1, 5),
    }
    public = {
        name for name, one in vars(queries).items() if getattr(one, "__module__", "") == queries.__name__
    }
    assert public == {*built, "visible", "wanted_of", "written"}
    for make in built.values():
        assert "turns.tenant = :tenant_1" in str(make(ACME))
        assert "turns.tenant = " not in str(make(OPERATOR))


def test_postgresql_itself_isolates_tenants(cluster: Postgres, tmp_path: Path) -> None:
    """Also a statement that forgets to ask whose rows they are, and also for the owner of the table."""
    url = url_of(cluster.new_database(), tmp_path)
    assert url is not None
    database = Database(url)
    write(database, some_turns())

    def tenants(reader: Reader | None) -> set[str]:
        with database.engine.connect() as connection:
            if reader is not None:
                database.show(connection, reader)
            return {row[0] for row in connection.execute(text("SELECT DISTINCT tenant FROM turns"))}

    assert tenants(None) == set()
    assert tenants(ACME) == {"acme"}
    assert tenants(OPERATOR) == set(TENANTS)
    assert tenants(None) == set()  # the setting has ended with its transaction
    foreign = a_record(origin=Origin(tenant="acme"))
    with (
        pytest.raises(ProgrammingError, match="row-level security"),
        database.writing(Reader("ringo")) as connection,
    ):
        connection.execute(TURNS.insert().values(**row_of(foreign, with_words=False)))
    with database.writing(ACME) as connection:
        connection.execute(text("DELETE FROM turns"))
    assert tenants(OPERATOR) == set(TENANTS) - {"acme"}
    database.close()


def test_a_superuser_of_postgresql_is_warned(
    cluster: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = make_url(cluster.new_database()).set(drivername="postgresql+psycopg", username="admin")
    database = Database(url)
    database.migrate()
    database.close()
    assert "[ledger_superuser]" in caplog.text


# --- tables and time --------------------------------------------------------------------------------------


def test_the_migrations_lead_to_the_tables_that_are_used(database: Database) -> None:
    database.migrate()
    database.migrate()
    with database.engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), METADATA)
    assert found == []


def test_servers_that_start_at_once_migrate_once(open_database: Callable[[], Database]) -> None:
    databases = [open_database() for _ in range(4)]
    failures: list[Exception] = []

    def migrate(one: Database) -> None:
        try:
            one.migrate()
        except Exception as error:  # noqa: BLE001 (shown below)
            failures.append(error)

    threads = [threading.Thread(target=migrate, args=(one,)) for one in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    write(databases[0], [a_record()])
    assert StoredTurns(databases[3]).extent(OPERATOR)[1] == 1


def test_old_turns_are_deleted_and_others_are_not(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("voicestack.telemetry.store.writer.PRUNE_TURNS", 10)
    caplog.set_level("INFO")
    day_ms = 86_400_000
    records = [a_record(id=f"sess.{n}", began_unix_ms=NOW_MS - n * day_ms // 4) for n in range(200)]
    writer = write(database, records, keep_days=30)
    writer.prune()
    found = StoredTurns(database).newest(OPERATOR, EVER, 1_000)
    assert [one.id for one in found] == [f"sess.{n}" for n in range(121)]
    assert "79 turns were older than 30 days" in caplog.text
