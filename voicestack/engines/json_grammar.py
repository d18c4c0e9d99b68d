"""Which texts are valid JSON for a schema, written as a grammar that llama.cpp decodes by (GBNF)?

Covers what descriptions of functions use: objects (required and optional properties), strings (enum, const,
lengths), integers and numbers (enum, small ranges, no minus where none can be), booleans, null, arrays,
nesting, `anyOf`/`oneOf`, lists of types and local `$ref`. What a grammar cannot say (patterns, uniqueness,
large ranges) is left to the validation of the finished arguments.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from voicestack.core.numerals import numbers_in

MAX_STRING_CHARS = 240
"""Of a string whose schema sets no limit: about 60 tokens, which is as long as a spoken message gets."""
MAX_ITEMS = 16
"""Of an array whose schema sets no limit."""
MAX_RANGE = 400
"""Whole numbers between two limits are listed when there are no more than so many."""
MAX_SPAN_WORDS = 60
"""Of each text, the last ones: a long turn's request is at its end."""
_WORD = re.compile(r"[^\W_]+")
PUNCTUATION = ".,;:!?\"'()[]"
MAX_DEPTH = 8
"""Deeper schemas, or recursive ones, accept any simple value at that depth."""

CHAR = r'[^"\\\x00-\x1f\x7f] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})'
INTEGER = '("0" | [1-9] [0-9]{0,14})'
FRACTION = '("." [0-9]{1,6})?'


