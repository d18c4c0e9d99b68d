"""What can be said to `voicestack gate`?"""

import argparse
from pathlib import Path

from voicestack.cli.gate_record import RECORD
from voicestack.cli.gate_run import PARTS
from voicestack.cli.gate_set import DEFAULT_SET

MEASURE = "measure"
"""`--accept` without a run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.description = (
        "Run a labelled set and callers against a configuration and compare with the last accepted record. "
        "Exit code 0: passed, 1: regressed, 2: it cannot be said."
    )
    parser.add_argument("--config", metavar="PROFILE|FILE", help="as of `serve` (embedded)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set one key, e.g. llm.slots=8"
    )
    parser.add_argument("--record", type=Path, default=RECORD, metavar="FILE", help="(default: %(default)s)")
    parser.add_argument(
        "--accept",
        nargs="?",
        const=MEASURE,
        metavar="RUN",
        help="write this run into --record; with RUN, a file of --out, write that one and measure nothing",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write this run, accepted or not")
    parser.add_argument("--labelled", type=Path, default=DEFAULT_SET, metavar="DIR", help="another set")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a part of the set, and few turns")
    parser.add_argument(
        "--strict", action="store_true", help="let times fail that were accepted on another machine"
    )
    parser.add_argument(
        "--ear",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the recogniser that hears the voice: as --set",
    )
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="KEY=VALUE|URL",
        help="greedy answers must be the same as with this (default: without speculation, if there is any)",
    )
    _add_load_arguments(parser)
    parser.add_argument("--verbose", action="store_true", help="show every answer")


def _add_load_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--capacity",
        metavar="N|configured|measured",
        help="callers that the server can take; 1.2 times as many are the last level "
        "(default: as in the record, else measured)",
    )
    parser.add_argument(
        "--levels", type=_count, nargs="+", default=[], metavar="N", help="these numbers of callers instead"
    )
    parser.add_argument("--repeats", type=_count, help="of all levels (default: 3, with --quick 1)")
    parser.add_argument(
        "--timeout-ms", type=_count, default=5000, help="a later answer is missing (default: %(default)s)"
    )
    parser.add_argument(
        "--start-s",
        type=float,
        default=600.0,
        help="engines may take so long to become ready (default: %(default)s)",
    )


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value
