"""Runs programs of other people's client libraries against whole servers, and keeps what happened."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.relay import Connection, Relay, certificate, tls_end
from tests.support.speech import SPEECH, read_wav
from voicestack.aio.scope import Scope
from voicestack.bootstrap.clients import CLIENT_PYTHON, has_node_clients, has_python_clients
from voicestack.core.resample import Resampler

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "clients"
ROOT = HERE.parents[1]
AT_ONCE = 3
"""Programs that run at the same time: loading a framework takes a core for seconds."""
PROGRAM_LIMIT_S = 240
"""Far beyond what one needs (about 30 s): every scenario has a limit of its own."""
START_LIMIT_S = 120

RECORDINGS = {"capital": "01_slt.wav", "time": "05_slt.wav", "elephants": "18_slt.wav"}
SLOW_MACHINE = ["llm.first_token_ms=20000", "budget.readiness_turn_ms=20000", "llm.max_tokens=60"]
"""Nothing here is about speed, and the clients take the same cores."""


@dataclass(frozen=True)
class Client:
    """One library, and the program that uses it.

    Attributes:
        name: As its package is called.
        program: In `clients/`.
        tls: It speaks TLS only.
    """

    name: str
    program: str
    tls: bool = False

    @property
    def is_there(self) -> bool:
        """Whether `make test` has installed it."""
        if self.program.endswith(".mjs"):
            return has_node_clients()
        return self.program == "openai_python.py" or has_python_clients()

    @property
    def command(self) -> list[str]:
        """Runs the program."""
        if self.program.endswith(".mjs"):
            return [shutil.which("node") or "node"]
        return [sys.executable if self.program == "openai_python.py" else str(CLIENT_PYTHON)]


@dataclass
class Outcome:
    """What one program saw, and what went over its connections.

    Attributes:
        saw: What the program was told by its library, for each scenario.
        failed: Why a scenario did not get to its end.
        connections: In order, those of the tool-calling server last.
        errors: What it wrote to stderr.
        took_s: How long each scenario was.
    """

    saw: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    connections: list[Connection] = field(default_factory=list)
    errors: str = ""
    took_s: dict[str, float] = field(default_factory=dict)

    def of(self, scenario: str) -> list[Connection]:
        """The connections of one scenario."""
        return [connection for connection in self.connections if connection.model == scenario]


def run_clients(clients: Iterable[Client], folder: Path) -> dict[str, Outcome]:
    """Start the servers, let every program run through its scenarios, and stop the servers."""
    _write_recordings(folder)
    return asyncio.run(_run_clients(list(clients), folder))


def run_over_own_tls(client: Client, scenarios: Iterable[str], folder: Path) -> Outcome:
    """Let a program run through some of its scenarios against `serve --tls`, with nothing in between."""
    _write_recordings(folder)

    async def run() -> Outcome:
        outcome, sets = Outcome(), ["turn.silence_duration_ms=200"]
        async with Server("scripted", sets, folder, "--tls") as server:
            ca = folder / "voicestack" / "tls" / "self-signed.pem"
            await _run_program(client, await server.port(), folder, outcome, ca=ca, scenarios=scenarios)
        return outcome

    return asyncio.run(run())


def _write_recordings(folder: Path) -> None:
    for name, file in RECORDINGS.items():
        pcm = Resampler(16_000, 24_000).push(read_wav(SPEECH / file))
        (folder / f"{name}.pcm").write_bytes(pcm.tobytes())


async def _run_clients(clients: list[Client], folder: Path) -> dict[str, Outcome]:
    outcomes = {client.name: Outcome() for client in clients}
    pem = certificate(folder)
    places = asyncio.Semaphore(AT_ONCE)
    async with Server("embedded", SLOW_MACHINE, folder) as embedded:
        port = await embedded.port()

        async def run_one(client: Client) -> None:
            tls = tls_end(pem) if client.tls else None
            async with places, Relay(port, tls, drops="reconnect") as relay:
                outcome = outcomes[client.name]
                await _run_program(client, relay.port, folder, outcome)
                outcome.connections = relay.connections

        async with Scope() as scope:
            tasks = [scope.start(run_one(client), name=client.name) for client in clients]
            await asyncio.wait(tasks)
    return outcomes


async def _run_program(
    client: Client,
    port: int,
    folder: Path,
    outcome: Outcome,
    *,
    ca: Path | None = None,
    scenarios: Iterable[str] = (),
) -> None:
    scheme, host = ("https", "localhost") if client.tls else ("http", "127.0.0.1")
    process = await asyncio.create_subprocess_exec(
        *client.command,
        str(PROGRAMS / client.program),
        f"{scheme}://{host}:{port}/v1",
        str(folder),
        *scenarios,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "NODE_EXTRA_CA_CERTS": str(ca or folder / "localhost.pem.crt"),
            "PYTHONPATH": "",
        },
    )
    try:
        async with asyncio.timeout(PROGRAM_LIMIT_S):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    outcome.errors = errors.decode(errors="replace")
    for line in output.decode().splitlines():
        if not line.startswith("{"):
            continue
        told = json.loads(line)
        outcome.took_s[told["scenario"]] = told["took_s"]
        if "failed" in told:
            outcome.failed[told["scenario"]] = told["failed"]
        else:
            outcome.saw[told["scenario"]] = told["saw"]


def refused(client: Client, events: Iterable[dict[str, Any]]) -> list[str]:
    """The events that the strictest parser of a client refuses, each with the reason."""
    program = "strict.mjs" if client.program.endswith(".mjs") else "strict.py"
    done = subprocess.run(
        [*client.command, PROGRAMS / program, client.name],
        input="".join(json.dumps(event) + "\n" for event in events),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
        timeout=120,
        check=True,
    )
    *complaints, end = done.stdout.splitlines()
    assert end == "end", done.stdout
    return complaints


class Server:
    """`voicestack serve` within a block. It starts with the block; `port` waits until it is ready."""

    def __init__(self, profile: str, sets: Iterable[str], folder: Path, *options: str) -> None:
        arguments = [argument for one in sets for argument in ("--set", one)]
        self._command = ["-m", "voicestack", "serve", "--config", profile, "--port", "0"]
        self._command += [*options, *arguments]
        self._env = {**os.environ, "XDG_CACHE_HOME": str(folder)} if options else None
        self._log = folder / f"{profile}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "Server":
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self._command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, env=self._env
            )
        return self

    async def port(self) -> int:
        """Where it listens."""
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(START_LIMIT_S):
            async for line in self._process.stdout:
                if ready := re.search(rb"is ready on https?://[^:]+:(\d+)", line):
                    return int(ready[1])
        raise AssertionError(self._log.read_text())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        has_died = self._process.returncode is not None
        if not has_died:
            self._process.terminate()
        await asyncio.wait_for(self._process.wait(), 20)
        assert not has_died or error, self._log.read_text()
