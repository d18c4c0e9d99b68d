"""`voicestack bench impair`: what do loss and jitter do to what is heard, and to how long one waits?

Two measurements on the same grid of networks. *The link*: both ends of a call in this process and a relay
between them, so that the fate of every packet is known; the words are recognised afterwards. *The server*: a
server of its own with engines that follow a script, and callers who wait for answers through such relays.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from voicestack.cli.bench_server import free_port, own_server, pin, usable_cpus
from voicestack.cli.bench_speech import Line, add_speech_argument, read_folder
from voicestack.cli.grid_link import BURSTS, Conditions, try_burst, try_link
from voicestack.cli.grid_report import line_of_link, line_of_server, show_bursts, show_grid
from voicestack.cli.grid_server import ANSWER, ask
from voicestack.cli.rtc_grid import Cell, cell, full_grid

SUMMARY = "what loss and jitter do to a WebRTC call"
Grid = dict[str, dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument(
        "--cells",
        type=cell,
        nargs="+",
        metavar="LOSSxJITTER",
        help="networks, such as 0x0 3x20: per cent and ms (default: all)",
    )
    parser.add_argument("--only", choices=("link", "bursts", "server"), help="leave the others out")
    parser.add_argument("--lines", type=int, default=40, help="recordings per network (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=24, help="questions per network (default: %(default)s)")
    parser.add_argument("--callers", type=int, default=4, help="calls at a time (default: %(default)s)")
    parser.add_argument(
        "--run-length",
        type=float,
        default=2.0,
        metavar="N",
        help="packets lost in a row on average (default: %(default)s)",
    )
    parser.add_argument(
        "--delay-ms", type=float, default=0.0, help="fixed, in both directions (default: %(default)s)"
    )
    parser.add_argument("--keep-order", action="store_true", help="jitter of a queue: nothing overtakes")
    parser.add_argument("--burst-ms", type=int, default=500, help="of outages (default: %(default)s)")
    parser.add_argument(
        "--vad", choices=("silero", "energy"), default="silero", help="of the server (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (default: %(default)s)")
    add_speech_argument(parser, "what is said")


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Try every network. Returns the exit code and the figures.

    Raises:
        NoServer: the server does not start, or a call does not connect.
        BadWav: the recordings cannot be used.
        StageError: the recogniser cannot be used.
    """
    if len(usable_cpus()) < 2:
        print("voicestack bench impair needs two cores, one of them for the callers", file=sys.stderr)
        return 1, None
    console, lines = Console(), read_folder(args.speech)
    cells = list(dict.fromkeys([Cell(0, 0), *(args.cells or full_grid())]))  # the good one is the yardstick
    given = Conditions(args.callers, args.run_length, args.delay_ms, args.keep_order, args.seed)
    grid: Grid = {one.name: asdict(one) for one in cells}
    bursts: list[dict[str, Any]] = []
    try:
        if args.only in (None, "link"):
            for one in cells:
                grid[one.name]["link"] = found = asyncio.run(try_link(one, lines[: args.lines], given))
                console.print(f"link   {one.name:>7}  {line_of_link(found)}", highlight=False, soft_wrap=True)
        if args.only in (None, "bursts"):
            bursts += [asyncio.run(try_burst(kind, args.burst_ms, lines, given)) for kind in BURSTS]
        if args.only in (None, "server"):
            asyncio.run(_try_server(cells, lines, given, args, grid))
    except KeyboardInterrupt:
        console.print("[yellow]stopped; what follows is what was measured until then[/]")
    show_grid(console, grid)
    show_bursts(console, bursts)
    return 0, {"conditions": asdict(given), "cells": grid, "bursts": bursts}


async def _try_server(
    cells: Sequence[Cell], lines: Sequence[Line], given: Conditions, args: argparse.Namespace, grid: Grid
) -> None:
    cpus, port, console = usable_cpus(), free_port(), Console()
    options = ["--config", "scripted", "--set", f"vad.engine={args.vad}"]
    async with own_server([*options, "--set", f'llm.answers=["{ANSWER}"]'], port=port, cpu=cpus[0]):
        pin(0, {cpus[1]})
        try:
            for one in cells:
                grid[one.name]["server"] = found = await ask(one, port, lines, given, args.turns)
                console.print(
                    f"server {one.name:>7}  {line_of_server(found)}", highlight=False, soft_wrap=True
                )
        finally:
            pin(0, set(cpus))
