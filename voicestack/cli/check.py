"""What does the server run with, and who said so? `voicestack check`."""

import argparse
import json
import os
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voicestack.config.load import Loaded, load
from voicestack.server.needed_models import require_models

ONE_LINE_EACH = 1000
"""Columns in a pipe, so that `voicestack check | grep llm` finds whole values."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument(
        "config", nargs="?", metavar="CONFIG", help="a TOML file or the name of a profile (default: embedded)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set one key, e.g. llm.max_tokens=40"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print every value with its source. Raises ConfigError when it, or a model it names, cannot be used."""
    loaded = load(args.config, env=os.environ, sets=args.set)
    if args.json:
        values = {key: {"value": value, "source": source} for key, value, source in loaded.rows()}
        print(json.dumps(values, indent=2, ensure_ascii=False))
    else:
        in_pipe = not sys.stdout.isatty()
        Console(width=ONE_LINE_EACH if in_pipe else None).print(table_of(loaded))
    sys.stdout.flush()
    require_models(loaded.config)
    return 0


def table_of(loaded: Loaded) -> Table:
    """The values by section; what is not a default stands out."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("key", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("source", overflow="fold")
    section = ""
    for key, value, source in loaded.rows():
        if key.partition(".")[0] != section:
            section = key.partition(".")[0]
            if table.row_count:
                table.add_row()
        style = "dim" if source == "default" else "bold"
        table.add_row(key, Text(json.dumps(value, ensure_ascii=False)), Text(source), style=style)
    return table
