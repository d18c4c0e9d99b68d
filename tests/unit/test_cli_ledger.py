"""Does `voicestack ledger` do what it says?"""

import sqlite3
from pathlib import Path

import pytest

from voicestack.cli.main import run_command


def ledger(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setenv("VOICESTACK__ACCESS__KEYS_FILE", str(folder / "keys.json"))
    return run_command(["ledger", *arguments])


def test_the_tables_are_made_beside_the_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ledger(tmp_path, monkeypatch, "migrate") == 0
    assert capsys.readouterr().out == f"sqlite:///{tmp_path}/ledger.db is up to date.\n"
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        assert connection.execute("SELECT count(*) FROM turns").fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize(
    ("store", "says"),
    [
        ("", "there is no store"),
        ("mysql://here/db", "write sqlite:///PATH or postgresql://USER@HOST/DATABASE"),
        ("postgresql://me:secret@127.0.0.1:1/none", r"postgresql://me:***@127.0.0.1:1/none cannot be used"),
        ("sqlite:////proc/none/ledger.db", "cannot be used"),
    ],
)
def test_a_store_that_cannot_be_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    store: str,
    says: str,
) -> None:
    assert ledger(tmp_path, monkeypatch, "--set", f"ledger.store={store}", "migrate") == 2
    said = capsys.readouterr().err
    assert says in said
    assert "secret" not in said


def test_a_ledger_of_a_later_version_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ledger(tmp_path, monkeypatch, "migrate") == 0
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert ledger(tmp_path, monkeypatch, "migrate") == 2
    assert "was written by another version of voicestack" in capsys.readouterr().err
