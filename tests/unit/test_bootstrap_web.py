"""Is the page built once, again when its sources change, and never in the way of `make run`?"""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from voicestack.bootstrap import __main__ as command
from voicestack.bootstrap import environment, steps, web
from voicestack.bootstrap.steps import SetupFailed

INSTALL, BUILD = "Installing what builds the page", "Building the page"


class FakeSteps:
    """Stands for `run_step` and `install_debian`: keeps what was asked, leaves the files of it."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.failing = ""

    def __call__(self, title: str, command: Sequence[str | Path], *, advice: str) -> None:
        self.titles.append(title)
        if title == self.failing:
            raise SetupFailed(f"'{title}' failed\n  what to do  {advice}")
        if title == INSTALL:
            web.NODE_MODULES.mkdir(exist_ok=True)
            (web.NODE_MODULES / "vite.js").touch()
        elif title == BUILD:
            web.SITE.mkdir(parents=True)
            (web.SITE / "index.html").touch()

    def debian(self, packages: Sequence[str]) -> None:
        self.titles.append(f"apt-get install {' '.join(packages)}")
        if self.failing == "apt-get":
            raise SetupFailed("Run this once: apt-get ...", code=2)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSteps:
    """A checkout with the sources of a page, and all programs installed."""
    for name, path in {
        "ROOT": tmp_path,
        "FOLDER": tmp_path / "web",
        "LOCK": tmp_path / "web" / "package-lock.json",
        "NODE_MODULES": tmp_path / "web" / "node_modules",
        "SITE": tmp_path / "server" / "site",
        "GAVE_UP": tmp_path / "build" / "page-not-built",
    }.items():
        monkeypatch.setattr(web, name, path)
    monkeypatch.setattr(steps, "LOGS", tmp_path / "build")
    monkeypatch.setattr(command, "LOGS", tmp_path / "build")
    monkeypatch.setattr(command, "pick_python", lambda: sys.executable)
    (tmp_path / "web" / "src").mkdir(parents=True)
    (tmp_path / "web" / "src" / "page.ts").write_text("1")
    web.LOCK.write_text("{}")
    fake_steps = FakeSteps()
    monkeypatch.setattr(web, "run_step", fake_steps)
    monkeypatch.setattr(web, "install_debian", fake_steps.debian)
    monkeypatch.setattr(web, "node_version", lambda: 18)
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    return fake_steps


@pytest.mark.parametrize("purpose", ["run", "test", "web"])
def test_the_page_is_built_once(fake: FakeSteps, purpose: str) -> None:
    assert not web.is_complete(purpose)
    web.set_up_page(purpose)
    assert fake.titles == [INSTALL, BUILD]
    assert web.is_complete(purpose)
    web.build()
    assert len(fake.titles) == 2


def test_the_checks_need_no_page(fake: FakeSteps) -> None:
    assert web.is_complete("check")


def test_an_installed_package_has_nothing_to_build(fake: FakeSteps) -> None:
    web.LOCK.unlink()
    assert web.is_complete("run")
    assert web.is_complete("test")


@pytest.mark.parametrize("changed", ["src/page.ts", "src/new.ts"])
def test_a_changed_source_is_noticed(fake: FakeSteps, changed: str) -> None:
    web.build()
    (web.SITE / "old.js").touch()
    (web.FOLDER / changed).write_text("2")
    assert not web.is_complete("run")
    web.build()
    assert fake.titles[2:] == [BUILD]
    assert not (web.SITE / "old.js").exists(), "of an older build nothing is left"


def test_what_was_made_is_no_source(fake: FakeSteps) -> None:
    web.build()
    for name in ("node_modules/more.js", "widget/dist/voicestack.js", ".vite/cache"):
        (web.FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (web.FOLDER / name).write_text("3")
    assert web.is_complete("run")


def test_a_file_that_was_renamed_is_a_change(fake: FakeSteps) -> None:
    before = web.fingerprint()
    (web.FOLDER / "src" / "page.ts").rename(web.FOLDER / "src" / "home.ts")
    assert web.fingerprint() != before


def test_with_another_lock_the_tools_are_installed_again(fake: FakeSteps) -> None:
    web.build()
    web.LOCK.write_text("{ }")
    web.build()
    assert fake.titles == [INSTALL, BUILD] * 2


def test_a_page_that_is_there_needs_no_tools_to_be_served_but_to_be_tested(fake: FakeSteps) -> None:
    web.build()
    (web.NODE_MODULES / ".stamp").unlink()
    assert web.is_complete("run")
    assert not web.is_complete("test")
    web.set_up_page("test")
    assert fake.titles == [INSTALL, BUILD, INSTALL]


def test_the_tests_bring_a_browser(fake: FakeSteps, monkeypatch: pytest.MonkeyPatch) -> None:
    web.build()
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert web.is_complete("run")
    assert not web.is_complete("test")
    web.set_up_page("test")
    assert fake.titles[2:] == ["apt-get install chromium coturn postgresql prometheus"]


def test_without_node_it_is_installed(fake: FakeSteps, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = iter([0, 18, 18])
    monkeypatch.setattr(web, "node_version", lambda: next(versions))
    web.build()
    assert fake.titles == ["apt-get install nodejs npm", INSTALL, BUILD]


@pytest.mark.parametrize(("version", "words"), [(16, "Node.js 16 is too old"), (0, "are not installed")])
def test_an_old_node_is_said(
    fake: FakeSteps, monkeypatch: pytest.MonkeyPatch, version: int, words: str
) -> None:
    monkeypatch.setattr(web, "node_version", lambda: version)
    with pytest.raises(SetupFailed, match=rf"{words}(.|\n)*what to do  install Node.js 18 or newer"):
        web.set_up_page("test")
    assert INSTALL not in fake.titles


@pytest.mark.parametrize("failing", ["apt-get", INSTALL, BUILD])
def test_no_failure_stands_in_the_way_of_running(
    fake: FakeSteps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failing: str
) -> None:
    if failing == "apt-get":
        monkeypatch.setattr(web, "node_version", lambda: 0)
    fake.failing = failing
    web.set_up_page("run")
    assert (
        "The server starts without its page for browsers. 'make web' tries again." in capsys.readouterr().out
    )
    assert web.is_complete("run"), "it does not try each time"
    assert not web.is_complete("test")
    with pytest.raises(SetupFailed):
        web.set_up_page("test")
    monkeypatch.setattr(web, "node_version", lambda: 20)
    assert not web.is_complete("run"), "another Node, another try"
    fake.failing = ""
    web.set_up_page("web")
    assert web.is_complete("run")
    assert not web.GAVE_UP.exists()


def test_half_a_build_does_not_count(fake: FakeSteps) -> None:
    web.build()
    (web.FOLDER / "src" / "page.ts").write_text("broken")
    fake.failing = BUILD
    with pytest.raises(SetupFailed):
        web.build()
    assert not web.is_built()


def test_a_build_that_leaves_nothing_has_failed(fake: FakeSteps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        web, "run_step", lambda title, command, *, advice: web.NODE_MODULES.mkdir(exist_ok=True)
    )
    with pytest.raises(SetupFailed, match="left no"):
        web.build()


def test_make_web_builds_the_page_and_nothing_else(
    fake: FakeSteps, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["web"]) == 0
    assert "voicestack: the page was built in" in capsys.readouterr().out
    assert fake.titles == [INSTALL, BUILD]
    assert command.main(["web"]) == 0
    assert (len(fake.titles), capsys.readouterr().out) == (2, "")


def test_make_web_fails_when_it_cannot(fake: FakeSteps, capsys: pytest.CaptureFixture[str]) -> None:
    fake.failing = BUILD
    assert command.main(["web"]) == 1
    assert "voicestack: 'Building the page' failed" in capsys.readouterr().err


def test_a_package_is_built_without_changing_the_machine(
    fake: FakeSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "node_version", lambda: 0)
    with pytest.raises(SetupFailed, match=r"Node\.js and npm are not installed"):
        web.build(installs=False)
    assert fake.titles == []


def test_debian_packages_can_be_asked_for_by_hand(fake: FakeSteps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "way_to_root", lambda: None)
    monkeypatch.setattr(web, "install_debian", environment.install_debian)
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(SetupFailed, match="sudo apt-get install -y chromium coturn postgresql prometheus"):
        web.set_up_page("test")


def test_the_lock_pins_everything_and_names_no_host() -> None:
    lock = (Path(__file__).resolve().parents[2] / "web" / "package-lock.json").read_text()
    assert "://" not in re.sub(r'"(url|funding)": "[^"]*"', "", lock)
    packages = json.loads(lock)["packages"]
    own = {"", "widget"}
    assert all(
        package.get("link") or "integrity" in package for path, package in packages.items() if path not in own
    )
