"""`voicestack bench`: how fast, how exact and how much?"""

import argparse
import asyncio
import math
import os
import platform
import sys
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from rich.console import Console

from voicestack.aio.clock import SystemClock
from voicestack.cli import (
    bench_asr_final,
    bench_beside,
    bench_capacity,
    bench_compare,
    bench_faults,
    bench_gpu,
    bench_grid,
    bench_idle,
    bench_ledger,
    bench_overload,
    bench_planner,
    bench_priming,
    bench_rtc,
    bench_tools,
    bench_tts,
    bench_wer,
    bench_wire,
)
from voicestack.cli.bench_echo import Calibration, calibrate
from voicestack.cli.bench_lanes import Lane, compare, measure_lanes, show_added, show_calibration
from voicestack.cli.bench_report import figures, show
from voicestack.cli.bench_server import http_get
from voicestack.cli.bench_speech import add_speech_argument, read_folder
from voicestack.cli.bench_stats import Buckets, read_buckets
from voicestack.cli.bench_v2v import Outcome, Plan, Turn, measure
from voicestack.cli.dialing import (
    KEY_VARIABLE,
    WEBRTC,
    WEBSOCKET,
    NoServer,
    add_server_arguments,
    dial_of,
    realtime_url,
)
from voicestack.cli.waveform import BadWav

BOTH = "both"
_SHORT_CALIBRATION = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.description = "Measure latency, accuracy and capacity. tests/bench/README.md says exactly how."
    modes = parser.add_subparsers(dest="mode", required=True)
    v2v = modes.add_parser("v2v", help="voice-to-voice latency of a running server, on the waveform")
    _add_v2v_arguments(v2v)
    v2v.set_defaults(measure=run_v2v)
    others = {
        "capacity": bench_capacity,
        "compare": bench_compare,
        "overload": bench_overload,
        "impair": bench_grid,
        "rtc-capacity": bench_rtc,
        "wer": bench_wer,
        "asr-final": bench_asr_final,
        "idle": bench_idle,
        "ledger": bench_ledger,
        "tools": bench_tools,
        "tts": bench_tts,
        "wire": bench_wire,
        "planner": bench_planner,
        "priming": bench_priming,
        "beside": bench_beside,
        "faults": bench_faults,
        "gpu": bench_gpu,
    }
    for name, module in others.items():
        mode = modes.add_parser(name, help=module.SUMMARY)
        module.add_arguments(mode)
        mode.set_defaults(measure=module.run)
    for mode in modes.choices.values():
        mode.add_argument("--json", type=Path, metavar="FILE", help="also write every figure to FILE")


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a rate")
    return value


def _add_v2v_arguments(parser: argparse.ArgumentParser) -> None:
    add_server_arguments(parser, transports=(WEBSOCKET, WEBRTC, BOTH))
    parser.add_argument("--turns", type=_count, default=50, help="questions in all (default: %(default)s)")
    parser.add_argument("--callers", type=_count, default=1, help="conversations (default: %(default)s)")
    parser.add_argument(
        "--rate",
        type=_rate,
        default=1.0,
        help="arrivals of callers per second, Poisson, open loop (default: %(default)s)",
    )
    parser.add_argument("--barge-in", type=int, default=0, metavar="N", help="interrupt N answers more")
    parser.add_argument(
        "--silence-ms", type=int, default=200, help="silence that ends a turn (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout-ms", type=int, default=5000, help="a later answer is missing (default: %(default)s)"
    )
    parser.add_argument("--max-output-tokens", type=int, help="longest answer (default: the server's)")
    add_speech_argument(parser)
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (default: %(default)s)")
    parser.add_argument(
        "--calibrate", action="store_true", help="measure only the harness, against an echo server"
    )
    parser.add_argument("--no-calibrate", action="store_true", help="leave the short calibration out")


def run(args: argparse.Namespace) -> int:
    """Run one bench. Returns 0, 1 when nothing could be measured, 2 for input that cannot be used.

    Raises:
        NoServer: there is no server to measure.
    """
    try:
        code, found = args.measure(args)
    except BadWav as bad:
        print(f"voicestack bench: {bad}", file=sys.stderr)
        return 2
    if args.json is not None and found is not None:
        args.json.write_bytes(orjson.dumps({"machine": _machine(), **found}, option=orjson.OPT_INDENT_2))
    return int(code)


