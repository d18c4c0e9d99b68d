"""`voicestack bench compare`: is this commit slower than the one that was accepted last?

Both run on this machine at the same time, each as a server of its own on the same core. What they cost is
measured while the same callers talk to both at once; how long callers wait, by asking both the same questions
in turn, A B B A. So a busy or another machine changes the figures, and hardly their ratio. The packages are
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
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_capacity import first_words, scripted_options
from voicestack.cli.bench_load import Harness, spoken_frames
from voicestack.cli.bench_proc import cpu_ns, family_of
from voicestack.cli.bench_server import free_port, own_server, pin, usable_cpus
from voicestack.cli.bench_speech import Line, add_speech_argument, read_folder
from voicestack.cli.bench_v2v import Outcome, Plan, measure
from voicestack.cli.compare_odds import Ratio, Verdict, ratio_of
from voicestack.cli.compare_trees import ACCEPTED, CHECKOUT, accept, accepted_commit, tree_of
from voicestack.cli.dialing import NoServer

SUMMARY = "is this commit slower than the one that was accepted last? As a ratio, in one run"

PARTS = ("load", "v2v")
CPU, WAIT = "cpu_ms_per_session_s", "voice_to_voice_ms"
TOLERANCES = {CPU: 0.05, WAIT: 0.03}
"""So much slower is tolerated. Equal commits differ by 1 to 2 % on a machine that does other work."""
ABOUT = {CPU: "CPU of the server, a session and second", WAIT: "voice to voice"}
UNITS = {CPU: "ms", WAIT: "ms"}
N_LINES = 6
"""Recordings that the callers of the part `load` say."""
SILENCE_MS = 200
SHORT_ANSWERS = ("--set", 'llm.answers=["Yes, it is."]')
ANSWER_TOKENS = 12
"""Nobody listens to the end of an answer here."""
SETTLE_S = 2.0
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
    parser.add_argument("--sessions", type=int, default=15, help="of each under load (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=20, help="under load (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each window (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=16, help="of each in v2v (default: %(default)s)")
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
        cpus = usable_cpus()
        async with _both(scripted_options("silero"), tree, cpus[0] if len(cpus) > 1 else None) as servers:
            pin(0, set(cpus[1:]) or set(cpus))
            await _measure_load(args, servers, lines, found, console)
            pin(0, set(cpus))
    if args.only in (None, "v2v"):
        options = ["--config", args.config, *(SHORT_ANSWERS if args.config == "scripted" else ())]
        async with _both(options, tree, None) as servers:
            for number in range(args.turns):
                line = lines[number % len(lines)]
                waits = {server.name: await _wait_ms(server, line) for server in _order(servers, number)}
                _note(found, WAIT, waits["accepted"], waits["now"], console)


async def _measure_load(
    args: argparse.Namespace, servers: Sequence[Server], lines: list[Line], found: Found, console: Console
) -> None:
    """The same load on both at once; window by window, what each has cost."""
    clock, frames = SystemClock(), [spoken_frames(line) for line in lines[:N_LINES]]
    harnesses = [Harness(server.port, frames, first_words(), clock) for server in servers]
    families = [family_of(server.pid) for server in servers]
    async with Scope() as scope:
        for harness in harnesses:
            scope.start(harness.pace(), name="pace")
        for n_callers in range(1, args.sessions + 1):  # caller by caller: both the same at the same time
            for harness in harnesses:
                await harness.grow(n_callers)
        await asyncio.sleep(SETTLE_S)
        for _ in range(args.windows):
            before, start_ns = [cpu_ns(family) for family in families], clock.now_ns()
            await asyncio.sleep(args.seconds)
            used = [cpu_ns(family) - ns for family, ns in zip(families, before, strict=True)]
            session_s = args.sessions * (clock.now_ns() - start_ns) / 1e9
            accepted, now = (ns / 1e6 / session_s for ns in used)
            _note(found, CPU, accepted, now, console)
        for harness in harnesses:
            harness.close()


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


async def _wait_ms(server: Server, line: Line) -> float | None:
    """How long a caller waits for an answer to a question; None for none."""
    outcome = Outcome()
    plan = Plan(
        url=f"ws://127.0.0.1:{server.port}", n_turns=1, silence_ms=SILENCE_MS, max_output_tokens=ANSWER_TOKENS
    )
    await measure(plan, [line], SystemClock(), outcome=outcome)
    return outcome.turns[0].wait_ms if outcome.turns else None


def _note(found: Found, name: str, accepted: float | None, now: float | None, console: Console) -> None:
    """What both have done is a pair."""
    for side, figure in enumerate((accepted, now)):
        found.n_missing[side] += figure is None
    if accepted is None or now is None:
        return
    found.pairs.setdefault(name, []).append((accepted, now))
    line = f"{ABOUT[name]}: accepted {accepted:.2f}, now {now:.2f} {UNITS[name]}  ({now / accepted:.3f})"
    console.print(line, style="dim", highlight=False)


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
    if not verdicts or {Verdict.UNKNOWN, Verdict.NOISY} & set(verdicts):
        console.print("[bold red]it cannot be said[/]: measure more, or on a machine that does less else")
        return CANNOT_SAY
    console.print("[bold green]passed[/]")
    return PASSED
