"""The connection of a session to a server of tools: made when it is needed, made again when it was lost."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

from voicestack.aio.scope import Scope
from voicestack.core.errors import StageError, StageRejected, StageTimeout, StageUnavailable
from voicestack.core.served import ToolServer, ToolServers, ToolSource

log = logging.getLogger(__name__)

Place = tuple[str, str, tuple[tuple[str, str], ...]]


class Link:
    """One server. A task of the session's holds the connection, as it must end where it began.

    Args:
        source: Which.
        servers: Reaches it; None when this process reaches none.
        scope: Owns the task.
        on_change: Called when the server says that its tools have changed.
    """

    def __init__(
        self,
        source: ToolSource,
        servers: ToolServers | None,
        scope: Scope,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.source = source
        self._servers, self._scope, self._on_change = servers, scope, on_change
        self._n_users = 0
        self._held: asyncio.Future[ToolServer | StageError] | None = None
        self._over = asyncio.Event()

    @property
    def is_busy(self) -> bool:
        """Whether something is being asked of it."""
        return self._n_users > 0

    @asynccontextmanager
    async def server(self) -> AsyncIterator[ToolServer]:
        """The server, connected. A block that finds it lost lets the next one connect anew.

        Raises:
            StageError: it cannot be reached.
        """
        self._n_users += 1
        try:
            yield await self._connected()
        except (StageUnavailable, StageTimeout):
            self.close()
            raise
        finally:
            self._n_users -= 1

    def close(self) -> None:
        """Hang up."""
        self._over.set()
        self._held = None

    async def _connected(self) -> ToolServer:
        if self._servers is None:
            raise StageRejected("this process calls no servers of tools", stage="mcp")
        if self._held is None:
            self._held, self._over = asyncio.get_running_loop().create_future(), asyncio.Event()
            self._scope.start(
                self._hold(self._servers, self._held, self._over), name=f"link-{self.source.label}"
            )
        held = self._held
        found = await asyncio.shield(held)  # another user may wait for the same
        if isinstance(found, StageError):
            raise found
        return found

    async def _hold(
        self, servers: ToolServers, held: "asyncio.Future[ToolServer | StageError]", over: asyncio.Event
    ) -> None:
        try:
            async with servers.connect(self.source) as server, Scope() as within:
                held.set_result(server)
                within.start(self._watch(server), name=f"watch-{self.source.label}")
                await over.wait()
        except StageError as error:
            if held.done():
                log.info("the server of tools '%s' went away: %s", self.source.label, error)
            else:
                held.set_result(error)
        if self._held is held:  # nobody shall be given what is gone
            self._held = None

    async def _watch(self, server: ToolServer) -> None:
        try:
            async with aclosing(server.changes()) as changes:
                async for _ in changes:
                    self._on_change()
        except StageError as error:  # whoever uses it next will see whether it is gone
            log.info("changes of the tools of '%s' will not be noticed: %s", self.source.label, error)
