"""Does the page's TypeScript agree with its types, pass its own tests, and stay small?"""

import re
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
    assert npm("test").count(" passed") >= 2, "the widget's and the dashboard's"


def test_a_visitor_loads_little() -> None:
    assert npm("size").count("gzipped; at most") == 3


def test_what_was_built_has_what_pages_ask_for() -> None:
    names = {path.relative_to(BUILT).as_posix() for path in BUILT.rglob("*") if path.is_file()}
    assert {"index.html", "widget/voicestack.js", "dashboard/index.html"} <= names


@pytest.mark.parametrize("page", ["index.html", "dashboard/index.html"])
def test_a_page_obeys_its_policy(page: str) -> None:
    text = (BUILT / page).read_text()
    assert "<style" not in text
    assert " style=" not in text
    assert "<script>" not in text


def test_the_dashboards_files_are_where_its_page_looks_for_them() -> None:
    named = re.findall(
        r"(?:src|href)=\"/dashboard/([^\"]+)\"", (BUILT / "dashboard" / "index.html").read_text()
    )
    assert len(named) >= 3
    for name in named:
        assert name.startswith("assets/"), "a name that may be kept for ever"
        assert (BUILT / "dashboard" / name).is_file()
