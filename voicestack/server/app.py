"""What the server answers over plain HTTP: health, readiness, metrics, the stages, and the demo page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from voicestack.access.guard import Guard
from voicestack.access.key_file import KeysInForce
from voicestack.access.principal import Denied
from voicestack.aio.clock import unix_s
from voicestack.config.schema import Config
from voicestack.realtime.checks import SHOWN_CHARS
from voicestack.server.calls_api import PREFIXES, CallsApi
from voicestack.server.client_secrets import SecretMint
from voicestack.server.dashboard.made import Dashboard
from voicestack.server.http_guard import GuardedApp
from voicestack.server.readiness import Readiness
from voicestack.server.sessions import Sessions, new_id
from voicestack.server.site import BUILT, read_site, site_routes
from voicestack.telemetry.metrics import Metrics

RETRY_AFTER_S = "1"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes talk about."""

    config: Config
    sessions: Sessions
    calls: CallsApi
    readiness: Readiness
    metrics: Metrics
    guard: Guard
    keys: KeysInForce
    dashboard: Dashboard
    stages: Sequence[Route]
    documents: Sequence[Route]


NOT_OPERATOR = Denied(
    403, "insufficient_permissions", "Figures about the whole server are for keys of the tenant 'default'."
)


def make_app(parts: Parts) -> GuardedApp:
    """The HTTP half of the server. Whoever adds a route says whether everybody may ask for it."""
    figures = _figures(parts)
    public = [*_open_routes(parts), *(figures if parts.config.access.open_metrics else [])]
    keyed = [*_api_routes(parts), *(figures if not parts.config.access.open_metrics else [])]
    app = Starlette(routes=[*public, *keyed], exception_handlers={HTTPException: _explained})
    return GuardedApp(app, parts.guard, parts.config.limits, public)


def _open_routes(parts: Parts) -> list[Route]:
    """For everybody."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        reason, turn = parts.readiness.reason, parts.readiness.last_turn
        body = {
            "ready": reason is None,
            "reason": reason,
            "profile": parts.config.profile,
            "sessions": len(parts.sessions),
            "synthetic_turn_ms": None if turn is None else turn.response_ms,
            "spans": [] if turn is None else [asdict(span) for span in turn.spans()],
        }
        if not (parts.config.access.open_metrics or _is_operator(request)):
            body = {"ready": body["ready"]}
        if reason is None:
            return JSONResponse(body)
        return JSONResponse(body, status_code=503, headers={"Retry-After": RETRY_AFTER_S})

    health = [Route("/healthz", healthz), Route("/readyz", readyz)]
    site = site_routes(
        read_site(BUILT), lambda: parts.readiness.reason or "ready", profile=parts.config.profile
    )
    return [*site, *health, *parts.dashboard.pages, *parts.documents]


def _figures(parts: Parts) -> list[Route]:
    """For the operator."""

    async def metrics(request: Request) -> Response:
        operator = _is_operator(request)
        if not (parts.config.access.open_metrics or operator):
            return Response(NOT_OPERATOR.body, NOT_OPERATOR.status, media_type="application/json")
        accept = request.headers.get("accept", "")
        body, content_type = parts.metrics.render(accept, exemplars=operator)
        return Response(body, headers={"Content-Type": content_type})

    return [Route("/metrics", metrics)]


def _api_routes(parts: Parts) -> list[Route]:
    """For whoever has a key, and only about what is theirs."""
    mint = SecretMint(parts.config, parts.keys, unix_s=unix_s, new_id=new_id)
    secrets = [
        Route(f"{prefix}/v1/realtime/client_secrets", mint.answer, methods=["POST"]) for prefix in PREFIXES
    ]
    return [*parts.stages, *parts.calls.routes(), *secrets, *parts.dashboard.api]


async def _explained(request: Request, error: Exception) -> Response:
    """What Starlette refuses, in the form of the API."""
    assert isinstance(error, HTTPException)
    code = "not_found" if error.status_code == 404 else "invalid_request"
    message = f"{error.detail}: {request.method} {request.url.path[:SHOWN_CHARS]}."
    denied = Denied(error.status_code, code, message)
    return Response(denied.body, denied.status, error.headers, "application/json")


def _is_operator(request: Request) -> bool:
    visitor = request.state.visitor
    return visitor is not None and visitor.principal.is_operator
