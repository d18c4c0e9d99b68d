"""How are words said that a voice gets wrong? As a TOML file says.

A table per language, and `all` for every language; words on the left, on the right a respelling or, in double
brackets, the phonemes (IPA as eSpeak NG writes it):

    [all]
    "Nginx" = "engine x"
    [en]
    "gif" = "[[dʒˈɪf]]"
    [en-GB]
    "schedule" = "[[ʃˈɛdjuːl]]"

A word in lower case is found however it is written, any other only as it is written.
"""

# ruff: noqa: RUF002 (phonemes are the subject)

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from voicestack.core.errors import ConfigError
from voicestack.engines.spoken.rules import Rule

MAX_SAID_CHARS = 200
"""Of one entry; it is a pronunciation, not a text."""

_PHONEMES = re.compile(r"\[\[[^\[\]]+\]\]")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Pronunciations: language ("all", "en", "en-gb") -> word -> how it is said."""

    tables: Mapping[str, Mapping[str, str]]

    def rules(self, tag: str) -> list[Rule]:
        """The rules for a language like "en-us" or "de_DE"; the most special table wins."""
        tag = tag.lower().replace("_", "-")
        parts = tag.split("-")
        names = list(dict.fromkeys([tag, "-".join(parts[:2]), parts[0], "all"]))
        return [rule for name in names for rule in _rules_of(self.tables.get(name, {}))]


EMPTY = Lexicon({})


def read_lexicon(path: Path) -> Lexicon:
    """Read a lexicon file.

    Raises:
        ConfigError: it cannot be read, or an entry cannot be used.
    """
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"piper.lexicon: {path}: {error}") from error
    tables: dict[str, dict[str, str]] = {}
    for name, table in found.items():
        if not isinstance(table, dict):
            raise ConfigError(f"piper.lexicon: {path}: '{name}' stands outside of a table like [en] or [all]")
        tables[name.lower().replace("_", "-")] = {
            word: _entry(path, word, said) for word, said in table.items()
        }
    return Lexicon(tables)


def _entry(path: Path, word: str, said: object) -> str:
    if not isinstance(said, str) or not 0 < len(said) <= MAX_SAID_CHARS or not word.strip():
        raise ConfigError(f"piper.lexicon: {path}: '{word}' should be said as a text of 1 to 200 characters")
    if "[[" in _PHONEMES.sub("", said) or "]]" in _PHONEMES.sub("", said):
        raise ConfigError(f"piper.lexicon: {path}: '{word}': phonemes stand in [[ ]], and not in one another")
    return said


def _rules_of(table: Mapping[str, str]) -> list[Rule]:
    """One rule for what is found as it is written, one for what is found in any case."""
    rules: list[Rule] = []
    for any_case in (False, True):
        words = [word for word in table if word.islower() is any_case]
        if not words:
            continue
        pattern = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
        flags = re.IGNORECASE if any_case else 0
        rules.append(
            (re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", flags), lambda found: table[_key(found[0], table)])
        )
    return rules


def _key(written: str, table: Mapping[str, str]) -> str:
    return written if written in table else written.lower()
