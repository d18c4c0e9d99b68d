"""Supervised processes, with real ones."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.core.errors import StageUnavailable
from voicestack.engines import child as child_module
from voicestack.engines import tether
from voicestack.engines.child import Child

SECOND_NS = 1_000_000_000
ROOT = Path(__file__).parents[2]

ECHO = """
import sys
sys.stdout.write("!"); sys.stdout.flush()
for line in sys.stdin: sys.stdout.write(line.upper()); sys.stdout.flush()
"""
DEAF = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.stdout.write("!"); sys.stdout.flush()
time.sleep(60)
"""
FLOOD = """
import sys
sys.stderr.write("x" * 3_000_000); sys.stderr.flush()
sys.stdout.write("!"); sys.stdout.flush()
sys.stdin.read()
"""
PARENT = """
import asyncio, sys
from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.engines.child import Child

async def main():
    async def probe(process):
        print(process.pid, flush=True)
    child = Child(["sleep", "60"], name="sleeper", stage="llm", clock=SystemClock(), probe=probe)
    async with Scope() as scope:
        scope.start(child.run(), name="child")
        await asyncio.sleep(60)

asyncio.run(main())
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


async def first_byte(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    await process.stdout.readexactly(1)


async def nothing(_process: asyncio.subprocess.Process) -> None:
    pass


Probe = Callable[[asyncio.subprocess.Process], Awaitable[None]]


def make(command: Sequence[str], probe: Probe = first_byte) -> Child:
    return Child(command, name="worker", stage="asr", clock=SystemClock(), probe=probe, pipes=True)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - it is about another process
            await asyncio.sleep(0.005)


def test_runs_and_talks() -> None:
    async def main() -> None:
        child = make(python(ECHO))
        async with Scope() as scope:
            scope.start(child.run(), name="child")
            process = await child.ready(5 * SECOND_NS)
            assert child.is_ready
            assert child.pid == process.pid
            assert os.getsid(process.pid) == process.pid  # Ctrl-C in the terminal is not for it
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"hello\n")
            assert await process.stdout.readline() == b"HELLO\n"
        assert not is_alive(process.pid)
        assert not child.is_ready
        assert child.pid is None

    asyncio.run(main())


def test_death_is_seen_at_once_and_it_comes_back() -> None:
    async def main() -> None:
        reasons: list[str] = []
        child = make(python(ECHO))
        child.on_exit(reasons.append)
        async with Scope() as scope:
            scope.start(child.run(), name="child")
            process = await child.ready(5 * SECOND_NS)
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
            assert reasons == ["it was ended by SIGKILL"]
            assert not child.is_ready
            again = await child.ready(5 * SECOND_NS)
            assert again.pid != process.pid
            assert child.n_restarts == 1

    asyncio.run(main())


def test_what_it_said_before_it_died_is_in_the_error() -> None:
    async def main() -> None:
        child = make(python("import sys; sys.exit('no such voice: klingon')"))
        async with Scope() as scope:
            scope.start(child.run(), name="child")
            with pytest.raises(
                StageUnavailable, match=r"status 1 before it was ready.*no such voice: klingon"
            ):
                await child.ready(SECOND_NS)
            assert child.n_restarts >= 1

    asyncio.run(main())


def test_a_program_that_does_not_exist() -> None:
    async def main() -> None:
        child = make(["/nowhere/llama-server"])
        async with Scope() as scope:
            scope.start(child.run(), name="child")
            with pytest.raises(StageUnavailable, match="cannot run /nowhere/llama-server: No such file"):
                await child.ready(SECOND_NS // 2)

    asyncio.run(main())


def test_a_probe_that_gives_up_ends_the_process() -> None:
    async def main() -> None:
        pids: list[int] = []

        async def probe(process: asyncio.subprocess.Process) -> None:
            pids.append(process.pid)
            raise ConnectionRefusedError("nobody listens")

        child = make(python(DEAF), probe)
        async with Scope() as scope:
            scope.start(child.run(), name="child")
            await until(lambda: len(pids) == 2)
            assert not is_alive(pids[0])
            with pytest.raises(StageUnavailable, match="nobody listens"):
                await child.ready(SECOND_NS // 10)

    asyncio.run(main())


def test_a_process_that_never_becomes_usable_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "START_LIMIT_S", 0.1)

    async def main() -> None:
        async def probe(_process: asyncio.subprocess.Process) -> None:
            await asyncio.Event().wait()

        child = make(python(DEAF), probe)
        async with Scope() as scope:
            scope.start(child.run(), name="child")
            await until(lambda: child.n_restarts >= 1)

    asyncio.run(main())


def test_one_that_ignores_sigterm_is_killed_and_reaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "STOP_GRACE_S", 0.1)

    async def main() -> None:
        child = make(python(DEAF))
        async with Scope() as scope:
            scope.start(child.run(), name="child")
            process = await child.ready(5 * SECOND_NS)
        assert process.returncode == -signal.SIGKILL
        assert not Path(f"/proc/{process.pid}").exists()
        with pytest.raises(StageUnavailable, match="it was stopped"):
            await child.ready(60 * SECOND_NS)

    asyncio.run(main())


def test_a_flood_on_stderr_neither_blocks_nor_grows() -> None:
    async def main() -> None:
        child = make(python(FLOOD))
        async with Scope() as scope:
            scope.start(child.run(), name="child")
            await child.ready(10 * SECOND_NS)
            assert sum(map(len, child._tail)) <= child_module.TAIL_LINES * child_module.MAX_LINE_CHARS

    asyncio.run(main())


def test_the_command_can_be_prepared_at_each_start() -> None:
    async def main() -> None:
        n_starts = 0

        def prepare() -> list[str]:
            nonlocal n_starts
            n_starts += 1
            return ["true"]

        child = Child(prepare, name="true", stage="tts", clock=SystemClock(), probe=nothing)
        async with Scope() as scope:
            scope.start(child.run(), name="child")
            await until(lambda: n_starts == 2)

    asyncio.run(main())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_orphan(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        asyncio.run(until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n"))  # past the tether
        parent.send_signal(number)
        parent.wait(5)
        asyncio.run(until(lambda: not is_alive(pid), within_s=1.0))


def test_tether_does_not_start_anything_for_a_dead_parent(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = [sys.executable, "-I", "-S", tether.__file__, "1073741824", "--", "touch", str(trace)]
    assert subprocess.run(command, check=False).returncode == 0
    assert not trace.exists()


def test_tether_wants_a_command() -> None:
    command = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), "--"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage" in done.stderr


def test_tether_becomes_the_command() -> None:
    command = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), "--", "sh", "-c", "exit 7"]
    assert subprocess.run(command, check=False).returncode == 7


def test_what_it_started_itself_dies_with_it() -> None:
    """A grandchild that holds the pipe must not hide the death."""
    code = (
        "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
    )
    pids: list[int] = []

    async def read_pid(process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        pids.append(int(await process.stdout.readline()))

    async def main() -> None:
        child = make(python(code), read_pid)
        async with Scope() as scope:
            scope.start(child.run(), name="child")
            await until(lambda: child.is_ready)
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            await until(lambda: len(pids) == 2 and child.is_ready)
            await until(lambda: not is_alive(pids[0]))
        await until(lambda: not is_alive(pids[1]))

    asyncio.run(main())
