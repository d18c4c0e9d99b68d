"""`voicestack bench rtc-capacity`: how many WebRTC calls does one core carry, and how many would aiortc?

The same load, in the same run, on the same core: first voicestack with scripted engines, then a server that
does nothing but send back what it hears, as aiortc's own examples do it. Both decode and encode every packet;
voicestack listens, takes turns and answers besides.
"""

import argparse
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_capacity import (
    LIMIT_MS,
    N_LINES,
    Level,
    add_ramp_arguments,
    first_words,
    format_late,
    lateness,
    measure_level,
    numbers,
    scripted_options,
)
from voicestack.cli.bench_server import free_port, own_server, pin, usable_cpus
from voicestack.cli.bench_speech import read_folder
from voicestack.cli.bench_stats import Buckets
from voicestack.cli.dialing import NoServer
from voicestack.cli.rtc_caller import calls_url
from voicestack.cli.rtc_echo import rtc_echo_process
from voicestack.cli.rtc_load import RtcHarness

SUMMARY = "how many WebRTC sessions one core carries, beside a plain aiortc echo"
OURS, ECHO = "voicestack", "aiortc echo"
_BUSY = 0.8
"""Of its core. A generator that is busier than this may be what is measured."""
_SERVER_COLUMNS = ("sessions", "CPU", "each", "waited", "heard p50", "heard p99", "gaps", "server p99")
_CALLER_COLUMNS = ("sessions", "answers", "missing", "lost", "agent", "user", "late p99", "CPU", "each")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    add_ramp_arguments(parser, step=5, most=120, settle_s=10.0)
    parser.add_argument("--echo-step", type=int, default=2, help="--step for the echo (default: %(default)s)")
    parser.add_argument("--only", choices=(OURS, "echo"), help="leave the other one out")


@dataclass(frozen=True, slots=True)
class Contender:
    """A server under load. `read_late` is its own account of its lateness."""

    address: str
    pid: int
    update: str
    read_late: Callable[[], Awaitable[Buckets]]


def keeps_pace(level: Level) -> bool:
    """Whether everybody was answered in time, as heard from outside and by the server's own account."""
    return (
        level.arrival_p99_ms is not None
        and level.arrival_p99_ms <= LIMIT_MS
        and (level.late_p99_ms is None or level.late_p99_ms <= LIMIT_MS)
        and level.n_missing == 0
        and level.n_lost == 0
    )


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Ramp both up until they break. Returns the exit code and the figures.

    Raises:
        NoServer: a server does not start, or takes no calls.
        BadWav: the recordings cannot be used.
    """
    cpus = usable_cpus()
    if len(cpus) < 2:
        print("voicestack bench rtc-capacity needs two cores, one of them for the callers", file=sys.stderr)
        return 1, None
    console, found = Console(), {}
    for name in (OURS, ECHO):
        if args.only is None or name.endswith(args.only):
            console.print(f"[bold]{name}[/]")
            found[name] = uvloop.run(_ramp(name, args, cpus, console))
            pin(0, set(cpus))
    for name, levels in found.items():
        _show(console, name, levels)
    console.print()
    figures: dict[str, Any] = {"vad": args.vad, "limit_ms": LIMIT_MS}
    for name, levels in found.items():
        best = max((level.n_sessions for level in levels if keeps_pace(level)), default=0)
        figures[name] = {"sessions": best, "levels": [asdict(one) for one in levels]}
        console.print(
            f"{name}: [bold]{best}[/] sessions on one core with p99 of audio <= {LIMIT_MS:.0f} ms late"
            + (f", {args.vad} VAD on every session" if name == OURS else "")
        )
    return 0, figures


@asynccontextmanager
async def _contender(name: str, args: argparse.Namespace, cpu: int) -> AsyncIterator[Contender]:
    if name == ECHO:
        async with rtc_echo_process(None, cpu=cpu) as (port, pid):
            yield Contender(calls_url(f"http://127.0.0.1:{port}"), pid, "", _no_account)
        return
    port = free_port()
    async with own_server(scripted_options(args.vad), port=port, cpu=cpu) as pid:
        yield Contender(calls_url(f"http://127.0.0.1:{port}"), pid, first_words(), partial(lateness, port))


async def _no_account() -> Buckets:
    return Buckets({})


async def _ramp(name: str, args: argparse.Namespace, cpus: list[int], console: Console) -> list[Level]:
    lines = read_folder(args.speech)[:N_LINES]
    levels: list[Level] = []
    steps = argparse.Namespace(**{**vars(args), "step": args.echo_step if name == ECHO else args.step})
    async with _contender(name, args, cpus[0]) as server:
        pin(0, {cpus[1]})
        harness = RtcHarness(server.address, lines, server.update, SystemClock())
        async with Scope() as scope:
            scope.start(harness.pace(), name="pace")
            for n_sessions in numbers(steps):
                try:
                    level = await measure_level(harness, n_sessions, server.pid, args, server.read_late)
                except NoServer as full:
                    console.print(
                        f"{n_sessions:>4} sessions  [red]{full}[/]", highlight=False, soft_wrap=True
                    )
                    break
                levels.append(level)
                console.print(_line(level), highlight=False, soft_wrap=True)
                if not args.levels and [keeps_pace(one) for one in levels[-2:]] == [False, False]:
                    break
            await harness.close()
    return levels


def _line(level: Level) -> str:
    verdict = "[green]ok[/]" if keeps_pace(level) else "[red]late[/]"
    line = (
        f"{level.n_sessions:>4} sessions  {verdict:<4}  heard p99 {format_late(level.arrival_p99_ms)} ms "
        f"late, server {level.server_cpu:.0%} of its core, callers {level.harness_cpu:.0%} of theirs"
    )
    if level.harness_cpu > _BUSY:
        line += "  [yellow](the callers are busy: this level may be theirs)[/]"
    return line


def _show(console: Console, name: str, levels: list[Level]) -> None:
    server = Table(title=f"\n{name}, ms", title_justify="left", box=None, pad_edge=False)
    callers = Table(title="\nIts callers", title_justify="left", box=None, pad_edge=False)
    for table, columns in ((server, _SERVER_COLUMNS), (callers, _CALLER_COLUMNS)):
        for column in columns:
            table.add_column(column, justify="right")
    for one in levels:
        n_sessions = f"[bold]{one.n_sessions}[/]" if keeps_pace(one) else str(one.n_sessions)
        server.add_row(
            n_sessions,
            *(f"{one.server_cpu:.0%}", f"{one.server_cpu / one.n_sessions:.2%}", f"{one.server_waited:.0%}"),
            *(format_late(one.arrival_p50_ms), format_late(one.arrival_p99_ms), str(one.n_gaps)),
            format_late(one.late_p99_ms),
        )
        callers.add_row(
            n_sessions,
            *(str(one.n_answers), str(one.n_missing), str(one.n_lost)),
            *(f"{one.agent_share:.0%}", f"{one.user_share:.0%}", format_late(one.harness_late_p99_ms)),
            *(f"{one.harness_cpu:.0%}", f"{one.harness_cpu / one.n_sessions:.2%}"),
        )
    console.print(server)
    console.print(callers)
