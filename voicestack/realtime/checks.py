"""Is this JSON value what the protocol allows in this place?

A `Check` takes a decoded JSON value and its dotted path, and returns the value in the form in which the rest
of the package uses it. A wrong value raises `PeerProtocolError` with the path as `param`. Checks are put
together from smaller ones, so that a wire object is described once, as a table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from voicestack.core.errors import PeerProtocolError

JsonObject = dict[str, Any]
Check = Callable[[Any, str], Any]

SHOWN_CHARS = 60
"""How much of a peer's own text an error message quotes."""
MAX_DEPTH = 100
"""Deeper values can be read but not all of them written again: orjson writes 254 levels and reads 1024."""


def refuse(param: str, expected: str, value: object) -> NoReturn:
    """Say what was expected where. Raises PeerProtocolError with code `invalid_value`."""
    raise PeerProtocolError(
        f"Invalid value for '{param}': expected {expected}, but got {shown(value)}.",
        code="invalid_value",
        param=param,
    )


def shown(value: object) -> str:
    """A JSON value for an error message: short whatever the value is."""
    match value:
        case None | True | False:
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            return repr(value[:SHOWN_CHARS] + "..." if len(value) > SHOWN_CHARS else value)
        case int() | float():
            return str(value)
        case list():
            return "a list"
        case _:
            return "an object"


def anything(value: Any, path: str) -> Any:
    """Any JSON value that is not nested deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return value
    refuse(path, f"a value nested less than {MAX_DEPTH} deep", value)


def _inside(value: Any) -> list[Any]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
        case _:
            return []


def flag(value: Any, path: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        refuse(path, "true or false", value)
    return value


def text(*, at_most: int | None = None, at_least: int = 0) -> Check:
    """A string, its length in characters within the bounds."""

    def check(value: Any, path: str) -> str:
        if not isinstance(value, str) or len(value) < at_least:
            refuse(path, "a string" if not at_least else "a string that is not empty", value)
        if at_most is not None and len(value) > at_most:
            raise PeerProtocolError(
                f"Invalid '{path}': string too long. Expected a string with maximum length {at_most}, "
                f"but got a string with length {len(value)} instead.",
                code="string_above_max_length",
                param=path,
            )
        return value

    return check


def number(low: float, high: float) -> Check:
    """A number in low..high."""

    def check(value: Any, path: str) -> float:
        wrong_type = isinstance(value, bool) or not isinstance(value, int | float)
        if wrong_type or not low <= value <= high:
            refuse(path, f"a number between {low:g} and {high:g}", value)
        return float(value)

    return check


def whole(low: int, high: int) -> Check:
    """A whole number in low..high; 300.0 is one, as JSON knows no other kind of number."""

    def check(value: Any, path: str) -> int:
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not is_whole or not low <= value <= high:
            refuse(path, f"a whole number between {low} and {high}", value)
        return int(value)

    return check


def choice(*options: str) -> Check:
    """One of these strings."""

    def check(value: Any, path: str) -> str:
        if not isinstance(value, str) or value not in options:
            quoted = ", ".join(f"'{option}'" for option in options)
            raise PeerProtocolError(
                f"Invalid value: {shown(value)}. Supported values are: {quoted}.",
                code="invalid_value",
                param=path,
            )
        return value

    return check


@dataclass(frozen=True, slots=True)
class Nullable:
    """What the check says, or null. In a `record` this null is kept; any other null means "not given"."""

    check: Check

    def __call__(self, value: Any, path: str) -> Any:
        """Check one value."""
        return None if value is None else self.check(value, path)


def either(first: Check, second: Check, *, when: type | tuple[type, ...]) -> Check:
    """The first check for values of these types, the second for all others."""

    def check(value: Any, path: str) -> Any:
        return first(value, path) if isinstance(value, when) else second(value, path)

    return check


def listing(check: Check, *, at_most: int) -> Check:
    """A list whose every entry passes the check."""

    def check_all(value: Any, path: str) -> list[Any]:
        if not isinstance(value, list) or len(value) > at_most:
            refuse(path, f"a list of at most {at_most} entries", value)
        return [check(entry, f"{path}[{at}]") for at, entry in enumerate(value)]

    return check_all


def record(fields: Mapping[str, Check], *, required: tuple[str, ...] = ()) -> Check:
    """An object. Unknown fields are dropped, null counts as "not given" unless the field is `Nullable`.

    Ignoring what is unknown is deliberate: strictness here breaks real clients that are ahead of, or behind,
    this version of the protocol.
    """

    def check(value: Any, path: str) -> JsonObject:
        if not isinstance(value, dict):
            refuse(path, "an object", value)
        for name in required:
            if value.get(name) is None:
                missing(f"{path}.{name}")
        return {
            name: field(value[name], f"{path}.{name}")
            for name, field in fields.items()
            if name in value and (value[name] is not None or isinstance(field, Nullable))
        }

    return check


def missing(param: str) -> NoReturn:
    """Say what has to be there. Raises PeerProtocolError with code `missing_required_parameter`."""
    raise PeerProtocolError(
        f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param
    )
