"""Which models does a configuration need, and which of them are not there?"""

from voicestack.config.schema import Config
from voicestack.core.catalogue import NAME
from voicestack.core.errors import ConfigError
from voicestack.engines.model_store import find_model, models_folder


def needed_models(config: Config) -> list[tuple[str, str]]:
    """The key that names each model, and its name or path. None for engines that bring their own."""
    needed = [("whisper.model", config.whisper.model)] if config.asr.engine == "whisper" else []
    if config.llm.engine == "llama_server":
        needed.append(("llm.model", config.llm.model))
    if config.llm.engine == "vllm":
        needed.append(("vllm.model", config.vllm.model))
    if config.llm.engine == "vllm" and config.vllm.speculation != "off":
        needed.append(("vllm.speculation_model", config.vllm.speculation_model))
    if config.tts.engine == "piper":
        needed.append(("piper.voice", config.piper.voice))
        needed += [("piper.voices", name) for name in config.piper.voices]
    return [(key, name) for key, name in needed if name]


def require_models(config: Config) -> None:
    """See that they are there. Raises ConfigError: which are not, and the command that fetches them."""
    folder = models_folder(config.models.folder)
    missing, problems = [], []
    for key, name in needed_models(config):
        try:
            find_model(name, folder)
        except ConfigError as error:
            missing.append((key, name))
            problems.append(f"{key}: {error}")
    if len(missing) > 1 and all(NAME.fullmatch(name) for _, name in missing):
        named = ", ".join(f"{name} ({key})" for key, name in missing)
        command = f"voicestack models pull {' '.join(name for _, name in missing)}"
        raise ConfigError(f"{folder} lacks {named}: run `{command}`")
    if problems:
        raise ConfigError("\n".join(problems))
