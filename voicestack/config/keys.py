"""Which keys are there? Those of the schema, and those of sections that have names of their own."""

from collections.abc import Iterator, Mapping
from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from voicestack.config.lines import KeyPath
from voicestack.config.schema import Config


def _keys(model: type[BaseModel], above: KeyPath = ()) -> Iterator[tuple[KeyPath, FieldInfo]]:
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _keys(info.annotation, (*above, name))
        else:
            yield (*above, name), info


KEYS: Mapping[KeyPath, FieldInfo] = dict(_keys(Config))
"""Every key there is, in the order of the schema. A group of named sections is one key."""

TABLES = frozenset(path for path, info in KEYS.items() if get_origin(info.annotation) is dict)
"""The keys whose value is a table."""

SECTIONS = frozenset(path[:-1] for path in KEYS)
"""Every table that keys are in."""


def _groups() -> Iterator[tuple[KeyPath, type[BaseModel]]]:
    for path in TABLES:
        kind = get_args(KEYS[path].annotation)[1]
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield path, kind


GROUPS: Mapping[KeyPath, type[BaseModel]] = dict(_groups())
"""The tables of sections with names of their own, as `[fleet.llm.NAME]`, and what such a section is."""


def group_of(path: KeyPath) -> KeyPath | None:
    """The group in which this is a value of a named section; None if it is none."""
    group = path[:-2]
    return group if group in GROUPS else None


def key_of(path: KeyPath) -> FieldInfo | None:
    """The key, also one of a named section; None if there is none."""
    group = group_of(path)
    return KEYS.get(path) if group is None else GROUPS[group].model_fields.get(path[-1])


def in_group(path: KeyPath) -> KeyPath:
    """A path out of the environment, whose names cannot have hyphens, as names of sections do."""
    group = next((group for group in GROUPS if path[: len(group)] == group), path)
    name, rest = path[len(group) : len(group) + 1], path[len(group) + 1 :]
    return (*group, *(part.replace("_", "-") for part in name), *rest)


def shown_paths(config: Config, key: KeyPath) -> Iterator[KeyPath]:
    """The key itself; of a group that is not empty, those of its sections."""
    group: object = config
    for name in key:
        group = getattr(group, name)
    if key in GROUPS and isinstance(group, dict) and group:
        for name in group:
            yield from ((*key, name, field) for field in GROUPS[key].model_fields)
    else:
        yield key
