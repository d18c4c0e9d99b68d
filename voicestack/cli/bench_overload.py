"""`voicestack bench overload`: what do those get who are in a call while three times too many want one?

A server of its own, with engines that follow a script and take as long as real ones did (recorded), on a few
places with real queues. Callers arrive open loop. First the rate is found at which turns are just in time:
the capacity. Then three times as many call, with admission and without it, from the same seed.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import orjson
import uvloop
from rich.console import Console

from voicestack.aio.clock import SystemClock
from voicestack.cli.bench_overload_report import Level, level_of, line_of, show
from voicestack.cli.bench_overload_times import record
from voicestack.cli.bench_server import free_port, http_get, own_server, pin, usable_cpus
from voicestack.cli.bench_speech import Line, add_speech_argument, read_folder
from voicestack.cli.bench_stats import read_total
from voicestack.cli.bench_v2v import Outcome, Plan, measure
from voicestack.engines.work_times import WorkTimes, read_times

SUMMARY = "goodput and waits at three times the capacity, with admission and without"
TIMES = Path("tests/bench/work_times.json")
SILENCE_MS = 200
ANSWER = "That is a good question, and the answer is quite simple."
N_WORDS = 11
TIMEOUT_MS = 5_000
BUDGET_MS = 1_200
"""Half as much again as the 95th percentile of a turn of the recorded engines when they have nothing else to
do: with one that they cannot keep at all, nothing could be said about load."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument("--times", type=Path, default=TIMES, help="recorded times (default: %(default)s)")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="only record the times of the embedded engines"
    )
    parser.add_argument(
        "--loads",
        type=float,
        nargs="+",
        default=[0.35, 0.5, 0.65],
        help="shares of the LLM's places among which the capacity is looked for (default: %(default)s)",
    )
    parser.add_argument(
        "--budget-ms",
        type=int,
        default=BUDGET_MS,
        help="of a turn: what the recorded engines keep when alone (default: %(default)s)",
    )
    parser.add_argument("--factor", type=float, default=3.0, help="overload (default: %(default)s)")
    parser.add_argument("--places", type=int, default=4, help="of the LLM (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="questions of a caller (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=35.0, help="measure for so long (default: %(default)s)"
    )
    parser.add_argument("--settle", type=float, default=25.0, help="before that, s (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (default: %(default)s)")
    parser.add_argument(
        "--set", dest="sets", action="append", default=[], metavar="KEY=VALUE", help="for the server"
    )
    add_speech_argument(parser, "what the callers say")


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Find the capacity and exceed it. Returns the exit code and the figures.

    Raises:
        NoServer: the server does not start.
        BadWav: the recordings cannot be used.
        ConfigError: the service times cannot be used, or recorded.
    """
    lines = read_folder(args.speech)
    if args.record is not None:
        return _record(args.record, lines), None
    cpus = usable_cpus()
    if len(cpus) < 2:
        print("voicestack bench overload needs two cores, one of them for the callers", file=sys.stderr)
        return 1, None
    console, times = Console(), read_times(args.times)
    levels = [
        _level(args, lines, console, f"load {load:.2f}", rate_of(load, args, times), admission=False)
        for load in args.loads
    ]
    capacity = max((one for one in levels if one.is_in_time), key=lambda one: one.goodput_per_s, default=None)
    if capacity is None:
        console.print("[red]no load was answered in time: lower --loads[/]")
        return 1, {"levels": [asdict(one) for one in levels]}
    rate_per_s = capacity.rate_per_s * args.factor
    loads = [
        _level(args, lines, console, f"{args.factor:g}x, {name}", rate_per_s, admission=on)
        for name, on in (("no admission", False), ("admission", True))
    ]
    for one in (*levels, *loads):
        one.of_capacity = one.goodput_per_s / capacity.goodput_per_s
    show(console, [*levels, *loads], capacity)
    if capacity is levels[-1]:
        console.print(
            "[yellow]the highest load was still in time: the capacity may be higher, raise --loads[/]"
        )
    return 0, {
        "capacity": asdict(capacity),
        "levels": [asdict(one) for one in levels],
        "overload": [asdict(one) for one in loads],
        "times": {name: len(column) for name, column in asdict(times).items()},
        "places": args.places,
    }


def rate_of(load: float, args: argparse.Namespace, times: WorkTimes) -> float:
    """Callers a second who keep such a share of the LLM's places busy."""
    service_s = (fmean(times.llm_first_token_ms) + N_WORDS * fmean(times.llm_token_ms)) / 1e3
    return float(load * args.places / service_s / args.turns)


def _record(path: Path, lines: list[Line]) -> int:
    recorded = asyncio.run(record(lines, SystemClock()))
    about = "embedded engines one after the other, nothing else asked of them; milliseconds"
    times = {name: [round(ms, 1) for ms in column] for name, column in asdict(recorded).items()}
    rows = ",\n    ".join(f"{json.dumps(name)}: {json.dumps(column)}" for name, column in times.items())
    path.write_text(f'{{\n  "about": {json.dumps(about)},\n  "times": {{\n    {rows}\n  }}\n}}\n')
    return 0


def _level(
    args: argparse.Namespace,
    lines: Sequence[Line],
    console: Console,
    name: str,
    rate_per_s: float,
    *,
    admission: bool,
) -> Level:
    level = uvloop.run(_measured(args, lines, name, rate_per_s, admission=admission))
    console.print(line_of(level), highlight=False, soft_wrap=True)
    return level


async def _measured(
    args: argparse.Namespace, lines: Sequence[Line], name: str, rate_per_s: float, *, admission: bool
) -> Level:
    cpus, port, clock = usable_cpus(), free_port(), SystemClock()
    n_callers = max(1, round(rate_per_s * (args.settle + args.seconds)))
    plan = Plan(
        url=f"ws://127.0.0.1:{port}",
        n_turns=n_callers * args.turns,
        n_callers=n_callers,
        silence_ms=SILENCE_MS,
        rate_per_s=rate_per_s,
        timeout_ms=TIMEOUT_MS,
        seed=args.seed,
    )
    outcome = Outcome()
    async with own_server(_options(args, admission=admission), port=port, cpu=cpus[0]):
        pin(0, {cpus[1]})
        try:
            zero_ns = clock.now_ns()
            await measure(plan, list(lines), clock, outcome=outcome)
            _, page = await http_get(port, "/metrics")
        finally:
            pin(0, set(cpus))
    n_shed = int(read_total(page, "voicestack_queue_refused_total"))
    from_ns = zero_ns + round(args.settle * 1e9)
    window = (from_ns, from_ns + round(args.seconds * 1e9))
    return level_of(name, plan, outcome, window, budget_ms=args.budget_ms, n_shed=n_shed)


def _options(args: argparse.Namespace, *, admission: bool) -> list[str]:
    settings = [
        "vad.engine=energy",
        "server.max_sessions=2000",
        f"scripted.times={args.times.resolve()}",
        f"scripted.seed={args.seed}",
        f"llm.slots={args.places}",
        f"budget.turn_ms={args.budget_ms}",
        f"llm.answers={orjson.dumps([ANSWER]).decode()}",
        f"admission.enabled={str(admission).lower()}",
        *args.sets,
    ]
    return ["--config", "scripted", *(part for one in settings for part in ("--set", one))]
