"""How do other people's client libraries get here, for the tests that hold conversations with them?

They live apart from `.venv`: what they depend on contradicts what voicestack does.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from voicestack.bootstrap.environment import LOCKED, pip_progress
from voicestack.bootstrap.steps import ROOT, run_step, say

FOLDER = ROOT / "tests" / "conformance"
LOCK = FOLDER / "clients.lock"
"""Made by `make lock`. Leaves out 250 MB that no imported module asks for."""
NODE_LOCK = FOLDER / "package-lock.json"
VENV = ROOT / ".venv-conformance"
CLIENT_PYTHON = VENV / "bin" / "python"
NODE_MODULES = FOLDER / "node_modules"
"""Beside the programs: that is where Node looks."""
NODE_VERSION = 20
"""The oldest that the `openai` package runs on."""


def has_python_clients() -> bool:
    """Whether the Python packages are there, as locked."""
    return CLIENT_PYTHON.exists() and _is_stamped(VENV, LOCK)


def has_node_clients() -> bool:
    """Whether the Node packages are there, as locked, and a Node that can run them."""
    return _is_stamped(NODE_MODULES, NODE_LOCK) and node_version() >= NODE_VERSION


def is_complete() -> bool:
    """Whether there is nothing to install. A Node that is too old is not replaced: its tests are skipped."""
    return has_python_clients() and (
        _is_stamped(NODE_MODULES, NODE_LOCK) or 0 < node_version() < NODE_VERSION
    )


def node_version() -> int:
    """The major version of the installed Node.js; 0 if there is none."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return 0
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = said.strip().lstrip("v").partition(".")[0]
    return int(major) if major.isdigit() else 0


def missing_for_clients() -> list[str]:
    """Debian's name of what `install_clients` still needs."""
    return [] if node_version() else ["nodejs", "npm"]


def install_clients() -> None:
    """Install the packages of both lock files.

    Raises:
        SetupFailed: a step failed.
    """
    advice = "check the network and the free disk space (500 MB), then run the same make again"
    if not has_python_clients():
        make: list[str | Path] = [sys.executable, "-m", "venv", "--clear", VENV]
        run_step("Creating the environment of the test clients", make, advice=f"delete {VENV} and try again")
        pip: list[str | Path] = [CLIENT_PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        run_step(
            "Installing the Python test clients",
            [*pip, "install", "--no-compile", *LOCKED, "-r", LOCK],
            advice=advice,
            progress=pip_progress(LOCK.read_text()),
        )
        _stamp(VENV, LOCK)
    version = node_version()
    if version < NODE_VERSION:
        say(f"  Node.js {version} is older than {NODE_VERSION}: the tests of Node clients are skipped.")
    elif not has_node_clients():
        npm: list[str | Path] = [
            "npm",
            "ci",
            "--prefix",
            FOLDER,
            "--no-audit",
            "--no-fund",
        ]
        run_step("Installing the Node test clients", npm, advice=advice)
        _stamp(NODE_MODULES, NODE_LOCK)


def _fingerprint(lock: Path) -> str:
    """Changes with what is locked and with the place."""
    return hashlib.sha256(f"{ROOT}\0{lock.read_text()}".encode()).hexdigest()


def _is_stamped(folder: Path, lock: Path) -> bool:
    stamp = folder / ".stamp"
    return stamp.exists() and stamp.read_text() == _fingerprint(lock)


def _stamp(folder: Path, lock: Path) -> None:
    (folder / ".stamp").write_text(_fingerprint(lock))
