"""What can be said over WebSocket and data channel? The AsyncAPI 3 document, made from `realtime/wire`.

`docs/asyncapi.json` is a copy.
"""

from inspect import getdoc
from typing import Any, get_args

import orjson
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from voicestack import __version__
from voicestack.realtime.wire import ClientEvent, ClientExtensionEvent, ExtensionEvent, ServerEvent

SCHEMAS = "#/components/schemas/"
CHANNEL = "#/channels/realtime"
WHAT = (
    "The OpenAI Realtime API (GA): JSON text frames, one event each. Keys that are not described are ignored "
    "when a client sends them and never sent by the server. Over WebRTC the data channel `oai-events` "
    "carries the same but `response.output_audio.delta`: there the audio is the call's."
)


def asyncapi_route() -> Route:
    """The route of the document."""
    text = document_text()

    async def asyncapi(request: Request) -> Response:
        return Response(text, media_type="application/json")

    return Route("/asyncapi.json", asyncapi)


def document_text() -> bytes:
    """The document as it is served and kept: indented, keys in order."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(document(), option=options)


def document() -> dict[str, Any]:
    """The AsyncAPI document."""
    unions = (ClientEvent, ClientExtensionEvent, ServerEvent, ExtensionEvent)
    events = [event for union in unions for event in get_args(union)]
    _, schemas = TypeAdapter.json_schemas(
        [(event, "validation", TypeAdapter(event)) for event in events], ref_template=SCHEMAS + "{model}"
    )
    messages = {_key(event): _message(event) for event in events}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "voicestack", "version": __version__, "description": WHAT},
        "defaultContentType": "application/json",
        "channels": {
            "realtime": {
                "address": "/v1/realtime",
                "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in messages},
                "bindings": {"ws": {"method": "GET", "query": _QUERY}},
            }
        },
        "operations": {
            "listen": _operation("receive", "What a client may send.", get_args(ClientEvent)),
            "listenFurther": _operation(
                "receive", "With `voicestack_events=1` only.", get_args(ClientExtensionEvent)
            ),
            "tell": _operation("send", "What any client may receive.", get_args(ServerEvent)),
            "tellMore": _operation("send", "With `voicestack_events=1` only.", get_args(ExtensionEvent)),
        },
        "components": {"messages": messages, "schemas": schemas["$defs"]},
    }


_QUERY = {
    "type": "object",
    "properties": {
        "model": {"type": "string", "description": "Any name will do; it is shown again."},
        "call_id": {
            "type": "string",
            "description": "Join this running call: all of its events but the audio, and the right to ask.",
        },
        "voicestack_events": {"enum": ["0", "1"], "default": "0", "description": "Send our own events too."},
    },
}


def _message(event: Any) -> dict[str, Any]:
    summary, _, more = (getdoc(event) or "").partition("\n\n")
    message = {
        "name": _kind(event),
        "summary": summary,
        "payload": {"$ref": SCHEMAS + event.__name__},
    }
    return {**message, "description": more} if more else message


def _operation(action: str, summary: str, events: tuple[Any, ...]) -> dict[str, Any]:
    messages = [{"$ref": f"{CHANNEL}/messages/{_key(event)}"} for event in events]
    return {"action": action, "summary": summary, "channel": {"$ref": CHANNEL}, "messages": messages}


def _kind(event: Any) -> str:
    """The `type` of an event."""
    return str(get_args(event.__annotations__["type"])[0])


def _key(event: Any) -> str:
    """Its name in the document: a dot would have to be escaped in every reference."""
    return _kind(event).replace(".", "_")
