"""How is a long command run so that a person sees how far it is, and what to do when it fails?"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import DEVNULL
from typing import BinaryIO

ROOT = Path(__file__).resolve().parent.parent.parent
"""The checkout."""
LOGS = ROOT / "build" / "setup"
"""One log per step."""

TICK_S = {True: 1.0, False: 10.0}
"""How often progress is told: on a terminal, where the line is overwritten, and elsewhere."""
N_LAST_LINES = 15
"""So much of a failed step's log is shown."""

Progress = Callable[[str], str]
"""Reads a line of a step's output; returns how far the step is, or '' when the line does not say."""


class SetupFailed(Exception):
    """Something could not be had. The message says what to do.

    Args:
        message: For a person.
        code: The exit code: 1 for a step that failed, 2 for something that the person has to do first.
    """

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def say(text: str, end: str = "\n") -> None:
    """Print at once, also into a pipe."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def run_step(
    title: str,
    command: Sequence[str | Path],
    *,
    advice: str,
    env: dict[str, str] | None = None,
    progress: Progress = lambda line: "",
) -> None:
    """Run a command with its output in a log, showing how far it is.

    Args:
        title: What is being done; the log is named after it.
        command: The program and its arguments.
        advice: What a person should do when it fails.
        env: Added to this process's environment.
        progress: Reads the output.

    Raises:
        SetupFailed: it did not end with exit code 0.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / (re.sub(r"\W+", "-", title.lower()) + ".log")
    meter = _Meter(title)
    with path.open("w+b") as log:
        try:
            code = _run(command, log, meter, progress, {**os.environ, **(env or {})})
        except OSError as error:  # the program is not there, or not for this machine
            code = 127
            log.write(str(error).encode())
        log.seek(0)
        tail = log.read().decode("utf-8", "replace").splitlines()[-N_LAST_LINES:]
    meter.end("done in" if code == 0 else f"FAILED (exit code {code}) after")
    if code != 0:
        shown = "".join(f"  | {line}\n" for line in tail)
        raise SetupFailed(
            f"'{title}' failed. The last lines of its log:\n{shown}\n"
            f"  full log    {path}\n"
            f"  what to do  {advice}"
        )


def _run(
    command: Sequence[str | Path], log: BinaryIO, meter: _Meter, progress: Progress, env: dict[str, str]
) -> int:
    child = subprocess.Popen(
        [str(part) for part in command],
        stdin=DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
    )
    try:
        for line in _lines(child, log, meter):
            meter.far = progress(line) or meter.far
        return child.wait()
    finally:
        if child.poll() is None:  # Ctrl-C
            child.terminate()
            child.wait()


def _lines(child: subprocess.Popen[bytes], log: BinaryIO, meter: _Meter) -> Iterator[str]:
    assert child.stdout is not None
    rest = b""
    with child.stdout as output:
        while True:
            if select.select([output], [], [], 1.0)[0]:
                chunk = os.read(output.fileno(), 65_536)
                if not chunk:
                    return
                log.write(chunk)
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)
            meter.tick()


class _Meter:
    """One line that moves on a terminal; elsewhere a new line now and then."""

    def __init__(self, title: str) -> None:
        self.far = ""
        self._title = title
        self._began_s = self._told_s = time.monotonic()
        self._moves = sys.stdout.isatty()
        self._tell("...")

    def tick(self) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s >= TICK_S[self._moves]:
            self._told_s = now_s
            self._tell(", ".join(filter(None, [self.far, spoken_time(now_s - self._began_s)])))

    def end(self, words: str) -> None:
        self._tell(f"{words} {spoken_time(time.monotonic() - self._began_s)}")
        say("", end="\n" if self._moves else "")

    def _tell(self, words: str) -> None:
        text = f"  {self._title}: {words}"
        say(f"\r\033[K{text}" if self._moves else text, end="" if self._moves else "\n")


def spoken_time(seconds_s: float) -> str:
    """`42 s`, `3 min 05 s`."""
    minutes, rest = divmod(round(seconds_s), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@contextlib.contextmanager
def timed(words: str) -> Iterator[None]:
    """Say `words` and how long the body took, when it worked."""
    began_s = time.monotonic()
    yield
    say(f"{words} {spoken_time(time.monotonic() - began_s)}.")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, so that of two set-ups at once the second waits for the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("  Another set-up is at work; waiting for it ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
