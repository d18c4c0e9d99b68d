"""A real Chromium with a microphone that plays what a test says, and an ear on what the page plays."""

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Playwright,
)
from playwright.sync_api import TimeoutError as TooLate

from tests.support.chromium import FLAGS, chromium_path
from tests.support.speech import SPEECH, read_wav, wav_bytes
from voicestack.core.audio import EAR_RATE_HZ, Pcm
from voicestack.core.resample import Resampler

EAR = Path(__file__).with_name("ear.js")
WITHIN_MS = 60_000
"""How long anything may take that a page shows: machines are slow, and nothing here is about speed."""
HEARD_RATE_HZ = 48_000

NO_UDP = "--webrtc-ip-handling-policy=disable_non_proxied_udp"

DENIES = "--use-fake-ui-for-media-stream=deny"
"""The visitor does not allow the microphone."""


class Microphone:
    """A file that Chromium plays as its microphone, from the start whenever a page opens it.

    Args:
        path: Where the file is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.says()

    def says(self, *utterances: tuple[int, str]) -> None:
        """What it plays when it is opened next: recordings of `tests/data/speech`, each at its millisecond.

        What follows the last one is silence.
        """
        end_ms = max((at_ms for at_ms, _ in utterances), default=0) + 5000
        pcm = np.zeros(end_ms * EAR_RATE_HZ // 1000, np.int16)
        for at_ms, recording in utterances:
            said = read_wav(SPEECH / f"{recording}.wav")
            start = at_ms * EAR_RATE_HZ // 1000
            pcm[start : start + len(said)] = said[: len(pcm) - start]
        new = self.path.with_suffix(".new")
        new.write_bytes(wav_bytes(pcm, EAR_RATE_HZ))
        new.replace(self.path)


@contextmanager
def chromium(playwright: Playwright, microphone: Microphone, *flags: str) -> Iterator[Browser]:
    """A browser with a profile of its own."""
    speaks = f"--use-file-for-fake-audio-capture={microphone.path}%noloop"
    browser = playwright.chromium.launch(executable_path=chromium_path(), args=[*FLAGS, speaks, *flags])
    try:
        yield browser
    finally:
        browser.close()


@dataclass
class Heard:
    """What one source of sound in the page played.

    Attributes:
        kind: "context" for an AudioContext's output, "element" for an audio element's stream.
        pcm: int16 mono at HEARD_RATE_HZ.
        start_ms: When it began, on the page's clock.
    """

    kind: str
    pcm: Pcm
    start_ms: float

    def between(self, from_ms: float, to_ms: float) -> Pcm:
        """The part that was played between two times on the page's clock."""
        n = [max(0, round((at_ms - self.start_ms) * HEARD_RATE_HZ / 1000)) for at_ms in (from_ms, to_ms)]
        return self.pcm[n[0] : n[1]]


