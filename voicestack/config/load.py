"""What is the configuration, and who said so? A TOML file, then the environment, then `--set`; later wins.

::

    configs/embedded.toml        [llm]
                                 slots = 4
    environment                  VOICESTACK__LLM__SLOTS=4
    command line                 --set llm.slots=4

Every mistake is a `ConfigError` that names the place (file and line, variable, or option) and the key; all
mistakes are named at once.
"""

import difflib
import re
import reprlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_origin

from pydantic import SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from voicestack.config.keys import GROUPS, KEYS, SECTIONS, TABLES, group_of, in_group, key_of, shown_paths
from voicestack.config.lines import KeyPath, key_lines, leaves
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError

DEFAULT_PROFILE = "embedded"
ENV_PREFIX = "VOICESTACK__"
MASK = "***"

_PACKAGE = Path(__file__).resolve().parent.parent
PROFILE_DIRS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
"""Inside the installed package, or beside it in a checkout."""


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


@dataclass(frozen=True, slots=True)
class Loaded:
    """The configuration, and the source of every value by its dotted key."""

    config: Config
    sources: Mapping[str, str]

    def rows(self) -> list[tuple[str, Any, str]]:
        """Every key with its value and source, in the schema's order; secrets are masked."""
        paths = [path for key in KEYS for path in shown_paths(self.config, key)]
        return [(".".join(path), _shown(self.config, path), self.sources[".".join(path)]) for path in paths]


def load(path_or_profile: str | None, *, env: Mapping[str, str], sets: Sequence[str]) -> Loaded:
    """Read the configuration.

    Args:
        path_or_profile: A TOML file, or the name of a profile; None for the default profile.
        env: The environment; only names that begin with `VOICESTACK__` are looked at.
        sets: `section.key=value`, one per `--set`.

    Raises:
        ConfigError: it cannot be read, has unknown keys, or values that cannot be.
    """
    given = _from_file(find(path_or_profile or DEFAULT_PROFILE))
    given |= _from_env(env)
    given |= _from_sets(sets)
    given = {path: it for path, it in given.items() if path not in SECTIONS or it.value != {}}
    problems = [f"{it.where}: {_unknown(path)}" for path, it in given.items() if key_of(path) is None]
    tree: dict[str, Any] = {}
    for path, it in given.items():
        if (info := key_of(path)) is not None:
            try:
                value = _typed(it.value, info) if it.as_text else it.value
            except ValidationError as error:
                problems.append(_problem(error.errors()[0], path, given))
                continue
            table = tree
            for name in path[:-1]:
                table = table.setdefault(name, {})
            table[path[-1]] = value
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        problems += [_problem(details, cast(KeyPath, details["loc"]), given) for details in error.errors()]
    if problems:
        raise ConfigError("\n".join(problems))
    paths = [path for key in KEYS for path in shown_paths(config, key)]
    sources = {".".join(path): given[path].where if path in given else "default" for path in paths}
    return Loaded(config, sources)


def find(path_or_profile: str) -> Path:
    """The file of a profile, or the file itself.

    Raises:
        ConfigError: there is no such profile.
    """
    if path_or_profile.endswith(".toml") or "/" in path_or_profile:
        return Path(path_or_profile)
    for directory in PROFILE_DIRS:
        path = directory / f"{path_or_profile}.toml"
        if path.is_file():
            return path
    names = profiles()
    hint = _did_you_mean(path_or_profile, names)
    raise ConfigError(f"there is no profile '{path_or_profile}'{hint} (profiles: {', '.join(names)})")


def profiles() -> list[str]:
    """The names of the profiles that come with voicestack."""
    return sorted({path.stem for directory in PROFILE_DIRS for path in directory.glob("*.toml")})


def _from_file(path: Path) -> dict[KeyPath, Given]:
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
        key: Given(value, f"{shown}:{_line_of(key, lines)}")
        for key, value in leaves(tree, tables=TABLES - GROUPS.keys())
        if key not in GROUPS
    }


