"""`voicestack bench capacity`: how many conversations can one core of the server carry?

The engines follow a script and cost nothing, so what is measured is the server itself: protocol, voice
activity detection, the turn engine and the pacing of audio. The server runs on one core, all callers on
another.
"""

import argparse
import asyncio
import math
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import orjson
import uvloop
from rich.console import Console
from rich.table import Table

from voicestack.aio.clock import Clock, SystemClock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_load import Harness, spoken_frames
from voicestack.cli.bench_pace import Window
from voicestack.cli.bench_proc import cpu_s, family_of, waited_s
from voicestack.cli.bench_server import free_port, http_get, own_server, pin, usable_cpus
from voicestack.cli.bench_speech import add_speech_argument, read_folder
from voicestack.cli.bench_stats import Buckets, percentile, read_buckets
from voicestack.cli.client import session_update
from voicestack.cli.dialing import NoServer

SUMMARY = "how many sessions one core of the server carries"
LATENESS = "voicestack_playout_lateness_seconds"
LIMIT_MS = 10.0
"""A frame that leaves so much after it was due begins to eat the client's slack: half a frame."""
N_LINES = 12
_DISTURBED = 0.05
_SERVER_COLUMNS = (
    *("sessions", "late p50", "late p99", "CPU", "waited"),
    *("heard p50", "heard p99", "gaps", "gaps ms"),
)
_CALLER_COLUMNS = (
    *("sessions", "answers", "missing", "lost"),
    *("agent speaks", "user speaks", "late p99 ms", "CPU"),
)
SILENCE_MS = 200
ANSWERS = [
    "That is a good question, and the answer takes a moment, because there are several things that matter "
    "here and each of them is worth a few words.",
    "Yes, it is so, and if you would like to know more about it then I can tell you where it comes from, and "
    "why so many people still believe the opposite.",
]
"""About seven seconds each at the scripted voice's 50 ms per character: the agent then speaks for 70-85 % of
the time, between questions of about 1.5 s."""


