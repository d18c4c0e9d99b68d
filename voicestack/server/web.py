"""The port: uvicorn, with our own connections, our own limits and our own ending."""

import asyncio
import functools
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from voicestack.access.certificate import Tls
from voicestack.access.places import Proxies
from voicestack.aio.clock import Clock
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError
from voicestack.server.http_wire import HttpLimits, LimitedHttp
from voicestack.transports.ws_peer import Door, WebSocketPeer


class WebServer(uvicorn.Server):
    """uvicorn, with the signals left to us: it would raise them again and skip our clean-up.

    Args:
        config: The configuration.
        app: Answers plain HTTP.
        door: Takes WebSockets.
        clock: For time limits.
        tls: The certificate; None for plain connections.
    """

    def __init__(self, config: Config, app: ASGIApp, door: Door, clock: Clock, tls: Tls | None) -> None:
        self._ours, self._tls = config, tls
        shared = HttpLimits(config.limits, Proxies(config.access.trusted_proxies), clock)
        peer = functools.partial(
            WebSocketPeer,
            door,
            clock,
            max_message_bytes=config.server.max_message_bytes,
            max_unsent_bytes=config.server.write_buffer_limit_bytes,
        )
        super().__init__(
            uvicorn.Config(
                app,
                host=config.server.host,
                port=config.server.port,
                ws=peer,  # type: ignore[arg-type]  # anything that makes a protocol will do
                http=functools.partial(LimitedHttp, shared),  # type: ignore[arg-type]  # likewise
                proxy_headers=False,  # whom to believe is access.trusted_proxies
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=max(1, round(config.server.shutdown_grace_s)),
            )
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See the class."""
        yield

    async def startup(self, sockets: Any = None) -> None:
        """Listen. uvicorn's own has no time limit for TLS handshakes, and ends the process when it fails.

        Raises:
            ConfigError: the address cannot be used.
        """
        encrypted: dict[str, ssl.SSLContext | float] = {}
        if self._tls is not None:
            timeout_s = self._ours.limits.header_timeout_ms / 1000
            encrypted = {"ssl": self._tls.context, "ssl_handshake_timeout": timeout_s}
        kind: Any = self.config.http_protocol_class
        connection = functools.partial(kind, config=self.config, server_state=self.server_state, app_state={})
        loop: Any = asyncio.get_running_loop()
        where = self._ours.server
        try:
            listener = await loop.create_server(
                connection, where.host, where.port, backlog=self.config.backlog, **encrypted
            )
        except OSError as error:
            why = f"{error.strerror or error}; is it taken?"
            raise ConfigError(f"server.port {where.port} on {where.host} cannot be used: {why}") from None
        self.servers = [listener]
        self.started = True

    async def shutdown(self, sockets: Any = None) -> None:
        """Stop. What still has something to say to a client that does not read is broken off."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        await asyncio.sleep(0)  # so that they are closed before the event loop is
