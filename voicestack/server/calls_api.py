"""`/v1/realtime/calls`: what is asked for over HTTP of calls, and what is answered?"""

from collections.abc import Awaitable, Callable

import orjson
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voicestack.access.guard import Visitor
from voicestack.access.principal import Denied
from voicestack.core.errors import PeerProtocolError, VoiceStackError
from voicestack.realtime.checks import JsonObject
from voicestack.server.calls import Answered, Calls, Offer
from voicestack.server.ice import IceServers
from voicestack.server.stages.endpoint import limited, uploading
from voicestack.server.stages.errors import told

PREFIXES = ("", "/openai")
"""OpenAI's, and Azure's."""

SDP = "application/sdp"
SDP_BYTES = 65_536
"""Longest offer. A browser's with sound and data has 2 to 6 KiB."""
BODY_BYTES = 1_048_576
"""Longest request: an offer and a session object with many tools."""
MAX_FIELDS = 16

Endpoint = Callable[[Request], Awaitable[Response]]


class CallsApi:
    """The routes of calls.

    Args:
        calls: What they talk about.
        ice: What browsers need to find the way.
    """

    def __init__(self, calls: Calls, ice: IceServers) -> None:
        self._calls, self._ice = calls, ice

    def routes(self) -> list[Route]:
        """All of them, with OpenAI's names and with Azure's."""
        endpoints: list[tuple[str, str, Endpoint]] = [
            ("POST", "/calls", self._open),
            ("PATCH", "/calls/{name}", self._restart),
            ("POST", "/calls/{name}/hangup", self._hang_up),
            *(("POST", f"/calls/{{name}}/{verb}", self._answer_ringing) for verb in _VERBS),
            ("GET", "/ice_servers", self._ice_servers),
        ]
        return [
            Route(f"{prefix}/v1/realtime{path}", endpoint, methods=[method])
            for prefix in PREFIXES
            for method, path, endpoint in endpoints
        ]

    async def _open(self, request: Request) -> Response:
        resumed = request.query_params.get("resume")

        async def work(visitor: Visitor) -> Answered | Denied:
            offer = await offer_of(request)
            if resumed is not None:
                return await self._calls.resume(visitor, resumed, offer)
            return await self._calls.open(visitor, request.url.query, offer)

        return await _answered(request, work, 201)

    async def _restart(self, request: Request) -> Response:
        async def work(visitor: Visitor) -> Answered | Denied:
            offer = await offer_of(request)
            return await self._calls.restart(visitor, request.path_params["name"], offer)

        return await _answered(request, work, 200)

    async def _hang_up(self, request: Request) -> Response:
        denied = self._calls.hang_up(request.state.visitor, request.path_params["name"])
        return Response() if denied is None else _refusal(denied)

    async def _answer_ringing(self, request: Request) -> Response:
        return _refusal(self._calls.ringing(request.state.visitor, request.path_params["name"]))

    async def _ice_servers(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        name = visitor.principal.key_id or "anyone"
        return JSONResponse(self._ice.listed(name), headers={"Cache-Control": "no-store"})


_VERBS = ("accept", "reject", "refer")
"""What can be done about a call that waits to be answered."""


async def offer_of(request: Request) -> Offer:
    """Read what the client sends: an SDP, or a form with an SDP and a session object.

    Raises:
        PeerProtocolError: it is neither, too long, or not here in time.
        ClientDisconnect: the client hung up.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    async with uploading():
        if kind == SDP:
            sdp, session = b"".join([part async for part in limited(request, SDP_BYTES)]), None
        elif kind == "multipart/form-data":
            sdp, session = await _form_of(request)
        else:
            message = f"The body must be {SDP}, or multipart/form-data with the parts 'sdp' and 'session'."
            raise PeerProtocolError(message, code="unsupported_media_type")
    try:
        return Offer(sdp.decode(), session)
    except UnicodeDecodeError:
        raise PeerProtocolError("The offer is not text.", code="invalid_offer", param="sdp") from None


async def _form_of(request: Request) -> tuple[bytes, JsonObject | None]:
    body = limited(request, BODY_BYTES)
    try:
        form = await MultiPartParser(
            request.headers, body, max_files=MAX_FIELDS, max_fields=MAX_FIELDS, max_part_size=BODY_BYTES
        ).parse()
    except MultiPartException as error:
        message = f"The form cannot be read: {error.message}"
        raise PeerProtocolError(message, code="invalid_value") from None
    try:
        parts = {name: await _content(value) for name, value in form.multi_items()}
    finally:
        await form.close()
    if "sdp" not in parts:
        message = "The offer is missing: send it as the part 'sdp'."
        raise PeerProtocolError(message, code="missing_required_parameter", param="sdp")
    return parts["sdp"], _session_in(parts.get("session", b""))


async def _content(value: UploadFile | str) -> bytes:
    return value.encode() if isinstance(value, str) else await value.read()


def _session_in(text: bytes) -> JsonObject | None:
    if not text.strip():
        return None
    try:
        session = orjson.loads(text)
    except orjson.JSONDecodeError:
        session = None
    if not isinstance(session, dict):
        message = "The session is not a JSON object."
        raise PeerProtocolError(message, code="invalid_value", param="session")
    return {"type": "realtime", **session}


async def _answered(
    request: Request, work: Callable[[Visitor], Awaitable[Answered | Denied]], status: int
) -> Response:
    try:
        done = await work(request.state.visitor)
    except VoiceStackError as error:
        failed = told(error)
        headers = {"Connection": "close"}  # what is left of the body is not waited for
        if failed.retry_after_s is not None:
            headers["Retry-After"] = str(failed.retry_after_s)
        return JSONResponse(failed.answer.model_dump(), failed.status, headers)
    if isinstance(done, Denied):
        return _refusal(done)
    prefix = request.url.path.partition("/v1/")[0]
    place = f"{prefix}/v1/realtime/calls/{done.call_id}"
    return Response(done.sdp, status, {"Location": place}, SDP)


def _refusal(denied: Denied) -> Response:
    return Response(denied.body, denied.status, denied.headers, "application/json")
