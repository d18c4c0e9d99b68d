"""How do the replicas and the server stand, where nobody knows better than the engines themselves?"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from voicestack.config.schema import Config
from voicestack.core.errors import Overloaded
from voicestack.core.glance import Glance
from voicestack.ports import Measured
from voicestack.server.dashboard.live import InProgress
from voicestack.server.directory import Directory
from voicestack.server.readiness import Readiness
from voicestack.session.tuning import Engines


@runtime_checkable
class Glanced(Protocol):
    """A conversation that can be looked at."""

    def glance(self) -> Glance:
        """How it stands. Cheap."""
        ...


def in_progress(directory: Directory) -> Iterator[InProgress]:
    """The conversations, as they stand."""
    for live in directory:
        if isinstance(live.session, Glanced):
            route = "websocket" if live.call is None else "webrtc"
            yield InProgress(live.principal.tenant, route, live.session.glance())


def own_replicas(config: Config, engines: Engines, readiness: Readiness) -> list[Mapping[str, Any]]:
    """One replica per stage: the engine in this process, by its own figures."""
    stages = (
        ("asr", config.asr.engine, engines.asr),
        ("llm", config.llm.engine, engines.llm),
        ("tts", config.tts.engine, engines.tts),
    )
    is_warm = readiness.reason is None
    return [
        _row(
            stage,
            name,
            config.fleet.region,
            engine.figures() if isinstance(engine, Measured) else {},
            is_warm,
        )
        for stage, name, engine in stages
    ]


def own_capacity(
    config: Config, n_sessions: int, refusal: Overloaded | None, refused: Mapping[str, int]
) -> Mapping[str, Any]:
    """Sessions against their limit; nothing is predicted."""
    is_full = n_sessions >= config.server.max_sessions
    return {
        "sessions": n_sessions,
        "max_sessions": config.server.max_sessions,
        "admitting": refusal is None,
        "reason": None if refusal is None else "full" if is_full else "not_ready",
        "predicted_p95_ms": None,
        "budget_ms": float(config.budget.turn_ms),
        "headroom_sessions": None,
        "refused": dict(refused),
        "queues": [],
    }


def _row(
    stage: str, name: str, region: str, figures: Mapping[str, float], is_warm: bool
) -> Mapping[str, Any]:
    def count(*names: str) -> int:
        return round(next((figures[one] for one in names if one in figures), 0.0))

    return {
        "stage": stage,
        "name": name,
        "region": region,
        "state": "warm" if is_warm else "cold",
        "breaker": None,
        "in_flight": count("running_requests"),
        "queue": figures.get("waiting_requests"),
        "kv_used_ratio": figures.get("kv_use_ratio"),
        "acceptance_ratio": figures.get("accept_ratio"),
        "first_p50_ms": figures.get("first_token_p50_ms"),
        "first_p95_ms": figures.get("first_token_p95_ms"),
        "requests": count("requests_total", "answers_total"),
        "failures": count("failed_total"),
        "about": dict(figures),
    }


Replicas = Callable[[], list[Mapping[str, Any]]]
Capacity = Callable[[], Mapping[str, Any]]