@dataclass
class Visit:
    """A page, what went wrong on it, and what can be asked about it.

    Attributes:
        page: The page.
        complaints: Errors in its console and of its scripts, in order.
        expected: Complaints that match are none.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def listen_for_trouble(self) -> None:
        """Keep what the console and the scripts complain about."""

        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

        self.page.on("console", on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def unexpected(self) -> list[str]:
        """Complaints, and whatever the page's policy forbade."""
        forbidden = [] if self.page.is_closed() else self.page.evaluate("window.__ear?.violations ?? []")
        found = [*self.complaints, *forbidden]
        return [one for one in found if not any(re.search(pattern, one) for pattern in self.expected)]

    def story(self) -> str:
        """What has happened, for whoever has to find out why a test failed."""
        told = (
            "__ear.events.map(({ way, direction, at, event }) => `${Math.round(at)} ${way} ${direction} "
            + ("${JSON.stringify(event).slice(0, 160)}`)")
        )
        lines: list[str] = self.page.evaluate(told)
        loud = self.page.evaluate("[__ear.loudMs(), __ear.silentMs(), __ear.micAt, performance.now()]")
        seen = f"loud ms, silent ms, microphone at, now: {loud}"
        return "\n".join([*lines[-40:], f"states: {self.states}", seen, *self.unexpected()])

    # --- the page's clock, sound and wire -----------------------------------------------------------------

    def now_ms(self) -> float:
        """The page's clock."""
        now: float = self.page.evaluate("performance.now()")
        return now

    def until(self, condition: str, argument: Any = None, *, within_ms: int = WITHIN_MS) -> None:
        """Wait for a JavaScript expression or function to be true."""
        asked = condition if "=>" in condition else f"() => {condition}"  # the page's policy forbids eval
        try:
            self.page.wait_for_function(asked, arg=argument, timeout=within_ms, polling=50)
        except TooLate as late:
            raise AssertionError(f"waited in vain for {condition} ({argument})\n{self.story()}") from late

    def until_mic_ms(self, at_ms: int) -> None:
        """Wait until the microphone has played so much of its file."""
        self.until("at => __ear.micAt !== null && performance.now() > __ear.micAt + at", at_ms)

    def until_loud(self, ms: int, since_ms: float = 0) -> None:
        """Wait until the page has played so much loud sound since then."""
        self.until("([ms, since]) => __ear.loudMs(since) >= ms", [ms, since_ms])

    def until_silent(self, ms: int = 1000) -> None:
        """Wait until nothing loud has been played for so long."""
        self.until("ms => __ear.silentMs() > ms", ms)

    def until_event(self, kind: str, n: int = 1, direction: str = "got") -> dict[str, Any]:
        """Wait for the n-th event of a type. Returns it."""
        find = "__ear.events.filter(one => one.event.type === kind && one.direction === direction)"
        self.until(f"([kind, n, direction]) => {find}.length >= n", [kind, n, direction])
        return self.events(kind, direction)[n - 1]

    def events(self, kind: str = "", direction: str = "got") -> list[dict[str, Any]]:
        """What the page received, or sent: events of a type, or all, but for audio."""
        return [one["event"] for one in self.wire(kind, direction)]

    def wire(self, kind: str = "", direction: str = "got") -> list[dict[str, Any]]:
        """The same with `at` on the page's clock and `way`, "websocket" or "webrtc"."""
        seen: list[dict[str, Any]] = self.page.evaluate("__ear.events")
        return [one for one in seen if one["direction"] == direction and kind in ("", one["event"]["type"])]

    def heard(self) -> list[Heard]:
        """What the page has played, source by source."""
        made = []
        for tap in self.page.evaluate("__ear.played()"):
            if not tap["rate"]:
                continue
            pcm = np.frombuffer(base64.b64decode(tap["pcm"]), np.int16)
            if tap["rate"] != HEARD_RATE_HZ:
                pcm = Resampler(tap["rate"], HEARD_RATE_HZ).push(pcm)
            # Pieces come late, never early: the start is where the earliest of them puts it.
            starts = [at - 1000 * end / tap["rate"] for at, end in zip(tap["at"], tap["ends"], strict=True)]
            made.append(Heard(tap["kind"], pcm, min(starts)))
        return made

    def played(self, from_ms: float = 0, to_ms: float = float("inf")) -> Pcm:
        """Everything that was played between two times on the page's clock, mixed."""
        parts = [one.between(max(from_ms, one.start_ms), min(to_ms, 1e9)) for one in self.heard()]
        mixed = np.zeros(max((len(part) for part in parts), default=0), np.int32)
        for part in parts:
            mixed[: len(part)] += part
        pcm: Pcm = np.clip(mixed, -32768, 32767).astype(np.int16)
        return pcm

    # --- the widget -----------------------------------------------------------------------------------------

    @property
    def widget(self) -> Locator:
        """The custom element. What is looked for in it is found in its shadow, too."""
        return self.page.locator("voicestack-widget")

    def button(self, name: str) -> Locator:
        """The button whose accessible name begins so."""
        return self.widget.get_by_role("button", name=re.compile(f"^{name}", re.IGNORECASE))

    def mount(self, **options: Any) -> None:
        """Put a widget with these options in the place of the page's own. Tools are among those below."""
        tools = options.pop("tools", [])
        self.page.evaluate(_MOUNT, [options, tools])

    def start(self, *states: str) -> None:
        """Click on the start button and wait until the call is there."""
        self.button("Start").click()
        self.until_state(*(states or ("listening", "thinking", "speaking")))

    def until_state(self, *states: str) -> str:
        """Wait until the widget is in one of these states. Returns which."""
        self.until(f"states => states.includes({_STATE})", list(states))
        return self.state

    @property
    def state(self) -> str:
        """The state of the widget."""
        state: str = self.page.evaluate(_STATE)
        return state

    @property
    def states(self) -> list[str]:
        """All that it has been in since it was mounted."""
        states: list[str] = self.page.evaluate("window.widgetStates ?? []")
        return states

    @property
    def connection(self) -> str:
        """Over what it talks: "webrtc" or "websocket"."""
        kind: str = self.page.evaluate("document.querySelector('voicestack-widget').connection")
        return kind

    def write(self, text: str) -> None:
        """Type a message and send it."""
        field = self.widget.get_by_role("textbox")
        field.fill(text)
        field.press("Enter")

    def lines(self, role: str) -> Locator:
        """The captions of "user" or "agent"."""
        return self.widget.get_by_role("log").locator(f"[data-role={role}]")

    def captions(self, role: str) -> list[str]:
        """What they say, without who says it."""
        spoken = self.lines(role).locator("span:last-child").all_inner_texts()
        return [" ".join(line.split()) for line in spoken]

    def until_caption(self, role: str, words: str) -> None:
        """Wait until a caption has these words (a regular expression, in any case)."""
        line = self.lines(role).filter(has_text=re.compile(words, re.IGNORECASE))
        line.first.wait_for(timeout=WITHIN_MS)


_STATE = "document.querySelector('voicestack-widget')?.state"
_MOUNT = """async ([options, names]) => {
  const { mountVoice } = await import("/widget/voicestack.js");
  const before = document.querySelector("voicestack-widget");
  const place = before?.parentElement ?? document.body;
  before?.remove();
  window.toolCalls = [];
  const known = {
    get_weather: {
      schema: {
        description: "The weather in a city.",
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
      },
      run: (given) => {
        window.toolCalls.push(given);
        return "sunny, 21 degrees";
      },
    },
  };
  const tools = Object.fromEntries(names.map((name) => [name, known[name]]));
  const widget = mountVoice({ target: place, ...options, tools });
  window.widgetStates = [];
  widget.addEventListener("voicestack-state", () => window.widgetStates.push(widget.state));
}"""


@contextmanager
def visit(context: BrowserContext, url: str) -> Iterator[Visit]:
    """Open a page. In the end nothing may have gone wrong on it that was not expected."""
    context.add_init_script(path=EAR)
    page = context.new_page()
    page.set_default_timeout(WITHIN_MS)
    visited = Visit(page)
    visited.listen_for_trouble()
    page.goto(url)
    yield visited
    complaints = visited.unexpected()
    page.close()
    assert not complaints, complaints
