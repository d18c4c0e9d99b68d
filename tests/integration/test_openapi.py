"""Is the OpenAPI document complete, right, and the one that is kept in `docs`?"""

import re
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.support.openapi import KEPT, running_app
from voicestack.server.openapi import document_text, operations_in
from voicestack.server.operations import ANYWHERE, OPERATIONS


@pytest.fixture(scope="module")
def running() -> tuple[Starlette, bytes]:
    return running_app()


def undescribed(app: Starlette) -> list[tuple[str, str]]:
    return [one for one in operations_in(app.routes) if one not in OPERATIONS]


def test_every_route_is_described(running: tuple[Starlette, bytes]) -> None:
    assert undescribed(running[0]) == []


def test_a_route_without_a_description_is_found(running: tuple[Starlette, bytes]) -> None:
    async def nothing(request: Request) -> Response:
        return Response()

    routes = [*running[0].routes, Route("/v1/{secret:path}", nothing, methods=["DELETE"])]
    assert undescribed(Starlette(routes=routes)) == [("DELETE", "/v1/{secret}")]


def test_the_document_describes_what_there_is_and_nothing_else(running: tuple[Starlette, bytes]) -> None:
    document = orjson.loads(running[1])
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {*operations_in(running[0].routes), *ANYWHERE}
    assert document_text(running[0].routes) == running[1]


def test_the_kept_copy_is_the_one_that_is_served(running: tuple[Starlette, bytes]) -> None:
    assert running[1] == KEPT.read_bytes(), "write it again: make openapi"


def test_the_document_is_whole(running: tuple[Starlette, bytes]) -> None:
    document = orjson.loads(running[1])
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    referred = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', running[1].decode()))
    assert referred == set(schemas)
    names = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))
    for path, methods in document["paths"].items():
        for operation in methods.values():
            in_path = [one["name"] for one in operation.get("parameters", []) if one["in"] == "path"]
            assert in_path == re.findall(r"{(\w+)}", path)


def test_requests_are_described_with_their_limits(running: tuple[Starlette, bytes]) -> None:
    schemas: dict[str, Any] = orjson.loads(running[1])["components"]["schemas"]
    speed = schemas["SpeechWish"]["properties"]["speed"]
    assert (speed["minimum"], speed["maximum"], speed["default"]) == (0.25, 4.0, 1.0)
    assert schemas["SpeechWish"]["required"] == ["input"]
    assert schemas["TranscriptionForm"]["required"] == ["file"]
