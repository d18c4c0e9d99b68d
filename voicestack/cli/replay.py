"""Does the turn machine still decide as it did in these calls? `voicestack replay`."""

import argparse
import sys
from pathlib import Path

from voicestack.turn.actions import Action
from voicestack.turn.replay import BrokenRecording, Difference, replay

DIFFERENT, UNREADABLE = 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument("calls", nargs="+", type=Path, metavar="CALL.jsonl", help="recorded calls")
    parser.epilog = (
        "The server records calls when telemetry.record_dir is set. "
        "Exit code: 0 all identical, 1 a call is decided differently, 2 a file is not a recording."
    )


def run(args: argparse.Namespace) -> int:
    """Replay each call. Returns the worst that came of it."""
    return max(_replay_file(path) for path in args.calls)


def _replay_file(path: Path) -> int:
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            result = replay(lines)
    except OSError as error:
        print(f"{path}: {(error.strerror or 'cannot be read').lower()}", file=sys.stderr)
        return UNREADABLE
    except UnicodeDecodeError:
        print(f"{path}: this is not a recorded call: not text", file=sys.stderr)
        return UNREADABLE
    except BrokenRecording as error:
        print(f"{path}: {error}", file=sys.stderr)
        return UNREADABLE
    if result.difference is not None:
        print(f"{path}: different at event {result.difference.index}")
        print(describe(result.difference))
        return DIFFERENT
    events = "1 event" if result.n_events == 1 else f"{result.n_events} events"
    cut_off = "; the last line is incomplete and was left out" if result.cut_off else ""
    print(f"{path}: identical over {events}{cut_off}")
    return 0


def describe(difference: Difference) -> str:
    """The first difference, for a person."""
    return "\n".join(
        [
            f"  line    {difference.line}",
            f"  state   {difference.before}",
            f"  event   {difference.event}",
            f"  then    {_actions(difference.expected)}",
            f"  now     {_actions(difference.got)}",
        ]
    )


def _actions(actions: tuple[Action, ...]) -> str:
    return ", ".join(map(str, actions)) or "nothing"
