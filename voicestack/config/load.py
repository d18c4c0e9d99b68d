"""What is the configuration, and who said so? A TOML file, then the environment, then `--set`; later wins.

::

    configs/embedded.toml        [llm]
                                 slots = 4
    environment                  VOICESTACK__LLM__SLOTS=4
    command line                 --set llm.slots=4

Every mistake is a `ConfigError` that names the place (file and line, variable, or option) and the key; all
mistakes are named at once.
"""

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

from voicestack.config.budgets import Budgets, Entry, check_budgets, profile_given, read_budgets
from voicestack.config.given import Given, did_you_mean, from_file, in_words
from voicestack.config.keys import GROUPS, KEYS, SECTIONS, TABLES, group_of, in_group, key_of, shown_paths
from voicestack.config.lines import KeyPath, leaves
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError

DEFAULT_PROFILE = "embedded"
ENV_PREFIX = "VOICESTACK__"
MASK = "***"
_PASSWORD = re.compile(r"(://[^/@:\s]*:)[^/@\s]+@")
"""In a URL."""
BUDGETS_FILE = "budgets.toml"

_PACKAGE = Path(__file__).resolve().parent.parent
PROFILE_DIRS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
"""Inside the installed package, or beside it in a checkout."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The configuration, the source of every value by its dotted key, and what holds for some turns only."""

    config: Config
    sources: Mapping[str, str]
    budgets: Sequence[Entry] = ()

    def rows(self) -> list[tuple[str, Any, str]]:
        """Every key with its value and source, in the schema's order; secrets are masked.

        After them what the budgets of tenants and routes say, as `budgets.NAME.KEY`.
        """
        paths = [path for key in KEYS for path in shown_paths(self.config, key)]
        keys = [(".".join(path), _shown(self.config, path), self.sources[".".join(path)]) for path in paths]
        return keys + [row for entry in self.budgets if entry.is_of_some for row in entry.rows()]


def load(path_or_profile: str | None, *, env: Mapping[str, str], sets: Sequence[str]) -> Loaded:
    """Read the configuration.

    Args:
        path_or_profile: A TOML file, or the name of a profile; None for the default profile.
        env: The environment; only names that begin with `VOICESTACK__` are looked at.
        sets: `section.key=value`, one per `--set`.

    Raises:
        ConfigError: it cannot be read, has unknown keys, or values that cannot be.
    """
    given = from_file(find(path_or_profile or DEFAULT_PROFILE), TABLES - GROUPS.keys())
    given = {path: it for path, it in given.items() if path not in GROUPS}
    given |= _from_env(env)
    given |= _from_sets(sets)
    budgets = read_budgets(_budgets_file(_text_at(("budget", "file"), given)))
    given = profile_given(budgets, _text_at(("profile",), given)) | given
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
    check_budgets(config, budgets)
    paths = [path for key in KEYS for path in shown_paths(config, key)]
    sources = {".".join(path): given[path].where if path in given else "default" for path in paths}
    return Loaded(config, sources, budgets)


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
    hint = did_you_mean(path_or_profile, names)
    raise ConfigError(f"there is no profile '{path_or_profile}'{hint} (profiles: {', '.join(names)})")


def profiles() -> list[str]:
    """The names of the profiles that come with voicestack."""
    paths = [path for directory in PROFILE_DIRS for path in directory.glob("*.toml")]
    return sorted({path.stem for path in paths if path.name != BUDGETS_FILE})


def budgets_of(config: Config) -> Budgets:
    """What each tenant's turns may take, by each route.

    Raises:
        ConfigError: the file of budgets cannot be read, or something in it cannot be.
    """
    return Budgets(config, read_budgets(_budgets_file(config.budget.file)))


def _budgets_file(name: str) -> Path | None:
    """The file of that name; without one that beside the profiles, if it is there."""
    if name:
        return Path(name)
    paths = [directory / BUDGETS_FILE for directory in PROFILE_DIRS]
    return next((path for path in paths if path.is_file()), None)


def _text_at(path: KeyPath, given: Mapping[KeyPath, Given]) -> str:
    """A text that must be known before all values are checked."""
    value = given[path].value if path in given else KEYS[path].default
    return value if isinstance(value, str) else ""


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
        return f"unknown key {key}{did_you_mean(path[-1], list(names), cutoff=0.6)}"
    if path in SECTIONS or path in GROUPS:
        return f"{key} is a section, not a value"
    known_keys = [".".join(known) for known in KEYS]
    moved = [known for known in known_keys if known.rpartition(".")[2] == path[-1]]
    return f"unknown key {key}{did_you_mean(key, known_keys) or did_you_mean(key, moved, cutoff=0)}"


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
    message = in_words(details["msg"])
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
    if isinstance(value, str):
        return _PASSWORD.sub(rf"\1{MASK}@", value)
    return list(value) if isinstance(value, tuple) else value
