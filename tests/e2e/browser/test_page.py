"""Can everybody use the page: by keyboard, by ear, in the dark, on a telephone, without a microphone?"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright, Route, expect

from tests.support.browser import DENIES, WITHIN_MS, Microphone, Visit, chromium, visit
from tests.support.looks import SCHEMES, look_at
from tests.support.served import Served, served
from tests.support.server import SCRIPTED
from tests.support.visitors import bearer, new_key

pytestmark = pytest.mark.timeout(180)


@contextmanager
def page_of(browser: Browser, server: Served, **options: Any) -> Iterator[Visit]:
    """The page as the server shows it, to a visitor with these settings."""
    options = {"permissions": ["microphone"], "reduced_motion": "reduce", **options}
    with browser.new_context(**options) as context, visit(context, server.url) as seen:
        yield seen


@contextmanager
def another_site(html: str) -> Iterator[str]:
    """A server of somebody else's with one page. Yields its address, which is another origin than ours."""

    class OnePage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), OnePage) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{running.server_port}/"
        finally:
            running.shutdown()
            thread.join()


def look(seen: Visit, name: str) -> None:
    """Check what is to be seen now, in light and dark, on a large screen and a small one; keep pictures."""
    for scheme, size in product(SCHEMES, ("desktop", "phone")):
        look_at(seen.page, name, scheme, size)


def test_it_can_be_used_and_read_in_every_state(
    browser: Browser, server: Served, microphone: Microphone
) -> None:
    microphone.says((2500, "01_slt"))
    with page_of(browser, server, device_scale_factor=2) as seen:
        expect(seen.page.get_by_role("status").first).to_contain_text("ready", timeout=WITHIN_MS)
        look(seen, "1-idle")
        seen.start()
        seen.until_event("response.done")
        seen.until_loud(300)
        seen.until_silent()
        seen.until_event("voicestack.turn.measured")
        expect(seen.widget.locator(".badge")).to_contain_text("ms after you finished")
        look(seen, "2-call")
        seen.button("Settings").click()
        expect(seen.widget.get_by_label("Microphone").locator("option")).not_to_have_count(0)
        look(seen, "3-settings")
        seen.button("End").click()
        seen.until_state("ended")
        look(seen, "4-ended")


def test_the_keyboard_is_enough(browser: Browser, server: Served, microphone: Microphone) -> None:
    microphone.says()
    with page_of(browser, server) as seen:
        keys = seen.page.keyboard

        def focused() -> str:
            name: str = seen.page.evaluate("""() => {
              let at = document.activeElement;
              while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
              return at?.getAttribute("aria-label") || at?.innerText || at?.tagName || "";
            }""")
            return name

        def tab_to(name: str) -> None:
            for _ in range(30):
                if re.search(name, focused(), re.IGNORECASE):
                    return
                keys.press("Tab")
            raise AssertionError(f"Tab does not lead to {name!r} but to {focused()!r}")

        tab_to("^Start")
        keys.press("Enter")
        seen.until_state("listening")
        seen.until("document.activeElement.matches('voicestack-widget')")
        tab_to("Write a message")
        keys.type("What is the capital of France?")
        keys.press("Enter")
        seen.until_caption("agent", "Paris")
        tab_to("^End")
        seen.until_state("listening")
        keys.press("Enter")
        seen.until_state("ended")
        assert re.match("^Start", focused()), "one is not lost when the button that one was on is gone"


def test_push_to_talk_with_the_space_bar(browser: Browser, server: Served, microphone: Microphone) -> None:
    microphone.says((2500, "18_slt"), (5500, "01_slt"))
    with page_of(browser, server) as seen:
        seen.mount(mode="push-to-talk")
        seen.start()
        seen.until_mic_ms(5000)
        assert seen.events("input_audio_buffer.committed") == [], "nobody pressed"
        seen.page.keyboard.down("Space")
        seen.until_mic_ms(5500 + 2100)
        seen.page.keyboard.up("Space")
        seen.until_caption("user", "capital of france")
        seen.until_loud(300)
        assert [line.lower() for line in seen.captions("user")] == ["what is the capital of france"]


