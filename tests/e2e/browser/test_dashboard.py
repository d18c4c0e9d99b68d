"""Does the dashboard show what the ledger says, to those who may see it, however they look at it?"""

import re
import statistics
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import WITHIN_MS, Visit, visit
from tests.support.dashboard import Dashboard, dashboard, nearest_rank, shown_ms
from tests.support.looks import SIZES, look_at
from voicestack.server.site import BUILT

N_TURNS = 10_000
VIEWS = ("overview", "turns", "live", "heat", "interruptions", "replicas", "capacity", "compare")
GONE = r"ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """Turns of a day, and more of them as one looks."""
    if not (BUILT / "dashboard" / "index.html").exists():
        pytest.fail("The dashboard has not been built: make web")
    with dashboard(tmp_path_factory.mktemp("dashboard"), "--turns", str(N_TURNS)) as running:
        yield running


@contextmanager
def page_of(browser: Browser, url: str, **options: Any) -> Iterator[Visit]:
    """The page, to a visitor with these settings."""
    width, height = SIZES["desktop"]
    options = {"reduced_motion": "reduce", "viewport": {"width": width, "height": height}, **options}
    with browser.new_context(**options) as context, visit(context, url) as seen:
        yield seen


def figure(seen: Visit, name: str) -> str:
    """A figure's value, as it is written."""
    return seen.page.locator(f"[data-figure='{name}']").locator(".value").first.inner_text()


def past(server: Dashboard, ms: int = 6 * 3_600_000) -> tuple[int, int]:
    """A period that is over: no new turn falls into it."""
    newest_ms = server.get("turns", limit=1)["turns"][0]["began_unix_ms"]
    to_ms = newest_ms - 3_600_000
    return to_ms - ms, to_ms


def test_its_figures_are_those_of_the_raw_records(browser: Browser, server: Dashboard) -> None:
    from_ms, to_ms = past(server)
    period: dict[str, Any] = {"from": from_ms, "to": to_ms}
    turns = server.turns(**period)
    assert len(turns) > 1_000
    waits = [turn["response_ms"] for turn in turns if turn["response_ms"] is not None and not turn["cold"]]
    verdicts = Counter(turn["verdict"] for turn in turns)
    with page_of(browser, f"{server.url}?from={from_ms}&to={to_ms}") as seen:
        seen.page.locator("[data-figure='p95']").wait_for(timeout=WITHIN_MS)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            assert figure(seen, name) == shown_ms(nearest_rank(waits, share))
        for verdict in ("met", "declared", "missed", "unmeasured"):
            assert figure(seen, f"verdict-{verdict}") == f"{verdicts[verdict]:,}"
        taken = Counter(rung for turn in turns for rung in {one["rung"] for one in turn["rungs"]})
        shown = {
            row.get_attribute("data-figure"): row.locator(".value").inner_text()
            for row in seen.page.locator("[data-figure^='rung-']").all()
        }
        assert shown == {f"rung-{rung}": f"{n:,}" for rung, n in taken.items() if rung != "full"}
        seen.page.get_by_role("link", name="Interruptions").click()
        seen.page.locator("[data-figure='cut-off']").wait_for(timeout=WITHIN_MS)
        assert figure(seen, "interrupted") == f"{sum(turn['interrupted'] for turn in turns):,}"
        seen.page.get_by_role("link", name="Turns", exact=True).click()
        expect(seen.page.locator("[data-figure='n-total']")).to_have_text(
            f"{len(turns):,}", timeout=WITHIN_MS
        )


def test_a_turn_has_its_own_page(browser: Browser, server: Dashboard) -> None:
    turns = server.get("turns", limit=200)["turns"]
    turn = max(turns, key=lambda one: (bool(one["hidden_ms"]), len(one["rungs"]), one["id"]))
    assert turn["rungs"]
    with page_of(browser, f"{server.url}?view=turns&turn={turn['id']}") as seen:
        expect(seen.page.locator(".headline")).to_contain_text(
            shown_ms(turn["response_ms"]), timeout=WITHIN_MS
        )
        fall = seen.page.get_by_role("img", name="Waterfall.")
        expect(fall).to_have_accessible_name(re.compile(f"budget was {shown_ms(turn['budget_ms'])}"))
        assert fall.locator(".piece.hatched").count() == sum(span["hidden_ms"] > 0 for span in turn["spans"])
        assert seen.page.locator(".decisions > li").count() == len(turn["rungs"])
        for one in turn["uses"]:
            expect(seen.page.get_by_role("link", name=one["replica"], exact=True).first).to_be_visible()
        seen.page.get_by_text("Show as a table").first.click()
        rows = seen.page.get_by_role("region", name="Stages of this turn").locator("tbody tr")
        ends = [shown_ms(span["end_ms"]) for span in turn["spans"] if span["end_ms"] >= 10]
        shown = rows.locator("td:nth-child(3)").all_inner_texts()
        assert [text for text in shown if text in ends] == ends


