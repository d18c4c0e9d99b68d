"""`voicestack ledger`: the store of turns."""

import argparse
import os

from voicestack.config.load import load
from voicestack.core.errors import ConfigError
from voicestack.server.lifecycle import keys_file_of
from voicestack.telemetry.store.database import Database
from voicestack.telemetry.store.failures import FAULTS, code_of, first_line
from voicestack.telemetry.store.place import url_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.description = "The store of turns, as `ledger.store` says."
    parser.add_argument("--config", metavar="PROFILE|FILE", help="whose ledger")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set one key")
    does = parser.add_subparsers(dest="what", required=True, metavar="migrate")
    does.add_parser("migrate", help="bring the tables up to date; `serve` does it, too, when it starts")


def run(args: argparse.Namespace) -> int:
    """Do it. Returns 0.

    Raises:
        ConfigError: there is no store, or it cannot be used.
    """
    config = load(args.config, env=os.environ, sets=args.set).config
    url = url_of(config.ledger.store, keys_file_of(config).path)
    if url is None:
        raise ConfigError("ledger.store is empty: there is no store")
    database = Database(url)
    try:
        database.migrate()
    except FAULTS as error:
        raise ConfigError(
            f"ledger.store {database.shown} cannot be used: {first_line(error)}  [{code_of(error)}]"
        ) from None
    finally:
        database.close()
    print(f"{database.shown} is up to date.")
    return 0