def _machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "n_cpus": os.cpu_count(),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def run_v2v(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Measure voice to voice. Returns the exit code and the figures."""
    console = Console()
    clock = SystemClock()
    lines = read_folder(args.speech)
    transports = [WEBSOCKET, WEBRTC] if args.transport == BOTH else [args.transport]
    if not args.calibrate:
        for transport in transports:
            asyncio.run(_knock(args, transport))
    calibrations: dict[str, Calibration] = {}
    if args.calibrate or not args.no_calibrate:
        n_turns = args.turns if args.calibrate else _SHORT_CALIBRATION
        for transport in transports:
            calibrations[transport] = _calibrate(transport, clock, n_turns, args.seed)
            show_calibration(console, transport, calibrations[transport])
    if args.calibrate:
        kept = calibrations if args.transport == BOTH else calibrations[args.transport]
        return int(any(one.n_missing for one in calibrations.values())), {"calibration": kept}
    if args.transport == BOTH:
        return _run_both(args, console, calibrations)
    found: dict[str, Any] = {"calibration": calibrations.get(args.transport)}
    plan = _plan(args)
    before = _server_barge_ins(args.url)
    outcome = Outcome(on_turn=lambda turn: _show_turn(console, turn))
    try:
        asyncio.run(measure(plan, lines, clock, outcome=outcome, dial=dial_of(args)))
    except KeyboardInterrupt:
        console.print("[yellow]stopped; what follows is what was measured until then[/]")
    if not any(turn.n_utterances or turn.answer for turn in outcome.turns) and outcome.failures:
        print(f"voicestack bench: {outcome.failures[0]}", file=sys.stderr)
        return 1, None
    found |= figures(plan, outcome)
    if args.barge_in:
        found["barge_in_decision_ms"] = _percentiles_ms(_server_barge_ins(args.url).since(before))
    console.print()
    show(console, found)
    return 0, found


def _plan(args: argparse.Namespace) -> Plan:
    return Plan(
        url=args.url,
        n_turns=args.turns,
        n_callers=args.callers,
        n_interruptions=args.barge_in,
        silence_ms=args.silence_ms,
        rate_per_s=args.rate,
        timeout_ms=args.timeout_ms,
        seed=args.seed,
        max_output_tokens=args.max_output_tokens,
    )


def _run_both(
    args: argparse.Namespace, console: Console, calibrations: dict[str, Calibration]
) -> tuple[int, dict[str, Any] | None]:
    """Ask everything over either transport, in turn, and compare."""
    plan = _plan(args)
    lanes = {
        name: Lane(dial_of(args, name), Outcome(on_turn=partial(_show_turn, console, name=name)))
        for name in (WEBSOCKET, WEBRTC)
    }
    try:
        asyncio.run(measure_lanes(plan, read_folder(args.speech), SystemClock(), list(lanes.values())))
    except KeyboardInterrupt:
        console.print("[yellow]stopped; what follows is what was measured until then[/]")
    runs = {name: figures(plan, lane.outcome) for name, lane in lanes.items()}
    for name, run in runs.items():
        run["calibration"] = calibrations.get(name)
        console.print(f"\n[bold]{name}[/]")
        show(console, run)
    added = compare(lanes[WEBSOCKET].outcome, lanes[WEBRTC].outcome)
    console.print()
    show_added(console, added)
    return int(added.n_pairs == 0), {**runs, "added": added}


async def _knock(args: argparse.Namespace, transport: str) -> None:
    """Fail now rather than after the calibration when nobody is there."""
    await (await dial_of(args, transport)(args.url)).close()


def _calibrate(transport: str, clock: SystemClock, n_turns: int, seed: int) -> Calibration:
    if transport != WEBRTC:
        return asyncio.run(calibrate(clock, n_turns=n_turns, seed=seed))
    from voicestack.cli.rtc_calibration import calibrate_rtc  # aiortc takes half a second to import

    return asyncio.run(calibrate_rtc(clock, n_turns=n_turns, seed=seed))


def _server_barge_ins(url: str) -> Buckets:
    """The server's own account of how fast it falls silent; empty if it keeps none."""
    parts = urlsplit(realtime_url(url))
    try:
        host, key = parts.hostname or "127.0.0.1", os.environ.get(KEY_VARIABLE)
        _, page = asyncio.run(http_get(parts.port or 80, "/metrics", host=host, key=key))
    except NoServer:
        return Buckets({})
    return read_buckets(page, "voicestack_barge_in_seconds")


def _percentiles_ms(found: Buckets) -> dict[str, float] | None:
    p50, p95 = found.quantile(0.50), found.quantile(0.95)
    if p50 is None or p95 is None:
        return None
    return {"n": found.n, "p50": p50 * 1000, "p95": p95 * 1000}


def _show_turn(console: Console, turn: Turn, *, name: str = "") -> None:
    if turn.early:
        result = "[red]early[/]"
    elif turn.wait_ms is None:
        result = "[red]missing[/]"
    else:
        result = f"{turn.wait_ms:.0f} ms"
    console.print(f"{name and f'{name:<10}'}{result:>10}  [dim]{turn.file}[/]", end="  ", highlight=False)
    console.print(turn.heard, style="dim", markup=False, highlight=False, soft_wrap=True)
