"""How does a helper process stay alive exactly as long as we do?

Started through `tether`, so that it dies with us even after kill -9; started again when it dies first.
"""

import asyncio
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.core.errors import Stage, StageError, StageUnavailable
from voicestack.engines.start_phases import Line, phases_s, tells

FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 10.0
HEALTHY_NS = 60_000_000_000
"""A child that was usable for so long is started again as if it had never failed."""
START_LIMIT_S = 60.0
"""Loading a model from a slow disk may take long; a child that hangs must not hang for ever."""
STOP_GRACE_S = 3.0
STDERR_GRACE_S = 0.5
"""After a death the rest of stderr is here at once, unless somebody else inherited the pipe."""
TAIL_LINES = 20
MAX_LINE_CHARS = 400

_TETHER = str(Path(__file__).with_name("tether.py"))


class Child:
    """One supervised process.

    It runs in a session of its own: Ctrl-C in a terminal reaches us alone, and we end it in order. The
    process must be started by the thread that lives longest (Linux sends the death signal when the
    *thread* ends), so run the event loop in the main thread.

    Args:
        command: Program and arguments, found through PATH; or what prepares a start and returns them.
        name: For logs and errors.
        stage: What stops working when it is gone.
        clock: Measures how long it was healthy.
        probe: Returns when the process can be used; raises OSError, TimeoutError or StageError if it
            never will. It may talk to the process's pipes. Cancelled when the process dies.
        pipes: Give the process pipes as stdin and stdout; without, both are /dev/null.
        env: Environment; None for ours.

    Attributes:
        start_limit_s: A process that cannot be used by then is ended and started again.
    """

    def __init__(
        self,
        command: Sequence[str] | Callable[[], Sequence[str]],
        *,
        name: str,
        stage: Stage,
        clock: Clock,
        probe: Callable[[asyncio.subprocess.Process], Awaitable[None]],
        pipes: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.start_limit_s = START_LIMIT_S
        self.name = name
        self.stage: Stage = stage
        self.n_restarts = 0
        self._command = command
        self._clock = clock
        self._probe = probe
        self._pipes = pipes
        self._env = env
        self._log = logging.getLogger(f"voicestack.child.{name}")
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._start_lines: list[Line] = []
        self._spawned_ns = 0
        self._start_s: float | None = None
        self._on_ready: list[Callable[[], None]] = []
        self._on_exit: list[Callable[[str], None]] = []
        self._process: asyncio.subprocess.Process | None = None
        self._ready_ns: int | None = None
        self._settled = asyncio.Event()
        self._reason = "it has not been started"

    @property
    def is_ready(self) -> bool:
        """Whether it can be used now."""
        return self._ready_ns is not None

    @property
    def pid(self) -> int | None:
        """The process's id while it lives."""
        return None if self._process is None else self._process.pid

    def phases_s(self) -> dict[str, float]:
        """What the phases of its last start took, as far as its stderr and our clock tell; in seconds."""
        return phases_s(self._start_lines, self._start_s)

    def on_ready(self, callback: Callable[[], None]) -> None:
        """Call `callback`, from the event loop, whenever the process has come up."""
        self._on_ready.append(callback)

    def on_exit(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the reason, from the event loop, whenever the process died or was stopped."""
        self._on_exit.append(callback)

    async def ready(self, within_ns: int) -> asyncio.subprocess.Process:
        """Wait until the process can be used, across restarts.

        Raises:
            StageUnavailable: it cannot be used within `within_ns`, or not at all any more.
        """
        if not self.is_ready:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_ns / 1e9):
                    await self._settled.wait()
        if self._process is None or not self.is_ready:
            raise StageUnavailable(f"{self.name} is not running: {self._reason}", stage=self.stage)
        return self._process

    def kill(self) -> None:
        """End a process that does not do what it should; it is started again."""
        if self._process is not None:
            _send(self._process, signal.SIGKILL)

    async def run(self) -> None:
        """Keep the process running until cancelled; then end it (SIGTERM, a bounded wait, SIGKILL)."""
        n_failures = 0
        self._settled.clear()
        try:
            while True:
                was_healthy_ns = await self._live()
                n_failures = 0 if was_healthy_ns >= HEALTHY_NS else n_failures
                await asyncio.sleep(backoff_s(n_failures))
                n_failures += 1
                self.n_restarts += 1
        finally:
            self._settled.set()  # nothing will change any more: do not let anybody wait

    async def _live(self) -> int:
        """One life of the process, from start to death. Returns for how many ns it was usable."""
        self._tail.clear()
        self._start_lines, self._start_s = [], None
        self._spawned_ns = self._clock.now_ns()
        try:
            process = await self._spawn()
        except OSError as error:
            self._reason = f"it could not be started: {error}"
            self._log.error("%s: %s", self.name, self._reason)
            return 0
        self._process = process
        try:
            async with Scope() as scope:
                stderr = scope.start(self._follow(process), name=f"{self.name}-stderr")
                scope.start(self._wait_usable(process), name=f"{self.name}-probe")
                scope.start(_take_along(process), name=f"{self.name}-group")
                healthy_ns = self._went_down(_describe(await process.wait()))
                await asyncio.wait([stderr], timeout=STDERR_GRACE_S)
        finally:
            if self._process is process:
                self._went_down("it was stopped")
            await _end(process)
        if healthy_ns == 0:
            self._reason += " before it was ready: " + " | ".join(self._tail)
        self._log.error("%s: %s", self.name, self._reason)
        return healthy_ns

    async def _spawn(self) -> asyncio.subprocess.Process:
        command = self._command() if callable(self._command) else self._command
        pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        # -I -S: the tether needs nothing but the standard library, and starts in about 15 ms.
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", _TETHER, str(os.getpid()), "--", *command),
            stdin=pipe if self._pipes else null,
            stdout=pipe if self._pipes else null,
            stderr=pipe,
            env=self._env,
            start_new_session=True,
        )

    async def _wait_usable(self, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(self.start_limit_s):
                await self._probe(process)
        except (OSError, TimeoutError, EOFError, StageError) as error:
            self._tail.append(f"probe: {error or type(error).__name__}")
            _send(process, signal.SIGKILL)
            return
        if process.returncode is None:
            self._ready_ns = self._clock.now_ns()
            self._start_s = (self._ready_ns - self._spawned_ns) / 1e9
            self._settled.set()
            self._log.info("%s is ready (pid %d)", self.name, process.pid)
            for callback in self._on_ready:
                callback()

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Pass stderr on to the log, line by line, and remember its end."""
        assert process.stderr is not None
        rest = b""
        while data := await process.stderr.read(65_536):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._note(line)
            if len(rest) > MAX_LINE_CHARS:
                self._note(rest)
                rest = b""
        self._note(rest)

    def _note(self, line: bytes) -> None:
        text = line.decode(errors="replace").strip()[:MAX_LINE_CHARS]
        if text:
            self._tail.append(text)
            self._log.debug("%s", text)
            if self._start_s is None and (not self._start_lines or tells(text)):
                at_s = (self._clock.now_ns() - self._spawned_ns) / 1e9
                self._start_lines.append(Line(at_s, text))

    def _went_down(self, reason: str) -> int:
        """Say at once that it is gone. Returns for how many ns it was usable."""
        healthy_ns = 0 if self._ready_ns is None else self._clock.now_ns() - self._ready_ns
        self._process, self._ready_ns, self._reason = None, None, reason
        self._settled.clear()
        for callback in self._on_exit:
            callback(reason)
        return healthy_ns


def backoff_s(n_failures: int) -> float:
    """How long to wait after one more failure: 0.1 s, doubled by every failure before it, at most 10 s."""
    return float(min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(n_failures, 16)))


def _describe(code: int) -> str:
    if code >= 0:
        return f"it exited with status {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Not `process.send_signal`, which may reap a process that just died and hide its status from asyncio."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


async def _take_along(process: asyncio.subprocess.Process) -> None:
    """When the process is dead, kill what it started itself: vLLM's engine would keep the GPU's memory.

    It would also keep our pipe open, and asyncio's `wait` returns only when the pipes are closed. Only
    Linux says without `wait` that a process is dead (pidfd_open(2)).
    """
    if not hasattr(os, "pidfd_open"):
        return
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        _kill_group(process.pid)
        return
    dead = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, dead.set)
    try:
        await dead.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
    _kill_group(process.pid)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process if it still runs. A second cancellation kills it at once."""
    _send(process, signal.SIGTERM)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_GRACE_S):
                await process.wait()
    finally:
        _kill_group(process.pid)
        await process.wait()
