"""Are the TypeScript types of the events those of the Python definitions, and right?"""

import re
from typing import Any

import pytest

from tests.support.typescript import KEPT, _declared, _type, source
from voicestack.server.asyncapi import document


def test_the_kept_types_are_those_of_the_definitions() -> None:
    assert source() == KEPT.read_text(), "write them again: make types"


def test_every_event_is_in_a_union_under_its_own_type() -> None:
    text = source()
    for message in document()["components"]["messages"].values():
        name = message["payload"]["$ref"].rpartition("/")[2]
        assert re.search(rf"^  \| {name};?$", text, re.MULTILINE), f"{name} is in no union"
        declared = text.partition(f"export interface {name} {{")[2].partition("\n}")[0]
        assert f'  type: "{message["name"]}";' in declared


def test_every_name_that_is_used_is_declared() -> None:
    code = re.sub(r"/\*\*.*?\*/|//.*|\"[^\"]*\"", "", source())
    declared = set(re.findall(r"export (?:interface|type) (\w+)", code))
    used = set(re.findall(r"\b[A-Z]\w+", code))
    assert used - declared == {"Record"}


@pytest.mark.parametrize(
    ("schema", "typescript"),
    [
        ({}, "unknown"),
        ({"title": "Delta", "type": "string"}, "string"),
        ({"type": "integer", "minimum": 0}, "number"),
        ({"const": "inf", "type": "string"}, '"inf"'),
        ({"enum": ["a", "b"], "type": "string"}, '"a" | "b"'),
        ({"anyOf": [{"type": "number"}, {"type": "integer"}, {"type": "null"}]}, "number | null"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Span"}}, "Span[]"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, '("a" | "b")[]'),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "Record<string, number>"),
        ({"type": "object"}, "Record<string, unknown>"),
    ],
)
def test_each_kind_of_schema(schema: dict[str, Any], typescript: str) -> None:
    assert _type(schema) == typescript


def test_optional_fields_and_words_about_them() -> None:
    schema = {
        "type": "object",
        "description": "Two\nlines */",
        "properties": {"a": {"type": "string"}, "b-c": {"type": "null", "description": "Why."}},
        "required": ["a"],
    }
    assert _declared("Thing", schema) == (
        '/** Two lines * / */\nexport interface Thing {\n  a: string;\n  /** Why. */\n  "b-c"?: null;\n}\n'
    )


def test_what_nobody_translates_is_not_passed_over() -> None:
    with pytest.raises(NotImplementedError, match="patternProperties"):
        _type({"type": "object", "patternProperties": {}})
