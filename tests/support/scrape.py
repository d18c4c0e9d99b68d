"""What Prometheus would get from a server that has held turns."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.otlp_collector import otlp_collector
from tests.support.server import SCRIPTED, with_server
from voicestack.aio.clock import SystemClock
from voicestack.cli.bench_server import http_get
from voicestack.cli.bench_speech import read_folder
from voicestack.cli.bench_v2v import Outcome, Plan, measure

SPEECH = Path(__file__).parents[1] / "data" / "speech"
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ")
_LABEL = re.compile(r'(\w+)="(?:[^"\\]|\\.)*"')


@dataclass
class Scrape:
    """A page of figures.

    Attributes:
        text: It.
        labels: Of each sample that it has, by the sample's name.
        families: Names of all samples that it could have, by its TYPE lines.
    """

    text: str
    labels: dict[str, set[str]] = field(default_factory=dict)
    families: set[str] = field(default_factory=set)


def read_scrape(text: str) -> Scrape:
    """Read Prometheus' text format."""
    scrape = Scrape(text)
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            scrape.families |= {name + ending for ending in endings}
        elif found := _SAMPLE.match(line):
            scrape.labels.setdefault(found[1], set()).update(_LABEL.findall(found[2] or ""))
    return scrape


async def _ask_nothing(port: int) -> None:
    """Nobody else wants to know."""


def scrape_after_turns(n_turns: int = 2, then: Callable[[int], Awaitable[None]] = _ask_nothing) -> Scrape:
    """Start a server with scripted engines, hold turns, ask for its figures, stop it.

    Args:
        n_turns: So many.
        then: Gets the server's port while it still runs.
    """
    pages: list[str] = []

    async def script(port: int) -> None:
        plan = Plan(url=f"ws://127.0.0.1:{port}", n_turns=n_turns)
        outcome = Outcome()
        await measure(plan, read_folder(SPEECH)[:1], SystemClock(), outcome=outcome)
        assert not outcome.failures, outcome.failures
        status, page = await http_get(port, "/metrics")
        assert status == 200
        pages.append(page)
        await then(port)

    with otlp_collector() as collector:
        traces = (f"telemetry.otlp_url={collector.url}", "tts.engine=scripted", 'llm.answers=["Yes."]')
        with_server(script, sets=(*SCRIPTED, *traces), timeout_s=120)
    [page] = pages
    return read_scrape(page)