def test_another_microphone_can_be_chosen_in_a_call(
    browser: Browser, server: Served, microphone: Microphone
) -> None:
    microphone.says((3000, "01_slt"))
    with page_of(browser, server) as seen:
        seen.start()
        seen.button("Settings").click()
        choice = seen.widget.get_by_label("Microphone")
        expect(choice.locator("option")).not_to_have_count(1)
        choice.select_option(index=1)
        seen.until("__ear.nMics === 2")
        seen.until_caption("user", "capital of france")
        seen.until_loud(300)


def test_without_a_microphone_one_is_told_and_can_type(
    playwright: Playwright, server: Served, microphone: Microphone
) -> None:
    with (
        chromium(playwright, microphone, DENIES) as browser,
        page_of(browser, server, permissions=[]) as seen,
    ):
        seen.expected = ["mic-denied"]
        seen.button("Start").click()
        seen.until_state("error")
        alert = seen.widget.get_by_role("alert")
        expect(alert).to_contain_text("microphone is blocked")
        look(seen, "5-no-microphone")
        alert.get_by_role("button", name="Type instead").click()
        seen.until_state("listening")
        seen.write("What is the capital of France?")
        seen.until_caption("agent", "Paris")
        seen.until_loud(300)


def test_with_less_motion_nothing_moves(browser: Browser, server: Served, microphone: Microphone) -> None:
    microphone.says()
    with page_of(browser, server) as seen:
        seen.start()
        moving = "document.querySelector('voicestack-widget').shadowRoot.getAnimations()"
        running = (
            f"{moving}.filter(one => one.playState === 'running').map(one => one.effect.target.className)"
        )
        assert seen.page.evaluate(running) == []


def test_a_page_of_another_origin_embeds_it_with_one_line(
    browser: Browser, server: Served, microphone: Microphone
) -> None:
    microphone.says()
    html = (
        '<!doctype html><html lang="en"><title>shop</title><link rel="icon" href="data:,"><h1>A shop</h1>'
        f'<script type="module" src="{server.url}/widget/voicestack.js"></script>'
        "<voicestack-widget></voicestack-widget>"
    )

    with (
        another_site(html) as other,
        browser.new_context(permissions=["microphone"]) as context,
        visit(context, other) as seen,
    ):
        for transport in ("webrtc", "websocket"):
            seen.widget.evaluate("(it, way) => it.setAttribute('transport', way)", transport)
            seen.start()
            assert seen.connection == transport
            n_before = len(seen.events("response.done"))
            seen.write("What is the capital of France?")
            seen.until_event("response.done", n_before + 1)
            seen.until_silent()
            seen.button("End").click()
            seen.until_state("ended")


def test_the_page_shows_when_the_server_is_not_ready(context: BrowserContext, server: Served) -> None:
    def warming(route: Route) -> None:
        route.fulfill(status=503, json={"ready": False}, headers={"Retry-After": "1"})

    context.route("**/readyz", warming)
    with visit(context, server.url) as seen:
        seen.expected = ["status of 503"]
        expect(seen.page.get_by_role("status").first).to_contain_text("warming up", timeout=WITHIN_MS)
        context.unroute("**/readyz")
        expect(seen.page.get_by_role("status").first).to_contain_text("is ready", timeout=WITHIN_MS)


def test_where_keys_are_asked_for_the_page_takes_a_secret(
    browser: Browser, microphone: Microphone, tmp_path: Path
) -> None:
    microphone.says()
    key = new_key(tmp_path / "keys.json").secret
    with served(tmp_path, "scripted", SCRIPTED) as keyed, page_of(browser, keyed) as seen:
        seen.expected = ["status of 401", "no-secret"]
        secret = seen.page.get_by_label("Paste an ephemeral secret")
        expect(secret).not_to_be_visible()
        seen.button("Start").click()
        seen.until_state("error")
        expect(secret).to_be_visible()
        look(seen, "6-asks-for-a-secret")
        minted = httpx.post(f"{keyed.url}/v1/realtime/client_secrets", headers=bearer(key), trust_env=False)
        secret.fill(minted.json()["value"])
        secret.press("Enter")
        seen.until_state("listening")
        seen.write("Hello!")
        seen.until_event("response.done")
