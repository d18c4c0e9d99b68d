"""`@openai/agents-realtime` over WebRTC, unmodified, in Chromium: does all of it work?"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Route, sync_playwright

from tests.support.browser import HEARD_RATE_HZ, Microphone, Visit, chromium, visit
from tests.support.realtime_check import check_server_frames
from tests.support.served import Served, served
from voicestack.bootstrap.clients import NODE_MODULES
from voicestack.bootstrap.web import NODE_MODULES as WEB_MODULES

PROGRAM = Path(__file__).parent / "clients" / "agents_webrtc.mjs"
PAGE = '<!doctype html><meta charset="utf-8"><title>agents</title><link rel="icon" href="data:,">'

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page's program with its library, as one file."""
    esbuild = WEB_MODULES / ".bin" / "esbuild"
    if not ((NODE_MODULES / "@openai" / "agents-realtime").exists() and esbuild.exists()):
        pytest.skip("@openai/agents-realtime is not installed: `make test` does that, given Node.js 20")
    bundle = tmp_path_factory.mktemp("bundle") / "agents.js"
    options = ["--bundle", "--format=esm", "--platform=browser", f"--outfile={bundle}"]
    subprocess.run([str(esbuild), str(PROGRAM), *options], check=True, capture_output=True)
    return bundle.read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served"), sets=["llm.max_tokens=60"]) as running:
        yield running


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Microphone:
    return Microphone(tmp_path_factory.mktemp("microphone") / "microphone.wav")


@pytest.fixture(scope="module")
def browser(microphone: Microphone, script: str) -> Iterator[Browser]:
    with sync_playwright() as playwright, chromium(playwright, microphone) as running:
        yield running


@pytest.fixture
def seen(browser: Browser, server: Served, script: str, microphone: Microphone) -> Iterator[Visit]:
    """The page, on the server's own origin."""

    def answer(route: Route) -> None:
        if route.request.url.endswith(".js"):
            route.fulfill(body=script, content_type="text/javascript")
        else:
            route.fulfill(body=PAGE, content_type="text/html")

    microphone.says()
    with browser.new_context(permissions=["microphone"]) as context:
        context.route("**/agents/*", answer)
        with visit(context, f"{server.url}/agents/page.html") as visited:
            visited.page.evaluate(WAITS)
            visited.page.add_script_tag(url="/agents/program.js", type="module")
            visited.until("window.scenarios !== undefined")
            yield visited
            frames = [json.dumps(event).encode() for event in visited.events()]
        check_server_frames(frames)


WAITS = """() => {
  const until = (isTrue) => new Promise((resolve) => {
    const look = setInterval(() => isTrue() && (clearInterval(look), resolve()), 50);
  });
  window.loud = () => until(() => __ear.loudMs() > 300);
  window.played = async () => { await window.loud(); await until(() => __ear.silentMs() > 1500); };
}"""


def play(seen: Visit, scenario: str) -> dict[str, Any]:
    saw: dict[str, Any] = seen.page.evaluate(f"scenarios.{scenario}()")
    return saw


def words(text: str) -> list[str]:
    return text.split()


def test_connect(seen: Visit) -> None:
    saw = play(seen, "connect")
    assert saw["callId"].startswith("rtc_")
    assert seen.events("session.created")
    assert saw["instructions"] == seen.events("session.updated")[-1]["session"]["instructions"]
    assert not seen.events("error")


def test_a_voice_turn(seen: Visit, microphone: Microphone, server: Served) -> None:
    microphone.says((3000, "01_slt"))
    saw = play(seen, "voiceTurn")
    assert "capital of france" in saw["user"].lower()
    (done,) = seen.events("response.done")
    assert done["response"]["status"] == "completed"
    said = done["response"]["output"][0]["content"][0]["transcript"]
    assert words(saw["agent"]) == words(said)
    assert seen.page.evaluate("__ear.loudMs()") > 100 * len(words(said))
    server.check_said(saw["agent"], seen.played(), HEARD_RATE_HZ)
    kinds = [event["type"] for event in seen.events()]
    assert kinds.index("output_audio_buffer.started") < kinds.index("output_audio_buffer.stopped")
    assert not seen.events("response.output_audio.delta"), "sound goes over RTP"
    assert not seen.events("error")


def test_barge_in(seen: Visit, microphone: Microphone) -> None:
    microphone.says((3000, "18_slt"), *((at_ms, "05_slt") for at_ms in range(9000, 40_000, 6000)))
    saw = play(seen, "bargeIn")
    first = seen.events("response.done")[0]["response"]
    assert (first["status"], first["status_details"]["reason"]) == ("cancelled", "turn_detected")
    (item,) = first["output"]
    cut = seen.events("conversation.item.truncated")[0]
    assert cut["item_id"] == item["id"]
    kinds = [event["type"] for event in seen.events()]
    assert "output_audio_buffer.cleared" in kinds
    kept = words(item["content"][0]["transcript"])
    assert len(kept) <= cut["audio_end_ms"] / 100, "nobody says more in the time"
    assert words(saw["next"]), "the question that interrupted is answered"
    assert not seen.events("error")


def test_a_text_turn(seen: Visit, server: Served) -> None:
    saw = play(seen, "textTurn")
    assert "paris" in saw["agent"].lower()
    server.check_said(saw["agent"], seen.played(), HEARD_RATE_HZ)
    assert not seen.events("error")


def test_a_tool_call(seen: Visit) -> None:
    saw = play(seen, "toolCall")
    assert (saw["name"], saw["arguments"]) == ("get_weather", {"city": "Paris"})
    assert "sunny" in saw["agent"]
    assert not seen.events("error")


def test_the_user_interrupts_with_a_button(seen: Visit) -> None:
    saw = play(seen, "interrupt")
    seen.until_event("output_audio_buffer.cleared")
    seen.until_silent(1000)
    assert seen.page.evaluate("at => __ear.loudMs(at)", saw["at"]) < 1000
    sent = [event["type"] for event in seen.events(direction="sent")]
    assert "output_audio_buffer.clear" in sent
    first = seen.events("response.done")[0]["response"]
    assert first["status"] in ("cancelled", "completed"), "all of it may have been written already"


def test_reconnect(seen: Visit) -> None:
    saw = play(seen, "reconnect")
    assert "paris" in saw["agent"].lower()
    assert len(seen.events("session.created")) == 2
    assert not seen.events("error")
