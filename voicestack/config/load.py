"""What is the configuration, and who said so? A TOML file, then the environment, then `--set`; later wins.

::

    configs/embedded.toml        [llm]
                                 slots = 4
    environment                  VOICESTACK__LLM__SLOTS=4
    command line                 --set llm.slots=4

Every mistake is a `ConfigError` that names the place (file and line, variable, or option) and the key; all
mistakes are named at once.
"""

import reprlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_origin

from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from voicestack.config.budgets import Budgets, Entry, check_budgets, profile_given, read_budgets
from voicestack.config.given import Given, did_you_mean, from_file, in_words
from voicestack.config.lines import KeyPath
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError

DEFAULT_PROFILE = "embedded"
ENV_PREFIX = "VOICESTACK__"
MASK = "***"
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
        keys = [(".".join(path), _shown(self.config, path), self.sources[".".join(path)]) for path in KEYS]
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
    given = from_file(find(path_or_profile or DEFAULT_PROFILE), TABLES)
    given |= _from_env(env)
    given |= _from_sets(sets)
    budgets = read_budgets(_budgets_file(_text_at(("budget", "file"), given)))
    given = profile_given(budgets, _text_at(("profile",), given)) | given
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
    check_budgets(config, budgets)
    sources = {".".join(path): given[path].where if path in given else "default" for path in KEYS}
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
    return f"unknown key {key}{did_you_mean(key, known_keys) or did_you_mean(key, moved, cutoff=0)}"


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
    message = in_words(details["msg"])
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
