"""The OpenAPI document of a running server, and whether its answers are what it says.

`python -m tests.support.openapi` writes `docs/openapi.json` again.
"""

import re
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import orjson
from jsonschema import Draft202012Validator
from starlette.applications import Starlette

from tests.support.server import with_server
from voicestack.server import app as app_module
from voicestack.server import lifecycle
from voicestack.server.app import Parts
from voicestack.server.http_guard import GuardedApp

KEPT = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"


def running_app() -> tuple[Starlette, bytes]:
    """The application that a server runs, behind its guard, and the document that it serves."""
    made: list[GuardedApp] = []
    served: list[bytes] = []

    def make_app(parts: Parts) -> GuardedApp:
        made.append(app_module.make_app(parts))
        return made[0]

    async def script(port: int) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            served.append((await client.get("/openapi.json")).content)

    with patch.object(lifecycle, "make_app", make_app):  # the real one, overheard
        with_server(script)
    assert isinstance(made[0].app, Starlette)
    return made[0].app, served[0]


class Described:
    """Checks answers against the document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    def check(self, answer: httpx.Response, body: Any = None) -> None:
        """The status, the media type and, if it is JSON, the body are as described."""
        operation = self._operation(answer.request.method, answer.request.url.path)
        described = operation["responses"]
        assert str(answer.status_code) in described, f"{answer.status_code} is not described"
        content = described[str(answer.status_code)]["content"]
        media_type = answer.headers["content-type"].partition(";")[0]
        assert media_type in content, f"{media_type} is not described"
        if media_type == "application/json":
            self.validate(content[media_type]["schema"], answer.json() if body is None else body)
        elif media_type == "text/event-stream":
            for event in events(answer.text):
                self.validate(content[media_type]["schema"], event)

    def validate(self, schema: dict[str, Any], value: Any) -> None:
        """The value is as the schema says."""
        whole = {**schema, "components": self.document["components"]}
        Draft202012Validator(whole).validate(value)

    def _operation(self, method: str, path: str) -> Any:
        for template, operations in self.document["paths"].items():
            pattern = re.sub(r"\\{\w+\\}", ".+", re.escape(template))
            if re.fullmatch(pattern, path) and method.lower() in operations:
                return operations[method.lower()]
        raise AssertionError(f"{method} {path} is not described")


def events(text: str) -> list[Any]:
    """The server-sent events of an answer."""
    return [orjson.loads(line.removeprefix("data: ")) for line in text.splitlines() if line]


if __name__ == "__main__":
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_bytes(running_app()[1])
