"""How the server starts, warms up, runs and stops."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import uvicorn
from starlette.routing import Route

from voicestack import __version__
from voicestack.access.certificate import Tls, certificate_of
from voicestack.access.guard import Guard, refuse_exposure
from voicestack.access.key_file import KeyFile, KeysInForce, default_path
from voicestack.aio.clock import Clock, SystemClock, unix_s
from voicestack.aio.scope import Scope
from voicestack.config.derived import settings_of
from voicestack.config.schema import Config
from voicestack.core.marks import TurnMarks
from voicestack.engines.heartbeat import Heartbeat
from voicestack.server.app import Parts, make_app
from voicestack.server.assembly import Assembly, assemble, tuning_of
from voicestack.server.assembly_fleet import Fleet
from voicestack.server.asyncapi import asyncapi_route
from voicestack.server.calls import Calls
from voicestack.server.calls_api import CallsApi
from voicestack.server.dashboard.made import Dashboard, dashboard_of
from voicestack.server.door import RealtimeDoor
from voicestack.server.gate import Gate, gate_of
from voicestack.server.ice import IceServers
from voicestack.server.keep_warm import (
    heartbeat_of,
    warmth_of,
    watch_engines,
    watch_fleet,
    watch_rungs,
    watch_starts,
)
from voicestack.server.ledger import Ledger, ledger_of
from voicestack.server.openapi import openapi_route
from voicestack.server.readiness import Readiness
from voicestack.server.rtc import link_maker
from voicestack.server.sessions import Sessions
from voicestack.server.stages.routes import completion_routes, stage_routes
from voicestack.server.tracing import spans_of
from voicestack.server.web import WebServer
from voicestack.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the keys and the certificate are looked at: three calls of stat. So soon a revocation counts."""


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
    heartbeat = heartbeat_of(config, assembly.local.llm, clock)
    readiness = _readiness(config, assembly, heartbeat, clock)
    metrics = _metrics(config, guard, assembly, heartbeat, readiness)
    spans = spans_of(config, os.environ, metrics)
    gate = gate_of(
        config, assembly.engines, readiness, metrics, clock=clock, n_sessions=lambda: len(sessions)
    )

    async with AsyncExitStack() as last, Scope() as scope:
        last.push_async_callback(assembly.close)
        ledger = await last.enter_async_context(ledger_of(config, keys.file.path, metrics))
        for part in assembly.supervised:
            scope.start(part.run(), name=part.name)
        sessions = Sessions(
            config,
            assembly.engines,
            guard=guard,
            clock=clock,
            scope=scope,
            metrics=metrics,
            admits=gate.admits,
            sheds_drafts=gate.sheds_drafts,
        )
        metrics.watch_queues(sessions.queued_ms)
        calls = _calls(config, sessions, clock, metrics)
        stages = _stages(config, assembly, clock, metrics, gate, sessions)
        documents = [openapi_route(), asyncapi_route()]
        dashboard = _dashboard(config, ledger, sessions, assembly.fleet, gate)
        parts = Parts(config, sessions, calls, readiness, metrics, guard, keys, dashboard, stages, documents)
        app = make_app(parts)
        server = WebServer(config, app, RealtimeDoor(sessions), clock, tls)
        stop = _stop_on_signals(server)

        def ready(turn: TurnMarks) -> None:
            _settle_memory()
            on_ready(Running(server.port, turn, stop))

        scope.start(readiness.run(ready), name="readiness")
        if heartbeat is not None:
            scope.start(heartbeat.run(), name="heartbeat")
        scope.start(gate.run(), name="gate")
        scope.start(_look_after(keys, tls, sessions), name="keys")
        scope.start(dashboard.feed.run(lambda: server.should_exit), name="dashboard")
        if spans is not None:
            scope.start(spans.run(), name="spans")
        await server.serve()
    gc.unfreeze()  # else the sketches outlive their library, which complains at length
    log.info("stopped")


def _metrics(
    config: Config, guard: Guard, assembly: Assembly, heartbeat: Heartbeat | None, readiness: Readiness
) -> Metrics:
    """The figures, and everything that is asked at every scrape."""
    tenants = config.telemetry.tenant_labels
    metrics = Metrics(version=__version__, profile=config.profile, tenants=tenants)
    metrics.watch_refusals(lambda: guard.refusals)
    watch_engines(metrics, assembly.local, heartbeat)
    watch_fleet(metrics, assembly.fleet)
    watch_rungs(metrics, assembly.rungs)
    watch_starts(metrics, readiness, assembly.supervised)
    return metrics


def _stages(
    config: Config, assembly: Assembly, clock: Clock, metrics: Metrics, gate: Gate, sessions: Sessions
) -> list[Route]:
    """The stages alone, for other programs and other servers."""
    admits = gate.takes_requests
    speech = stage_routes(
        config,
        assembly.local,
        clock=clock,
        metrics=metrics,
        admits=admits,
        in_calls=lambda: len(sessions) > 0,
    )
    spill = assembly.fleet.spill
    return [*speech, *completion_routes(config, spill, clock=clock, metrics=metrics, admits=admits)]


def _calls(config: Config, sessions: Sessions, clock: Clock, metrics: Metrics) -> CallsApi:
    """Calls over WebRTC, or the routes that say why there are none."""
    ice = IceServers(config.webrtc, unix_s)
    calls = Calls(sessions, link_maker(config, ice, clock), on_sent=metrics.call_packet_sent)
    metrics.watch_calls(calls.figures.readings)
    return CallsApi(calls, ice)


def _dashboard(config: Config, ledger: Ledger, sessions: Sessions, fleet: Fleet, gate: Gate) -> Dashboard:
    """The dashboard, with what the fleet and the gate know."""
    return dashboard_of(
        config,
        ledger,
        sessions,
        replicas=lambda: [asdict(replica) for replica in fleet.replicas()],
        capacity=lambda: gate.capacity().json(),
    )


def _readiness(config: Config, assembly: Assembly, heartbeat: Heartbeat | None, clock: Clock) -> Readiness:
    return Readiness(
        assembly.engines,
        assembly.supervised,
        clock=clock,
        settings=settings_of(config),
        tuning=tuning_of(config),
        budget_ms=config.budget.readiness_turn_ms,
        warmth=warmth_of(config, heartbeat),
    )


def keys_file_of(config: Config) -> KeyFile:
    """Where the configuration keeps the keys."""
    named = config.access.keys_file
    return KeyFile(Path(named).expanduser() if named else default_path(os.environ))


async def _look_after(keys: KeysInForce, tls: Tls | None, sessions: Sessions) -> None:
    """Follow the files."""
    while True:
        await asyncio.sleep(LOOK_S)
        if keys.refresh():
            sessions.end_unwelcome()
        if tls is not None:
            tls.refresh()


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
