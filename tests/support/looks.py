"""How does a page look, and can everybody use it? Pictures of it, and what axe-core finds."""

from pathlib import Path
from typing import Literal

from playwright.sync_api import Page

from voicestack.bootstrap.web import NODE_MODULES

AXE = NODE_MODULES / "axe-core" / "axe.min.js"
SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
SIZES = {"desktop": (1280, 900), "phone": (390, 844), "small-phone": (360, 740)}


def violations(page: Page) -> list[str]:
    """What axe-core finds."""
    assert AXE.exists(), "axe-core is missing: make test"
    page.evaluate("'axe' in window") or page.evaluate(AXE.read_text() + ";0")
    asked = {"runOnly": {"type": "tag", "values": RULES}}
    found = page.evaluate("asked => axe.run(document, asked)", asked)
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def look_at(page: Page, name: str, scheme: Scheme, size: str) -> None:
    """Check what is to be seen now in a colour scheme on a screen of `SIZES`; keep a picture."""
    width, height = SIZES[size]
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": height})
    page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}-{size}.png", full_page=True)
    assert violations(page) == [], f"{name}, {scheme}, {size}"
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0, f"{name}, {scheme}, {size}: it is wider than the screen"
