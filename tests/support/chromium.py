"""Where is Chromium, and how is it started so that no person is asked and nothing is looked up?"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, async_playwright

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
)


def chromium_path() -> str:
    """Where Chromium is. Fails the test where there is none: the page would go untested."""
    found = shutil.which("chromium")
    if found is None:
        pytest.fail("Chromium is missing: apt-get install chromium    (`make test` does it as root)")
    return found


@asynccontextmanager
async def chromium_page() -> AsyncIterator[Page]:
    """An empty page with a microphone; the browser ends with the block."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        try:
            yield await browser.new_page()
        finally:
            await browser.close()
