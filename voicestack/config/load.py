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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_origin

from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

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
        return [(".".join(path), _shown(self.config, path), self.sources[".".join(path)]) for path in KEYS]


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
    problems = [f"{it.where}: {_unknown(path)}" for path, it in given.items() if path not in KEYS]
    tree: dict[str, Any] = {}
    for path, it in given.items():
        if path in KEYS:
            try:
                value = _typed(it.value, KEYS[path]) if it.as_text else it.value
            except ValidationError as error:
                problems.append(_problem(error.errors()[0], path, given))
                continue
            table = tree.setdefault(path[0], {}) if len(path) > 1 else tree
            table[path[-1]] = value
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        problems += [_problem(details, cast(KeyPath, details["loc"]), given) for details in error.errors()]
    if problems:
        raise ConfigError("\n".join(problems))
    sources = {".".join(path): given[path].where if path in given else "default" for path in KEYS}
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


def _keys(model: type[BaseModel], above: KeyPath = ()) -> Iterator[tuple[KeyPath, FieldInfo]]:
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _keys(info.annotation, (*above, name))
        else:
            yield (*above, name), info


KEYS: Mapping[KeyPath, FieldInfo] = dict(_keys(Config))
"""Every key there is, in the order of the schema."""

TABLES = frozenset(path for path, info in KEYS.items() if get_origin(info.annotation) is dict)
"""The keys whose value is a table."""

SECTIONS = frozenset(path[:-1] for path in KEYS)
"""Every table that keys are in."""


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
        key: Given(value, f"{shown}:{_line_of(key, lines)}") for key, value in leaves(tree, tables=TABLES)
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
    return {
        tuple(name.removeprefix(ENV_PREFIX).lower().split("__")): Given(value, f"env {name}", as_text=True)
        for name, value in env.items()
        if name.startswith(ENV_PREFIX)
    }


def _from_sets(sets: Sequence[str]) -> dict[KeyPath, Given]:
    given = {}
    for item in sets:
        key, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"--set {item}: write --set section.key=value")
        given[tuple(key.strip().split("."))] = Given(value, "--set", as_text=True)
    return given


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
    if path in SECTIONS:
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
        section, value = path[0], ctx["value"]
        path = (section, ctx["key"])
        suspects = [path, *((section, key) for key in ctx["because"])]
        where = [given[suspect].where for suspect in suspects if suspect in given]
    message = details["msg"].removeprefix("Input ")
    message = message[:1].lower() + message[1:]
    info = KEYS.get(path)
    secret = (info is not None and info.annotation is SecretStr) or "@" in str(value)
    key = ".".join(str(part) for part in path)
    return (
        f"{where[0] if where else 'default'}: {key} {message}, not {MASK if secret else reprlib.repr(value)}"
    )


def _shown(config: Config, path: KeyPath) -> Any:
    value: Any = config
    for name in path:
        value = getattr(value, name)
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    return list(value) if isinstance(value, tuple) else value
