"""`voicestack bench compare`: is this commit slower than the one that was accepted last?

Both run at the same time on this machine, each as a server of its own, and are measured in turn by the same
callers: A B B A. So a busy or another machine changes the figures, and hardly their ratio. The packages are
those that are installed now, for both.

Exit codes: 0 passed, 1 regressed, 2 it cannot be said.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from rich.console import Console
from rich.table import Table

from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_capacity import first_words, scripted_options
from voicestack.cli.bench_load import Harness, spoken_frames
from voicestack.cli.bench_proc import cpu_s, family_of
from voicestack.cli.bench_server import free_port, own_server, pin, usable_cpus
from voicestack.cli.bench_speech import Line, add_speech_argument, read_folder
from voicestack.cli.bench_v2v import Outcome, Plan, measure
from voicestack.cli.compare_odds import Ratio, Verdict, ratio_of
from voicestack.cli.compare_trees import ACCEPTED, CHECKOUT, accept, accepted_commit, tree_of
from voicestack.cli.dialing import NoServer

SUMMARY = "is this commit slower than the one that was accepted last? As a ratio, in one run"

T = TypeVar("T")

PARTS = ("load", "v2v")
CPU, WAIT = "cpu_ms_per_session_s", "voice_to_voice_ms"
TOLERANCES = {CPU: 0.05, WAIT: 0.03}
"""So much slower is tolerated. Equal commits differ by 1 to 2 % on a machine that does other work."""
ABOUT = {CPU: "CPU of the server, a session and second", WAIT: "voice to voice"}
UNITS = {CPU: "ms", WAIT: "ms"}
N_LINES = 6
"""Recordings that the callers of the part `load` say."""
SILENCE_MS = 200
SETTLE_S = 1.5
PASSED, REGRESSED, CANNOT_SAY = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Server:
    """One of the two."""

    name: str
    port: int
    pid: int


@dataclass(slots=True)
class Found:
    """Pairs of figures by name: accepted, now."""

    pairs: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    n_missing: list[int] = field(default_factory=lambda: [0, 0])
    """Answers that did not come: accepted, now."""

    def ratios(self) -> Iterator[tuple[str, Ratio, Verdict]]:
        """What is to be said of each figure."""
        for name, pairs in self.pairs.items():
            ratio = ratio_of(pairs)
            if ratio is not None:
                yield name, ratio, ratio.verdict(TOLERANCES[name])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument(
        "--against",
        metavar="COMMIT|FOLDER",
        help="compare with this instead of the accepted record's commit",
    )
    parser.add_argument(
        "--record", type=Path, default=ACCEPTED, metavar="FILE", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--accept", action="store_true", help="make this commit the accepted one if it passes"
    )
    parser.add_argument("--only", choices=PARTS, help="one part: CPU under load, or voice to voice")
    parser.add_argument(
        "--config",
        default="scripted",
        help="engines of the part v2v, a profile or file (default: %(default)s)",
    )
    parser.add_argument("--pairs", type=int, default=6, help="of measurements (default: %(default)s)")
    parser.add_argument("--sessions", type=int, default=30, help="under load (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="each under load (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="each of v2v (default: %(default)s)")
    add_speech_argument(parser, "what the callers say")


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Measure both, compare, and say what came of it. Returns the exit code and the figures.

    Raises:
        ConfigError: there is no accepted record, or no such commit.
    """
    console, found = Console(), Found()
    first = args.accept and not args.record.exists() and args.against is None
    against = args.against or ("HEAD" if first else accepted_commit(args.record))
    with tempfile.TemporaryDirectory(prefix="voicestack-compare-") as folder:
        tree = tree_of(against, Path(folder))
        console.print(f"accepted: {against}", highlight=False)
        try:
            uvloop.run(_measure(args, tree, found, console))
        except NoServer as failed:
            print(f"voicestack bench compare: {failed}", file=sys.stderr)
            return CANNOT_SAY, None
    code = conclude(console, found)
    figures = {
        "against": against,
        "figures": {
            name: asdict(ratio) | {"verdict": verdict.value, "pairs": found.pairs[name]}
            for name, ratio, verdict in found.ratios()
        },
        "n_missing": found.n_missing,
    }
    if args.accept and code == PASSED:
        console.print(f"[bold green]accepted[/]: {accept(args.record, figures)}", highlight=False)
    return code, figures


