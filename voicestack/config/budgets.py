"""What may a turn take: of whom, and by which way in? `configs/budgets.toml`, entry by entry.

Each table of the file is an entry with a name of its own. `tenant`, `route` and `profile` say whose turns it
is about; what it does not name does not matter to it. Every other key is one of `[budget]` or `[ladder]`.

**The most specific entry that says something about a key wins.** An entry is more specific the more it names;
a tenant counts more than a route and a profile together, and a route more than a profile. In full, what comes
later wins: defaults; entries without tenant and route; `[budget]` and `[ladder]` of the profile's file, the
environment, `--set`; entries with a route; entries with a tenant.
"""

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from voicestack.config.budget import BudgetSection, LadderSection
from voicestack.config.derived import budget_of
from voicestack.config.given import Given, did_you_mean, from_file, in_words
from voicestack.config.kinds import STRICT
from voicestack.config.lines import KeyPath
from voicestack.config.schema import Config
from voicestack.core.budget import Budget
from voicestack.core.errors import ConfigError

WEIGHTS = {"tenant": 4, "route": 2, "profile": 1}
"""What an entry may name, and what that counts."""
SECTIONS: Mapping[str, type[BaseModel]] = {"budget": BudgetSection, "ladder": LadderSection}
KEYS: Mapping[str, KeyPath] = {
    **{
        key: ("budget", key) for key in BudgetSection.model_fields if key not in ("readiness_turn_ms", "file")
    },
    **{key: ("ladder", key) for key in ("enforce", "rungs", "hysteresis_ratio")},
}
"""What it may say, and which key of the configuration that is."""


@dataclass(frozen=True)
class Entry:
    """One table of the file.

    Attributes:
        name: Its.
        about: Whose turns: the values of `tenant`, `route` and `profile`, those that it names.
        given: What it says.
    """

    name: str
    about: Mapping[str, str]
    given: Mapping[str, Given]

    @cached_property
    def weight(self) -> int:
        """The higher, the more specific."""
        return sum(WEIGHTS[name] for name in self.about)

    @property
    def is_of_some(self) -> bool:
        """Whether it is about some tenant or route, and not about all turns of a profile."""
        return "tenant" in self.about or "route" in self.about

    def rows(self) -> list[tuple[str, Any, str]]:
        """Whose turns it is about, and every key with its value and source. For people."""
        named = [(f"budgets.{self.name}.{key}", value, "") for key, value in self.about.items()]
        return named + [(f"budgets.{self.name}.{key}", it.value, it.where) for key, it in self.given.items()]

    def is_about(self, **whose: str) -> bool:
        """Whether it is about turns of this tenant, route and profile."""
        return all(whose[name] == value for name, value in self.about.items())


def read_budgets(path: Path | None) -> tuple[Entry, ...]:
    """The entries of a file, the least specific first; None if there is no file.

    Raises:
        ConfigError: it cannot be read, or holds something that is no entry.
    """
    if path is None:
        return ()
    tables: dict[str, dict[str, Given]] = {}
    problems: list[str] = []
    for key, given in from_file(path).items():
        if problem := _problem_of(key, given):
            problems.append(f"{given.where}: {problem}")
        else:
            tables.setdefault(key[0], {})[key[1]] = given
    entries = [_entry(name, table) for name, table in tables.items()]
    problems += _twins(tables, entries)
    if problems:
        raise ConfigError("\n".join(problems))
    return tuple(sorted(entries, key=lambda entry: entry.weight))


def profile_given(entries: Sequence[Entry], profile: str) -> dict[KeyPath, Given]:
    """What the entries without tenant and route say of a profile, as if its file said it."""
    found: dict[KeyPath, Given] = {}
    for entry in entries:
        if entry.is_about(profile=profile, tenant="", route=""):
            found |= {KEYS[key]: given for key, given in entry.given.items()}
    return found


