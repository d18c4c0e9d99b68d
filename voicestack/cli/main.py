"""Which command was typed, and what does its end mean to the shell?

Exit codes: 0 done, 1 a `VoiceStackError` (its code is printed) or what the command calls a failure,
2 wrong usage or a configuration that cannot be used, 130 stopped by Ctrl-C.
"""

import argparse
import difflib
import importlib
import os
import platform
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from voicestack import __version__
from voicestack.core.errors import ConfigError, VoiceStackError

USAGE_ERROR, INTERRUPTED = 2, 130

GROUPS = {
    "Talk": {
        "serve": "run the server",
        "keys": "make, list and revoke API keys: who may come in",
        "ledger": "bring the store of turns up to date",
        "models": "fetch and check the models that engines load",
        "talk": "speak to it, with a WAV file or the microphone, and hear the answer",
    },
    "Look": {
        "check": "print the configuration: every value and where it comes from",
        "doctor": "what is installed, what is missing, and the command that installs it",
        "replay": "decide a recorded call again and show the first difference",
        "bench": "measure latency, accuracy and capacity",
        "gate": "is this configuration as good and as quick as the accepted one?",
    },
}
"""The commands with what they do. `--help` is made of this, so that it imports none of them."""

COMMANDS = {name: summary for group in GROUPS.values() for name, summary in group.items()}

EXAMPLES = """\
Examples
  voicestack serve                      serve on http://127.0.0.1:8080
  voicestack serve --set llm.slots=8    the same, with one key changed
  voicestack talk question.wav          ask it something
  voicestack check my.toml              is this configuration right?

`voicestack COMMAND --help` says more about a command."""


class Command(Protocol):
    """What the module of a command holds."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare what `run` reads."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do it. Returns the exit code."""
        ...


def run_command(argv: Sequence[str]) -> int:
    """Run the command that `argv` begins with. Returns the exit code."""
    name, *rest = argv or ["--help"]
    if name in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if name in ("-V", "--version"):
        print(f"voicestack {__version__} (Python {platform.python_version()})")
        return 0
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else "`voicestack --help` lists the commands"
        return _fail(f"there is no command '{name}'; {hint}", USAGE_ERROR)
    try:
        return _run(name, rest)
    except ConfigError as error:
        return _fail(str(error), USAGE_ERROR)
    except VoiceStackError as error:
        return _fail(f"{error} [{error.code}]", 1)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `voicestack check | head`: whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def help_text() -> str:
    """What `voicestack --help` prints."""
    lines = [f"voicestack {__version__}: a voice agent that you run yourself", ""]
    lines += ["Usage: voicestack COMMAND [options]", ""]
    for title, commands in GROUPS.items():
        lines += [title, *(f"  {name:<9}{summary}" for name, summary in commands.items()), ""]
    return "\n".join([*lines, EXAMPLES])


def _run(name: str, argv: Sequence[str]) -> int:
    try:
        command = cast(Command, importlib.import_module(f"voicestack.cli.{name}"))
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing == "voicestack":  # not a package that somebody forgot to install
            raise
        return _fail(f"'{name}' needs the Python package {missing}; try `voicestack doctor`", 1)
    parser = argparse.ArgumentParser(prog=f"voicestack {name}", description=f"{COMMANDS[name].capitalize()}.")
    command.add_arguments(parser)
    code = command.run(parser.parse_args(argv))
    sys.stdout.flush()
    return code


def _fail(message: str, code: int) -> int:
    print("\n".join(f"voicestack: {line}" for line in message.split("\n")), file=sys.stderr)
    return code
