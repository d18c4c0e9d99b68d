"""Which engines does a configuration ask for? Made here, run by the lifecycle."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from voicestack.aio.clock import Clock
from voicestack.config.derived import budget_of, policy_of
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError
from voicestack.core.served import ToolServers
from voicestack.engines.scripted import EnergyVad
from voicestack.fleet.forecasts import SketchForecaster
from voicestack.fleet.inner_ways import ways_of
from voicestack.ports import Vad
from voicestack.server.assembly_asr import asr_of
from voicestack.server.assembly_fleet import Fleet, Own, fleet_of
from voicestack.server.assembly_llm import llm_of
from voicestack.server.assembly_rungs import Rungs, rungs_of, voiced
from voicestack.server.assembly_tts import tts_of
from voicestack.server.supervised import Supervised
from voicestack.session.ears import Hearing
from voicestack.session.tuning import Engines, Tuning


@runtime_checkable
class Connected(Protocol):
    """An engine that holds connections to a server."""

    async def close(self) -> None:
        """Close them."""
        ...


@dataclass(frozen=True, slots=True)
class Assembly:
    """The engines of this process, what must run for them, and what ends their connections.

    `local` are this server's own, which warm it up; `engines` are those with all replicas behind them.
    """

    engines: Engines
    local: Engines
    fleet: Fleet
    rungs: Rungs
    supervised: tuple[Supervised, ...]
    close: Callable[[], Coroutine[Any, Any, None]]


def assemble(config: Config, clock: Clock) -> Assembly:
    """Make the engines. Nothing is started yet.

    Raises:
        ConfigError: an engine's package or file is missing.
    """
    vad = _vad(config)
    asr, asr_runs = asr_of(config, clock)
    llm, llm_runs = llm_of(config, clock)
    tts, tts_runs = tts_of(config, clock)

    fleet = fleet_of(config, Own(asr, llm, tts, asr_runs, llm_runs, tts_runs), clock)

    rungs = rungs_of(config, fleet.llm, clock, small=fleet.small_llm)
    voice, voice_runs = voiced(config, fleet.tts)

    async def close() -> None:
        await fleet.close()
        for engine in (asr, llm, tts, rungs.small):
            if isinstance(engine, Connected):
                await engine.close()

    forecaster = SketchForecaster(clock, ways_of(rungs.llm), budget_of(config))
    fleet.tell_times(forecaster)
    engines = Engines(vad, fleet.asr, rungs.llm, voice, _tool_servers(config), forecaster)
    supervised = (
        *(*asr_runs, *llm_runs, *tts_runs),
        *(*fleet.supervised, *rungs.supervised, *voice_runs),
    )
    return Assembly(
        engines, Engines(vad, asr, llm, tts, forecaster=forecaster), fleet, rungs, supervised, close
    )


def tuning_of(config: Config) -> Tuning:
    """How sessions behave."""
    return Tuning(
        policy=policy_of(config),
        hearing=Hearing(config.turn.soft_end_ms, config.turn.min_speech_ms, config.turn.stall_ms),
        lead_ms=config.session.lead_ms,
        queue_ms=config.session.queue_ms,
        context_tokens=config.llm.context_tokens - config.llm.max_tokens,
        prime=config.llm.prime,
        apology=config.session.apology,
        continue_replies=config.mcp.continue_replies,
        keep_audio_s=config.session.keep_audio_s,
        budget=budget_of(config),
        fillers=config.ladder.fillers,
        excuse=config.ladder.excuse,
        tool_filler=config.ladder.tool_filler,
        refusal=config.ladder.refusal,
        keep_words=config.ledger.transcripts,
    )


def _vad(config: Config) -> Vad:
    if config.vad.engine == "energy":
        return EnergyVad()
    from voicestack.engines.silero_vad import SileroVad

    return SileroVad()


def _tool_servers(config: Config) -> ToolServers | None:
    mcp = config.mcp
    if not mcp.allowed_hosts:
        return None
    try:
        from voicestack.engines.mcp_tools import McpLimits, McpServers
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"mcp.allowed_hosts needs the package '{error.name}': pip install 'voicestack[mcp]'"
        ) from error
    limits = McpLimits(mcp.connect_ms, mcp.call_ms, mcp.max_tools, mcp.max_output_chars)
    return McpServers(mcp.allowed_hosts, limits)
