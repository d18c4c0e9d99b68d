"""Does the page's TypeScript agree with its types, pass its own tests, and stay small?"""

import subprocess
from pathlib import Path

import pytest

from voicestack.bootstrap.web import NODE_MODULES
from voicestack.server.site import BUILT

WEB = Path(__file__).resolve().parents[2] / "web"


def npm(script: str) -> str:
    """What a script of `web/package.json` says; fails if that ends badly."""
    if not NODE_MODULES.exists():
        pytest.fail("What builds the page is not installed: make test")
    done = subprocess.run(
        ["npm", "run", "--silent", script], cwd=WEB, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_types_agree() -> None:
    npm("check")


def test_its_own_tests_pass() -> None:
    assert " passed" in npm("test")


def test_a_visitor_loads_little() -> None:
    assert "gzipped; at most" in npm("size")


def test_what_was_built_has_what_pages_ask_for() -> None:
    names = {path.relative_to(BUILT).as_posix() for path in BUILT.rglob("*") if path.is_file()}
    assert {"index.html", "widget/voicestack.js"} <= names
    page = (BUILT / "index.html").read_text()
    assert "<style" not in page
    assert " style=" not in page
    assert "<script>" not in page
