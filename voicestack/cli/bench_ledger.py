"""`voicestack bench ledger`: what do the budget, the ledger and the figures cost a server?

CPU time of this process with all its threads: blocks of turns with everything on, and right after each the
same with everything off, so that whatever else the machine does hits both. What is left out (sessions,
engines, audio) costs the same with and without.
"""

import argparse
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from voicestack.aio.clock import Clock, SystemClock
from voicestack.cli.bench_proc import own_cpu_ns
from voicestack.cli.ledger_turns import LookedAt, Turns, bench_metrics, written
from voicestack.core.turn_record import TurnRecord
from voicestack.core.watching import Observer, Unobserved
from voicestack.telemetry.listener import TurnListener
from voicestack.telemetry.store.writer import Writer

SUMMARY = "what the budget, the ledger and the figures cost, of a core"

TURNS_PER_S = 0.1
"""Of one session: a turn in ten seconds."""
FRAMES_PER_S = 50.0
"""Each way, as if everybody spoke all the time."""
N_SESSIONS = 100
LIMIT_RATIO = 0.01
"""The design's limit: 1 % of a core for N_SESSIONS."""
N_TURNS, N_FRAMES = 1_000, 50_000
"""Of a block."""

Block = Callable[[], Awaitable[None]]
"""Does the work of N_TURNS turns, or of N_FRAMES frames."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something to be measured: with it, and without."""

    name: str
    on: Block
    off: Block
    n: int = N_TURNS