def test_the_address_says_what_is_shown(browser: Browser, server: Dashboard) -> None:
    from_ms, to_ms = past(server)
    period = {"from": [str(from_ms)], "to": [str(to_ms)]}
    with page_of(browser, f"{server.url}?from={from_ms}&to={to_ms}") as seen:
        page = seen.page

        def asked() -> dict[str, list[str]]:
            return parse_qs(urlsplit(page.url).query)

        page.get_by_label("Add a filter").select_option(value="route=sip")
        page.get_by_label("Add a filter").select_option(value="verdict=missed")
        page.get_by_role("link", name="Turns", exact=True).click()
        assert asked() == {"view": ["turns"], **period, "route": ["sip"], "verdict": ["missed"]}
        total = page.locator("[data-figure='n-total']")
        asked_for: dict[str, Any] = {"from": from_ms, "to": to_ms, "route": "sip"}
        found = server.get("overview", **asked_for)
        expect(total).to_have_text(f"{found['verdicts']['missed']:,}", timeout=WITHIN_MS)
        page.reload()
        expect(page.get_by_role("button", name="Remove the filter Way in: sip")).to_be_visible(
            timeout=WITHIN_MS
        )
        expect(page.locator(".turn .origin").first).to_contain_text("sip", timeout=WITHIN_MS)
        first = page.locator(".turn[data-id]").first
        opened = first.get_attribute("data-id")
        first.click()
        assert asked()["turn"] == [opened]
        expect(page.get_by_role("heading", name="One turn")).to_be_focused(timeout=WITHIN_MS)
        page.go_back()
        expect(page.get_by_role("heading", name="Turns", exact=True)).to_be_visible(timeout=WITHIN_MS)
        assert "turn" not in asked()
        page.get_by_role("button", name="Remove the filter Verdict").click()
        assert "verdict" not in asked()
        page.go_back()
        assert asked()["verdict"] == ["missed"]


def test_the_keyboard_is_enough(browser: Browser, server: Dashboard) -> None:
    with page_of(browser, f"{server.url}?last=24h&every=0") as seen:
        page, keys = seen.page, seen.page.keyboard
        page.locator("[data-figure='p95']").wait_for(timeout=WITHIN_MS)

        def tab_to(pattern: str) -> None:
            name = (
                "document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || ''"
            )
            for _ in range(40):
                if re.search(pattern, page.evaluate(name)):
                    return
                keys.press("Tab")
            raise AssertionError(f"Tab does not lead to {pattern!r}")

        keys.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        keys.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.reload()
        page.locator("[data-figure='p95']").wait_for(timeout=WITHIN_MS)
        tab_to("^Turns$")
        keys.press("Enter")
        page.locator(".turn[data-id]").first.wait_for(timeout=WITHIN_MS)
        tab_to(r"^\s*\d\d:\d\d:\d\d")
        row = "Number(document.activeElement.dataset.row)"
        assert page.evaluate(row) == 0
        for key, at in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("Home", 0)):
            keys.press(key)
            seen.until(f"{row} === {at}")
        keys.press("End")
        seen.until(f"{row} > 9000 && document.activeElement.dataset.id")
        keys.press("Home")
        seen.until(f"{row} === 0")
        keys.press("Space")
        expect(page.get_by_role("heading", name="Selected turns (1)")).to_be_visible(timeout=WITHIN_MS)
        chosen = page.evaluate("document.activeElement.dataset.id")
        assert parse_qs(urlsplit(page.url).query)["sel"] == [chosen]
        keys.press("Enter")
        expect(page.get_by_role("heading", name="One turn")).to_be_focused(timeout=WITHIN_MS)


LOOKS: tuple[tuple[Literal["light", "dark"], str], ...] = (("light", "desktop"), ("dark", "small-phone"))


def test_everybody_can_read_every_view(browser: Browser, server: Dashboard) -> None:
    turns = server.get("turns", limit=100)["turns"]
    turn = max(turns, key=lambda one: len(one["rungs"]))["id"]
    chosen = ",".join(one["id"] for one in turns[:3])
    queries = {view: f"?view={view}&last=24h" for view in VIEWS}
    queries |= {"turn": f"?view=turns&turn={turn}", "selected": f"?view=turns&sel={chosen}"}
    with page_of(browser, server.url) as seen:
        for name, query in queries.items():
            seen.page.goto(server.url + query)
            seen.until("document.querySelector('.panel') && !document.querySelector('main .loading')")
            if name == "overview":
                for summary in seen.page.locator("main summary").all():
                    summary.click()
            for scheme, size in LOOKS:
                look_at(seen.page, f"dashboard-{name}", scheme, size)


FRAMES = """async () => {
  const list = document.querySelector(".turn-list");
  const frames = [];
  let last = await new Promise(requestAnimationFrame);
  let most = 0;
  const idle = [];
  for (let i = 0; i < 60; i++) {
    const now = await new Promise(requestAnimationFrame);
    idle.push(now - last);
    last = now;
  }
  for (let i = 0; i < 150; i++) {
    list.scrollTop += i < 100 ? 320 : 12000;
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - last);
    last = now;
    most = Math.max(most, list.querySelectorAll(".turn").length);
  }
  return { idle, frames, most, top: list.scrollTop };
}"""