def _line_of(key: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    """The line of the key, or of the nearest thing around it that has one."""
    return next((lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in lines), 1)


def _syntax_problem(shown: str, text: str, message: str) -> str:
    at = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if at is None:
        return f"{shown}: {message}"
    line = int(at[1]) if at[1] else text.rstrip().count("\n") + 1
    return f"{shown}:{line}: {message[: at.start()]}"


def _from_env(env: Mapping[str, str]) -> dict[KeyPath, Given]:
    given: dict[KeyPath, Given] = {}
    for name, value in env.items():
        if name.startswith(ENV_PREFIX):
            path = tuple(name.removeprefix(ENV_PREFIX).lower().split("__"))
            given |= _ungrouped(in_group(path), Given(value, f"env {name}", as_text=True))
    return given


def _from_sets(sets: Sequence[str]) -> dict[KeyPath, Given]:
    given: dict[KeyPath, Given] = {}
    for item in sets:
        key, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"--set {item}: write --set section.key=value")
        given |= _ungrouped(tuple(key.strip().split(".")), Given(value, "--set", as_text=True))
    return given


def _ungrouped(path: KeyPath, it: Given) -> dict[KeyPath, Given]:
    """A whole table of named sections, written as in TOML, as its values one by one."""
    if path not in GROUPS and path[:-1] not in GROUPS:
        return {path: it}
    try:
        tree = tomllib.loads(f"value = {it.value}")["value"]
    except tomllib.TOMLDecodeError:
        tree = None
    if not isinstance(tree, dict):
        raise ConfigError(f"{it.where}: {'.'.join(path)} should be a table as in TOML, not a text")
    return {(*path, *key): Given(value, it.where) for key, value in leaves(tree)}


def _typed(text: str, info: FieldInfo) -> object:
    """A value that came as text, as the type that the key has. Lists and tables are written as in TOML."""
    kind: TypeAdapter[object] = TypeAdapter(info.annotation or str)
    if get_origin(info.annotation) in (tuple, dict):
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        return kind.validate_python(value)
    return kind.validate_python(text)


def _unknown(path: KeyPath) -> str:
    key = ".".join(path)
    if group := group_of(path):
        names = GROUPS[group].model_fields
        return f"unknown key {key}{_did_you_mean(path[-1], list(names), cutoff=0.6)}"
    if path in SECTIONS or path in GROUPS:
        return f"{key} is a section, not a value"
    known_keys = [".".join(known) for known in KEYS]
    moved = [known for known in known_keys if known.rpartition(".")[2] == path[-1]]
    return f"unknown key {key}{_did_you_mean(key, known_keys) or _did_you_mean(key, moved, cutoff=0)}"


def _did_you_mean(word: str, words: Sequence[str], cutoff: float = 0.75) -> str:
    close = difflib.get_close_matches(word, words, n=1, cutoff=cutoff)
    return f"; did you mean {close[0]}?" if close else ""


def _problem(details: ErrorDetails, path: KeyPath, given: Mapping[KeyPath, Given]) -> str:
    """One line about one value that cannot be."""
    ctx = details.get("ctx", {})
    value = details["input"]
    where = [given[path[:n]].where for n in range(len(path), 0, -1) if path[:n] in given]
    if details["type"] == "section":
        section, value = path, ctx["value"]
        path = (*section, ctx["key"])
        suspects = [path, *((*section, key) for key in ctx["because"])]
        where = [given[suspect].where for suspect in suspects if suspect in given]
        if len(section) > 1:  # a section with a name of its own: whatever else was said of it
            where += [it.where for key, it in given.items() if key[: len(section)] == section]
    message = details["msg"].removeprefix("Input ")
    message = message[:1].lower() + message[1:]
    info = key_of(path)
    secret = (info is not None and info.annotation is SecretStr) or "@" in str(value)
    key = ".".join(str(part) for part in path)
    return (
        f"{where[0] if where else 'default'}: {key} {message}, not {MASK if secret else reprlib.repr(value)}"
    )


def _shown(config: Config, path: KeyPath) -> Any:
    value: Any = config
    for name in path:
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    return list(value) if isinstance(value, tuple) else value
