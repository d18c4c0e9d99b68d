"""Which language model does a configuration ask for?"""

import shlex

from voicestack.aio.clock import Clock
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError
from voicestack.core.history import Message
from voicestack.engines.chat_body import LlmSettings
from voicestack.engines.llama_server import LlamaOptions, LlamaServer
from voicestack.engines.model_store import find_model, models_folder
from voicestack.engines.openai_llm import OpenAiLlm
from voicestack.engines.vllm_command import NAME, warning_of
from voicestack.engines.vllm_metrics import VllmMetrics
from voicestack.engines.vllm_server import VllmServer
from voicestack.engines.vllm_spare import pair_of
from voicestack.ports import Llm
from voicestack.server.assembly_scripted import scripted_llm
from voicestack.server.supervised import Supervised


def llm_of(config: Config, clock: Clock) -> tuple[Llm, tuple[Supervised, ...]]:
    """The language model, and what must run for it. Raises ConfigError: its package or file is missing."""
    if config.llm.engine == "scripted":
        return scripted_llm(config, clock), ()
    tools = config.llm.tools
    if tools == "auto":
        tools = "prompted" if _is_packaged(config) else "native"
    settings = LlmSettings(
        temperature=config.llm.temperature,
        top_p=config.llm.top_p,
        max_tokens=config.llm.max_tokens,
        repeat_penalty=None if config.llm.repeat_penalty == 1.0 else config.llm.repeat_penalty,
        first_token_ms=config.llm.first_token_ms,
        token_gap_ms=config.llm.token_gap_ms,
        stop=config.llm.stop,
        slots=config.llm.slots if config.llm.engine == "llama_server" else None,
        dialect="vllm" if config.llm.engine == "vllm" else config.llm.dialect,
        adapters=tuple(config.vllm.loras) if config.llm.engine == "vllm" else (),
        tools=tools,
    )
    if config.llm.engine == "openai":
        return _attached(config, clock, settings)
    if config.llm.engine == "vllm" and config.vllm.spare:
        return _paired(config, clock, settings)
    if config.llm.engine == "vllm":
        vllm = _vllm(config, clock)
        llm = OpenAiLlm(vllm.url, config.llm.model or NAME, clock=clock, settings=settings, child=vllm.child)
        llm.server_figures = vllm.figures
        return llm, (Supervised("vllm", vllm.run, lambda: (vllm.child,)),)
    server = _llama(config, clock, plain_chat=tools == "prompted")
    llm = OpenAiLlm(server.url, "local", clock=clock, settings=settings, child=server.child)
    return llm, (Supervised("llama-server", server.run, lambda: (server.child,)),)


def llm_command(config: Config, clock: Clock) -> str:
    """The command line of the language model's server; empty when none is started.

    Raises:
        ConfigError: its package or file is missing.
    """
    if config.llm.engine == "vllm":
        line = _vllm(config, clock).line()
        return f"{line}\n{warning_of(line.left_out)}" if line.left_out else str(line)
    if config.llm.engine == "llama_server":
        return shlex.join(_llama(config, clock, plain_chat=config.llm.tools != "native").line())
    return ""


def _is_packaged(config: Config) -> bool:
    """Whether the model is SmolLM2-135M-Instruct, which never learned to call functions."""
    if config.llm.engine == "vllm":
        return not config.vllm.model
    return config.llm.engine == "llama_server" and not config.llm.model


def _attached(config: Config, clock: Clock, settings: LlmSettings) -> tuple[Llm, tuple[Supervised, ...]]:
    key = config.llm.api_key.get_secret_value() or None
    llm = OpenAiLlm(config.llm.url, config.llm.model, clock=clock, settings=settings, api_key=key)
    if config.llm.dialect != "vllm":
        return llm, ()
    metrics = VllmMetrics(config.llm.url, api_key=key)
    llm.server_figures = metrics.figures
    return llm, (Supervised("vllm-metrics", metrics.run, lambda: (metrics,)),)


def _paired(config: Config, clock: Clock, settings: LlmSettings) -> tuple[Llm, tuple[Supervised, ...]]:
    """One that answers and one that sleeps."""
    servers, model = (_vllm(config, clock), _vllm(config, clock)), config.llm.model or NAME
    prompt = (Message("system", config.session.instructions), Message("user", "Hello."))
    pair = pair_of(servers, clock=clock, model=model, prompt=prompt)
    llm = OpenAiLlm(pair.url, model, clock=clock, settings=settings, child=pair)
    llm.server_figures = lambda: pair.figures() | servers[pair.pair.serving or 0].figures()
    return llm, (Supervised("vllm", pair.run, lambda: (pair,)),)


def _vllm(config: Config, clock: Clock) -> VllmServer:
    name = config.llm.model
    if name and name not in config.vllm.loras:
        raise ConfigError(f"llm.model: '{name}' is not among vllm.loras")
    return VllmServer(
        clock=clock,
        section=config.vllm,
        models=models_folder(config.models.folder),
        context_tokens=config.llm.context_tokens,
    )


def _llama(config: Config, clock: Clock, *, plain_chat: bool) -> LlamaServer:
    llm = config.llm
    return LlamaServer(
        clock=clock,
        binary=llm.binary,
        model=llm.model and str(find_model(llm.model, models_folder(config.models.folder))),
        options=LlamaOptions(llm.slots, llm.context_tokens, llm.threads, plain_chat=plain_chat),
    )
