"""What is this machine, and can it be measured at all?"""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits")
ASK_LIMIT_S = 60
"""A driver that has been asleep answers late."""
_VERSION_LINES = """
import importlib.util, pathlib, re
file = pathlib.Path(importlib.util.find_spec("vllm").origin).with_name("_version.py")
print(re.search(r"__version__ = .*?'([^']+)'", file.read_text())[1])
"""
"""Without importing vLLM, which takes ten seconds."""
CPU_INSTEAD = "--device cpu --shape 135m --quick runs the same program on a CPU"


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first one that the driver names."""

    name: str
    driver: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Host:
    """What is written beside the figures. `gpu` is None on a machine without."""

    gpu: Gpu | None
    vllm: str | None
    n_cpus: int
    cpu: str
    python: str


def read_gpus(listed: str) -> list[Gpu]:
    """What `nvidia-smi` prints for QUERY, line by line."""
    gpus = []
    for line in listed.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 3 and cells[2].isdigit():
            gpus.append(Gpu(cells[0], cells[1], int(cells[2]) * 2**20))
    return gpus


def find_gpu() -> Gpu | None:
    """The first CUDA device; None where there is no driver or it finds none."""
    gpus = read_gpus(_said_by(QUERY) or "")
    return gpus[0] if gpus else None


def vllm_version(command: Sequence[str]) -> str | None:
    """The version of vLLM that `command` would start, None where it cannot.

    `command` begins with a Python, or is a program beside one.
    """
    name = os.path.basename(command[0])
    python = command[0] if "python" in name else os.path.join(os.path.dirname(command[0]), "python")
    said = _said_by((python, "-c", _VERSION_LINES))
    return said.strip().splitlines()[-1] if said and said.strip() else None


def describe(gpu: Gpu | None, vllm: str | None) -> Host:
    """This machine."""
    return Host(gpu, vllm, os.cpu_count() or 1, _cpu_name(), platform.python_version())


def why_not(device: str, gpu: Gpu | None, vllm: str | None) -> str | None:
    """Why nothing can be measured; None if it can. Pure."""
    if device == "cuda" and gpu is None:
        return f"there is no CUDA device (nvidia-smi finds none); {CPU_INSTEAD}"
    if vllm is None:
        return "vLLM cannot be imported (pip install vllm, or name another Python with --vllm)"
    return None


def _said_by(command: Sequence[str]) -> str | None:
    """What a program prints; None if there is none, or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
