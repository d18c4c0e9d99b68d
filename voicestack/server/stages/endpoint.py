"""What is the same for every request to a stage: its place, its end, its errors and its figures.

The work of a request ends when its client hangs up: the engines behind it are stopped by cancelling.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from voicestack.aio.clock import Clock
from voicestack.aio.expiry import Expiry
from voicestack.aio.scope import Scope as Tasks
from voicestack.core.deadline import Deadline, deadline_of
from voicestack.core.errors import (
    Overloaded,
    PeerProtocolError,
    Stage,
    StageError,
    TransportLost,
    VoiceStackError,
)
from voicestack.server.stages.admission import Turnstile
from voicestack.server.stages.errors import told
from voicestack.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

UPLOAD_S = 60.0
"""Longest wait for a request's body. 25 MiB take that over a line of 3.5 Mbit/s."""
STALL_S = 30.0
"""A client that does not read for so long is gone; its place is given to others."""

SSE = "text/event-stream"


class Reply:
    """The answer to one request, written piece by piece.

    Its end is kept back until `finish`, when the request's place is free again: a client that then asks for
    the next thing at once finds it.

    Args:
        send: ASGI's.

    Attributes:
        deadline: Until when the client wants it to begin; None if it does not say.
        on_begin: Called when it begins, unless with an error: whatever waits for that may stop.
    """

    def __init__(self, send: Send, deadline: Deadline | None = None) -> None:
        self._send_now = send
        self.deadline = deadline
        self.on_begin: Callable[[], None] = lambda: None
        self._media_type: str | None = None
        self._rest = b""

    @property
    def has_begun(self) -> bool:
        """Whether the status is on its way, so that it cannot be changed any more."""
        return self._media_type is not None

    async def whole(self, body: bytes, media_type: str) -> None:
        """Answer with all of it."""
        self.on_begin()
        await self._begin(200, media_type, {"Content-Length": str(len(body))})
        self._rest = body

    async def begin(self, media_type: str) -> None:
        """Begin an answer whose length is not known."""
        self.on_begin()
        await self._begin(200, media_type, {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    async def write(self, part: bytes) -> None:
        """Send more of the answer. Waits while the client does not read.

        Raises:
            TransportLost: it did not read for STALL_S.
        """
        if part:
            await self._body(part, more=True)

    async def event(self, event: BaseModel) -> None:
        """Send a server-sent event. Raises as `write` does."""
        await self.write(b"data: " + event.model_dump_json().encode() + b"\n\n")

    async def finish(self) -> None:
        """The answer is complete. Raises as `write` does."""
        await self._body(self._rest, more=False)

    async def fail(self, error: VoiceStackError) -> None:
        """Tell the error, in the way that is left.

        An answer that has begun is broken off: its last chunk never comes, which clients report, and events
        get one that says why.
        """
        status, retry_after_s, answer = told(error)
        body = answer.model_dump_json().encode()
        if self._media_type is None:
            retry = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
            await self._begin(status, "application/json", {"Content-Length": str(len(body)), **retry})
            await self._body(body, more=False)
        elif self._media_type == SSE:
            await self.write(b"data: " + body + b"\n\n")
            await self.finish()

    async def _begin(self, status: int, media_type: str, headers: dict[str, str]) -> None:
        self._media_type = media_type
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        raw.append((b"content-type", media_type.encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _body(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _send(self, message: dict[str, object]) -> None:
        try:
            async with asyncio.timeout(STALL_S):
                await self._send_now(message)
        except TimeoutError:
            raise TransportLost(f"the client read nothing for {STALL_S:.0f} s") from None


Work = Callable[[Request, Reply], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class StageEndpoint:
    """One endpoint, as an ASGI application.

    Attributes:
        name: One of `telemetry.metrics.STAGE_REQUESTS`.
        work: Reads the request and writes the reply.
        stage: Whose work it is.
        turnstile: Who may come in.
        clock: For the figures.
        metrics: Is told them.
    """

    name: str
    stage: Stage
    work: Work
    turnstile: Turnstile
    clock: Clock
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. A bug comes out of it as it is.

        What the client does not want any more (`core.deadline`) is not begun, and what has not come to
        anything by then is stopped.
        """
        started_ns = self.clock.now_ns()
        request = Request(scope, receive)
        reply, outcome = Reply(send, deadline_of(request.headers, started_ns)), "failed"
        try:
            async with Expiry(self.stage, self.clock).within(reply.deadline) as limit:
                reply.on_begin = lambda: limit.reschedule(None)
                with self.turnstile.passing():
                    await self.work(request, reply)
            await reply.finish()
            outcome = "answered"
        except (TransportLost, ClientDisconnect) as lost:
            outcome = "abandoned"
            log.info("/%s: %s", self.name, lost or "the client hung up")
        except VoiceStackError as error:
            outcome = "refused" if isinstance(error, PeerProtocolError | Overloaded) else "failed"
            if isinstance(error, StageError):
                self.metrics.stage_failed(error.stage, error.code)
                log.warning("/%s: %s [%s]", self.name, error, error.code)
            await reply.fail(error)
        finally:
            self.metrics.stage_requested(self.name, outcome, (self.clock.now_ns() - started_ns) / 1e9)


@asynccontextmanager
async def while_here(request: Request) -> AsyncIterator[None]:
    """Do what is in the `with` for as long as the client waits for it. The body must have been read.

    Raises:
        TransportLost: the client hung up; what was in the `with` was cancelled.
    """
    async with Tasks() as tasks:
        tasks.start(_hang_up(request), name="http-client")
        yield


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    raise TransportLost("the client hung up")


async def limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body of a request, piece by piece.

    Raises:
        PeerProtocolError: it is longer than `max_bytes` (`file_too_large`).
        ClientDisconnect: the client hung up.
    """
    message = f"The request is larger than the server takes: {max_bytes} bytes at most."
    too_large = PeerProtocolError(message, code="file_too_large")
    if int(request.headers.get("content-length", "0")) > max_bytes:
        raise too_large
    n_bytes = 0
    async for part in request.stream():
        n_bytes += len(part)
        if n_bytes > max_bytes:
            raise too_large
        yield part


@asynccontextmanager
async def uploading() -> AsyncIterator[None]:
    """Read a request's body in time.

    Raises:
        PeerProtocolError: it took longer than UPLOAD_S (`request_timeout`).
    """
    try:
        async with asyncio.timeout(UPLOAD_S):
            yield
    except TimeoutError:
        message = f"The request was not here within {UPLOAD_S:.0f} s."
        raise PeerProtocolError(message, code="request_timeout") from None
