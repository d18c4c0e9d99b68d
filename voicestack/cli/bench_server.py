"""How does a bench get a server of its own, on a core of its own, that does not outlive it?"""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from voicestack.cli.dialing import NoServer

_READY_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 10
_LOG_TAIL_CHARS = 2000


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def http_get(
    port: int, path: str, *, host: str = "127.0.0.1", key: str | None = None
) -> tuple[int, str]:
    """One plain HTTP request, with an API key if there is one. Returns status and body.

    Raises:
        NoServer: nobody answers.
    """
    try:
        reader, writer = await asyncio.open_connection(host, port)
        shown = f"Authorization: Bearer {key}\r\n" if key else ""
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{shown}Connection: close\r\n\r\n"
        writer.write(request.encode())
        answer = await reader.read()
        writer.close()
    except OSError as nobody:
        raise NoServer(f"No voicestack server answers at {host}:{port}.") from nobody
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0, body.decode("utf-8", "replace")


def pin(pid: int, cpus: set[int]) -> None:
    """Let a process run on these cores only. Where that cannot be asked for (not Linux) nothing changes."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, cpus)


def usable_cpus() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@asynccontextmanager
async def own_server(
    options: Sequence[str],
    *,
    port: int,
    cpu: int | None,
    ready_s: float = _READY_TIMEOUT_S,
    root: Path | None = None,
    log_to: Path | None = None,
) -> AsyncIterator[int]:
    """Run `voicestack serve` with `options` on one core until the block ends. Yields its process id.

    It may take `ready_s` to become ready. `root` is a checkout whose program is run instead of this one. Its
    log is added to `log_to`, if anywhere.

    Raises:
        NoServer: it does not become ready; the message ends with what it printed last.
    """
    cpus = usable_cpus()
    with (
        tempfile.TemporaryFile() if log_to is None else log_to.open("a+b") as log,
        tempfile.TemporaryDirectory() as folder,
    ):
        if cpu is not None:
            pin(0, {cpu})  # the child and all its threads inherit it
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "voicestack.engines.tether", str(os.getpid()), "--"),
            *(sys.executable, "-m", "voicestack", "serve", "--port", str(port)),
            # The user's own keys, and the ledger beside them, are for the user's own server.
            *("--set", "access.open_to_anyone=true", "--set", f"access.keys_file={folder}/keys.json"),
            *options,
            stdout=log,
            stderr=log,
            env=None if root is None else {**os.environ, "PYTHONPATH": str(root)},
            cwd=root,
        )
        if cpu is not None:
            pin(0, set(cpus))
        try:
            await _ready(port, process, ready_s)
            yield process.pid
        except NoServer as failed:
            log.seek(0)
            tail = log.read()[-_LOG_TAIL_CHARS:].decode("utf-8", "replace")
            raise NoServer(f"{failed}\n{tail}") from failed
        finally:
            await _stop(process)


async def _ready(port: int, process: asyncio.subprocess.Process, ready_s: float) -> None:
    for _ in range(round(ready_s * 5)):
        if process.returncode is not None:
            raise NoServer(f"The server ended with code {process.returncode} while starting.")
        try:
            if (await http_get(port, "/readyz"))[0] == 200:
                return
        except NoServer:
            pass
        await asyncio.sleep(0.2)
    raise NoServer(f"The server was not ready after {ready_s:.0f} s.")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