def test_ten_thousand_turns_scroll_smoothly(
    browser: Browser, server: Dashboard, record_property: Any
) -> None:
    with page_of(browser, f"{server.url}?view=turns&last=24h") as seen:
        seen.page.locator(".turn[data-id]").first.wait_for(timeout=WITHIN_MS)
        n_turns = int(seen.page.locator("[data-figure='n-total']").inner_text().replace(",", ""))
        assert n_turns > 0.9 * N_TURNS
        found = seen.page.evaluate(FRAMES)
        frames = sorted(found["frames"])
        p50_ms, p95_ms = statistics.median(frames), frames[int(0.95 * len(frames))]
        record_property("frame_p50_ms", round(p50_ms, 1))
        record_property("frame_p95_ms", round(p95_ms, 1))
        print(f"frames while scrolling {n_turns} turns: p50 {p50_ms:.1f} ms, p95 {p95_ms:.1f} ms")  # noqa: T201
        assert found["most"] < 80, "only what is in sight is drawn"
        assert found["top"] > 100_000
        idle_ms = statistics.median(found["idle"])
        assert p50_ms < 3 * idle_ms + 35, f"a page at rest has a frame every {idle_ms:.1f} ms here"
        seen.until("() => [...document.querySelectorAll('.turn')].every((row) => row.dataset.id)")


def test_turns_appear_as_they_end(browser: Browser, server: Dashboard) -> None:
    with page_of(browser, f"{server.url}?view=live") as seen:
        seen.until("document.querySelectorAll('.turn[data-id]').length > 3")
        newest = seen.page.locator(".turn").first.get_attribute("data-id")
        seen.until("old => document.querySelector('.turn').dataset.id !== old", newest)
        seen.page.get_by_role("button", name="Hold still").click()
        held = seen.page.locator(".turn").first.get_attribute("data-id")
        seen.page.wait_for_timeout(2_500)
        assert seen.page.locator(".turn").first.get_attribute("data-id") == held
        expect(
            seen.page.get_by_role("region", name="Conversations now").locator("tbody tr")
        ).not_to_have_count(0)


def test_a_key_is_asked_for_and_shows_its_own(browser: Browser, tmp_path: Path) -> None:
    with (
        dashboard(tmp_path, "--turns", "2000", "--key") as keyed,
        page_of(browser, f"{keyed.url}?view=turns&last=24h&every=0") as seen,
    ):
        page = seen.page
        seen.expected = ["status of 401", "status of 403"]
        field = page.get_by_label("API key")
        expect(field).to_be_focused(timeout=WITHIN_MS)
        look_at(page, "dashboard-login", "light", "small-phone")
        field.fill("sk-vs-0000000000-nothing")
        field.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("not known", timeout=WITHIN_MS)
        key = keyed.key_of("acme")
        mine = len(keyed.turns(key, **{"from": past_of(keyed, key)}))
        field.fill(key)
        field.press("Enter")
        total = page.locator("[data-figure='n-total']")
        expect(total).not_to_have_text("0", timeout=WITHIN_MS)
        assert abs(int(total.inner_text().replace(",", "")) - mine) < 40, "new turns end meanwhile"
        assert mine < 1_500
        origins = page.locator(".turn .origin .muted").all_inner_texts()
        assert origins
        assert all(text.startswith("acme ·") for text in origins)
        expect(page.get_by_role("link", name="Replicas")).to_have_count(0)
        assert key not in page.url
        assert page.evaluate("JSON.stringify({ ...localStorage })").find(key) == -1
        page.get_by_role("button", name="Sign out").click()
        expect(field).to_be_visible(timeout=WITHIN_MS)
        field.fill(keyed.key_of("default"))
        field.press("Enter")
        expect(page.get_by_role("link", name="Replicas")).to_be_visible(timeout=WITHIN_MS)
        page.reload()
        expect(page.get_by_text("Operator")).to_be_visible(timeout=WITHIN_MS)


def past_of(server: Dashboard, key: str) -> int:
    """A day before now, by the server's newest turn."""
    newest: int = server.get("turns", key, limit=1)["turns"][0]["began_unix_ms"]
    return newest - 86_400_000


def test_when_the_server_is_gone_what_was_shown_stays(browser: Browser, tmp_path: Path) -> None:
    running = Dashboard(tmp_path / "log", ["--turns", "500"])
    running.start()
    try:
        with page_of(browser, f"{running.url}?last=24h&every=5") as seen:
            seen.expected = [GONE]
            seen.page.locator("[data-figure='p95']").wait_for(timeout=WITHIN_MS)
            running.stop()
            banner = seen.page.get_by_text("The server has not answered since")
            expect(banner).to_be_visible(timeout=WITHIN_MS)
            expect(seen.page.locator("main")).to_have_attribute("data-gone", "true")
            assert figure(seen, "p95").endswith("s")
            look_at(seen.page, "dashboard-gone", "light", "desktop")
            running.start()
            expect(banner).to_have_count(0, timeout=WITHIN_MS)
    finally:
        running.stop()