@dataclass(frozen=True, slots=True)
class Cost:
    """What a part costs.

    Attributes:
        name: Of it.
        n: So many turns, or frames, were in a block.
        us: CPU time of one: the median of all blocks, each less the block without it that came right after.
        low_us: The least of them.
        high_us: The most.
    """

    name: str
    n: int
    us: float
    low_us: float
    high_us: float

    @property
    def core_ratio(self) -> float:
        """Of a core, for N_SESSIONS sessions."""
        per_s = TURNS_PER_S if self.n == N_TURNS else FRAMES_PER_S
        return N_SESSIONS * per_s * self.us / 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument("--blocks", type=int, default=9, help="of every part (default: %(default)s)")
    parser.add_argument(
        "--limit",
        type=float,
        default=LIMIT_RATIO * 100,
        metavar="PERCENT",
        help=f"fail over so much of a core per {N_SESSIONS} sessions (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Measure. Returns the exit code, 1 if what every server does is over the limit, and the figures."""
    with tempfile.TemporaryDirectory() as folder:
        *parts, turns, traced, frames = uvloop.run(measure(Path(folder), args.blocks))
    total_ratio, traced_ratio = (one.core_ratio + frames.core_ratio for one in (turns, traced))
    show(Console(), [*parts, turns, traced, frames], args.limit / 100, total_ratio, traced_ratio)
    found = {
        "n_sessions": N_SESSIONS,
        "turns_per_s": TURNS_PER_S,
        "frames_per_s": FRAMES_PER_S,
        "costs": [asdict(one) | {"core_ratio": one.core_ratio} for one in (*parts, turns, traced, frames)],
        "core_ratio": total_ratio,
        "core_ratio_with_traces": traced_ratio,
        "limit_ratio": args.limit / 100,
    }
    return int(total_ratio > args.limit / 100), found


async def measure(folder: Path, n_blocks: int) -> list[Cost]:
    """Every part by itself; then a whole turn, and a frame. For a running loop: the pace sets timers."""
    with written(folder) as new_writer:
        return [await cost_of(part, n_blocks) for part in _parts(SystemClock(), new_writer)]


async def cost_of(part: Part, n_blocks: int) -> Cost:
    """Measure a part: block by block with it and without."""
    await part.on()  # the first time is not like the others
    found = []
    for _ in range(n_blocks):
        on_ns, off_ns = await _cpu_ns(part.on), await _cpu_ns(part.off)
        found.append((on_ns - off_ns) / part.n / 1e3)
    return Cost(part.name, part.n, statistics.median(found), min(found), max(found))


async def _cpu_ns(block: Block) -> int:
    before_ns = own_cpu_ns()
    await block()
    return own_cpu_ns() - before_ns


def _parts(clock: Clock, new_writer: Callable[[], Writer]) -> Iterator[Part]:
    nobody, metrics, ring = Unobserved(), bench_metrics([]), LookedAt()
    bare, paced = Turns(clock, nobody, paced=False), Turns(clock, nobody, paced=True)
    records = [bare.hold() for _ in range(N_TURNS)]
    every = bench_metrics([])
    all_of_it = Turns(clock, every, paced=True)

    async def nothing() -> None:
        for _ in records:
            pass

    async def write() -> None:
        with _writing(new_writer) as writer:
            for record in records:
                writer.turn_recorded(record)

    async def trace() -> None:
        async with _tracing() as spans:
            for record in records:
                for one in spans:
                    one.turn_recorded(record)

    async def everything() -> None:
        with _writing(new_writer) as writer:
            every.listeners[:] = [ring, writer]
            await _holding(all_of_it)()

    async def everything_traced() -> None:
        with _writing(new_writer) as writer:
            async with _tracing() as spans:
                every.listeners[:] = [ring, writer, *spans]
                await _holding(all_of_it)()

    yield Part("the ledger: marks, rungs, the record", _holding(bare), nothing)
    yield Part("the plan: forecasts, deadlines, timers", _holding(paced), _holding(bare))
    yield Part("Prometheus: histograms, exemplars, objectives", _telling(metrics, records), nothing)
    yield Part("the ring, looked at every 100 turns", _telling(ring, records), nothing)
    yield Part("the store: SQLite, in a thread", write, nothing)
    yield Part("traces, if wanted: made and encoded, in a thread", trace, nothing)
    yield Part("a turn, all but traces", everything, nothing)
    yield Part("a turn, with traces", everything_traced, nothing)
    yield Part("a frame: playout's histogram", _sending(metrics), _sending(nobody), N_FRAMES)


def _holding(turns: Turns) -> Block:
    async def block() -> None:
        for _ in range(N_TURNS):
            turns.hold()

    return block


def _telling(listener: TurnListener, records: Sequence[TurnRecord]) -> Block:
    async def block() -> None:
        for record in records:
            listener.turn_recorded(record)

    return block


def _sending(observer: Observer) -> Block:
    async def block() -> None:
        for _ in range(N_FRAMES):
            observer.playout_sent(1_000_000)

    return block


@asynccontextmanager
async def _tracing() -> AsyncIterator[list[TurnListener]]:
    """Who makes traces; nobody where the package for it is not installed."""
    try:
        from voicestack.cli.ledger_traces import tracing
    except ModuleNotFoundError:
        yield []
        return
    async with tracing() as spans:
        yield [spans]


@contextmanager
def _writing(new_writer: Callable[[], Writer]) -> Iterator[Writer]:
    """What was written when the block ends is on disk."""
    writer = new_writer()
    writer.start()
    try:
        yield writer
    finally:
        writer.close()


def show(
    console: Console, costs: Sequence[Cost], limit_ratio: float, total_ratio: float, traced_ratio: float
) -> None:
    """Print the table."""
    console.print(
        f"{N_SESSIONS} sessions: each a turn in {1 / TURNS_PER_S:.0f} s, {FRAMES_PER_S:.0f} frames a second",
        highlight=False,
    )
    table = Table(box=None)
    for name in ("", "us each", "from", "to", "% of a core"):
        table.add_column(name, justify="right" if name else "left")
    for cost in costs:
        figures = (f"{cost.us:.2f}", f"{cost.low_us:.2f}", f"{cost.high_us:.2f}", f"{cost.core_ratio:.3%}")
        table.add_row(cost.name, *figures)
    console.print(table)
    colour = "green" if total_ratio <= limit_ratio else "red"
    console.print(
        f"[{colour}]turns and frames: {total_ratio:.2%} of a core, with traces {traced_ratio:.2%}; "
        f"the limit is {limit_ratio:.2%}[/]",
        highlight=False,
    )
