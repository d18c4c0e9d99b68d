"""A TURN server for tests: coturn on loopback, with credentials as the server mints them."""

import base64
import hashlib
import hmac
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from voicestack.aio.clock import unix_s

SECRET = "for tests only"


@dataclass(frozen=True)
class TurnServer:
    """Where it is, and one who may use it."""

    port: int
    username: str
    credential: str
    pid: int

    def stall(self) -> None:
        """It is there, and does not answer any more."""
        os.killpg(self.pid, signal.SIGSTOP)

    @property
    def url(self) -> str:
        return f"turn:127.0.0.1:{self.port}?transport=udp"


@contextmanager
def turn_server() -> Iterator[TurnServer]:
    """Run coturn until the block ends. Fails the test where there is none: relays would go untested."""
    if shutil.which("turnserver") is None:
        pytest.fail("coturn is missing: apt-get install coturn    (`make test` does it as root)")
    port = _free_port()
    username = f"{unix_s() + 3600}:tests"
    digest = hmac.new(SECRET.encode(), username.encode(), hashlib.sha1).digest()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *("turnserver", "-n", "--no-tls", "--no-dtls", "--no-multicast-peers"),
                    # Loopback peers are refused unless there is a password for the command line.
                    *("--allow-loopback-peers", "--cli-password=for-tests-only", "--cli-port=0"),
                    *("--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={port}"),
                    *("--use-auth-secret", f"--static-auth-secret={SECRET}", "--realm=voicestack"),
                    *(f"--pidfile={folder}/pid", f"--userdb={folder}/db", "--log-file=stdout"),
                ],
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=folder,
            )
        try:
            _wait_for(port, process, log)
            yield TurnServer(port, username, base64.b64encode(digest).decode(), process.pid)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Ask it over TCP until it answers."""
    for _ in range(400):
        if process.poll() is not None:
            break
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
    raise RuntimeError(f"coturn does not run:\n{log.read_text(errors='replace')}")


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