@dataclass(frozen=True, slots=True)
class Level:
    """What was seen with so many sessions. Times in milliseconds, CPU in cores.

    `late_*` is the server's own account of its pacing, `arrival_*` the callers' of the same audio, `gap` what
    a client without a buffer would hear, and `harness_*` how late and how busy the callers themselves were.
    `server_waited` is the share of the time in which the server had work but other processes had its core:
    more than a few per cent of that and the level says nothing about the server.
    """

    n_sessions: int
    late_p50_ms: float | None
    late_p99_ms: float | None
    server_cpu: float
    server_waited: float
    arrival_p50_ms: float | None
    arrival_p99_ms: float | None
    n_gaps: int
    gap_ms: float
    agent_share: float
    user_share: float
    n_answers: int
    n_missing: int
    n_lost: int
    harness_late_p99_ms: float | None
    harness_cpu: float

    @property
    def passes(self) -> bool:
        """Whether the server kept its pace and answered everybody."""
        return (
            self.late_p99_ms is not None
            and self.late_p99_ms <= LIMIT_MS
            and self.n_missing == 0
            and self.n_lost == 0
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    add_ramp_arguments(parser, step=10, most=200, settle_s=8.0)


def add_ramp_arguments(parser: argparse.ArgumentParser, *, step: int, most: int, settle_s: float) -> None:
    """Declare what a ramp over a scripted server reads, with these defaults."""
    parser.add_argument(
        "--vad", choices=("silero", "energy"), default="silero", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--step", type=int, default=step, help="sessions more per level (default: %(default)s)"
    )
    parser.add_argument("--max", type=int, default=most, help="most sessions (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="measure a level for so long (default: %(default)s)"
    )
    parser.add_argument(
        "--settle",
        type=float,
        default=settle_s,
        help="wait before that, s (default: %(default)s: one answer)",
    )
    parser.add_argument(
        "--levels", type=int, nargs="+", metavar="N", help="these numbers of sessions instead of the ramp"
    )
    add_speech_argument(parser, "what the callers say")


def scripted_options(vad: str) -> list[str]:
    """Of a server whose engines cost nothing and answer at length."""
    options = ["--config", "scripted", "--set", f"vad.engine={vad}", "--set", "server.max_sessions=2000"]
    return [*options, "--set", f"llm.answers={orjson.dumps(ANSWERS).decode()}"]


def first_words() -> str:
    """The `session.update` that every caller begins with."""
    return orjson.dumps(session_update(silence_ms=SILENCE_MS)).decode()


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Ramp up until it breaks. Returns the exit code and the figures.

    Raises:
        NoServer: the server does not start.
        BadWav: the recordings cannot be used.
    """
    cpus = usable_cpus()
    if len(cpus) < 2:
        print(
            "voicestack bench capacity needs two cores, one for the server, one for the callers",
            file=sys.stderr,
        )
        return 1, None
    console = Console()
    levels = uvloop.run(_ramp(args, cpus, console))
    best = max((level.n_sessions for level in levels if level.passes), default=0)
    _show(console, levels)
    console.print(
        f"\n[bold]{best}[/] sessions on one core with p99 pacing lateness <= {LIMIT_MS:.0f} ms, "
        f"{args.vad} VAD on every session"
    )
    return 0, {
        "vad": args.vad,
        "sessions": best,
        "limit_ms": LIMIT_MS,
        "levels": [asdict(one) for one in levels],
    }


def numbers(args: argparse.Namespace) -> Iterator[int]:
    """The numbers of sessions of a ramp."""
    if args.levels:
        yield from sorted(args.levels)
        return
    yield 1
    yield from range(args.step, args.max + 1, args.step)


async def _ramp(args: argparse.Namespace, cpus: list[int], console: Console) -> list[Level]:
    port = free_port()
    lines = [spoken_frames(line) for line in read_folder(args.speech)[:N_LINES]]
    levels: list[Level] = []
    async with own_server(scripted_options(args.vad), port=port, cpu=cpus[0]) as pid:
        pin(0, {cpus[1]})
        harness = Harness(port, lines, first_words(), SystemClock())
        async with Scope() as scope:
            scope.start(harness.pace(), name="pace")
            for n_sessions in numbers(args):
                level = await measure_level(harness, n_sessions, pid, args, partial(lateness, port))
                levels.append(level)
                console.print(_line(level), highlight=False, soft_wrap=True)
                if not args.levels and [one.passes for one in levels[-2:]] == [False, False]:
                    break
            harness.close()
    return levels


class Load(Protocol):
    """All callers: `Harness`, or `RtcHarness`."""

    clock: Clock
    window: Window

    async def grow(self, n_callers: int) -> None:
        """Connect more callers until there are so many."""
        ...


async def measure_level(
    harness: Load,
    n_sessions: int,
    pid: int,
    args: argparse.Namespace,
    read_late: Callable[[], Awaitable[Buckets]],
) -> Level:
    """Grow to so many sessions, let them settle, and watch them and the process that serves them.

    Args:
        harness: The callers.
        n_sessions: How many there shall be.
        pid: The server.
        args: `settle` and `seconds`.
        read_late: The server's own account of its lateness so far.
    """
    await harness.grow(n_sessions)
    await asyncio.sleep(args.settle)
    own, server = [os.getpid()], family_of(pid)
    before = await read_late()
    start_ns = harness.clock.now_ns()
    used_s = cpu_s(server), cpu_s(own), waited_s(pid)
    harness.window = window = Window()
    await asyncio.sleep(args.seconds)
    wall_s = (harness.clock.now_ns() - start_ns) / 1e9
    new_s = cpu_s(server), cpu_s(own), waited_s(pid)
    harness.window = Window()
    late = (await read_late()).since(before)
    shares = [(new - used) / wall_s for new, used in zip(new_s, used_s, strict=True)]
    return level_of(n_sessions, wall_s, late, window, shares)


def level_of(n_sessions: int, wall_s: float, late: Buckets, window: Window, shares: Sequence[float]) -> Level:
    """Sum up a level; `shares` of the wall time are: server's CPU, harness's CPU, server kept waiting."""

    def scaled(share: float) -> float | None:
        value = late.quantile(share)
        return None if value is None else value * 1000

    def of(values: "list[float]", share: float) -> float | None:
        return percentile(values, share) if values else None

    arrivals, sends = list(window.arrival_late_ms), list(window.send_late_ms)
    spoken_ms = n_sessions * wall_s * 1000
    return Level(
        n_sessions=n_sessions,
        late_p50_ms=scaled(0.50),
        late_p99_ms=scaled(0.99),
        server_cpu=shares[0],
        server_waited=shares[2],
        arrival_p50_ms=of(arrivals, 0.50),
        arrival_p99_ms=of(arrivals, 0.99),
        n_gaps=window.n_gaps,
        gap_ms=window.gap_ms,
        agent_share=window.agent_ms / spoken_ms,
        user_share=window.user_ms / spoken_ms,
        n_answers=window.n_answers,
        n_missing=window.n_missing,
        n_lost=window.n_lost,
        harness_late_p99_ms=of(sends, 0.99),
        harness_cpu=shares[1],
    )


async def lateness(port: int) -> Buckets:
    """The server's histogram of how late its frames left, as it stands.

    Raises:
        NoServer: it has none.
    """
    status, page = await http_get(port, "/metrics")
    found = read_buckets(page, LATENESS)
    if status != 200 or not found.counts:
        raise NoServer(f"The server's /metrics has no {LATENESS} (HTTP {status}).")
    return found


def format_late(value: float | None) -> str:
    """Milliseconds for a table."""
    if value is None:
        return "-"
    return "off the scale" if math.isinf(value) else f"{value:.1f}"


def _line(level: Level) -> str:
    verdict = "[green]ok[/]" if level.passes else "[red]late[/]"
    return (
        f"{level.n_sessions:>4} sessions  {verdict:<4}  p99 {format_late(level.late_p99_ms)} ms late, "
        f"server {level.server_cpu:.0%} of its core"
        + (
            f"  [yellow](other processes kept it waiting {level.server_waited:.0%} of the time)[/]"
            if level.server_waited > _DISTURBED
            else ""
        )
    )


def _show(console: Console, levels: list[Level]) -> None:
    table = Table(title="\nThe server, ms", title_justify="left", box=None, pad_edge=False)
    for name in _SERVER_COLUMNS:
        table.add_column(name, justify="right")
    for one in levels:
        table.add_row(
            f"[bold]{one.n_sessions}[/]" if one.passes else str(one.n_sessions),
            *(
                format_late(one.late_p50_ms),
                format_late(one.late_p99_ms),
                f"{one.server_cpu:.0%}",
                f"{one.server_waited:.0%}",
            ),
            *(
                format_late(one.arrival_p50_ms),
                format_late(one.arrival_p99_ms),
                f"{one.n_gaps}",
                f"{one.gap_ms:.0f}",
            ),
        )
    console.print(table)
    table = Table(title="\nThe callers", title_justify="left", box=None, pad_edge=False)
    for name in _CALLER_COLUMNS:
        table.add_column(name, justify="right")
    for one in levels:
        table.add_row(
            *(str(one.n_sessions), str(one.n_answers), str(one.n_missing), str(one.n_lost)),
            *(f"{one.agent_share:.0%}", f"{one.user_share:.0%}"),
            *(format_late(one.harness_late_p99_ms), f"{one.harness_cpu:.0%}"),
        )
    console.print(table)
