"""`voicestack gate` from end to end with scripted engines and a real server: accept, pass, degrade, fail."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.server import SCRIPTED, with_server
from voicestack.aio.clock import SystemClock
from voicestack.cli import gate
from voicestack.cli.bench_report import figures
from voicestack.cli.bench_v2v import Outcome, Plan, measure
from voicestack.cli.gate_figures import Events
from voicestack.cli.gate_latency import level_figures
from voicestack.cli.gate_record import Capacity, read_record
from voicestack.cli.gate_set import DEFAULT_SET, read_set
from voicestack.config.load import load
from voicestack.core.errors import ConfigError

WORDS = (
    "how old is the universe",
    "what is the weather like today",
    "who painted the mona lisa",
    "where can i buy a new phone",
)
FILES = ("01_rms.wav", "02_slt.wav", "03_rms.wav", "04_slt.wav")
QUALITY = ("asr", "llm", "tools", "tts")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four recordings, of which the voice says the words as well, and ten questions."""
    folder = tmp_path_factory.mktemp("set")
    lines = ["schema = 1", 'name = "small"', "[limits]", '"llm.wrong_answers" = 0.9']
    for words, file in zip(WORDS, FILES, strict=True):
        path = DEFAULT_SET / "recordings" / file
        lines += ["[[recordings]]", f'file = "{path}"', f'words = "{words}"']
        lines += ["[[sentences]]", f'text = "{words}"']
    for n in range(10):
        lines += ["[[dialogues]]", f'lines = ["is it {n}"]', 'expect = ["^yes"]']
    (folder / "set.toml").write_text("\n".join(lines))
    return folder


def options(texts: Sequence[str] = WORDS, answer: str = "Yes, it is.", *more: str) -> list[str]:
    sets = ["vad.engine=energy", "turn.silence_duration_ms=200", f"llm.answers={json.dumps([answer])}"]
    sets += [f"asr.texts={json.dumps(list(texts))}", *more]
    return ["--config", "scripted", *(word for one in sets for word in ("--set", one))]


def run_gate(labelled: Path, record: Path, *argv: str) -> int:
    parser = argparse.ArgumentParser()
    gate.add_arguments(parser)
    own = ["--labelled", str(labelled), "--record", str(record), "--levels", "5", "--quick"]
    return gate.run(parser.parse_args([*own, *argv]))


