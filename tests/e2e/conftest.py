"""One server and one browser for the tests of this folder, and for no others: Playwright runs a loop."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright

from tests.support.browser import Microphone, chromium
from tests.support.served import Served, served
from voicestack.server.site import BUILT


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With the embedded engines."""
    if not (BUILT / "index.html").exists():
        pytest.fail("The page has not been built: make web")
    with served(tmp_path_factory.mktemp("served"), sets=["llm.max_tokens=60"]) as running:
        yield running


@pytest.fixture(scope="package")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Microphone:
    return Microphone(tmp_path_factory.mktemp("microphone") / "microphone.wav")


@pytest.fixture(scope="package")
def browser(playwright: Playwright, microphone: Microphone) -> Iterator[Browser]:
    with chromium(playwright, microphone) as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A visitor whom no site knows."""
    with browser.new_context(permissions=["microphone"]) as fresh:
        yield fresh
