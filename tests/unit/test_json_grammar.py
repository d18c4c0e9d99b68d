"""Does a grammar accept exactly what its schema does? Decided by a small matcher for GBNF."""

import json
import re
from typing import Any

import jsonschema
import pytest

from voicestack.engines.json_grammar import Grammar


def as_regex(grammar: str) -> re.Pattern[str]:
    """The grammar as a regular expression: ours never recur, so that every rule can be put in its place."""
    rules = dict(line.split(" ::= ", 1) for line in grammar.splitlines())
    token = re.compile(
        r'"((?:[^"\\]|\\.)*)"|(\[(?:[^\]\\]|\\.)*\])|([a-z][a-z0-9]*)|(\{[\d,]+\})|([()|?*+])|(\s+)'
    )

    def expand(body: str) -> str:
        out, at = "", 0
        while at < len(body):
            found = token.match(body, at)
            assert found, f"not GBNF: {body[at:]}"
            literal, chars, name, times, sign, _ = found.groups()
            if literal is not None:
                plain = re.sub(r"\\(.)", unescape, literal)
                out += f"(?:{re.escape(plain)})"
            elif name:
                out += f"(?:{expand(rules[name])})"
            else:
                out += chars or times or sign or ""
            at = found.end()
        return out

    return re.compile(expand(rules["root"]))


def unescape(found: re.Match[str]) -> str:
    return {"n": "\n", "r": "\r"}.get(found[1], found[1])


def pattern(schema: dict[str, Any], said: tuple[str, ...] = ()) -> re.Pattern[str]:
    grammar = Grammar(said)
    return as_regex(grammar.text(grammar.value(schema, schema)))


def obj(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


TEXT, WHOLE = {"type": "string"}, {"type": "integer"}
SCHEMAS: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "empty": (obj([]), [{}]),
    "required": (obj(["a", "b"], a=TEXT, b=WHOLE), [{"a": "x", "b": -7}, {"a": 'say "hi"\n', "b": 0}]),
    "optional": (
        obj(["b"], a=TEXT, b=WHOLE, c={"type": "boolean"}),
        [{"b": 1}, {"a": "x", "b": 1}, {"b": 1, "c": True}, {"a": "", "b": 1, "c": False}],
    ),
    "all optional": (obj([], a=TEXT, b=WHOLE), [{}, {"a": "x"}, {"b": 1}, {"a": "x", "b": 1}]),
    "enum": (obj(["a"], a={"enum": ["on", "off", 3, None]}), [{"a": "on"}, {"a": 3}, {"a": None}]),
    "const": (obj(["a"], a={"const": "é"}), [{"a": "é"}]),
    "range": (obj(["a"], a=WHOLE | {"minimum": 1, "exclusiveMaximum": 12}), [{"a": 1}, {"a": 11}]),
    "not negative": (obj(["a"], a=WHOLE | {"minimum": 0}), [{"a": 0}, {"a": 1000}]),
    "number": (obj(["a"], a={"type": "number"}), [{"a": -1.5}, {"a": 20}]),
    "lengths": (obj(["a"], a=TEXT | {"minLength": 2, "maxLength": 3}), [{"a": "ab"}, {"a": "abc"}]),
    "array": (
        obj(["a"], a={"type": "array", "items": WHOLE, "minItems": 1, "maxItems": 3}),
        [{"a": [1]}, {"a": [1, 2, 3]}],
    ),
    "empty array": (obj(["a"], a={"type": "array", "items": TEXT}), [{"a": []}, {"a": ["x", "y"]}]),
    "nested": (obj(["a"], a=obj(["b"], b=obj([], c=TEXT))), [{"a": {"b": {}}}, {"a": {"b": {"c": "x"}}}]),
    "any of": (obj(["a"], a={"anyOf": [TEXT, {"type": "null"}]}), [{"a": "x"}, {"a": None}]),
    "types": (obj(["a"], a={"type": ["integer", "null"]}), [{"a": 1}, {"a": None}]),
    "ref": (
        obj(["a"], a={"$ref": "#/$defs/side"}) | {"$defs": {"side": {"enum": ["left", "right"]}}},
        [{"a": "left"}],
    ),
    "all of": (obj(["a"], a={"allOf": [obj(["b"], b=TEXT), obj(["c"], c=WHOLE)]}), []),
    "anything": (obj(["a"], a={}), [{"a": 1}, {"a": "x"}, {"a": [1, "x"]}, {"a": {"b": None}}]),
}
WRONG: list[Any] = [
    *({}, {"a": 1}, {"a": "x"}, {"a": None}, {"a": []}, {"a": [1, 2, 3, 4]}, {"a": "abcd"}, {"a": 12}),
    *({"a": -1}, {"a": {}}, {"b": "x"}, {"a": "x", "b": "y"}, {"z": 1}, {"a": ["x"]}, {"a": True}, [], 5),
]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_grammar_agrees_with_the_schema(name: str) -> None:
    schema, right = SCHEMAS[name]
    accepts = pattern(schema)
    for value in right:
        jsonschema.validate(value, schema)
        assert accepts.fullmatch(json.dumps(value, ensure_ascii=False)), value
    for value in WRONG:
        if accepts.fullmatch(json.dumps(value)):
            jsonschema.validate(value, schema)


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": }', '{"a": "x",}', '{"a": "x" "b": 1}', '{"a": "\n", "b": 1}', "x"]
)
def test_what_is_no_json_is_never_accepted(text: str) -> None:
    for schema, _ in SCHEMAS.values():
        assert not pattern(schema).fullmatch(text)