@pytest.fixture(scope="module")
def accepted(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of good engines, with calls to a server of its own."""
    record = tmp_path_factory.mktemp("accepted") / "gate.json"
    assert run_gate(labelled, record, "--accept", *options()) == 0
    return record


@pytest.fixture
def record(accepted: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "gate.json"
    copy.write_bytes(accepted.read_bytes())
    return copy


def test_what_is_accepted_is_measured(accepted: Path) -> None:
    tree = json.loads(accepted.read_text())
    figures = tree["figures"]
    assert figures["asr.word_errors"]["ratio"] == figures["tts.word_errors"]["ratio"] == 0
    assert figures["asr.word_errors"]["n_of"] == sum(len(one.split()) for one in WORDS)
    assert figures["llm.wrong_answers"]["n_of"] == 10
    wait, missing = figures["v2v.c5.wait_ms"], figures["v2v.c5.missing"]
    assert missing["n_of"] == 10
    assert wait["n"] + figures["v2v.c5.cut_off"]["n_wrong"] == 10
    assert wait["p50"] is None or wait["p50"] > 200
    assert tree["config"]["llm.answers"] == ["Yes, it is."]
    assert set(tree["texts"].values()) == {"Yes, it is."}
    assert tree["details"]["load"]["c5"][0]["harness_late_ms"]["n"] > 100
    totals = tree["details"]["load"]["metrics"]
    assert sum(n for name, n in totals.items() if name.startswith("voicestack_turns_total{")) > 0
    assert not any("_bucket" in name for name in totals)
    assert tree["parts"] == ["asr", "llm", "tools", "tts", "v2v"]


def test_the_same_engines_pass(labelled: Path, record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_gate(labelled, record, "--only", *QUALITY, *options()) == 0
    printed = capsys.readouterr().out
    assert "words heard wrongly" in printed
    assert "passed" in printed


@pytest.mark.parametrize(
    ("degraded", "figure", "worst"),
    [
        (
            options(["how cold is the moon", "what", "nothing at all", "phone"]),
            "words heard wrongly",
            "02_slt.wav",
        ),
        (options(WORDS, "No, it is not."), "answers without what they must say", "is it 0"),
    ],
)
def test_worse_engines_fail_and_are_named(
    labelled: Path,
    record: Path,
    degraded: list[str],
    figure: str,
    worst: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = record.read_bytes()
    assert run_gate(labelled, record, "--only", "asr", "llm", *degraded) == 1
    printed = capsys.readouterr().out
    assert f"REGRESSED {figure}" in printed
    assert f"worse: {worst}" in printed
    assert "the gate fails" in printed
    key = "asr.texts" if figure.startswith("words") else "llm.answers"
    assert f"{key}: [" in printed  # what is configured otherwise
    if key == "llm.answers":
        assert "'Yes, it is.' -> 'No, it is not.'" in printed
        assert "and 7 more (--verbose)" in printed
    assert record.read_bytes() == before


def test_a_server_that_waits_longer_fails(
    labelled: Path, record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run.json"
    slower = options(WORDS, "Yes, it is.", "turn.silence_duration_ms=1600")
    assert run_gate(labelled, record, "--only", "v2v", "--out", str(out), *slower) == 1
    printed = capsys.readouterr().out
    assert "REGRESSED 5 callers: voice to voice, p50" in printed
    assert "turn.silence_duration_ms: 200 -> 1600" in printed
    with pytest.raises(ConfigError, match="asr, llm, tools, tts was left out"):
        run_gate(labelled, record, "--accept", str(out))


def test_a_run_is_accepted_afterwards(labelled: Path, accepted: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.json"
    assert run_gate(labelled, fresh, "--accept", str(accepted)) == 0
    assert json.loads(fresh.read_text()) == json.loads(accepted.read_text())


def test_what_breaks_a_limit_is_not_accepted(
    labelled: Path, record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = json.loads(record.read_text())
    items = tree["figures"]["llm.wrong_answers"]["items"]
    tree["figures"]["llm.wrong_answers"]["items"] = {key: [1, 1] for key in items}
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(tree))
    before = record.read_bytes()
    assert run_gate(labelled, record, "--accept", str(bad)) == 1
    assert "not accepted" in capsys.readouterr().out
    assert record.read_bytes() == before


def test_greedy_answers_must_be_those_of_the_other_configuration(
    labelled: Path, record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same, other = ('llm.answers=["Yes, it is."]', 'llm.answers=["Yes, it was."]')
    assert run_gate(labelled, record, "--only", "llm", "--against", same, *options()) == 0
    assert "10 greedy answers are the same" in capsys.readouterr().out
    assert run_gate(labelled, record, "--only", "llm", "--against", f"--set {other}", *options()) == 1
    printed = capsys.readouterr().out
    assert "10 of 10 greedy answers differ" in printed
    assert "from token 3: ' is.', there ' was.'; after 'Yes, it'" in printed
    assert "the gate fails: 10 greedy answers" in printed


def test_the_capacity_that_is_known(accepted: Path) -> None:
    loaded, record = load("scripted", env={}, sets=[]), read_record(accepted)
    here = record.machine
    other = replace(here, n_cores=here.n_cores + 1)
    kept = replace(record, capacity=Capacity(7, "measured"))
    assert gate.known_capacity(None, loaded, kept, here) == Capacity(7, "accepted")
    assert gate.known_capacity(None, loaded, kept, other) is None
    assert gate.known_capacity(None, loaded, record, here) is None  # --levels: nobody looked for it
    assert gate.known_capacity(None, loaded, None, here) is None
    assert gate.known_capacity("measured", loaded, kept, here) is None
    assert gate.known_capacity("configured", loaded, kept, here) == Capacity(500, "configured")
    assert gate.known_capacity("12", loaded, kept, here) == Capacity(12, "given")
    for wrong in ("0", "-1", "1.5", "x"):
        with pytest.raises(ConfigError):
            gate.known_capacity(wrong, loaded, kept, here)


def test_speculation_is_compared_with_none_unasked() -> None:
    speculating = {"llm.engine": "vllm", "vllm.speculation": "ngram"}
    assert gate.without_speculation(speculating) == ["vllm.speculation=off"]
    assert gate.without_speculation(speculating | {"vllm.speculation": "off"}) == []
    assert gate.without_speculation(speculating | {"llm.engine": "llama_server"}) == []
    assert gate.without_speculation({"llm.engine": "vllm"}) == []


def test_what_cannot_be_said(
    labelled: Path, record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="there is no accepted record"):
        run_gate(labelled, tmp_path / "none.json", *options())
    with pytest.raises(ConfigError, match="--accept needs every part"):
        run_gate(labelled, record, "--accept", "--only", "asr", *options())
    with pytest.raises(ConfigError, match="--against compares answers"):
        run_gate(labelled, record, "--only", "asr", "--against", "llm.slots=1", *options())
    with pytest.raises(ConfigError, match="--capacity many: a number"):
        run_gate(labelled, record, "--capacity", "many", *options())
    with pytest.raises(ConfigError, match=r"unknown key llm\.slot"):
        run_gate(labelled, record, "--against", "llm.slot=1", *options())
    (tmp_path / "no.gguf").write_text("")
    gone = ("llm.engine=llama_server", "llm.binary=/bin/false", f"llm.model={tmp_path / 'no.gguf'}")
    unstarted = options(WORDS, "Yes, it is.", *gone)
    assert run_gate(labelled, record, "--only", "llm", "--start-s", "0.3", *unstarted) == 2
    assert "the language model was not ready after 0 s [stage_unavailable]" in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    question = '[[dialogues]]\nlines = ["x"]\nexpect = ["."]'
    (other / "set.toml").write_text(f'schema = 1\nname = "other"\n{question}')
    assert run_gate(other, record, "--only", "tools", *options()) == 2
    assert "nothing could be compared" in capsys.readouterr().out


def test_callers_who_are_refused_are_counted_apart() -> None:
    outcome = Outcome()

    async def script(port: int) -> None:
        lines = [recording.line for recording in read_set(DEFAULT_SET).recordings[:2]]
        plan = Plan(f"ws://127.0.0.1:{port}", n_turns=2, n_callers=2, rate_per_s=20.0)
        await measure(plan, lines, SystemClock(), outcome=outcome)

    with_server(script, sets=(*SCRIPTED, "server.max_sessions=1", 'llm.answers=["Yes."]'), timeout_s=60)
    refused = [turn for turn in outcome.turns if turn.refused]
    assert len(refused) == 1
    assert refused[0].missing
    assert "503" in outcome.failures[0] or "1013" in outcome.failures[0]
    found = level_figures("v2v.c2", [outcome])
    assert found["v2v.c2.refused"] == Events(1, 2)
    assert found["v2v.c2.missing"] == Events(0, 1)
    assert figures(plan=Plan(""), outcome=outcome)["n_refused"] == 1
