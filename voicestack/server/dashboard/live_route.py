"""`/dashboard/api/live`: how does one watcher get their events?"""

import logging
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from voicestack.access.guard import Visitor
from voicestack.access.principal import Principal
from voicestack.core.errors import Overloaded, TransportLost, VoiceStackError
from voicestack.server.dashboard.live import Feed
from voicestack.server.dashboard.wishes import filter_of
from voicestack.server.stages.endpoint import SSE, Reply, while_here
from voicestack.telemetry.turn_filter import Reader

log = logging.getLogger(__name__)

RETRY_AFTER_MS = 5_000


class LiveEndpoint:
    """The endpoint, as an ASGI application.

    Args:
        feed: Where the events come from.
        unix_ms: The time.
        is_welcome: Whether somebody's key still counts.
    """

    def __init__(
        self, feed: Feed, unix_ms: Callable[[], int], is_welcome: Callable[[Principal], bool]
    ) -> None:
        self._feed, self._unix_ms, self._is_welcome = feed, unix_ms, is_welcome

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the watcher hangs up, reads nothing, loses the key, or the server stops."""
        request, reply = Request(scope, receive), Reply(send)
        try:
            await self._stream(request, reply)
        except (TransportLost, ClientDisconnect):
            log.debug("a watcher is gone")
        except VoiceStackError as error:
            await reply.fail(error)

    async def _stream(self, request: Request, reply: Reply) -> None:
        wanted = filter_of(request.query_params, self._unix_ms())
        visitor: Visitor = request.state.visitor
        principal = visitor.principal
        reader = Reader(principal.tenant, principal.is_operator)
        await request.body()
        if self._feed.is_full(reader):
            raise Overloaded("Too many watch already.", retry_after_ms=RETRY_AFTER_MS)
        watcher = self._feed.join(reader, wanted, lambda: self._is_welcome(principal))
        try:
            async with while_here(request):
                await reply.begin(SSE)
                async for event in watcher.events:
                    await reply.write(event)
                await reply.finish()
        finally:
            self._feed.leave(watcher)
