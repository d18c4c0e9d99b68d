"""What can be asked of the server over HTTP? The OpenAPI 3.1 document, made from the definitions.

The schemas are those by which requests are read and answers are written. `docs/openapi.json` is a copy.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from voicestack import __version__
from voicestack.server.operations import ANYWHERE, JSON, OPERATIONS, RETRY, Answer, Operation, Schema
from voicestack.server.stages.wire import ErrorAnswer

KEY_ERRORS = (401, 403, 429)
KEYED = ("/v1/", "/dashboard/api/")
"""What everything below these answers when keys are asked for or limits are set."""

_Refs = Mapping[Any, Mapping[str, Any]]  # by (model, mode)
_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")


def openapi_route() -> Route:
    """The route of the document; it describes the routes of the application that it is in."""
    return Route("/openapi.json", _openapi)


async def _openapi(request: Request) -> Response:
    return Response(document_text(request.app.routes), media_type=JSON)


def document_text(routes: Sequence[BaseRoute]) -> bytes:
    """The document as it is served and kept: indented, keys in order."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(document(routes), option=options)


def operations_in(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Method and path of everything that the routes answer, parameters without their converters."""
    for route in routes:
        path = _PARAMETER.sub(r"{\1}", str(getattr(route, "path", route)))
        for method in sorted(getattr(route, "methods", None) or {"GET"}):
            if method not in ("HEAD", "OPTIONS"):
                yield method, path


def document(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The OpenAPI document. Routes that nobody described are left out; a test sees that there are none."""
    described = sorted({*operations_in(routes), *ANYWHERE} & OPERATIONS.keys(), key=lambda one: one[::-1])
    refs, schemas = models_json_schema(
        sorted(_models(OPERATIONS[key] for key in described), key=lambda one: one[0].__name__),
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for method, path in described:
        operation = OPERATIONS[method, path]
        paths.setdefault(path, {})[method.lower()] = _operation(operation, path, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "voicestack",
            "version": __version__,
            "summary": "A self-hosted server that people talk to.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}, {}],
    }


def _models(operations: Iterator[Operation]) -> set[tuple[type[BaseModel], JsonSchemaMode]]:
    models: set[tuple[type[BaseModel], JsonSchemaMode]] = {(ErrorAnswer, "serialization")}
    for operation in operations:
        models |= {(model, "validation") for model in _models_in(operation.request)}
        for answer in operation.answers.values():
            models |= {(model, "serialization") for model in _models_in(answer.content)}
    return models


def _models_in(content: Mapping[str, Schema]) -> Iterator[type[BaseModel]]:
    for schema in content.values():
        yield from schema.get("anyOf", []) if isinstance(schema, Mapping) else [schema]


def _operation(operation: Operation, path: str, refs: _Refs) -> dict[str, Any]:
    answers = {str(status): _answer(answer, refs) for status, answer in operation.answers.items()}
    for status in {*operation.errors, *(KEY_ERRORS if path.startswith(KEYED) else ())}:
        headers = RETRY if status in (429, 503, 504) else {}
        error = Answer(HTTPStatus(status).phrase, {JSON: ErrorAnswer}, headers)
        answers.setdefault(str(status), _answer(error, refs))
    made: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": answers,
    }
    if operation.about:
        made["description"] = operation.about
    in_path = [(name, "path", "") for name in _PARAMETER.findall(path)]
    in_query = [(name, "query", about) for name, about in operation.query.items()]
    if in_path or in_query:
        made["parameters"] = [_parameter(*parameter) for parameter in (*in_path, *in_query)]
    if operation.request:
        made["requestBody"] = {"required": True, "content": _content(operation.request, refs, "validation")}
    return made


def _parameter(name: str, place: str, about: str) -> dict[str, Any]:
    made = {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}
    return {**made, "description": about} if about else made


def _answer(answer: Answer, refs: _Refs) -> dict[str, Any]:
    made: dict[str, Any] = {"description": answer.about}
    if answer.content:
        made["content"] = _content(answer.content, refs, "serialization")
    if answer.headers:
        made["headers"] = {
            name: {"description": about, "schema": {"type": "string"}}
            for name, about in answer.headers.items()
        }
    return made


def _content(content: Mapping[str, Schema], refs: _Refs, mode: JsonSchemaMode) -> dict[str, Any]:
    return {media_type: {"schema": _schema(schema, refs, mode)} for media_type, schema in content.items()}


def _schema(schema: Schema, refs: _Refs, mode: JsonSchemaMode) -> Mapping[str, Any]:
    if not isinstance(schema, Mapping):
        return refs[schema, mode]
    if "anyOf" in schema:
        return {"anyOf": [refs[model, mode] for model in schema["anyOf"]]}
    return schema
