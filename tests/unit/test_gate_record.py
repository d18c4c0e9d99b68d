"""The gate's record: what is written can be read again, and what cannot be read is a clear error."""

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest

from voicestack.cli.gate_figures import Events, PerItem, Times
from voicestack.cli.gate_record import (
    Capacity,
    Machine,
    Record,
    commit_of,
    new_record,
    read_record,
    this_machine,
    write_record,
)
from voicestack.config.load import load
from voicestack.core.errors import ConfigError

MACHINE = Machine("Epyc", 2, 24_000, ("H200, 143771 MiB",))


def record(**changes: Any) -> Record:
    loaded = load("scripted", env={"VOICESTACK__LLM__API_KEY": "sk-secret"}, sets=["llm.max_tokens=40"])
    rest: dict[str, Any] = {
        "machine": MACHINE,
        "labelled": "default",
        "quick": False,
        "parts": ["asr", "v2v"],
        "capacity": Capacity(5, "measured"),
        "figures": {
            "asr.word_errors": PerItem({"a.wav #1": (1, 4), "b.wav #2": (0, 3)}),
            "v2v.c1.wait_ms": Times(((310.5, None), (290.0,))),
            "v2v.c1.missing": Events(1, 3),
            "v2v.c4.wait_ms": Times(((),)),
        },
        "texts": {"hello #3": "Hi."},
        "details": {"errors": {}},
    }
    return new_record(loaded, **(rest | changes))


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path, first = tmp_path / "deep" / "gate.json", record()
    write_record(path, first)
    assert read_record(path) == first
    assert list(path.parent.iterdir()) == [path]
    write_record(path, record(quick=True))
    assert read_record(path).quick


def test_it_says_what_a_person_wants_to_know(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    write_record(path, record())
    tree = json.loads(path.read_text())
    assert tree["schema"] == 1
    assert tree["machine"] == {
        "processor": "Epyc",
        "n_cores": 2,
        "memory_bytes": 24_000,
        "gpus": ["H200, 143771 MiB"],
    }
    assert tree["capacity"] == {"n_callers": 5, "source": "measured"}
    assert tree["config"]["llm.max_tokens"] == 40
    assert tree["day"].startswith("20")
    words, wait = tree["figures"]["asr.word_errors"], tree["figures"]["v2v.c1.wait_ms"]
    assert (words["n_wrong"], words["n_of"], words["ratio"]) == (1, 7, 1 / 7)
    assert words["interval"][0] <= words["ratio"] <= words["interval"][1]
    assert (wait["n"], wait["n_missing"], wait["p50"], wait["p95"]) == (3, 1, 310.5, None)
    assert "sk-secret" not in path.read_text()


def test_the_fingerprint_is_that_of_the_configuration() -> None:
    same, other = record(), load("scripted", env={}, sets=["llm.max_tokens=41"])
    assert same.fingerprint == record().fingerprint
    changed = new_record(
        other,
        **{key: getattr(same, key) for key in ("machine", "labelled", "quick", "parts", "capacity")},
        figures={},
    )
    assert changed.fingerprint != same.fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no accepted record"),
        (b"{", "not JSON"),
        (b"[]", "not a record of `voicestack gate`"),
        (b'{"schema": "1"}', "not a record of `voicestack gate`"),
        (b'{"schema": 0}', "written by an older voicestack (schema 0, this one reads 1)"),
        (b'{"schema": 2}', "written by a newer voicestack"),
        (b'{"schema": 1}', "day: Field required"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "gate.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as failed:
        read_record(path)
    assert str(failed.value).startswith(str(path))
    assert message in str(failed.value)


def test_a_damaged_figure_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    write_record(path, record())
    tree = json.loads(path.read_text())
    tree["figures"]["v2v.c1.missing"]["n_of"] = "many"
    path.write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match=r"figures\.v2v\.c1\.missing\.events\.n_of"):
        read_record(path)


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"gate\.json"):
        write_record(tmp_path / "file" / "gate.json", record())


def test_machines_are_alike_when_times_can_be_compared() -> None:
    assert MACHINE.is_like(Machine("Epyc", 2, 23_500, MACHINE.gpus))
    assert not MACHINE.is_like(Machine("Epyc", 2, 12_000, MACHINE.gpus))
    assert not MACHINE.is_like(Machine("Epyc", 4, 24_000, MACHINE.gpus))
    assert not MACHINE.is_like(Machine("Epyc", 2, 24_000))
    assert not MACHINE.is_like(Machine("Xeon", 2, 24_000, MACHINE.gpus))
    here = this_machine()
    assert here.is_like(here)
    assert here.n_cores >= 1
    assert here.memory_bytes > 100_000_000
    assert here.processor


def test_the_commit_of_a_checkout(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None

    def git(*arguments: str) -> str:
        command = ("git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@y", *arguments)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "a").write_text("a")
    git("add", "a")
    git("commit", "-qm", "a")
    head = git("rev-parse", "HEAD")
    assert commit_of(tmp_path) == head
    (tmp_path / "a").write_text("b")
    assert commit_of(tmp_path) == f"{head}+"


def test_percentiles_of_what_never_came() -> None:
    assert Times(((1.0, None),)).quantile(0.99) == math.inf
    assert Times(()).quantile(0.5) is None
    assert PerItem().ratio is None
    assert PerItem().interval is None
    assert Events(0, 0).interval is None
