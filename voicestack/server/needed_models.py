"""Which models does a configuration need, and which of them are not there?"""

from voicestack.config.schema import Config
from voicestack.core.catalogue import NAME
from voicestack.core.errors import ConfigError
from voicestack.engines.model_store import find_model, models_folder


def needed_models(config: Config) -> list[str]:
    """The models that its engines load, by name or path; none for engines that bring their own."""
    of_asr = {"whisper": config.whisper.model}.get(config.asr.engine, "")
    of_llm = {"vllm": config.vllm.model, "llama_server": config.llm.model}.get(config.llm.engine, "")
    of_tts = {"piper": config.piper.voice}.get(config.tts.engine, "")
    return [name for name in (of_asr, of_llm, of_tts) if name]


def require_models(config: Config) -> None:
    """See that they are there. Raises ConfigError: which are not, and the command that fetches them."""
    folder = models_folder(config.models.folder)
    missing, problems = [], []
    for name in needed_models(config):
        try:
            find_model(name, folder)
        except ConfigError as error:
            missing.append(name)
            problems.append(str(error))
    if len(missing) > 1 and all(NAME.fullmatch(name) for name in missing):
        names = ", ".join(missing)
        raise ConfigError(f"{folder} lacks {names}: run `voicestack models pull {' '.join(missing)}`")
    if problems:
        raise ConfigError("\n".join(problems))
