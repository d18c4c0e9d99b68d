"""`voicestack keys`: who may come in?"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table

from voicestack.access.key_file import KeyFile
from voicestack.access.keys import Key, Terms, mint
from voicestack.access.principal import DEFAULT_TENANT
from voicestack.aio.clock import local_day, unix_s
from voicestack.config.load import load
from voicestack.server.lifecycle import keys_file_of

UNIT_S: Mapping[str, int] = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
SPAN = re.compile(r"([1-9][0-9]{0,5})([mhdw])")


def span_s(text: str) -> int:
    """`30d`: seconds. Minutes, hours, days or weeks."""
    form = SPAN.fullmatch(text)
    if form is None:
        raise argparse.ArgumentTypeError(f"write a time such as 12h, 30d or 8w, not {text!r}")
    return int(form[1]) * UNIT_S[form[2]]


def at_least_one(text: str) -> int:
    """A whole number that is at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"write a whole number from 1, not {text!r}")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.description = "API keys: who may come in. A running server follows within a second."
    parser.add_argument(
        "--config", metavar="PROFILE|FILE", help="whose keys, if it names an access.keys_file"
    )
    does = parser.add_subparsers(dest="what", required=True, metavar="create | list | revoke")
    create = does.add_parser("create", help="make a key; it is shown once")
    create.add_argument("--tenant", default=DEFAULT_TENANT, help="whose it is (default: %(default)s, yours)")
    create.add_argument("--name", default="", help="what you call it")
    create.add_argument("--expires", type=span_s, metavar="30d", help="when it ends (default: never)")
    create.add_argument("--max-sessions", type=at_least_one, metavar="N", help="sessions at once at most")
    create.add_argument(
        "--requests-per-minute", type=at_least_one, metavar="N", help="new sessions and requests at most"
    )
    create.add_argument("--responses-per-minute", type=at_least_one, metavar="N", help="replies at most")
    create.add_argument(
        "--tokens-per-minute", type=at_least_one, metavar="N", help="tokens of the language model at most"
    )
    does.add_parser("list", help="show all keys, without their secrets")
    revoke = does.add_parser("revoke", help="end a key and the sessions that it opened")
    revoke.add_argument("id", metavar="ID", help="as `list` shows it")


def run(args: argparse.Namespace) -> int:
    """Do it. Returns 0, or 1 for a key that is not there, or 2 for one that cannot be."""
    file = keys_file_of(load(args.config, env=os.environ, sets=[]).config)
    does: Mapping[str, Callable[[KeyFile, argparse.Namespace], int]] = {
        "create": _create,
        "list": _list,
        "revoke": _revoke,
    }
    return does[args.what](file, args)


def _create(file: KeyFile, args: argparse.Namespace) -> int:
    now_s = unix_s()
    terms = Terms(
        tenant=args.tenant,
        name=args.name,
        expires_at_s=None if args.expires is None else now_s + args.expires,
        max_sessions=args.max_sessions,
        requests_per_minute=args.requests_per_minute,
        responses_per_minute=args.responses_per_minute,
        tokens_per_minute=args.tokens_per_minute,
    )
    try:
        made = mint(terms, now_s)
    except ValueError as wrong:
        print(f"voicestack keys: {wrong}", file=sys.stderr)
        return 2
    file.change(lambda ring: ring.with_key(made.key))
    print(made.secret)
    print(
        f"Key {made.key.id} of tenant {made.key.tenant}. It is shown this once: {file.path} holds its hash.\n"
        "From now on this server asks for a key. Clients send it as their OpenAI API key.",
        file=sys.stderr,
    )
    return 0


def _list(file: KeyFile, _: argparse.Namespace) -> int:
    ring = file.read()
    if not ring:
        state = "no keys, and everybody is let in" if ring is None else "no keys, and nobody is let in"
        print(f"There are {state} (they would be in {file.path}).")
        return 0
    table = Table(box=None, pad_edge=False)
    for title in ("id", "tenant", "name", "made", "ends", "sessions", "requests", "replies", "tokens"):
        table.add_column(title)
    for key in ring:
        table.add_row(*_row(key))
    Console().print(table)
    return 0


def _row(key: Key) -> tuple[str, ...]:
    ends = "never" if key.expires_at_s is None else local_day(key.expires_at_s)
    if not key.is_valid(unix_s()):
        ends = f"ended {ends}"
    a_minute = (key.requests_per_minute, key.responses_per_minute, key.tokens_per_minute)
    limits = ("" if limit is None else str(limit) for limit in (key.max_sessions, *a_minute))
    return (key.id, key.tenant, key.name, local_day(key.created_at_s), ends, *limits)


def _revoke(file: KeyFile, args: argparse.Namespace) -> int:
    ring = file.read()
    if ring is None or ring.named(args.id) is None:
        print(
            f"voicestack keys: there is no key {args.id}; `voicestack keys list` shows them", file=sys.stderr
        )
        return 1
    file.change(lambda now: now.without(args.id))
    print(f"Key {args.id} is revoked. The sessions that it opened end within a second or two.")
    return 0
