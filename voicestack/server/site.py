"""What browsers load: the demo page at `/`, its own files, and the widget for pages anywhere.

The files are what the build of `web/` left. They are read once, when the server starts, and looked up by
name: no request touches the file system, so no path leads out of the folder.
"""

import base64
import gzip
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePosixPath

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from voicestack import __version__
from voicestack.core.errors import ConfigError

BUILT = Path(__file__).parent / "site"
"""Where the build puts its files."""

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    ".wasm": "application/wasm",
    ".txt": "text/plain; charset=utf-8",
    ".ts": "text/plain; charset=utf-8",
}
"""What the build may leave, and what browsers are told that it is. Nothing else is served."""
HASHED_IN = "assets"
"""Files in folders of this name have a hash of their content in their own: they never change."""
REVALIDATED, FOR_EVER = "no-cache", "public, max-age=31536000, immutable"
MIN_GAIN_RATIO = 0.9
"""A file is sent compressed if that makes it at least this much smaller."""

_HOST = re.compile(r"[\w.-]+(:\d+)?|\[[\da-f:.]+\](:\d+)?", re.IGNORECASE)

PLAIN_STYLE = (
    "body{font:16px/1.5 system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem}"
    "code{background:#8882;padding:.1em .3em;border-radius:.3em}"
)
PLAIN_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>voicestack</title>
<meta name="viewport" content="width=device-width"><style>{style}</style>
<h1>voicestack {version}</h1><p>The server is <b>{state}</b>, profile <b>{profile}</b>.</p>
<p>The page to talk to it from here has not been built: run <code>make web</code> in the checkout (it needs
Node.js and npm), then start the server again.</p>
<p>Talk to it from a terminal: <code>.venv/bin/voicestack talk question.wav</code>,
or point any OpenAI Realtime client at <code>{scheme}://{host}/v1/realtime</code>.</p>
<p><a href="/metrics">metrics</a> · <a href="/readyz">readiness</a> · <a href="/v1/models">models</a></p>
"""


@dataclass(frozen=True, slots=True)
class File:
    """One file, ready to be sent.

    Attributes:
        content_type: What browsers are told that it is.
        body: Its bytes.
        packed: The same after gzip; None where that gains nothing.
        tag: Changes with the content.
        cached: Its Cache-Control.
    """

    content_type: str
    body: bytes
    packed: bytes | None
    tag: str
    cached: str


def read_site(folder: Path) -> dict[str, File]:
    """All files of a built site by their path in it; empty if it has not been built.

    Raises:
        ConfigError: it has a file of a kind that is not in `TYPES`.
    """
    if not (folder / "index.html").is_file():
        return {}
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_symlink() or not path.is_file() or any(part.startswith(".") for part in name.parts):
            continue
        if path.suffix not in TYPES:
            raise ConfigError(f"{path} is of no kind that the site has; build it again: make web")
        files[name.as_posix()] = _file(name.as_posix(), path.read_bytes())
    return files


def _file(name: str, body: bytes) -> File:
    packed = gzip.compress(body, mtime=0)
    never_changes = HASHED_IN in PurePosixPath(name).parts[:-1]
    return File(
        TYPES[PurePosixPath(name).suffix],
        body,
        packed if len(packed) < MIN_GAIN_RATIO * len(body) else None,
        hashlib.sha256(body).hexdigest()[:20],
        FOR_EVER if never_changes else REVALIDATED,
    )


def site_routes(files: Mapping[str, File], state: Callable[[], str], profile: str) -> list[Route]:
    """The routes, for everybody.

    Args:
        files: From `read_site`.
        state: "ready", or why the server is not.
        profile: The name of the configuration's profile.
    """

    async def home(request: Request) -> Response:
        headers = page_headers(request)
        if "index.html" in files:
            return answer_file(request, files["index.html"], headers)
        shown = PLAIN_PAGE.format(
            style=PLAIN_STYLE,
            version=__version__,
            state=escape(state()),
            profile=escape(profile),
            scheme="wss" if request.url.scheme == "https" else "ws",
            host=escape(request.headers.get("host", "")),
        )
        return Response(shown, headers={**headers, "Cache-Control": REVALIDATED}, media_type="text/html")

    async def page_file(request: Request) -> Response:
        return _found(request, "demo", {"Cross-Origin-Resource-Policy": "same-origin"})

    async def widget_file(request: Request) -> Response:
        shared = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
        return _found(request, "widget", shared)

    def _found(request: Request, folder: str, headers: dict[str, str]) -> Response:
        file = files.get(f"{folder}/{request.path_params['path']}")
        if file is None:
            missing = {**headers, **_QUIET, "Cache-Control": REVALIDATED}
            return Response("There is no such file.\n", 404, missing, "text/plain")
        return answer_file(request, file, headers)

    return [
        Route("/", home),
        Route("/demo/{path:path}", page_file),
        Route("/widget/{path:path}", widget_file),
    ]


def answer_file(request: Request, file: File, headers: Mapping[str, str]) -> Response:
    """The file, or that the browser has it. Compressed for whoever takes that."""
    packed = file.packed if _takes_gzip(request.headers.get("accept-encoding", "")) else None
    tag = f'"{file.tag}"' if packed is None else f'"{file.tag}-gz"'
    told = {**headers, **_QUIET, "ETag": tag, "Cache-Control": file.cached, "Vary": "Accept-Encoding"}
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    if tag in known or "*" in known:
        return Response(status_code=304, headers=told)
    if packed is not None:
        told["Content-Encoding"] = "gzip"
    return Response(
        file.body if packed is None else packed, headers={**told, "Content-Type": file.content_type}
    )


def _takes_gzip(accepted: str) -> bool:
    """Whether gzip is among the codings that a client names, and not with weight 0."""
    for one in accepted.lower().split(","):
        coding, _, weight = one.partition(";")
        if coding.strip() == "gzip":
            return not re.fullmatch(r"q=0(\.0*)?", weight.replace(" ", ""))
    return False


_QUIET = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def page_headers(request: Request) -> dict[str, str]:
    """What the page may do: load its own files and talk to this server. No browser guesses, nobody frames it.

    Safari before 15.4 does not count WebSockets as 'self', so they are named.
    """
    host = request.headers.get("host", "")
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    plain = base64.b64encode(hashlib.sha256(PLAIN_STYLE.encode()).digest()).decode()
    policy = [
        "default-src 'self'",
        f"connect-src 'self'{sockets}",
        "img-src 'self' data:",
        f"style-src 'self' 'sha256-{plain}'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return {
        **_QUIET,
        "Content-Security-Policy": "; ".join(policy),
        "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), payment=(), usb=()",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
