"""How does a bench get a vLLM of its own, and where did the time of its start go?"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from voicestack.aio.clock import Clock
from voicestack.cli.bench_gpu_plan import Launch, command_line, environment
from voicestack.cli.bench_server import free_port
from voicestack.cli.dialing import NoServer
from voicestack.engines.start_phases import Line, phases_s

START_LIMIT_S = 420.0
STOP_LIMIT_S = 15.0
POLL_S = 0.1
TAIL_LINES = 30


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the start, and how long it took."""

    name: str
    took_ms: float


def phases_of(lines: Sequence[tuple[float, str]], ready_ms: float) -> list[Phase]:
    """Divide the time from spawning the process until it answers; see `start_phases`. Pure.

    Args:
        lines: What was printed: (milliseconds since the spawn, text).
        ready_ms: When `/health` said so.
    """
    told = [Line(at_ms / 1e3, text) for at_ms, text in lines]
    return [
        Phase(name, took_s * 1e3)
        for name, took_s in phases_s(told, ready_ms / 1e3).items()
        if name != "total"
    ]


@dataclass(slots=True)
class BenchedVllm:
    """One `vllm serve`. Start `run` in a scope, wait for `ready`, `stop` it.

    Args:
        launch: What to start.
        vllm: The program: `python -m vllm.entrypoints.openai.api_server`.
        log: Where its output goes.
        cache: Where what it compiles goes.
        clock: Times its start.
    """

    launch: Launch
    vllm: Sequence[str]
    log: Path
    cache: Path
    clock: Clock
    port: int = field(default_factory=free_port)
    ready_ms: float | None = None
    lines: list[tuple[float, str]] = field(default_factory=list)
    _process: asyncio.subprocess.Process | None = None
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _spawned_ns: int = 0

    @property
    def url(self) -> str:
        """Of its API, without the path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def command(self) -> list[str]:
        """As it is started."""
        return command_line(self.vllm, self.launch, self.port)

    @property
    def has_ended(self) -> bool:
        """Whether there is no such process any more."""
        return self._ended.is_set()

    @property
    def tail(self) -> list[str]:
        """What it said last, and before that whatever looks like the reason of an end."""
        return [*self._errors()[-TAIL_LINES:], *(text for _, text in self.lines[-TAIL_LINES:])]

    async def run(self) -> None:
        """Let it live until it ends by itself or the task is cancelled. Nothing of it is left behind."""
        self._spawned_ns = self.clock.now_ns()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "voicestack.engines.tether", str(os.getpid()), "--", *self.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=environment(dict(os.environ), self.cache),
                start_new_session=True,
            )
            await self._follow(self._process)
            await self._process.wait()
        finally:
            if self._process is not None:
                _kill_group(self._process.pid)
                await self._process.wait()
            self._ended.set()

    async def ready(self, within_s: float = START_LIMIT_S) -> None:
        """Wait until it answers.

        Raises:
            NoServer: it ended, or is not ready after `within_s`, START_LIMIT_S at most.
        """
        limit_s = max(0.0, min(within_s, START_LIMIT_S))
        try:
            async with asyncio.timeout(limit_s), httpx.AsyncClient(trust_env=False) as http:
                while not self._ended.is_set():
                    with suppress(httpx.TransportError):
                        if (await http.get(f"{self.url}/health")).is_success:
                            self.ready_ms = self._since_spawn_ms()
                            return
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise NoServer(f"{self.launch.name}: vLLM was not ready after {limit_s:.0f} s") from None
        raise NoServer(f"{self.launch.name}: vLLM ended while starting: {self.why()}")

    async def stop(self) -> None:
        """End it, in order if it will."""
        if self._process is None or self._ended.is_set():
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_LIMIT_S):
                await self._ended.wait()
        _kill_group(self._process.pid)
        await self._ended.wait()

    def why(self) -> str:
        """The last line that looks like the reason of an end."""
        return (self._errors() or self.tail or ["it printed nothing"])[-1]

    def _errors(self) -> list[str]:
        """Causes. That the engine is dead is none."""
        pattern = r"\b(?!EngineDead|InternalServer)\w*(?:Error|Exception): "
        return [text for _, text in self.lines if re.search(pattern, text)]

    async def metrics(self) -> str:
        """Its Prometheus page; empty if it has none."""
        async with httpx.AsyncClient(trust_env=False) as http:
            try:
                answer = await http.get(f"{self.url}/metrics")
            except httpx.TransportError:
                return ""
            return answer.text if answer.is_success else ""

    async def post(self, path: str) -> tuple[float, int]:
        """Have it do something. Returns how many milliseconds that took, and the HTTP status."""
        async with httpx.AsyncClient(trust_env=False, timeout=120) as http:
            before_ns = self.clock.now_ns()
            answer = await http.post(self.url + path)
            return (self.clock.now_ns() - before_ns) / 1e6, answer.status_code

    def phases(self) -> list[Phase]:
        """Where the time of the start went; empty before it is ready."""
        return [] if self.ready_ms is None else phases_of(self.lines, self.ready_ms)

    def _since_spawn_ms(self) -> float:
        return (self.clock.now_ns() - self._spawned_ns) / 1e6

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        rest = b""
        with self.log.open("ab") as log:
            while data := await process.stdout.read(65_536):
                log.write(data)
                log.flush()
                *lines, rest = (rest + data).split(b"\n")
                now_ms = self._since_spawn_ms()
                self.lines += [(now_ms, line.decode(errors="replace").rstrip()) for line in lines]


def _kill_group(pid: int) -> None:
    """The engine is a process of its own, in the session of the one that we started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
