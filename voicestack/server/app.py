"""What the server answers over plain HTTP: health, readiness, metrics, the stages, and a hello."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from voicestack import __version__
from voicestack.config.schema import Config
from voicestack.server.door import RealtimeDoor
from voicestack.server.readiness import Readiness
from voicestack.telemetry.metrics import Metrics

RETRY_AFTER_S = "1"

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>voicestack</title>
<meta name="viewport" content="width=device-width"><style>
body{{font:16px/1.5 system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem}}
code{{background:#8882;padding:.1em .3em;border-radius:.3em}}</style>
<h1>voicestack {version}</h1><p>The server is <b>{state}</b>, profile <b>{profile}</b>.</p>
<p>Talk to it from a terminal: <code>.venv/bin/voicestack talk question.wav</code>,
or point any OpenAI Realtime client at <code>ws://{host}/v1/realtime</code>.</p>
<p><a href="/metrics">metrics</a> · <a href="/readyz">readiness</a> · <a href="/v1/models">models</a></p>
"""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes talk about."""

    config: Config
    door: RealtimeDoor
    readiness: Readiness
    metrics: Metrics
    stages: Sequence[Route]


def make_app(parts: Parts) -> Starlette:
    """The HTTP half of the server."""

    async def home(request: Request) -> Response:
        state = parts.readiness.reason or "ready"
        host = request.headers.get("host", f"{parts.config.server.host}:{parts.config.server.port}")
        safe = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;"}
        shown = "".join(safe.get(c, c) for c in host)
        return HTMLResponse(
            PAGE.format(version=__version__, state=state, profile=parts.config.profile, host=shown)
        )

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        reason, turn = parts.readiness.reason, parts.readiness.last_turn
        body = {
            "ready": reason is None,
            "reason": reason,
            "profile": parts.config.profile,
            "sessions": parts.door.n_sessions,
            "synthetic_turn_ms": None if turn is None else turn.response_ms,
            "spans": [] if turn is None else [asdict(span) for span in turn.spans()],
        }
        if reason is None:
            return JSONResponse(body)
        return JSONResponse(body, status_code=503, headers={"Retry-After": RETRY_AFTER_S})

    async def metrics(request: Request) -> Response:
        body, content_type = parts.metrics.render()
        return Response(body, headers={"Content-Type": content_type})

    return Starlette(
        routes=[
            Route("/", home),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            *parts.stages,
        ]
    )
