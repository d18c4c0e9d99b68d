"""`voicestack bench gpu` from the command line to the tables, against a program that behaves like vLLM."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests.support.fake_vllm import install
from voicestack.cli import bench_gpu
from voicestack.cli.bench_gpu_host import Gpu
from voicestack.cli.bench_gpu_whisper import SAID_TOKENS, WHISPERS, write_whisper
from voicestack.cli.main import run_command

ROOT = Path(__file__).resolve().parents[2]
VLLM = f"{sys.executable} -m vllm.entrypoints.openai.api_server"
SCRIPTED = ("--set", "asr.engine=scripted", "--set", "tts.engine=scripted")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """vLLM is the fake one, for this process's children."""
    install(tmp_path / "fake")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "fake"), str(ROOT)]))
    monkeypatch.setattr("voicestack.cli.bench_gpu_subject.HEARTBEAT_S", 0.1)
    return monkeypatch


def measured(tmp_path: Path, *more: str) -> tuple[int, dict[str, Any]]:
    path = tmp_path / "found.json"
    given = ["--device", "cpu", "--shape", "tiny", "--quick", "--vllm", VLLM, "--levels", "2,1"]
    given += ["--level-s", "0.2", "--silence-s", "0.3", "--prefix-tokens", "60", "--reply-tokens", "8"]
    given += ["--work", str(tmp_path / "work"), "--json", str(path)]
    code = run_command(["bench", "gpu", *given, *more])
    return code, orjson.loads(path.read_bytes())


@pytest.mark.usefixtures("fake")
def test_the_part_llm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = measured(tmp_path, "--part", "llm")
    assert (code, found["finished"], found["failures"]) == (0, True, {})
    assert [server["server"] for server in found["servers"]] == ["bf16", "ngram", "compiled"]
    assert [start["server"] for start in found["cold"]] == ["bf16", "compiled"]

    first = found["servers"][0]
    assert sum(phase["took_ms"] for phase in first["phases"]) == pytest.approx(first["ready_ms"])
    assert {"weights", "compile", "graphs"} <= {phase["name"] for phase in first["phases"]}
    assert first["first_requests"][0]["first_ms"] > 30  # it had not seen the prompt before

    measured_levels = {(e["turns"], e["loop"], e["client"]) for e in found["ttft"]}
    assert measured_levels == {
        *((2, loop, "adapter") for loop in ("closed", "open")),
        *((1, loop, "adapter") for loop in ("closed", "open")),
        (2, "closed", "raw"),
    }
    for level in found["ttft"]:
        figures = level["figures"]
        assert figures["n"] > 0
        assert (figures["n_missing"], figures["n_broken"]) == (0, 0)
        assert figures["ttft_ms"]["p50"] >= 2
        assert figures["clause_ms"]["p50"] > figures["ttft_ms"]["p50"]
        assert 0.4 < figures["cached_share"] < 0.8  # the system prompt, and nothing of the questions
        counted = [t for t in level["traces"] if not t["is_warm_up"]]
        assert len(counted) == figures["n"]
        assert all(t["output_tokens"] == 8 and len(t["gaps_ms"]) == 7 for t in counted)
    asked = [t["n"] for level in found["ttft"] for t in level["traces"]]
    assert len(asked) == len(set(asked))

    beats = {e["before"]: e["first_ms"] for e in found["heartbeat"]}
    assert set(beats) == {"no silence", "silence", "heartbeat"}
    assert all(len(after) == 3 for rounds in beats.values() for after in rounds)

    by_method = {(e["method"], e["turns"]): e for e in found["speculation"]}
    assert set(by_method) == {("off", 1), ("off", 4), ("ngram", 1), ("ngram", 4)}
    assert by_method["off", 1]["acceptance"] is None
    assert by_method["ngram", 1]["acceptance"] == pytest.approx(0.5)
    assert by_method["ngram", 1]["accepted_length"] == pytest.approx(2.5)
    assert by_method["ngram", 1]["figures"]["pieces_per_token"] < 0.6

    assert "sleep" in found["not_run"]
    printed = capsys.readouterr().out
    assert "**random weights** in the shape of nothing" in printed
    assert "| ngram | 1 |" in printed
    assert "vLLM 0.0+fake" in printed


