"""Which language model does a configuration ask for?"""

from voicestack.aio.clock import Clock
from voicestack.config.schema import Config
from voicestack.engines.scripted import ScriptedLlm
from voicestack.ports import Llm
from voicestack.server.supervised import Supervised


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
    from voicestack.engines.model_store import find_model, models_folder

    model = config.llm.model and str(find_model(config.llm.model, models_folder(config.models.folder)))
    server = LlamaServer(
        clock=clock,
        binary=config.llm.binary,
        model=model,
        options=LlamaOptions(
            config.llm.slots, config.llm.context_tokens, config.llm.threads, plain_chat=tools == "prompted"
        ),
    )
    llm = OpenAiLlm(server.url, "local", clock=clock, settings=settings, child=server.child)
    return llm, (Supervised("llama-server", server.run, lambda: (server.child,)),)
