"""A real Prometheus on loopback that reads a server's figures every half second."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from voicestack.cli.bench_server import free_port

CONFIG = """
global:
  scrape_interval: 500ms
  evaluation_interval: 500ms
rule_files: [{rules}]
scrape_configs:
  - job_name: voicestack
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""
LIMIT_S = 60.0


class Prometheus:
    """It.

    Args:
        port: Where it answers.
    """

    def __init__(self, port: int) -> None:
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)

    async def is_ready(self) -> bool:
        """Whether it answers questions."""
        try:
            return (await self._http.get("/-/ready")).status_code == 200
        except httpx.TransportError:
            return False

    async def query(self, expr: str) -> list[dict[str, Any]]:
        """The samples of this instant. Fails for what cannot be computed."""
        return await self._ask("query", query=expr)

    async def exemplars(self, series: str) -> list[dict[str, Any]]:
        """All exemplars of a series."""
        return await self._ask("query_exemplars", query=series, start="0", end="99999999999")

    async def until(self, expr: str) -> None:
        """Wait until an expression has samples."""
        async with asyncio.timeout(LIMIT_S):
            while not await self.query(expr):  # noqa: ASYNC110 (it has no other way to tell)
                await asyncio.sleep(0.1)

    async def close(self) -> None:
        """Ask no more."""
        await self._http.aclose()

    async def _ask(self, what: str, **parameters: str) -> list[dict[str, Any]]:
        body = (await self._http.get(f"/api/v1/{what}", params=parameters)).json()
        assert body["status"] == "success", (parameters, body)
        data = body["data"]
        found = data if isinstance(data, list) else data["result"]
        assert isinstance(found, list)
        return found


@asynccontextmanager
async def prometheus(port: int, rules: Path, folder: Path) -> AsyncIterator[Prometheus]:
    """Run it until the block ends. Fails the test where there is none."""
    if shutil.which("prometheus") is None:
        pytest.fail("Prometheus is missing: apt-get install prometheus    (`make test` does it as root)")
    (folder / "prometheus.yml").write_text(CONFIG.format(port=port, rules=rules))
    own_port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 (a fork and an exec)
            [
                *("prometheus", f"--config.file={folder / 'prometheus.yml'}"),
                *(f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{own_port}"),
                *("--enable-feature=exemplar-storage", "--log.level=warn"),
            ],
            stdout=log,
            stderr=log,
        )
    found = Prometheus(own_port)
    try:
        async with asyncio.timeout(LIMIT_S):
            while not await found.is_ready():
                assert process.poll() is None, (folder / "prometheus.log").read_text()
                await asyncio.sleep(0.05)
        yield found
    finally:
        await found.close()
        process.terminate()
        process.wait(30)
