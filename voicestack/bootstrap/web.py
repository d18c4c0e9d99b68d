"""How does the page that the server shows get built, and what do its tests need?

A server without it works: only browsers miss something. So nothing here stands in the way of `make run`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from voicestack.bootstrap.clients import node_version
from voicestack.bootstrap.environment import install_debian
from voicestack.bootstrap.steps import LOGS, ROOT, SetupFailed, run_step, say

FOLDER = ROOT / "web"
"""The sources. An installed package has only what was built of them."""
LOCK = FOLDER / "package-lock.json"
NODE_MODULES = FOLDER / "node_modules"
SITE = ROOT / "voicestack" / "server" / "site"
NODE_VERSION = 18
"""Debian 12's, and the oldest that the build tools run on."""
MADE = ("node_modules", "dist")
"""Folders in `FOLDER` that are no sources."""
GAVE_UP = LOGS / "page-not-built"
"""From which sources and with which Node `make run` could not build the page: it does not try for ever."""
TEST_PROGRAMS = {
    "chromium": "chromium",
    "turnserver": "coturn",
    "pg_ctlcluster": "postgresql",
    "promtool": "prometheus",
}
"""What the tests run, and Debian's packages of it. (The server of PostgreSQL itself is in no PATH.)"""


def is_complete(purpose: str) -> bool:
    """Whether there is nothing to do for `run`, `test`, `check` or `web`."""
    if purpose == "check" or not LOCK.exists():
        return True
    if purpose == "test":
        return has_tools() and is_built() and not missing_programs()
    return is_built() or (purpose == "run" and _read(GAVE_UP) == _attempt())


def is_built() -> bool:
    """Whether the page is there, from the sources as they are."""
    return _read(SITE / ".stamp") == fingerprint()


def has_tools() -> bool:
    """Whether the packages that build and test the page are there, as locked."""
    return _read(NODE_MODULES / ".stamp") == _of_lock()


def missing_programs() -> list[str]:
    """Debian's names of the programs that the tests still need."""
    return [package for program, package in TEST_PROGRAMS.items() if not shutil.which(program)]


def set_up_page(purpose: str) -> None:
    """Do what `is_complete` misses.

    Raises:
        SetupFailed: a step failed. Not for `run`, which says so and goes on.
    """
    try:
        build(tests=purpose == "test")
    except SetupFailed as failure:
        if purpose != "run":
            raise
        GAVE_UP.parent.mkdir(parents=True, exist_ok=True)
        GAVE_UP.write_text(_attempt())
        say(f"\n{failure}\n\n  The server starts without its page for browsers. 'make web' tries again.\n")


def build(*, tests: bool = False, installs: bool = True) -> None:
    """Build the page, if it has not been built from these sources.

    Args:
        tests: Also install what the tests in the browser need.
        installs: Install Debian packages where they are missing.

    Raises:
        SetupFailed: a step failed.
    """
    needed = missing_programs() if tests else []
    if not (is_built() and has_tools()) and not node_version():
        needed += ["nodejs", "npm"]
    if needed and installs:
        install_debian(needed)
    if not has_tools() and (tests or not is_built()):
        _install_tools()
    if not is_built():
        _check_node()
        shutil.rmtree(SITE, ignore_errors=True)  # no file of an older build stays
        before = fingerprint()
        advice = "see what it says; if a package seems broken: rm -rf web/node_modules, then 'make web'"
        run_step("Building the page", ["npm", "run", "--prefix", FOLDER, "build"], advice=advice)
        if not (SITE / "index.html").exists():
            raise SetupFailed(f"The build left no {SITE / 'index.html'}.")
        (SITE / ".stamp").write_text(before)
    GAVE_UP.unlink(missing_ok=True)


def _install_tools() -> None:
    """Their own install scripts are not run: none of them needs it."""
    _check_node()
    advice = "check the network and the free disk space (200 MB), then run 'make web'"
    command: list[str | Path] = [
        "npm",
        "ci",
        "--prefix",
        FOLDER,
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ]
    run_step("Installing what builds the page", command, advice=advice)
    (NODE_MODULES / ".stamp").write_text(_of_lock())


def _check_node() -> None:
    version = node_version()
    if version < NODE_VERSION:
        found = f"Node.js {version} is too old" if version else "Node.js and npm are not installed"
        raise SetupFailed(
            f"The page for browsers cannot be built: {found}.\n"
            f"  what to do  install Node.js {NODE_VERSION} or newer (Debian 12: apt-get install nodejs npm)",
            code=2,
        )


def fingerprint() -> str:
    """Changes with every source of the page."""
    found = hashlib.sha256()
    for folder, folders, names in os.walk(FOLDER):
        folders[:] = sorted(name for name in folders if name not in MADE and not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            found.update(f"{path.relative_to(FOLDER)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return found.hexdigest()


def _attempt() -> str:
    return f"{fingerprint()} with Node.js {node_version()}"


def _of_lock() -> str:
    return hashlib.sha256(f"{ROOT}\0{LOCK.read_text()}".encode()).hexdigest()


def _read(stamp: Path) -> str:
    return stamp.read_text() if stamp.exists() else ""
