"""On which line of a TOML file does each key stand?"""

import tomllib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

KeyPath = tuple[str, ...]
"""A key with the tables it is in, outermost first."""


def leaves(
    tree: Mapping[str, Any], above: KeyPath = (), *, tables: Collection[KeyPath] = ()
) -> Iterator[tuple[KeyPath, Any]]:
    """Every key that holds a value, with the value. An empty table counts as one, and so do `tables`."""
    for key, value in tree.items():
        if isinstance(value, dict) and value and (*above, key) not in tables:
            yield from leaves(value, (*above, key), tables=tables)
        else:
            yield (*above, key), value


def key_lines(text: str) -> dict[KeyPath, int]:
    """Where each key of a valid TOML text begins, counted from 1; `tomllib` does not say.

    TOML is a sequence of statements, each on one or more whole lines. A statement that is not complete does
    not parse, so the first line at which it does parse is its last.
    """
    found: dict[KeyPath, int] = {}
    table: KeyPath = ()
    statement, begin = "", 1
    for number, line in enumerate(text.split("\n"), start=1):
        statement += line + "\n"
        try:
            tree = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if statement.lstrip().startswith("["):
            table = _header(tree)
            found.setdefault(table, begin)
        else:
            for path, _ in leaves(tree):
                for n in range(1, len(path) + 1):
                    found.setdefault(table + path[:n], begin)
        statement, begin = "", number + 1
    return found


def _header(tree: Mapping[str, Any]) -> KeyPath:
    """The table that a header line names: `{"a": {"b": {}}}` or, of an array of tables, `{"a": [{}]}`."""
    path: KeyPath = ()
    node: Any = tree
    while node:
        if isinstance(node, list):
            node = node[0]
            continue
        key = next(iter(node))
        path, node = (*path, key), node[key]
    return path
