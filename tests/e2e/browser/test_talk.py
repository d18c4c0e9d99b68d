"""Somebody talks to the agent in a browser, over WebRTC and over WebSocket: what is heard, what is shown?"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright

from tests.support.browser import HEARD_RATE_HZ, NO_UDP, Microphone, Visit, chromium, visit
from tests.support.served import Served, served
from tests.support.server import SCRIPTED
from tests.support.turn_server import SECRET, TurnServer, turn_server

BRIEF = "You are a friendly assistant on the telephone. Answer every question in one short sentence."
TALKATIVE = "You are a friendly assistant on the telephone. Answer every question with a long story."
WAYS = ["webrtc", "websocket"]
CALM_MS = 2500
"""The microphone is open for so long before anybody speaks: by then a call is there."""

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def seen(context: BrowserContext, server: Served, microphone: Microphone) -> Iterator[Visit]:
    """The page that the server shows. Its microphone is silent unless a test says otherwise."""
    microphone.says()
    with visit(context, server.url) as visited:
        yield visited


def words(text: str) -> list[str]:
    return text.split()


def said(seen: Visit, n: int) -> str:
    """What the n-th response says."""
    part = seen.until_event("response.done", n)["response"]["output"][0]["content"][0]
    return " ".join(words(part["transcript"]))


def says_something(seen: Visit, first: int) -> bool:
    """Whether one of five responses from `first` on does: on a busy machine the next words cut others off."""
    numbers = range(first, first + 5)
    return any(seen.until_event("response.done", n)["response"]["output"] for n in numbers)


@pytest.mark.parametrize("way", WAYS)
def test_click_ask_hear(seen: Visit, server: Served, microphone: Microphone, way: str) -> None:
    microphone.says((CALM_MS, "01_slt"))
    seen.mount(instructions=BRIEF, badge=True, **({} if way == "webrtc" else {"transport": way}))
    seen.start()
    assert seen.connection == way
    seen.until_caption("user", "what is the capital of france")
    answer = said(seen, 1)
    seen.until_loud(300)
    seen.until_silent()
    seen.until_state("listening")
    assert seen.states[-4:] == ["listening", "thinking", "speaking", "listening"]

    assert "Paris" in answer
    assert [line.lower() for line in seen.captions("user")] == ["what is the capital of france"]
    assert seen.captions("agent") == [answer]
    pcm = seen.played()
    assert seen.page.evaluate("__ear.loudMs()") > 100 * len(words(answer))
    assert int(np.abs(pcm.astype(int)).max()) > 2000
    server.check_said(answer, pcm, HEARD_RATE_HZ)
    assert seen.widget.get_by_role("log").count() == 1

    (measured,) = seen.events("voicestack.turn.measured")
    heard = seen.events("voicestack.audio.heard", "sent")[0]
    assert heard["response_id"] == seen.events("response.created")[0]["response"]["id"]
    assert 0 <= heard["error_ms"] < 1000
    assert measured["heard_after_ms"] is not None, seen.story()
    assert measured["heard_after_ms"] >= measured["response_ms"] - heard["error_ms"]
    assert f"Heard {round(measured['heard_after_ms'])} ms after" in seen.widget.locator(".badge").inner_text()
    assert not seen.events("error")

    seen.button("End").click()
    seen.until_state("ended")
    seen.until("() => document.querySelector('voicestack-widget').connection === null")


@pytest.mark.parametrize("way", WAYS)
def test_speaking_interrupts_the_agent(seen: Visit, microphone: Microphone, way: str) -> None:
    again = range(CALM_MS + 5000, CALM_MS + 60_000, 5000)
    microphone.says((CALM_MS, "18_slt"), *((at_ms, "05_slt") for at_ms in again))
    seen.mount(instructions=TALKATIVE, transport=way)
    seen.start()
    cut = seen.until_event("conversation.item.truncated")
    first = seen.events("response.done")[0]["response"]
    assert (first["output"][0]["id"], first["output"][0]["status"]) == (cut["item_id"], "incomplete")

    interrupted = seen.lines("agent").first
    interrupted.and_(seen.page.locator("[data-interrupted]")).wait_for()
    kept = words(seen.captions("agent")[0])
    assert kept == words(first["output"][0]["content"][0]["transcript"])[: len(kept)]
    assert len(kept) <= cut["audio_end_ms"] / 100, "nobody says more in the time"

    began, ended = (seen.wire(kind)[0]["at"] for kind in ("response.created", "conversation.item.truncated"))
    next_ms = seen.until_event("response.created", 2) and seen.wire("response.created")[1]["at"]
    loud = seen.page.evaluate("([a, b]) => __ear.loudMs(a) - __ear.loudMs(b)", [began, next_ms])
    assert loud <= cut["audio_end_ms"] + 700, "it goes on after it was cut"
    assert ended <= next_ms
    assert says_something(seen, 2), "what interrupted is answered"
    assert len(seen.captions("agent")) >= 2


@pytest.mark.parametrize("way", WAYS)
def test_a_text_turn(seen: Visit, server: Served, way: str) -> None:
    seen.mount(instructions=BRIEF, transport=way)
    seen.start()
    seen.write("What is the capital of France?")
    answer = said(seen, 1)
    seen.until_loud(500)
    seen.until_silent()
    assert seen.captions("user") == ["What is the capital of France?"]
    assert seen.captions("agent") == [answer]
    server.check_said(answer, seen.played(), HEARD_RATE_HZ)


@pytest.mark.parametrize("way", WAYS)
def test_the_agent_calls_a_function_of_the_page(seen: Visit, way: str) -> None:
    seen.mount(instructions=BRIEF, transport=way, tools=["get_weather"])
    seen.start()
    seen.write("What is the weather in Paris?")
    seen.until("window.toolCalls.length > 0")
    assert seen.page.evaluate("window.toolCalls") == [{"city": "Paris"}]
    seen.until_caption("agent", "sunny")
    seen.until_loud(500)
    outputs = [event["item"] for event in seen.events("conversation.item.create", "sent")]
    assert outputs[-1]["type"] == "function_call_output"


@pytest.mark.parametrize("way", WAYS)
def test_a_muted_microphone_is_not_heard(seen: Visit, microphone: Microphone, way: str) -> None:
    microphone.says((CALM_MS + 500, "18_slt"), (CALM_MS + 4500, "01_slt"))
    seen.mount(instructions=BRIEF, transport=way)
    seen.start()
    mute = seen.button("Mute")
    mute.click()
    seen.until_mic_ms(CALM_MS + 3300)  # "tell me something about elephants" has been said by then
    assert seen.events("input_audio_buffer.speech_started") == []
    assert seen.captions("user") == []
    seen.button("Unmute").click()
    seen.until_caption("user", "capital")
    seen.until_event("input_audio_buffer.committed")
    assert len(seen.events("input_audio_buffer.speech_started")) == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_page_that_is_loaded_again_goes_on(seen: Visit, way: str) -> None:
    page = seen.page
    seen.mount(instructions=BRIEF, transport=way, id="e2e")
    seen.start()
    seen.write("What is the capital of France?")
    answer = said(seen, 1)
    seen.until_loud(300)
    seen.until_silent()
    seen.until_state("listening")

    page.reload()
    seen.mount(instructions=BRIEF, transport=way, id="e2e")
    assert seen.captions("user") == ["What is the capital of France?"]
    assert seen.captions("agent") == [answer]
    seen.start()
    if way == "webrtc":
        resumed = seen.until_event("voicestack.conversation.resumed")
        told = [(item["role"], item["text"]) for item in resumed["items"]]
    else:
        seen.until_event("conversation.item.create", 2, "sent")
        items = [event["item"] for event in seen.events("conversation.item.create", "sent")]
        told = [(item["role"], item["content"][0]["text"]) for item in items]
    assert told[-2:] == [("user", "What is the capital of France?"), ("assistant", answer)]
    seen.write("How many days are in a week?")
    assert words(said(seen, 1))
    seen.until_loud(300)
    assert len(seen.captions("user")) == 2
    assert not seen.events("error")


def test_where_udp_is_blocked_it_goes_over_websocket(
    playwright: Playwright, server: Served, microphone: Microphone
) -> None:
    microphone.says((CALM_MS + 6000, "01_slt"))
    with (
        chromium(playwright, microphone, NO_UDP) as browser,
        browser.new_context(permissions=["microphone"]) as context,
        visit(context, server.url) as seen,
    ):
        seen.mount(instructions=BRIEF)
        seen.start()
        assert seen.connection == "websocket"
        seen.until_caption("user", "capital of france")
        seen.until_loud(300)
        assert "Paris" in said(seen, 1)


def test_where_udp_is_blocked_and_there_is_turn_over_tcp_it_stays_webrtc(
    playwright: Playwright, microphone: Microphone, tmp_path: Path
) -> None:
    microphone.says((CALM_MS + 2000, "01_slt"))
    with (
        turn_server() as turn,
        served(tmp_path, "scripted", over_tcp(turn)) as server,
        chromium(playwright, microphone, NO_UDP) as browser,
        browser.new_context(permissions=["microphone"]) as context,
        visit(context, server.url) as seen,
    ):
        seen.start()
        assert seen.connection == "webrtc"
        seen.until_event("input_audio_buffer.committed")
        seen.until_loud(300)


def over_tcp(turn: TurnServer) -> list[str]:
    url = f"turn:127.0.0.1:{turn.port}?transport=tcp"
    return [*SCRIPTED, f'webrtc.turn_urls=["{url}"]', f"webrtc.turn_secret={SECRET}"]


def test_the_server_is_restarted_in_mid_call(
    browser: Browser, server: Served, microphone: Microphone
) -> None:
    microphone.says()
    with ExitStack() as stack:
        calls = {}
        for way in WAYS:
            context = stack.enter_context(browser.new_context(permissions=["microphone"]))
            calls[way] = seen = stack.enter_context(visit(context, server.url))
            seen.expected = LOST
            seen.mount(instructions=BRIEF, transport=way)
            seen.start()
            seen.write("What is the capital of France?")
        for seen in calls.values():
            assert said(seen, 1)
            seen.until_loud(300)
            seen.until_silent()
        server.stop()
        for seen in calls.values():
            seen.until_state("reconnecting")
        server.start()
        for way, seen in calls.items():
            seen.until_state("listening")
            assert seen.connection == way
            answer = said(seen, 1)
            assert seen.captions("agent")[0] == answer
            seen.until_event("session.updated", 2)
            items = [event["item"] for event in seen.events("conversation.item.create", "sent")]
            told = [(item["role"], item["content"][0]["text"]) for item in items]
            assert told[1:3] == [("user", "What is the capital of France?"), ("assistant", answer)]
            seen.write("How many days are in a week?")
        for seen in calls.values():
            assert words(said(seen, 2))
            assert len(seen.captions("user")) == 2


LOST = ["net::ERR_", "WebSocket connection", "status of 50", "status of 404", "overloaded"]
"""What a browser complains about when its server is away."""
