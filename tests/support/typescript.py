"""The events as TypeScript types, made from the AsyncAPI document: `python -m tests.support.typescript`."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from voicestack.server.asyncapi import SCHEMAS, document

KEPT = Path(__file__).parents[2] / "web" / "widget" / "src" / "wire.ts"

HEAD = """\
// What is said over the wire, made from the Python definitions: `make types` writes it again.
"""
UNIONS = {"receive": "ClientEvent", "send": "ServerEvent"}
"""By what the server does with an event."""
PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
UNTYPED = {"title", "description", "default"}
"""What says nothing about the type."""


def source() -> str:
    """The TypeScript source: an interface for every schema, and the events in two unions by `type`."""
    whole = document()
    schemas = whole["components"]["schemas"]
    made = [_declared(name, schemas[name]) for name in sorted(schemas)]
    for action, union in UNIONS.items():
        events = [
            whole["components"]["messages"][reference["$ref"].rpartition("/")[2]]["payload"]
            for operation in whole["operations"].values()
            if operation["action"] == action
            for reference in operation["messages"]
        ]
        about = "What a client may send." if action == "receive" else "What a client may receive."
        members = "".join(f"\n  | {_type(event)}" for event in events)
        made.append(f"/** {about} */\nexport type {union} ={members};\n")
    return HEAD + "\n" + "\n".join(made)


def _declared(name: str, schema: Mapping[str, Any]) -> str:
    about = _comment(schema.get("description", ""), "")
    if schema.get("type") != "object" or "properties" not in schema:
        return f"{about}export type {name} = {_type(schema)};\n"
    return f"{about}export interface {name} {{\n{''.join(_fields(schema))}}}\n"


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    required = schema.get("required", [])
    for name, field in schema["properties"].items():
        key = name if re.fullmatch(r"[A-Za-z_]\w*", name) else json.dumps(name)
        mark = "" if name in required else "?"
        yield f"{_comment(field.get('description', ''), '  ')}  {key}{mark}: {_type(field)};\n"


def _type(schema: Mapping[str, Any]) -> str:
    """The type of one value.

    Raises:
        NotImplementedError: the schema says something that no rule here translates.
    """
    said = schema.keys() - UNTYPED
    if not said:
        return "unknown"
    if said == {"$ref"}:
        return str(schema["$ref"]).removeprefix(SCHEMAS)
    if said in ({"anyOf"}, {"oneOf"}, {"oneOf", "discriminator"}):
        return " | ".join(dict.fromkeys(_type(one) for one in schema.get("anyOf") or schema["oneOf"]))
    if "const" in said:
        return json.dumps(schema["const"])
    if "enum" in said:
        return " | ".join(json.dumps(one) for one in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        inner = _type(schema.get("items", {}))
        return f"({inner})[]" if " " in inner else f"{inner}[]"
    if kind == "object" and said <= {"type", "additionalProperties"}:
        values = schema.get("additionalProperties", {})
        return f"Record<string, {'unknown' if values is True else _type(values)}>"
    if kind in PLAIN:
        return PLAIN[kind]
    raise NotImplementedError(f"no TypeScript for {schema}")


def _comment(text: str, indent: str) -> str:
    return f"{indent}/** {' '.join(text.split()).replace('*/', '* /')} */\n" if text else ""


if __name__ == "__main__":
    KEPT.write_text(source())