def test_a_schema_that_contains_itself_ends() -> None:
    tree = obj(["value"], value=WHOLE, left={"$ref": "#"}, right={"$ref": "#"})
    grammar = Grammar()
    assert len(grammar.text(grammar.value(tree, tree))) < 20_000


def test_many_optional_properties_make_a_small_grammar() -> None:
    wide = obj([], **{f"p{n}": TEXT for n in range(60)})
    grammar = Grammar()
    assert len(grammar.text(grammar.value(wide, wide))) < 400_000


def test_arguments_are_what_was_said() -> None:
    accepts = pattern(obj(["a"], a=TEXT), ("Put on a song by the Beatles, please.",))
    for right in ("the Beatles", "The Beatles", "Beatles, please", "Put on a song by the Beatles, please"):
        assert accepts.fullmatch(json.dumps({"a": right})), right
    for wrong in ("New York", "Beat", "song the", "", "BEATLES"):
        assert not accepts.fullmatch(json.dumps({"a": wrong})), wrong


def test_numbers_and_choices_are_what_was_said() -> None:
    schema = obj(["n", "room"], n=WHOLE | {"minimum": 1}, room={"enum": ["kitchen", "living room", "on_top"]})
    accepts = pattern(schema, ("five in the kitchen", "no, twenty five in the living room"))
    assert accepts.fullmatch('{"n": 25, "room": "living room"}')
    assert not accepts.fullmatch('{"n": 5, "room": "living room"}')
    assert not accepts.fullmatch('{"n": 25, "room": "kitchen"}')


def test_where_nothing_fitting_was_said_everything_valid_is_accepted() -> None:
    accepts = pattern(
        obj(["n", "s"], n=WHOLE | {"minimum": 1, "maximum": 3}, s={"enum": ["on", "off"]}), ("ten",)
    )
    for n in (1, 2, 3):
        assert accepts.fullmatch(json.dumps({"n": n, "s": "off"}))
    assert not accepts.fullmatch('{"n": 10, "s": "off"}')


def test_quotes_in_what_was_said_stay_json() -> None:
    accepts = pattern(obj(["a"], a=TEXT), ('say \\ "now or" never',))
    assert accepts.fullmatch(json.dumps({"a": "say"}))
    assert accepts.fullmatch(json.dumps({"a": 'now or" never'}))
    assert not accepts.fullmatch('{"a": "now or" never"}')
