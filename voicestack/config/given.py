"""What does a TOML file say, and on which line? Keys with their values and places, and mistakes in words."""

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voicestack.config.lines import KeyPath, key_lines, leaves
from voicestack.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody gave.

    Attributes:
        value: As it was given.
        where: The place, as a person would look it up.
        as_text: It has no type yet (from the environment or the command line).
    """

    value: Any
    where: str
    as_text: bool = False


def from_file(path: Path, tables: Collection[KeyPath] = ()) -> dict[KeyPath, Given]:
    """All keys of a file.

    Args:
        path: It.
        tables: Keys whose value is a table.

    Raises:
        ConfigError: it cannot be read.
    """
    shown = str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    try:
        text = path.read_bytes().decode()
        tree = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{shown}: {(error.strerror or 'cannot be read').lower()}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{shown}:{line}: not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_problem(shown, text, str(error))) from None
    lines = key_lines(text.replace("\r\n", "\n"))
    return {
        key: Given(value, f"{shown}:{_line_of(key, lines)}") for key, value in leaves(tree, tables=tables)
    }


def did_you_mean(word: str, words: Sequence[str], cutoff: float = 0.75) -> str:
    """The nearest of the words as a question; empty if none is near."""
    close = difflib.get_close_matches(word, words, n=1, cutoff=cutoff)
    return f"; did you mean {close[0]}?" if close else ""


def in_words(message: str) -> str:
    """What pydantic says of a value, to be put after the key."""
    message = message.removeprefix("Input ")
    return message[:1].lower() + message[1:]


def _line_of(key: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    """The line of the key, or of the nearest thing around it that has one."""
    return next((lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in lines), 1)


def _syntax_problem(shown: str, text: str, message: str) -> str:
    at = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if at is None:
        return f"{shown}: {message}"
    line = int(at[1]) if at[1] else text.rstrip().count("\n") + 1
    return f"{shown}:{line}: {message[: at.start()]}"
