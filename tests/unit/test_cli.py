"""Do commands say what they should, and exit as they should?"""

import argparse
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from voicestack import __version__
from voicestack.cli.main import COMMANDS, help_text, run_command
from voicestack.core.errors import ConfigError, TransportLost
from voicestack.core.ids import SessionId, TurnId, UtteranceId
from voicestack.session.recorder import Recorder
from voicestack.turn.actions import StartReply
from voicestack.turn.events import SpeechStarted
from voicestack.turn.policy import Policy

Done = Callable[[argparse.Namespace], int]


def install(monkeypatch: pytest.MonkeyPatch, run: Done) -> None:
    """Put a command called `serve` in place of the real one."""
    module = ModuleType("voicestack.cli.serve")
    module.__dict__.update(add_arguments=lambda parser: parser.add_argument("--port", type=int), run=run)
    monkeypatch.setitem(sys.modules, "voicestack.cli.serve", module)


def test_help_names_every_command_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["--help"], ["-h"], ["help"]):
        assert run_command(argv) == 0
        assert capsys.readouterr().out.strip() == help_text().strip()
    assert set(COMMANDS) == {
        *("serve", "keys", "models", "talk", "check", "doctor", "replay", "bench", "gate", "ledger"),
    }
    assert all(f"\n  {name} " in help_text() for name in COMMANDS)
    assert max(map(len, help_text().splitlines())) <= 80


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys\nfrom voicestack.cli.main import run_command\nrun_command(['--help'])\n"
        "print(sorted({'numpy', 'pydantic', 'rich', 'asyncio', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_module_runs_and_its_exit_code_is_the_commands() -> None:
    command = [sys.executable, "-m", "voicestack"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"voicestack {__version__} (Python 3.")
    done = subprocess.run([*command, "chekc"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "voicestack: there is no command 'chekc'; did you mean 'check'?\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run_command([name, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: voicestack {name} ")


def test_arguments_reach_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def run(args: argparse.Namespace) -> int:
        seen.append(args.port)
        return 7

    install(monkeypatch, run)
    assert run_command(["serve", "--port", "5"]) == 7
    assert seen == [5]
    with pytest.raises(SystemExit) as end:
        run_command(["serve", "--prot", "5"])
    assert end.value.code == 2


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            ConfigError("a.toml:1: no\na.toml:2: no"),
            2,
            "voicestack: a.toml:1: no\nvoicestack: a.toml:2: no\n",
        ),
        (TransportLost("gone"), 1, "voicestack: gone [transport_lost]\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_how_a_command_ends_is_what_the_shell_is_told(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(args: argparse.Namespace) -> int:
        raise error

    install(monkeypatch, run)
    assert run_command(["serve"]) == code
    assert capsys.readouterr().err == message


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, lambda args: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        run_command(["serve"])


@pytest.mark.parametrize(("package", "hidden"), [("sounddevice", False), ("voicestack.cli.serve", True)])
def test_a_missing_package_is_named(
    package: str, hidden: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)

    monkeypatch.setattr(importlib, "import_module", lost)
    if hidden:
        with pytest.raises(ModuleNotFoundError):
            run_command(["serve"])
        return
    assert run_command(["serve"]) == 1
    assert "needs the Python package sounddevice" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m voicestack check | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


# --- check ------------------------------------------------------------------------------------------------


def test_check_prints_every_value_with_its_source(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOICESTACK__LLM__API_KEY", "sk-secret")
    assert run_command(["check", "scripted", "--set", "tts.voice=en[gb]"]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines() if line.strip()}
    assert rows["server.port"] == "8080 default"
    assert rows["tts.voice"] == '"en[gb]" --set'
    assert rows["llm.api_key"] == '"***" env VOICESTACK__LLM__API_KEY'
    assert rows["vad.engine"].startswith('"energy" ')
    assert "scripted.toml:" in rows["vad.engine"]
    assert "sk-secret" not in out


def test_check_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["server.max_sessions"] == {"value": 64, "source": "default"}
    assert values["profile"]["value"] == "embedded"


def test_check_of_a_bad_file_names_the_line_and_prints_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[llm]\nslotz = 4\n")
    assert run_command(["check", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"voicestack: {path}:2: unknown key llm.slotz; did you mean llm.slots?\n"


# --- replay -----------------------------------------------------------------------------------------------


def recorded(directory: Path, name: str, *, wrong: bool) -> Path:
    """A call of two events; the second decision is one that the machine would not take if `wrong`."""
    recorder = Recorder(directory, SessionId(name))
    recorder.policy(Policy())
    recorder.step(SpeechStarted(1, UtteranceId(1)), ())
    recorder.step(SpeechStarted(2, UtteranceId(1)), (StartReply(TurnId(9), "hm"),) if wrong else ())
    recorder.close()
    return recorder.path


def test_replay_of_identical_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [recorded(tmp_path, name, wrong=False) for name in ("a", "b")]
    with paths[1].open("a") as file:
        file.write('{"event": {"type"')
    assert run_command(["replay", *map(str, paths)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{paths[0]}: identical over 2 events",
        f"{paths[1]}: identical over 2 events; the last line is incomplete and was left out",
    ]


def test_replay_shows_the_first_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recorded(tmp_path, "a", wrong=True)
    assert run_command(["replay", str(path)]) == 1
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"{path}: different at event 2"
    shown = dict(line.split(None, 1) for line in lines)
    assert shown["line"] == "3"
    assert shown["event"] == "SpeechStarted(at_ns=2, utterance=1)"
    assert shown["then"] == "StartReply(turn=9, words='w1', draft=False)"
    assert shown["now"] == "nothing"
    assert "user=<User.SPEAKING: 'speaking'>" in shown["state"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"{}\n", None])
def test_replay_of_what_is_no_recording(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.jsonl"
    if content is not None:
        path.write_bytes(content)
    assert run_command(["replay", str(path), str(recorded(tmp_path, "good", wrong=False))]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"{path}: ")
    assert "identical" in out
