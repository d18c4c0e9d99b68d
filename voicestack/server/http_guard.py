"""Every HTTP request passes here: who asks, from which page, how much, and for how long?"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voicestack.access.asked import Asked, read_request
from voicestack.access.guard import Guard, Visitor
from voicestack.access.principal import Denied
from voicestack.config.access import LimitsSection

FOR_SECRETS = ("/v1/realtime/", "/openai/v1/realtime/")
"""What an ephemeral secret opens: it is for sessions only."""

UNCOUNTED = ("/healthz", "/readyz")
"""Asked for again and again by whatever watches the server."""

NO_SECRET = Denied(
    403, "ephemeral_key_not_allowed", "A client secret opens realtime sessions only; use an API key for this."
)

_EXPOSED = "Location, Retry-After"
_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
_HEADERS = "Authorization, Content-Type, api-key, X-OpenAI-Agents-SDK"
_PREFLIGHT_S = "600"


class GuardedApp:
    """An ASGI application in front of another. Handlers find who asks as `request.state.visitor`.

    What is not in `public` wants a key, or whatever the guard asks for.

    Args:
        app: The application.
        guard: Says who comes in.
        limits: Of size and time.
        public: Routes that everybody may ask for. If a key is shown all the same, it is looked at.
    """

    def __init__(
        self, app: ASGIApp, guard: Guard, limits: LimitsSection, public: Sequence[BaseRoute]
    ) -> None:
        self.app, self._guard, self._limits, self._public = app, guard, limits, public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        headers = Headers(scope=scope)
        client = scope.get("client")
        asked = read_request(headers.getlist, client[0] if client else "")
        shown_origin = asked.origin if self._guard.allows_origin(asked) else None
        exchange = _Exchange(receive, send, self._limits, shown_origin)
        scope.setdefault("state", {})["visitor"] = None
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await exchange.answer(scope, _preflight(headers, allowed=shown_origin is not None))
        elif (denied := self._decide(scope, asked)) is not None:
            await exchange.refuse(scope, denied)
        else:
            await exchange.run(self.app, scope)

    def _decide(self, scope: Scope, asked: Asked) -> Denied | None:
        path = scope["path"]
        if any(route.matches(scope)[0] is not Match.NONE for route in self._public):
            if asked.credential is not None or not self._guard.asks_for_keys:
                found = self._guard.admit(asked)
                scope["state"]["visitor"] = found if isinstance(found, Visitor) else None
                return None
            return None if path in UNCOUNTED else self._guard.slow_down(asked)
        found = self._guard.admit(asked)
        if isinstance(found, Denied):
            return found
        if found.principal.ephemeral and not path.startswith(FOR_SECRETS):
            return NO_SECRET
        scope["state"]["visitor"] = found
        return None


class _Exchange:
    """One request and its answer."""

    def __init__(self, receive: Receive, send: Send, limits: LimitsSection, shown_origin: str | None) -> None:
        self._receive, self._send = receive, send
        self._limits, self._shown_origin = limits, shown_origin
        self._until_s: float | None = asyncio.get_running_loop().time() + limits.body_timeout_ms / 1000
        self._n_bytes = 0
        self._refusal: Denied | None = None
        self._has_begun = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Let the application answer. A request that is too long or too slow is to it a client that left."""
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdigit() and int(declared) > self._limits.body_bytes:
            await self.refuse(scope, self._too_long())
            return
        with suppress(ClientDisconnect):
            await app(scope, self._bounded_receive, self._shown_send)
        if self._refusal is not None and not self._has_begun:
            refusal, self._refusal = self._refusal, None
            await self.refuse(scope, refusal)

    async def refuse(self, scope: Scope, denied: Denied) -> None:
        """Say no. What else would come on this connection is not waited for."""
        headers = denied.headers | ({"Connection": "close"} if denied.status in (408, 413, 429) else {})
        body = Response(denied.body, denied.status, headers, "application/json")
        await self.answer(scope, body)

    async def answer(self, scope: Scope, response: Response) -> None:
        """Answer without asking the application."""
        await response(scope, self._receive, self._shown_send)

    async def _bounded_receive(self) -> Message:
        if self._refusal is not None:
            return {"type": "http.disconnect"}
        try:
            async with asyncio.timeout_at(self._until_s):
                message = await self._receive()
        except TimeoutError:
            self._refusal = Denied(408, "request_timeout", "The request's body took too long to arrive.")
            return {"type": "http.disconnect"}
        if message["type"] == "http.request":
            self._n_bytes += len(message.get("body", b""))
            if self._n_bytes > self._limits.body_bytes:
                self._refusal = self._too_long()
                return {"type": "http.disconnect"}
            if not message.get("more_body", False):
                self._until_s = None
        return message

    async def _shown_send(self, message: Message) -> None:
        if self._refusal is not None and not self._has_begun:
            return  # what the application says about a client that has not vanished
        if message["type"] == "http.response.start":
            self._has_begun = True
            headers = MutableHeaders(scope=message)
            headers.add_vary_header("Origin")
            if self._shown_origin is not None:
                headers["Access-Control-Allow-Origin"] = self._shown_origin
                headers["Access-Control-Expose-Headers"] = _EXPOSED
        await self._send(message)

    def _too_long(self) -> Denied:
        message = f"The request's body is longer than {self._limits.body_bytes} bytes."
        return Denied(413, "request_too_large", message)


def _preflight(headers: Headers, *, allowed: bool) -> Response:
    """A browser asks whether a page may ask. Keys are in headers, never in cookies, so any may be sent."""
    if not allowed:
        return Response(status_code=403)
    wanted = headers.get("access-control-request-headers", "")
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": f"{_HEADERS}, {wanted}" if wanted else _HEADERS,
            "Access-Control-Max-Age": _PREFLIGHT_S,
        },
    )