class Budgets:
    """The budgets of all tenants and routes.

    Args:
        config: The configuration; the budget of whoever no entry is about is in it.
        entries: Of the file.
    """

    def __init__(self, config: Config, entries: Sequence[Entry]) -> None:
        self._config = config
        self._entries = [entry for entry in entries if entry.is_of_some]

    def of(self, tenant: str, route: str) -> Budget:
        """That of this tenant's turns by this way in. Costs some 30 us: ask once per session."""
        given = self.given(tenant, route)
        return budget_of(_changed(self._config, given) if given else self._config)

    def given(self, tenant: str, route: str) -> dict[KeyPath, Given]:
        """What the entries say of it."""
        found: dict[KeyPath, Given] = {}
        for entry in self._entries:
            if entry.is_about(profile=self._config.profile, tenant=tenant, route=route):
                found |= {KEYS[key]: given for key, given in entry.given.items()}
        return found


def check_budgets(config: Config, entries: Sequence[Entry]) -> None:
    """See that whatever entries come together they make a budget.

    Raises:
        ConfigError: some do not; it names the file, the line and the key.
    """
    budgets, problems = Budgets(config, entries), dict[str, None]()
    named = [{entry.about.get(name, "") for entry in entries} | {""} for name in ("tenant", "route")]
    for tenant, route in product(*(sorted(names) for names in named)):
        given = budgets.given(tenant, route)
        try:
            _changed(config, given)
        except ValidationError as error:
            problems |= dict.fromkeys(_in_sum(details, given) for details in error.errors())
    if problems:
        raise ConfigError("\n".join(problems))


def _changed(config: Config, given: Mapping[KeyPath, Given]) -> Config:
    """The configuration with these values in it. Raises ValidationError: they do not go together."""
    sections: dict[str, dict[str, Any]] = {name: getattr(config, name).model_dump() for name in SECTIONS}
    for (section, key), it in given.items():
        sections[section][key] = it.value
    return config.model_copy(
        update={name: SECTIONS[name].model_validate(values) for name, values in sections.items()}
    )


def _entry(name: str, table: Mapping[str, Given]) -> Entry:
    about = {key: str(given.value) for key, given in table.items() if key in WEIGHTS}
    return Entry(name, about, {key: given for key, given in table.items() if key not in WEIGHTS})


def _problem_of(key: KeyPath, given: Given) -> str:
    """What is wrong with a key of the file by itself; empty for nothing."""
    name = ".".join(key)
    if len(key) == 1:
        return (
            f"{name} says nothing" if given.value == {} else f"{name} is in no table: give it one, [a-name]"
        )
    if key[-1] in WEIGHTS and len(key) == 2:
        is_name = isinstance(given.value, str) and given.value
        return "" if is_name else f"{name} should be a name, not {reprlib.repr(given.value)}"
    if key[1] not in KEYS or len(key) > 2:
        return f"unknown key {name}{did_you_mean(key[-1], (*WEIGHTS, *KEYS))}"
    section, field = KEYS[key[1]]
    info = SECTIONS[section].model_fields[field]
    annotation: Any = Annotated[(info.annotation, None, *info.metadata)]
    kind: TypeAdapter[object] = TypeAdapter(annotation, config=STRICT)
    try:
        kind.validate_python(given.value)
    except ValidationError as error:
        details = error.errors()[0]
        return f"{name} {in_words(details['msg'])}, not {reprlib.repr(details['input'])}"
    return ""


def _twins(tables: Mapping[str, Mapping[str, Given]], entries: Sequence[Entry]) -> Iterator[str]:
    """Entries about the same turns: nobody could say which wins."""
    seen: dict[frozenset[tuple[str, str]], Entry] = {}
    for entry in entries:
        twin = seen.setdefault(frozenset(entry.about.items()), entry)
        if twin is not entry:
            where = next(iter(tables[entry.name].values())).where
            yield f"{where}: {entry.name} is about the same turns as {twin.name}: make one of the two"


def _in_sum(details: ErrorDetails, given: Mapping[KeyPath, Given]) -> str:
    """What is wrong with values that came together."""
    ctx = details.get("ctx", {})
    key, suspects = str(details["loc"][-1]) if details["loc"] else "", list[str]()
    value = details["input"]
    if details["type"] == "section":
        key, suspects, value = ctx["key"], ctx["because"], ctx["value"]
    where = [given[KEYS[one]].where for one in (key, *suspects) if one in KEYS and KEYS[one] in given]
    return f"{where[0] if where else 'budgets'}: {key} {in_words(details['msg'])}, not {reprlib.repr(value)}"
