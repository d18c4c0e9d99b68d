"""The dashboard of a server with made-up turns, in a process of its own; and what its API says, as it is."""

import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.visitors import bearer
from voicestack.cli.bench_server import free_port

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 60
STOP_LIMIT_S = 20
PAGE_TURNS = 200


class Dashboard:
    """`python -m tests.support.dashboard_demo`.

    Args:
        log: Where its output goes.
        arguments: Further ones of its command.
    """

    def __init__(self, log: Path, arguments: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/dashboard"
        self._log = log
        command = [sys.executable, "-m", "tests.support.dashboard_demo", "--port", str(self.port)]
        self._command = [*command, *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=log, stderr=log)
        until_s = time.monotonic() + START_LIMIT_S
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < until_s, f"no answer in {START_LIMIT_S} s:\n{self._log.read_text()}"
            time.sleep(0.1)

    def stop(self) -> None:
        """End it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_LIMIT_S)

    def key_of(self, tenant: str) -> str:
        """The key that it has printed."""
        found = re.search(rf"^key of tenant {tenant}: (\S+)$", self._log.read_text(), re.MULTILINE)
        assert found, self._log.read_text()
        return found[1]

    def get(self, path: str, key: str = "", **query: Any) -> Any:
        """What the API says."""
        headers = bearer(key) if key else {}
        answer = httpx.get(f"{self.url}/api/{path}", params=query, headers=headers, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def turns(self, key: str = "", **query: Any) -> list[dict[str, Any]]:
        """All turns, page by page."""
        out: list[dict[str, Any]] = []
        page = self.get("turns", key, limit=PAGE_TURNS, **query)
        out += page["turns"]
        while page["next"]:
            page = self.get("turns", key, limit=PAGE_TURNS, before=page["next"], **query)
            out += page["turns"]
        return out

    def _answers(self) -> bool:
        try:
            return httpx.get(self.url, trust_env=False, timeout=5).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def dashboard(folder: Path, *arguments: str) -> Iterator[Dashboard]:
    """It, while the block runs."""
    running = Dashboard(folder / "dashboard.log", arguments)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def nearest_rank(values: Sequence[float], share: float) -> float:
    """The smallest value that so many do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values) - 1e-9) - 1)]


def shown_ms(value_ms: float) -> str:
    """A time as the page writes it: 742 ms, 1.54 s."""
    if value_ms < 999.5:
        return f"{math.floor(value_ms + 0.5)} ms"
    return f"{float(f'{value_ms / 1000:.2f}'):g} s"
