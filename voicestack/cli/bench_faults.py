"""`voicestack bench faults`: does anybody meet silence when a stage is slow, stuck, dead or mad?

Starts its own servers: see `fault_servers`. Every cell is one conversation, see `fault_run`.
"""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from voicestack.aio.clock import Clock, SystemClock
from voicestack.cli.bench_speech import Line, add_speech_argument, read_folder
from voicestack.cli.fault_cells import Cell, all_cells, cell_of
from voicestack.cli.fault_report import found_of, line_of, show
from voicestack.cli.fault_run import CellRun, FaultPlan, run_cell
from voicestack.cli.fault_servers import server_under_test, stage_proxies

SUMMARY = "what callers hear while a stage fails, with the ladder on and off"
LADDERS = {
    "off": {"enforce": False},
    "on": {"enforce": True},
    "spare": {"enforce": True, "spare": True},
}
"""`ladder.enforce` off and on; and on with a second replica of each stage, which does not fail."""
N_LINES = 12
"""The shortest recordings: a run consists mostly of speaking and listening."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    plan = FaultPlan("")
    parser.add_argument(
        "--cells", type=_cell, nargs="+", metavar="STAGE.FAULT", help="these only: llm.stuck tts.killed"
    )
    parser.add_argument(
        "--turns", type=int, default=plan.n_turns, help="questions while a stage fails (default: %(default)s)"
    )
    parser.add_argument(
        "--ladder",
        choices=LADDERS,
        nargs="+",
        default=["off", "on"],
        help="`ladder.enforce`; spare: on, and a second replica of each stage (default: off on)",
    )
    parser.add_argument(
        "--seed", type=int, default=plan.seed, help="of the recordings (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout-ms",
        type=int,
        default=plan.timeout_ms,
        help="silence after which a caller gives up (default: %(default)s)",
    )
    parser.add_argument(
        "--silence-ms", type=int, default=plan.silence_ms, help="that ends a turn (default: %(default)s)"
    )
    parser.add_argument(
        "--set",
        dest="sets",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the server under test",
    )
    parser.add_argument(
        "--server-log", type=Path, metavar="FILE", help="keep the log of the server under test"
    )
    add_speech_argument(parser, "what the callers say")


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Measure the matrix. Returns the exit code and the figures.

    The code is 1 when, with the ladder on, somebody met dead air or a turn was missed.

    Raises:
        NoServer: a server does not start.
        BadWav: the recordings cannot be used.
    """
    console = Console()
    plan = FaultPlan("", args.turns, args.seed, args.timeout_ms, args.silence_ms)
    lines = shortest(read_folder(args.speech))
    matrix: dict[str, list[CellRun]] = {ladder: [] for ladder in args.ladder}
    cells = args.cells or all_cells()
    try:
        asyncio.run(_measure(cells, plan, lines, args, matrix, console))
    except KeyboardInterrupt:
        console.print("[yellow]stopped; what follows is what was measured until then[/]")
    console.print()
    show(console, matrix, plan.timeout_ms)
    found = found_of(matrix)
    bad = sum(
        figures["all"][key]
        for ladder, figures in found.items()
        for key in ("n_dead_air", "n_missed")
        if LADDERS[ladder]["enforce"]
    )
    return int(bad > 0), {"plan": plan, **found}


def shortest(lines: Sequence[Line]) -> list[Line]:
    """The recordings that take least time."""
    return sorted(lines, key=lambda line: (len(line.pcm), line.file))[:N_LINES]


async def _measure(
    cells: Sequence[Cell],
    plan: FaultPlan,
    lines: Sequence[Line],
    args: argparse.Namespace,
    matrix: dict[str, list[CellRun]],
    console: Console,
) -> None:
    clock: Clock = SystemClock()
    async with stage_proxies(clock) as proxies:
        for ladder, runs in matrix.items():
            async with server_under_test(
                proxies, sets=args.sets, log_to=args.server_log, **LADDERS[ladder]
            ) as url:
                for cell in cells:
                    done = await run_cell(cell, proxies, plan.at(url), lines, clock)
                    runs.append(done)
                    console.print(line_of(done, ladder), highlight=False, soft_wrap=True)


def _cell(text: str) -> Cell:
    try:
        return cell_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