class Grammar:
    """The rules of one grammar, collected.

    Args:
        said: What people said, the newest last; empty for any text. A string that its schema leaves free
            must then occur in it as words in a row, and of numbers and enumerated texts those that do occur
            are taken: a model of 135 million parameters invents what it should copy.
    """

    def __init__(self, said: Sequence[str] = ()) -> None:
        self._names: dict[str, str] = {}
        self._said = [_bare(text) for text in reversed(said)]
        self._numbers = next((found for text in reversed(said) if (found := numbers_in(text))), [])
        self._spans = self._any_span(said)

    def rule(self, body: str) -> str:
        """The name of the rule with this body."""
        return self._names.setdefault(body, f"r{len(self._names)}")

    def text(self, root: str) -> str:
        """The whole grammar; `root` is its first rule's body."""
        return "\n".join([f"root ::= {root}", *(f"{name} ::= {body}" for body, name in self._names.items())])

    def value(self, schema: Any, root: Mapping[str, Any], depth: int = 0) -> str:
        """An expression for every JSON text that satisfies `schema`. `root` is where a `$ref` begins."""
        schema = _resolved(schema, root)
        if depth > MAX_DEPTH:
            return self._anything(0)
        if "const" in schema:
            return _literal(schema["const"])
        if "enum" in schema:
            return self._one_of([_literal(value) for value in self._said_of(schema["enum"])])
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                rest = {k: v for k, v in schema.items() if k != key}
                return self._one_of([self.value(rest | one, root, depth + 1) for one in schema[key]])
        kind = schema.get("type", "object" if "properties" in schema else None)
        if isinstance(kind, list):
            return self._one_of([self.value(schema | {"type": one}, root, depth + 1) for one in kind])
        return self._typed(kind, schema, root, depth)

    def _typed(self, kind: str | None, schema: dict[str, Any], root: Mapping[str, Any], depth: int) -> str:
        if kind == "object":
            return self._object(schema, root, depth)
        if kind == "array":
            return self._array(schema, root, depth)
        if kind == "string":
            return self._string(schema)
        if kind in ("integer", "number"):
            return self._number(kind, schema)
        if kind == "boolean":
            return '("true" | "false")'
        return '"null"' if kind == "null" else self._anything(1)

    def _said_of(self, values: Sequence[Any]) -> Sequence[Any]:
        """Those of the values that occur in the newest text in which any does; all if none does."""
        for text in self._said:
            found = [v for v in values if isinstance(v, str) and _bare(v) in text]
            if found:
                return found
        return values

    def _one_of(self, bodies: list[str]) -> str:
        return self.rule(" | ".join(dict.fromkeys(bodies)))

    def _string(self, schema: Mapping[str, Any]) -> str:
        low, high = schema.get("minLength", 0), schema.get("maxLength", MAX_STRING_CHARS)
        char = self.rule(CHAR)
        free = not {"pattern", "format", "minLength", "maxLength"} & set(schema)
        if not (free and self._spans):
            return rf'"\"" {char}{{{low},{max(low, high)}}} "\""'
        told = [schema["default"]] if isinstance(schema.get("default"), str) else []
        told += [one for one in schema.get("examples", ()) if isinstance(one, str)]
        return self._one_of([rf'"\"" {self._spans} "\""', *map(_literal, told)])

    def _number(self, kind: str, schema: Mapping[str, Any]) -> str:
        low, high = _limits(kind, schema)
        likely = [n for n in self._numbers if low <= n <= high and (kind == "number" or n == int(n))]
        if likely:
            return self._one_of([_literal(int(n) if n == int(n) else n) for n in likely])
        if kind == "integer" and high - low < MAX_RANGE:
            return self._one_of([_literal(n) for n in range(int(low), int(high) + 1)])
        sign = '"-"? ' if low < 0 else ""
        return self.rule(f"{sign}{INTEGER}{' ' + FRACTION if kind == 'number' else ''}")

    def _array(self, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> str:
        low = schema.get("minItems", 0)
        high = max(low, schema.get("maxItems", max(low, MAX_ITEMS)))
        item = self.rule(self.value(schema.get("items", {}), root, depth + 1))
        if high == 0:
            return '"[]"'
        more = f'{item} (", " {item}){{{max(0, low - 1)},{high - 1}}}'
        return f'"[" ({more}){"" if low else "?"} "]"'

    def _object(self, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> str:
        required = set(schema.get("required", ()))
        pairs = [
            (f"{_literal(key)} {quoted(': ')} {self.value(one, root, depth + 1)}", key in required)
            for key, one in schema.get("properties", {}).items()
        ]
        undescribed = required - set(schema.get("properties", {}))
        pairs += [
            (f"{_literal(key)} {quoted(': ')} {self._anything(1)}", True) for key in sorted(undescribed)
        ]
        return f'"{{" {self._members(pairs, first=True)} "}}"'.replace("  ", " ")

    def _members(self, pairs: list[tuple[str, bool]], *, first: bool) -> str:
        """The rest of an object, from its next property on. `first` while there is none before it."""
        if not pairs:
            return '""'
        (pair, is_required), *rest = pairs
        comma = "" if first else '", " '
        after = self._members(rest, first=False)
        here = f"{comma}{pair} {after}"
        if is_required:
            return self.rule(here)
        return self.rule(f"{here} | {self._members(rest, first=True) if first else after}")

    def _any_span(self, said: Sequence[str]) -> str:
        """A rule for some words in a row of one of the texts, without the punctuation around them."""
        starts = []
        for text in said:
            after = ""
            for word in reversed(text.split()[-MAX_SPAN_WORDS:]):
                bare = word.strip(PUNCTUATION)
                if not bare:
                    after = ""
                    continue
                tail = word[word.index(bare) + len(bare) :]
                body = _any_case(bare)
                if after:
                    body += f" ({quoted(json.dumps(tail, ensure_ascii=False)[1:-1] + ' ')} {after})?"
                after = self.rule(body)
                starts.append(after)
        return self.rule(" | ".join(dict.fromkeys(starts))) if starts else ""

    def _anything(self, depth: int) -> str:
        """Any JSON value, containers to `depth`."""
        char = self.rule(CHAR)
        text = rf'"\"" {char}{{0,{MAX_STRING_CHARS}}} "\""'
        simple = f'{text} | "-"? {INTEGER} {FRACTION} | "true" | "false" | "null"'
        if depth == 0:
            return self.rule(simple)
        inner = self._anything(depth - 1)
        pair = rf'"\"" {char}{{1,40}} "\": " {inner}'
        many = [f'"[" ({inner} (", " {inner}){{0,7}})? "]"', f'"{{" ({pair} (", " {pair}){{0,7}})? "}}"']
        return self.rule(" | ".join([simple, *many]))


def _bare(text: str) -> str:
    """The words, small and with a space on every side, so that whole words can be looked for."""
    return f" {' '.join(re.findall(_WORD, text.lower()))} "


def _any_case(word: str) -> str:
    """The word as it was said, with a capital or a small letter first: recognisers write no capitals."""
    inner = json.dumps(word, ensure_ascii=False)[1:-1]
    first, rest = inner[0], inner[1:]
    if not first.isalpha() or len(first.lower() + first.upper()) != 2:
        return quoted(inner)
    return f"[{first.lower()}{first.upper()}] {quoted(rest)}" if rest else f"[{first.lower()}{first.upper()}]"


def quoted(text: str) -> str:
    """A GBNF literal for exactly this text."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def _literal(value: Any) -> str:
    return quoted(json.dumps(value, ensure_ascii=False))


def _limits(kind: str, schema: Mapping[str, Any]) -> tuple[float, float]:
    """The lowest and the highest value; exclusive limits of numbers are left to the validation."""
    low, high = schema.get("minimum", -1e15), schema.get("maximum", 1e15)
    if kind == "integer":
        low = max(low, schema.get("exclusiveMinimum", -1e15) + 1)
        high = min(high, schema.get("exclusiveMaximum", 1e15) - 1)
    else:
        low = max(low, schema.get("exclusiveMinimum", -1e15))
    return low, high


def _resolved(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """With a local `$ref` followed, and `allOf` merged one level deep. True and unknown things allow all."""
    if not isinstance(schema, Mapping):
        return {}
    found = dict(schema)
    for _ in range(MAX_DEPTH):
        target = found.pop("$ref", None)
        if not isinstance(target, str) or not target.startswith("#"):
            break
        place: Any = root
        for step in target.removeprefix("#").strip("/").split("/"):
            place = place.get(step, {}) if isinstance(place, Mapping) and step else place
        found = {**place, **found} if isinstance(place, Mapping) else found
    for part in found.pop("allOf", ()):
        other = _resolved(part, root)
        both = found.get("properties", {}) | other.get("properties", {})
        required = [*found.get("required", ()), *other.get("required", ())]
        found = other | found
        if both:
            found |= {"properties": both, "required": required}
    return found