def test_the_part_speech(
    tmp_path: Path, fake: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = replace(bench_gpu.QUICK_SPEECH, utterance_s=0.5, batch_s=0.1)
    fake.setattr(bench_gpu, "QUICK_SPEECH", short)
    more = ("--part", "speech", "--sessions", "2", "--sessions-s", "1.2", "--duty", "0.5", *SCRIPTED)
    code, found = measured(tmp_path, *more)
    assert (code, found["failures"]) == (0, {})
    assert [windows["batch"] for windows in found["whisper"]] == [1, 4]
    assert all(windows["tokens_per_window"] == 20 for windows in found["whisper"])
    (level,) = found["sessions"]
    assert (level["n_sessions"], level["n_missing"]) == (2, 0)
    assert level["n"] >= 2
    assert found["sessions_warm_up"][0]["n"] == 2
    assert all(turn["voice_ms"] >= turn["clause_ms"] >= turn["final_ms"] for turn in level["turns"])
    assert level["passes"] == (level["voice_ms"]["p95"] <= 300)
    n_sessions = 2 if level["passes"] else 0
    assert found["sessions_per_gpu"] == n_sessions
    assert f"**{n_sessions} sessions on one CPU.**" in capsys.readouterr().out


def test_a_random_whisper_says_other_words_every_time_and_stops(tmp_path: Path) -> None:
    """As faster-whisper hears it: nothing in it looks like a hallucination, which would be decoded again."""
    from faster_whisper import WhisperModel  # type: ignore[import-untyped]

    write_whisper(tmp_path, WHISPERS["tiny"])
    model = WhisperModel(str(tmp_path), device="cpu", compute_type="int8")
    noise = np.random.default_rng(1).standard_normal(80_000).astype(np.float32) / 10
    (segment,) = model.transcribe(noise, language="en", without_timestamps=True, beam_size=1)[0]
    words = segment.text.split()
    assert SAID_TOKENS - 1 <= len(words) <= SAID_TOKENS
    assert len(set(words)) > 0.9 * len(words)
    assert segment.temperature == 0.0
    assert segment.no_speech_prob < 0.1


def test_what_fails_does_not_keep_the_rest_from_being_measured(
    tmp_path: Path, fake: pytest.MonkeyPatch
) -> None:
    fake.setenv("FAKE_VLLM", json.dumps({"dies_with": "eagle3", "full_at": 2}))
    more = ("--part", "llm", "--only", "speculation", "--methods", "off,eagle3,mtp,suffix")
    code, found = measured(tmp_path, *more)
    assert code == 0
    assert list(found["failures"]) == ["eagle3"]
    assert "ValueError: this will never work" in found["failures"]["eagle3"]["why"]
    assert found["failures"]["eagle3"]["tail"][1].startswith("INFO [api_server.py]")
    assert list(found["not_run"]) == ["speculation mtp"]
    methods = {e["method"] for e in found["speculation"]}
    assert methods == {"off", "suffix"}
    full = [e["figures"] for e in found["speculation"] if e["turns"] == 4]
    assert all(figures["n_full"] > 0 for figures in full)
    assert all(figures["ttft_ms"]["max"] is None for figures in full)  # they count as endlessly late


def test_sleeping_and_waking(tmp_path: Path, fake: pytest.MonkeyPatch) -> None:
    fake.setattr("voicestack.cli.bench_gpu.find_gpu", lambda: Gpu("Fake GPU", "1.0", 1000))
    more = ("--device", "cuda", "--part", "llm", "--only", "ttft,sleep", "--dtypes", "bf16,fp8")
    code, found = measured(tmp_path, *more)
    assert (code, found["failures"]) == (0, {})
    (slept,) = found["sleep"]
    assert slept["server"] == "fp8"
    assert slept["sleep_ms"] >= 10
    assert slept["wake_ms"] >= 10
    assert len(slept["first_ms"]) == 3
    assert {e["dtype"] for e in found["ttft"]} == {"bf16", "fp8"}
    assert found["host"]["gpu"]["name"] == "Fake GPU"


@pytest.mark.usefixtures("fake")
def test_who_is_stopped_keeps_the_figures_and_leaves_no_server(tmp_path: Path) -> None:
    given = ["--device", "cpu", "--shape", "tiny", "--quick", "--vllm", VLLM, "--only", "ttft"]
    given += ["--levels", "1,2", "--level-s", "0.2", "--prefix-tokens", "60", "--reply-tokens", "4"]
    path, work = tmp_path / "found.json", tmp_path / "work"
    command = [sys.executable, "-m", "voicestack", "bench", "gpu", *given, "--json", str(path)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*command, "--work", str(work)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert any("bf16 closed  1" in line for line in process.stdout)  # it has written the first level
        assert servers_in(work)
        process.terminate()
        assert process.wait(60) == 130
    found = orjson.loads(path.read_bytes())
    assert found["finished"] is False
    assert len(found["ttft"]) >= 1
    assert servers_in(work) == []


def servers_in(work: Path) -> list[str]:
    """Processes whose command line names something in that folder."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(file.read_bytes().decode(errors="replace"))
    return [line for line in lines if str(work) in line]


@pytest.mark.usefixtures("fake")
def test_what_there_is_no_time_for_is_named(tmp_path: Path) -> None:
    code, found = measured(tmp_path, "--part", "llm", "--budget-s", "1")
    assert code == 1
    assert "were left of 1" in found["not_run"]["bf16"]
    assert found["finished"] is True


def test_elsewhere_it_says_why_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("voicestack.cli.bench_gpu.find_gpu", lambda: None)
    assert run_command(["bench", "gpu"]) == 0
    skipped = capsys.readouterr().out
    assert skipped.startswith("voicestack bench gpu: skipped: there is no CUDA device")
    assert skipped.count("\n") == 1
    assert run_command(["bench", "gpu", "--require", "--json", str(tmp_path / "s.json")]) == 2
    assert "no CUDA device" in orjson.loads((tmp_path / "s.json").read_bytes())["skipped"]
    without = ["--device", "cpu", "--vllm", f"{tmp_path}/python -m vllm"]
    assert run_command(["bench", "gpu", *without]) == 0
    assert "vLLM cannot be imported" in capsys.readouterr().out


@pytest.mark.usefixtures("fake")
def test_the_tables_of_an_earlier_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured(tmp_path, "--part", "llm", "--only", "cold")
    first = capsys.readouterr().out
    assert run_command(["bench", "gpu", "--show", str(tmp_path / "found.json")]) == 0
    again = capsys.readouterr().out
    assert again
    assert again in first


def test_what_cannot_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", "gpu", "--show", str(tmp_path / "none.json")]) == 2
    assert "none.json: no figures of `voicestack bench gpu`" in capsys.readouterr().err
    (tmp_path / "other.json").write_text('{"ttft": []}')
    assert run_command(["bench", "gpu", "--show", str(tmp_path / "other.json")]) == 2
    for wrong in (("--only", "nothing"), ("--duty", "2"), ("--levels", "0")):
        with pytest.raises(SystemExit):
            run_command(["bench", "gpu", *wrong])


@pytest.mark.usefixtures("fake")
def test_a_folder_without_a_model_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--device", "cpu", "--vllm", VLLM, "--model-folder", str(tmp_path / "m")]
    assert run_command(["bench", "gpu", *given, "--json", str(tmp_path / "f.json")]) == 2
    assert "no model as vLLM loads it" in capsys.readouterr().err
