"""A real MCP server in a process of its own, on loopback; `python -m tests.support.mcp_server http|sse`."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "let me in"


@dataclass(frozen=True, slots=True)
class Served:
    """The server, and how to end it."""

    port: int
    url: str
    process: subprocess.Popen[str]

    @property
    def place(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def die(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)


@contextmanager
def mcp_server(kind: str = "http", *options: str, port: int = 0) -> Iterator[Served]:
    """Run one. Options: `json` answers without streams, `locked` wants TOKEN, `gzip` compresses."""
    command = [sys.executable, "-m", "tests.support.mcp_server", kind, str(port), *options]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    with (
        Path(os.devnull).open("w") as nowhere,
        subprocess.Popen(
            command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=nowhere
        ) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()  # the server's own time limit ends a start that hangs
            taken = int(line)
            path = "/sse" if kind == "sse" else "/mcp"
            yield Served(taken, f"http://127.0.0.1:{taken}{path}", process)
        finally:
            process.kill()
            process.wait(timeout=10)


class Lock:
    """Lets in who knows TOKEN."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        if scope["type"] == "http" and headers.get(b"authorization") != f"Bearer {TOKEN}".encode():
            await PlainTextResponse("no", 401)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class Unasked:
    """Compresses for clients that have not asked for it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = GZipMiddleware(app, minimum_size=1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            kept = [header for header in scope["headers"] if header[0] != b"accept-encoding"]
            scope["headers"] = [*kept, (b"accept-encoding", b"gzip")]
        await self._app(scope, receive, send)


def _serve() -> None:
    import anyio
    import uvicorn
    from mcp.server import MCPServer
    from mcp.server.mcpserver import Context
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp_types import ToolAnnotations

    kind, port, *options = sys.argv[1:]
    server = MCPServer("test", log_level="ERROR")
    calls: list[str] = []

    @server.tool(description="Adds two numbers.", annotations=ToolAnnotations(read_only_hint=True))
    def add(a: int, b: int) -> str:
        calls.append("add")
        return str(a + b)

    @server.tool(description="Opens the door.")
    def open_door() -> str:
        calls.append("open_door")
        return "The door is open."

    @server.tool()
    def fail() -> str:
        raise ToolError("the oven is cold")

    @server.tool()
    def long(n_chars: int) -> str:
        return "x" * n_chars

    @server.tool()
    async def slow() -> str:
        calls.append("slow")
        await anyio.sleep(30)
        return "late"

    @server.tool()
    async def grow(ctx: Context[Any, Any]) -> str:
        server.add_tool(lambda: "late", name="later", description="Came later.")
        await ctx.notify_tools_changed()
        await ctx.session.send_tool_list_changed()
        return "grown"

    @server.tool()
    def called() -> str:
        return " ".join(calls)

    app = server.sse_app() if kind == "sse" else server.streamable_http_app(json_response="json" in options)
    if "locked" in options:
        app.add_middleware(Lock)
    if "gzip" in options:
        app.add_middleware(Unasked)

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: object = None) -> None:
            await super().startup()
            sys.stdout.write(f"{self.servers[0].sockets[0].getsockname()[1]}\n")
            sys.stdout.flush()

    signal.alarm(120)  # nothing that a test leaves behind lives longer
    Announcing(uvicorn.Config(app, host="127.0.0.1", port=int(port), log_level="error")).run()


if __name__ == "__main__":
    _serve()
