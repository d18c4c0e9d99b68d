"""What do processes cost? Read from /proc (Linux)."""

import os
import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
_PROC = Path("/proc")


class NoProcess(ValueError):
    """There is no such process."""


def family_of(pid: int) -> list[int]:
    """The process and all its descendants, itself first.

    Raises:
        NoProcess: it does not run (any more).
    """
    if not (_PROC / str(pid) / "stat").exists():
        raise NoProcess(f"no process {pid}")
    parents: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    family = [pid]
    for member in family:
        family += parents.get(member, [])
    return family


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name (0 state, 1 parent, 11 utime, 12 stime); empty if gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def cpu_s(pids: list[int]) -> float:
    """CPU seconds that the processes have used, user and kernel; those that are gone count nothing."""
    total = 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            total += int(fields[11]) + int(fields[12])
    return total * _TICK_S


def cpu_ns(pids: list[int]) -> int:
    """The same in nanoseconds, for short times: what the scheduler counts for every thread.

    Threads that have ended are not in it.
    """
    total_ns = 0
    for pid in pids:
        for thread in (_PROC / str(pid) / "task").glob("*/schedstat"):
            with suppress(FileNotFoundError, ProcessLookupError):
                total_ns += int(thread.read_text().split()[0])
    return total_ns


def own_cpu_ns() -> int:
    """CPU time of this process with all its threads, user and kernel."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return round((used.ru_utime + used.ru_stime) * 1e9)


def waited_s(pid: int) -> float:
    """Seconds for which the main thread could have run but had no core: what other processes took from it.

    The second field of /proc/PID/schedstat; 0 where the kernel does not count it.
    """
    try:
        return int((_PROC / str(pid) / "schedstat").read_text().split()[1]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process.

    `proportional_bytes` counts a page that n processes share as 1/n; None if it cannot be read.
    """

    pid: int
    name: str
    resident_bytes: int
    proportional_bytes: int | None


def memory_of(pid: int) -> Memory | None:
    """What a process keeps in RAM, None if it is gone."""
    folder = _PROC / str(pid)
    try:
        status = (folder / "status").read_text()
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        rollup: str | None = (folder / "smaps_rollup").read_text()
    except OSError:
        rollup = None
    proportional = None if rollup is None else _kib(rollup, "Pss:") * 1024
    return Memory(pid, command or _first(status, "Name:"), _kib(status, "VmRSS:") * 1024, proportional)


def _first(text: str, key: str) -> str:
    return next((line[len(key) :].strip() for line in text.splitlines() if line.startswith(key)), "")


def _kib(text: str, key: str) -> int:
    value = _first(text, key).split()
    return int(value[0]) if value else 0
