"""`voicestack keys`, as it is typed."""

from pathlib import Path

import pytest

from voicestack.access.key_file import KeyFile
from voicestack.aio.clock import unix_s
from voicestack.cli.main import run_command


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "my keys.json"
    monkeypatch.setenv("VOICESTACK__ACCESS__KEYS_FILE", str(path))
    monkeypatch.setenv("COLUMNS", "120")
    return path


def test_create_list_revoke(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["keys", "list"]) == 0
    assert "everybody is let in" in capsys.readouterr().out
    options = ["--tenant", "acme", "--name", "the phone", "--expires", "30d", "--max-sessions", "5"]
    options += ["--responses-per-minute", "60", "--tokens-per-minute", "100000"]
    assert run_command(["keys", "create", *options]) == 0
    shown = capsys.readouterr()
    secret = shown.out.strip()  # alone on stdout, for scripts
    assert secret.startswith("sk-vs-")
    assert secret not in shown.err
    assert str(path) in shown.err
    key = (KeyFile(path).read() or {}).of(secret, unix_s())  # type: ignore[union-attr]  # it fails if empty
    assert key is not None
    assert (key.tenant, key.name, key.max_sessions, key.requests_per_minute) == ("acme", "the phone", 5, None)
    assert (key.responses_per_minute, key.tokens_per_minute) == (60, 100_000)
    assert abs((key.expires_at_s or 0) - unix_s() - 30 * 86_400) < 5
    assert run_command(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    for part in (key.id, "acme", "the phone", "5", "60", "100000"):
        assert part in listed
    assert secret[20:] not in listed
    assert key.sha256 not in listed
    assert run_command(["keys", "revoke", key.id]) == 0
    assert run_command(["keys", "revoke", key.id]) == 1
    assert "there is no key" in capsys.readouterr().err
    assert run_command(["keys", "list"]) == 0
    assert "nobody is let in" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        ["keys"],
        ["keys", "create", "--expires", "30"],
        ["keys", "create", "--expires", "0d"],
        ["keys", "create", "--max-sessions", "0"],
        ["keys", "create", "--max-sessions", "many"],
        ["keys", "revoke"],
    ],
)
def test_wrong_usage_makes_nothing(path: Path, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(argv)
    assert ended.value.code == 2
    assert capsys.readouterr().err
    assert not path.exists()


def test_a_tenant_that_cannot_be(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["keys", "create", "--tenant", "a/b"]) == 2
    assert "tenant" in capsys.readouterr().err
    assert not path.exists()


def test_an_expired_key_is_shown_as_such(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["keys", "create", "--expires", "1m"]) == 0
    KeyFile(path).change(
        lambda ring: ring.with_key(next(iter(ring)).model_copy(update={"expires_at_s": unix_s() - 1}))
    )
    capsys.readouterr()
    assert run_command(["keys", "list"]) == 0
    assert "ended 20" in capsys.readouterr().out


def test_a_damaged_file_is_named_and_left_alone(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text("damaged")
    for argv in (["keys", "list"], ["keys", "create"], ["keys", "revoke", "0123456789"]):
        assert run_command(argv) == 2
        assert str(path) in capsys.readouterr().err
    assert path.read_text() == "damaged"
