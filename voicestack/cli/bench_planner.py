"""`voicestack bench planner`: how far is what the planner does from what would have been best?

Recorded turns (see `planner_trace`) are gone through again, in their order, with so much of the budget left
when the language model is asked. Four decide, about the same turns in the same run:

- `oracle`: knows what everything will take; the best that could have been done.
- `forecasts`: the planner, as sessions use it, with forecasts from what earlier turns took.
- `thresholds`: the same planner; a stage is expected to take its share of the budget and given up after that.
- `nothing`: no rung is ever taken.

What the other replica takes is what another recorded turn took under the same load; both are the same model
on one machine, so a hedge costs it nothing here. `--record` writes a recording of your engines.
"""

import argparse
import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from voicestack.aio.clock import SystemClock
from voicestack.cli.planner_replay import (
    Case,
    Decide,
    Planned,
    Score,
    best,
    cases_of,
    kept_ratio,
    nothing,
    score,
)
from voicestack.cli.planner_trace import Served, read_trace, record, write_trace
from voicestack.config.derived import budget_of
from voicestack.config.load import load
from voicestack.core.budget import Budget

SUMMARY = "the planner against an oracle, on recorded turns"
TRACE = Path(__file__).parent / "planner_data" / "embedded.jsonl"
"""The profile `embedded` on two cores: 1, 2, 4, 8 and again 1 turns at once."""
LOADS = (1, 2, 4, 8, 1)
PATIENT = ("llm.first_token_ms=60000", "llm.token_gap_ms=60000")
"""A turn that takes long is what is looked for."""
REMAINING_MS = (200, 400, 700, 1_000)
"""The profile `embedded` asks its language model about 700 ms before the budget's end for a draft, and 200
for the words that are known at the end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument("--trace", type=Path, default=TRACE, metavar="FILE", help="recorded turns")
    parser.add_argument("--config", default=None, metavar="PROFILE|FILE", help="as of `serve` (embedded)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set one key")
    parser.add_argument(
        "--remaining-ms",
        type=float,
        nargs="+",
        default=REMAINING_MS,
        metavar="MS",
        help="what is left of the budget when the language model is asked (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="record --trace first, from the engines")
    parser.add_argument("--turns", type=int, default=60, help="to record at each load (default: %(default)s)")
    parser.add_argument(
        "--loads",
        type=int,
        nargs="+",
        default=LOADS,
        metavar="N",
        help="turns at once (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Measure. Returns the exit code and the figures.

    Raises:
        ConfigError: the recording cannot be read, or the engines cannot be had.
    """
    console = Console()
    config = load(args.config, env=os.environ, sets=[*PATIENT, *args.set]).config
    if args.record:
        turns = asyncio.run(record(config, SystemClock(), args.loads, args.turns, console.print))
        write_trace(args.trace, turns)
    turns = read_trace(args.trace)
    found = figures(turns, budget_of(config), args.remaining_ms, args.seed)
    _show(console, found)
    return 0, found


def figures(
    turns: Sequence[Served], budget: Budget, remaining_ms: Sequence[float], seed: int
) -> dict[str, Any]:
    """All scores, by what is left of the budget and who decides."""
    cases = cases_of(turns, seed)
    return {
        "n_turns": len(cases),
        "kept_ratio": kept_ratio(cases, budget),
        "scores": {
            f"{left_ms:g}": {name: asdict(one) for name, one in _scores(cases, budget, left_ms).items()}
            for left_ms in remaining_ms
        },
    }


def _scores(cases: Sequence[Case], budget: Budget, remaining_ms: float) -> dict[str, Score]:
    deciders: dict[str, Decide] = {
        "oracle": best,
        "forecasts": Planned(budget, measured=True),
        "thresholds": Planned(budget, measured=False),
        "nothing": nothing,
    }
    return {name: score(cases, decide, remaining_ms) for name, decide in deciders.items()}


def _show(console: Console, found: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("left", "who decides", "missed", "mean rung", "regret"):
        table.add_column(title, justify="left" if title == "who decides" else "right")
    for left_ms, scores in found["scores"].items():
        for name, one in scores.items():
            table.add_row(
                f"{left_ms} ms" if name == "oracle" else "",
                name,
                f"{one['missed_ratio']:.1%}",
                f"{one['mean_place']:.2f}",
                f"{one['regret']:.3f}",
            )
        table.add_row()
    console.print(table)
    console.print(
        f"{found['n_turns']} turns. Forecasts of the 95th percentile at the beginning were kept in "
        f"{found['kept_ratio']:.1%} of them."
    )
