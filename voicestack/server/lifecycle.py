"""How the server starts, warms up, runs and stops."""

import asyncio
import functools
import gc
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from voicestack import __version__
from voicestack.access.certificate import Tls, certificate_of
from voicestack.access.guard import Guard, refuse_exposure
from voicestack.access.key_file import KeyFile, KeysInForce, default_path
from voicestack.access.places import Proxies
from voicestack.aio.clock import Clock, SystemClock, unix_s
from voicestack.aio.scope import Scope
from voicestack.config.derived import settings_of
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError, Overloaded
from voicestack.core.marks import TurnMarks
from voicestack.server.app import Parts, make_app
from voicestack.server.assembly import Supervised, assemble, tuning_of
from voicestack.server.door import RealtimeDoor
from voicestack.server.http_wire import HttpLimits, LimitedHttp
from voicestack.server.readiness import Readiness
from voicestack.telemetry.metrics import ChildReadings, Metrics
from voicestack.transports.ws_peer import WebSocketPeer

log = logging.getLogger(__name__)

RETRY_AFTER_MS = 1000

LOOK_S = 1.0
"""How often the keys and the certificate are looked at: three calls of stat. So soon a revocation counts."""


class _Uvicorn(uvicorn.Server):
    """uvicorn, with the signals left to us: it would raise them again and skip our clean-up."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready: its port, the synthetic turn that passed, and how to stop it."""

    port: int
    turn: TurnMarks
    stop: Callable[[], None]


async def serve(config: Config, on_ready: Callable[[Running], None]) -> None:
    """Serve until SIGINT, SIGTERM or `Running.stop`. `on_ready` is called every time that it becomes ready.

    Raises:
        ConfigError: the engines cannot be made, the port is taken, strangers could come in, or the keys file
            or certificate cannot be used.
    """
    clock = SystemClock()
    keys = KeysInForce(keys_file_of(config))
    refuse_exposure(config.server.host, config.access, keys)
    tls = certificate_of(config.tls, config.server.host, os.environ, unix_s=unix_s)
    guard = Guard(config.server.host, config.access, config.limits, keys, clock=clock, unix_s=unix_s)
    assembly = assemble(config, clock)
    metrics = Metrics(version=__version__, profile=config.profile)
    readiness = Readiness(
        assembly.engines,
        assembly.supervised,
        clock=clock,
        settings=settings_of(config),
        tuning=tuning_of(config),
        budget_ms=config.budget.readiness_turn_ms,
    )

    def admits() -> Overloaded | None:
        if not readiness.ever:
            return Overloaded(f"not ready: {readiness.reason}", retry_after_ms=RETRY_AFTER_MS)
        if door.n_sessions >= config.server.max_sessions:
            return Overloaded(
                f"all {config.server.max_sessions} sessions are taken", retry_after_ms=RETRY_AFTER_MS
            )
        return None

    async with AsyncExitStack() as last, Scope() as scope:
        last.push_async_callback(assembly.close)
        for part in assembly.supervised:
            scope.start(part.run(), name=part.name)
        door = RealtimeDoor(
            config,
            assembly.engines,
            guard=guard,
            clock=clock,
            scope=scope,
            metrics=metrics,
            admits=admits,
        )
        metrics.watch_queues(door.queued_ms)
        for part in assembly.supervised:
            metrics.watch_child(part.name, _readings(part))
        app = make_app(Parts(config, door, readiness, metrics, guard, keys))
        server = _web_server(config, door, clock, app, tls)
        stop = _stop_on_signals(server)

        def ready(turn: TurnMarks) -> None:
            _settle_memory()
            on_ready(Running(_port(server), turn, stop))

        scope.start(readiness.run(ready), name="readiness")
        scope.start(_look_after(keys, tls, door), name="keys")
        try:
            await server.serve()
        except SystemExit:  # uvicorn's word for a port that is taken
            raise ConfigError(
                f"server.port {config.server.port} on {config.server.host} cannot be used: is it taken?"
            ) from None
    log.info("stopped")


def keys_file_of(config: Config) -> KeyFile:
    """Where the configuration keeps the keys."""
    named = config.access.keys_file
    return KeyFile(Path(named).expanduser() if named else default_path(os.environ))


async def _look_after(keys: KeysInForce, tls: Tls | None, door: RealtimeDoor) -> None:
    """Follow the files."""
    while True:
        await asyncio.sleep(LOOK_S)
        if keys.refresh():
            door.end_unwelcome()
        if tls is not None:
            tls.refresh()


def _web_server(config: Config, door: RealtimeDoor, clock: Clock, app: ASGIApp, tls: Tls | None) -> _Uvicorn:
    peer = functools.partial(
        WebSocketPeer,
        door,
        clock,
        max_message_bytes=config.server.max_message_bytes,
        max_unsent_bytes=config.server.write_buffer_limit_bytes,
    )
    shared = HttpLimits(config.limits, Proxies(config.access.trusted_proxies), clock)
    settings = uvicorn.Config(
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
    settings.load()
    settings.ssl = None if tls is None else tls.context
    return _Uvicorn(settings)


def _settle_memory() -> None:
    """Spare the collector what stays for good: modules, models, pools.

    With 60 sessions a full collection otherwise stops all of them for 40-50 ms every ten seconds.
    """
    gc.collect()
    gc.freeze()


def _stop_on_signals(server: uvicorn.Server) -> Callable[[], None]:
    """The first signal, or call, stops in order, the second at once."""

    def stop() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    return stop


def _readings(part: Supervised) -> ChildReadings:
    return ChildReadings(n_restarts=lambda: part.n_restarts, is_ready=lambda: part.is_ready)


def _port(server: uvicorn.Server) -> int:
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port
