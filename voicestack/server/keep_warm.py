"""What keeps the configured language model warm: its warm-up, its heartbeat, and what is exported of both."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from voicestack.aio.clock import Clock
from voicestack.config.schema import Config
from voicestack.core.history import Message
from voicestack.core.queues import Queued
from voicestack.engines.heartbeat import Heartbeat, Pulse
from voicestack.engines.openai_llm import OpenAiLlm
from voicestack.fleet.member import Member
from voicestack.ports import Llm, Measured
from voicestack.server.assembly_fleet import Fleet
from voicestack.server.assembly_rungs import Rungs
from voicestack.server.readiness import Readiness
from voicestack.server.supervised import Phased, Supervised
from voicestack.server.warm_up import Warmth
from voicestack.session.tuning import Engines
from voicestack.telemetry.metrics import ChildReadings, Metrics

HEARTBEAT_S = {"vllm": 5.0}
"""By engine, where nobody says otherwise. vLLM's time to the first token rises after about 10 s of idling."""

HISTORY_SHARES = (0.0, 0.25, 0.75)
"""Of the context: a first question, a conversation, a long one. CUDA graphs and kernels go by length."""


def heartbeat_of(config: Config, llm: Llm, clock: Clock) -> Heartbeat | None:
    """The heartbeat that the configuration asks for; None for none."""
    said = config.llm.heartbeat_s
    every_s = HEARTBEAT_S.get(config.llm.engine, 0.0) if said == "auto" else said
    if not every_s or not isinstance(llm, OpenAiLlm):
        return None
    messages = (Message("system", config.session.instructions), Message("user", "Hello."))
    pulse = Pulse(round(every_s * 1e9), config.llm.heartbeat_budget_ms)
    return Heartbeat(llm, llm.measures, clock=clock, messages=messages, pulse=pulse)


def warmth_of(config: Config, heartbeat: Heartbeat | None) -> Warmth:
    """How to warm the language model.

    llama.cpp compiles nothing at first use, and computes long prompts for seconds: it only gets the default
    instructions into each of its slots.
    """
    doubt = heartbeat.doubt if heartbeat is not None else _no_doubt
    if config.llm.engine in ("llama_server", "scripted"):
        n_places = config.llm.slots if config.llm.engine == "llama_server" else 1
        return Warmth(n_places=n_places, doubt=doubt)
    room_tokens = config.llm.context_tokens - config.llm.max_tokens
    return Warmth(tuple(round(share * room_tokens) for share in HISTORY_SHARES), doubt=doubt)


def watch_engines(metrics: Metrics, engines: Engines, heartbeat: Heartbeat | None) -> None:
    """Export what the engines measure of themselves."""
    whole = {"asr": engines.asr, "llm": engines.llm, "tts": engines.tts, "forecast": engines.forecaster}
    for name, engine in whole.items():
        if isinstance(engine, Measured):
            metrics.engines.watch_figures(name, engine.figures)
        if isinstance(engine, Queued):
            metrics.queues.watch(engine.queues)
    if heartbeat is not None:
        metrics.engines.watch_figures("llm_heartbeat", heartbeat.figures)
    if isinstance(engines.llm, OpenAiLlm):
        engines.llm.measures.on_answer.append(metrics.llm.answered)


def watch_fleet(metrics: Metrics, fleet: Fleet) -> None:
    """Export what was done with the replicas, and how each is: `llm_pool.NAME`, where there are several."""
    for name, pool in fleet.pools().items():
        metrics.engines.watch_figures(name, pool.figures)
        for member in pool.roster.members.values() if len(pool.roster.members) > 1 else ():
            metrics.engines.watch_figures(f"{name}.{member.name}", partial(_seen, member))


def _seen(member: Member[Any]) -> Mapping[str, float]:
    return member.view().figures()


def watch_rungs(metrics: Metrics, rungs: Rungs) -> None:
    """Export what became of openers and of remembered answers."""
    for name, one in rungs.measured.items():
        metrics.engines.watch_figures(name, one.figures)


def watch_starts(metrics: Metrics, readiness: Readiness, supervised: tuple[Supervised, ...]) -> None:
    """Export how the processes are, and what the phases of their starts took."""
    metrics.engines.watch_start("server", lambda: readiness.phases_s)
    for part in supervised:
        metrics.watch_child(part.name, _readings(part))
        metrics.engines.watch_start(part.name, partial(_phases_s, part))


def _phases_s(part: Supervised) -> Mapping[str, float]:
    """Of its first process: those of a pool start alike."""
    return next((one.phases_s() for one in part.processes() if isinstance(one, Phased)), {})


def _readings(part: Supervised) -> ChildReadings:
    return ChildReadings(n_restarts=lambda: part.n_restarts, is_ready=lambda: part.is_ready)


def _no_doubt() -> None:
    return None
