"""`voicestack bench idle`: what does a server cost that nobody talks to?"""

import argparse
import asyncio
import os
import sys
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from voicestack.aio.clock import SystemClock
from voicestack.cli.bench_proc import NoProcess, cpu_s, family_of, memory_of

SUMMARY = "memory and CPU of a running server and its children"
_MIB = 1024 * 1024
_N_COMMAND_CHARS = 36


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument("--pid", type=int, required=True, help="process id of `voicestack serve`")
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="watch for so long (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Watch the server. Returns the exit code and the figures."""
    try:
        found = asyncio.run(_watch(args.pid, args.seconds))
    except NoProcess as gone:
        print(f"voicestack bench: {gone}", file=sys.stderr)
        return 1, None
    _show(found)
    return 0, found


async def _watch(pid: int, seconds: float) -> dict[str, Any]:
    clock = SystemClock()
    before = {member: cpu_s([member]) for member in family_of(pid)}
    start_ns = clock.now_ns()
    await asyncio.sleep(seconds)
    wall_s = (clock.now_ns() - start_ns) / 1e9
    processes = []
    for member in family_of(pid):
        memory = memory_of(member)
        if memory is not None:
            used_s = cpu_s([member]) - before.get(member, 0.0)
            processes.append({**asdict(memory), "cpu_share": used_s / wall_s})
    shares = [one["proportional_bytes"] for one in processes]
    return {
        "seconds": wall_s,
        "n_cpus": os.cpu_count(),
        "processes": processes,
        "resident_bytes": sum(one["resident_bytes"] for one in processes),
        "proportional_bytes": None if None in shares else sum(shares),
        "cpu_share": sum(one["cpu_share"] for one in processes),
    }


def _short(command: str) -> str:
    """The end of a command line says more than its beginning."""
    words = [word.rpartition("/")[2] for word in command.split()]
    return " ".join(words)[:_N_COMMAND_CHARS]


def _show(found: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False, show_footer=True)
    shared = found["proportional_bytes"]
    table.add_column("process", "all")
    table.add_column("resident MiB", f"{found['resident_bytes'] / _MIB:.0f}", justify="right")
    table.add_column("its share MiB", "?" if shared is None else f"{shared / _MIB:.0f}", justify="right")
    table.add_column("% of a core", f"{found['cpu_share']:.2%}".rstrip("%"), justify="right")
    table.add_column("command", f"over {found['seconds']:.0f} s")
    for one in found["processes"]:
        own = one["proportional_bytes"]
        table.add_row(
            str(one["pid"]),
            f"{one['resident_bytes'] / _MIB:.0f}",
            "?" if own is None else f"{own / _MIB:.0f}",
            f"{one['cpu_share']:.2%}".rstrip("%"),
            _short(one["name"]),
        )
    Console().print(table)
