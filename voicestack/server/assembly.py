"""Which engines does a configuration ask for? Made here, run by the lifecycle."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from voicestack.aio.clock import Clock
from voicestack.config.derived import policy_of
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError
from voicestack.engines.scripted import EnergyVad, ScriptedAsr, ScriptedLlm, ScriptedTts
from voicestack.ports import Asr, Llm, ToolServers, Tts, Vad
from voicestack.session.ears import Hearing
from voicestack.session.tuning import Engines, Tuning


class Process(Protocol):
    """A supervised process, as far as readiness and metrics are concerned."""

    @property
    def is_ready(self) -> bool:
        """Whether it can be used now."""
        ...

    @property
    def n_restarts(self) -> int:
        """How often it had to be started again."""
        ...


@dataclass(frozen=True, slots=True)
class Supervised:
    """An engine with processes of its own.

    Attributes:
        name: For people and metrics.
        run: Keeps it running until cancelled, then cleans up.
        processes: They; a pool grows.
    """

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    processes: Callable[[], Sequence[Process]]

    @property
    def is_ready(self) -> bool:
        """Whether at least one of the processes can be used now."""
        return any(process.is_ready for process in self.processes())

    @property
    def n_restarts(self) -> int:
        """How often one of them had to be started again."""
        return sum(process.n_restarts for process in self.processes())


@runtime_checkable
class Connected(Protocol):
    """An engine that holds connections to a server."""

    async def close(self) -> None:
        """Close them."""
        ...


@dataclass(frozen=True, slots=True)
class Assembly:
    """The engines of this process, what must run for them, and what ends their connections."""

    engines: Engines
    supervised: tuple[Supervised, ...]
    close: Callable[[], Coroutine[Any, Any, None]]


def assemble(config: Config, clock: Clock) -> Assembly:
    """Make the engines. Nothing is started yet.

    Raises:
        ConfigError: an engine's package or file is missing.
    """
    vad = _vad(config)
    asr, asr_runs = _asr(config, clock)
    llm, llm_runs = llm_of(config, clock)
    tts, tts_runs = _tts(config, clock)

    async def close() -> None:
        if isinstance(llm, Connected):
            await llm.close()

    engines = Engines(vad, asr, llm, tts, _tool_servers(config))
    return Assembly(engines, (*asr_runs, *llm_runs, *tts_runs), close)


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
    )


def _vad(config: Config) -> Vad:
    if config.vad.engine == "energy":
        return EnergyVad()
    from voicestack.engines.silero_vad import SileroVad

    return SileroVad()


def _asr(config: Config, clock: Clock) -> tuple[Asr, tuple[Supervised, ...]]:
    if config.asr.engine == "scripted":
        return ScriptedAsr(config.asr.texts), ()
    from voicestack.engines.pocketsphinx_asr import PocketSphinxAsr

    asr = PocketSphinxAsr(
        clock=clock, n_workers_min=config.asr.workers_min, n_workers_max=config.asr.workers_max
    )
    return asr, (Supervised("pocketsphinx", asr.run, lambda: asr.workers),)


def llm_of(config: Config, clock: Clock) -> tuple[Llm, tuple[Supervised, ...]]:
    """The language model, and what must run for it. Raises ConfigError: its package or file is missing."""
    if config.llm.engine == "scripted":
        return ScriptedLlm(config.llm.answers), ()
    from voicestack.engines.chat_body import LlmSettings
    from voicestack.engines.openai_llm import OpenAiLlm

    is_packaged = config.llm.engine == "llama_server" and not config.llm.model
    tools = config.llm.tools
    if tools == "auto":
        tools = "prompted" if is_packaged else "native"
    settings = LlmSettings(
        temperature=config.llm.temperature,
        top_p=config.llm.top_p,
        max_tokens=config.llm.max_tokens,
        repeat_penalty=None if config.llm.repeat_penalty == 1.0 else config.llm.repeat_penalty,
        first_token_ms=config.llm.first_token_ms,
        token_gap_ms=config.llm.token_gap_ms,
        stop=config.llm.stop,
        slots=config.llm.slots if config.llm.engine == "llama_server" else None,
        tools=tools,
    )
    if config.llm.engine == "openai":
        key = config.llm.api_key.get_secret_value() or None
        return OpenAiLlm(config.llm.url, config.llm.model, clock=clock, settings=settings, api_key=key), ()
    from voicestack.engines.llama_server import LlamaOptions, LlamaServer

    server = LlamaServer(
        clock=clock,
        binary=config.llm.binary,
        model=config.llm.model,
        options=LlamaOptions(
            config.llm.slots, config.llm.context_tokens, config.llm.threads, plain_chat=tools == "prompted"
        ),
    )
    llm = OpenAiLlm(server.url, "local", clock=clock, settings=settings, child=server.child)
    return llm, (Supervised("llama-server", server.run, lambda: (server.child,)),)


def _tts(config: Config, clock: Clock) -> tuple[Tts, tuple[Supervised, ...]]:
    if config.tts.engine == "scripted":
        return ScriptedTts(), ()
    from voicestack.engines.espeak_tts import EspeakTts

    tts = EspeakTts(clock=clock, voice=config.tts.voice, rate_wpm=config.tts.rate_wpm)
    return tts, (Supervised("espeak", tts.run, lambda: (tts.worker,)),)


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
