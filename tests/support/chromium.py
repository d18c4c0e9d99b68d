"""A page in a real headless Chromium, with a microphone that it is not asked for."""

import importlib.util
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
has_chromium = bool(CHROMIUM) and importlib.util.find_spec("playwright") is not None

FLAGS = [
    "--no-sandbox",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    # Loopback addresses are no candidates otherwise.
    "--allow-loopback-in-peer-connection",
]


@asynccontextmanager
async def chromium_page() -> AsyncIterator[Any]:
    """An empty page; the browser ends with the block."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield await browser.new_page()
        finally:
            await browser.close()