async def _measure(args: argparse.Namespace, tree: Path, found: Found, console: Console) -> None:
    lines = read_folder(args.speech)
    if args.only in (None, "load"):
        options, cpus = scripted_options("silero"), usable_cpus()
        async with _both(options, tree, cpus[0] if len(cpus) > 1 else None) as servers:
            pin(0, set(cpus[1:]) or set(cpus))
            frames = [spoken_frames(line) for line in lines[:N_LINES]]
            for number in range(args.pairs):
                work = partial(_cpu_ms, lines=frames, n_sessions=args.sessions, seconds=args.seconds)
                pair = [await work(server) for server in _order(servers, number)]
                _note(found, CPU, pair, number, console)
            pin(0, set(cpus))
    if args.only in (None, "v2v"):
        async with _both(["--config", args.config], tree, None) as servers:
            for number in range(args.pairs):
                asked = [
                    await _waits_ms(server, lines, number, args.turns) for server in _order(servers, number)
                ]
                _note_waits(found, asked, number, console)


@asynccontextmanager
async def _both(options: Sequence[str], tree: Path, cpu: int | None) -> AsyncIterator[list[Server]]:
    """The accepted server, and that of this checkout."""
    async with AsyncExitStack() as running:
        servers = []
        for name, root in (("accepted", tree), ("now", CHECKOUT)):
            port = free_port()
            server = own_server(options, port=port, cpu=cpu, root=root)
            servers.append(Server(name, port, await running.enter_async_context(server)))
        yield servers


def _order(servers: Sequence[Server], number: int) -> Sequence[Server]:
    """A B, then B A: what changes steadily hits both alike."""
    return servers if number % 2 == 0 else servers[::-1]


async def _cpu_ms(server: Server, *, lines: list[list[bytes]], n_sessions: int, seconds: float) -> float:
    """What a session costs in a second, ms of CPU, while so many talk."""
    clock = SystemClock()
    harness = Harness(server.port, lines, first_words(), clock)
    async with Scope() as scope:
        scope.start(harness.pace(), name="pace")
        await harness.grow(n_sessions)
        await asyncio.sleep(SETTLE_S)
        family, start_ns = family_of(server.pid), clock.now_ns()
        used_s = cpu_s(family)
        await asyncio.sleep(seconds)
        used_s = cpu_s(family) - used_s
        took_s = (clock.now_ns() - start_ns) / 1e9
        harness.close()
    return used_s * 1e3 / took_s / n_sessions


async def _waits_ms(server: Server, lines: list[Line], number: int, n_turns: int) -> list[float | None]:
    """How long the same questions of one caller waited for an answer; None for none."""
    first = number * n_turns
    asked = [lines[(first + at) % len(lines)] for at in range(n_turns)]
    outcome = Outcome()
    plan = Plan(url=f"ws://127.0.0.1:{server.port}", n_turns=n_turns, silence_ms=SILENCE_MS, seed=number + 1)
    await measure(plan, asked, SystemClock(), outcome=outcome)
    return [turn.wait_ms for turn in outcome.turns]


def _note(found: Found, name: str, pair: list[float], number: int, console: Console) -> None:
    accepted, now = _order_back(pair, number)
    found.pairs.setdefault(name, []).append((accepted, now))
    console.print(
        f"{ABOUT[name]}: accepted {accepted:.2f}, now {now:.2f} {UNITS[name]}  ({now / accepted:.3f})",
        style="dim",
        highlight=False,
    )


def _note_waits(found: Found, asked: list[list[float | None]], number: int, console: Console) -> None:
    """Every question that both have answered is a pair."""
    sides = _order_back(asked, number)
    for side, waits in enumerate(sides):
        found.n_missing[side] += sum(wait is None for wait in waits)
    for accepted, now in zip(*sides, strict=False):
        if accepted is not None and now is not None:
            _note(found, WAIT, [accepted, now], 0, console)


def _order_back(pair: Sequence[T], number: int) -> Sequence[T]:
    """Accepted, now."""
    return pair if number % 2 == 0 else pair[::-1]


def conclude(console: Console, found: Found) -> int:
    """Print the table and the last word. Returns the exit code."""
    table = Table(box=None)
    for name in ("", "accepted", "now", "ratio", "between", ""):
        table.add_column(name, justify="right" if name else "left")
    verdicts = []
    for name, ratio, verdict in found.ratios():
        means = [sum(side) / len(side) for side in zip(*found.pairs[name], strict=True)]
        figures = (*(f"{mean:.1f} {UNITS[name]}" for mean in means), f"{ratio.value:.3f}")
        table.add_row(ABOUT[name], *figures, f"{ratio.low:.3f} - {ratio.high:.3f}", verdict.value)
        verdicts.append(verdict)
    console.print(table)
    more_missing = found.n_missing[1] > found.n_missing[0]
    if any(found.n_missing):
        before, now = found.n_missing
        console.print(f"answers that did not come: {before} accepted, {now} now", highlight=False)
    if Verdict.REGRESSED in verdicts or more_missing:
        console.print("[bold red]regressed[/]")
        return REGRESSED
    if not verdicts or Verdict.UNKNOWN in verdicts:
        console.print("[bold red]it cannot be said[/]: too little was measured")
        return CANNOT_SAY
    console.print("[bold green]passed[/]")
    return PASSED
