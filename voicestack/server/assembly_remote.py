"""Which servers of speech engines does a configuration name?"""

from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError
from voicestack.engines.openai_asr import ListeningServer, OpenAiAsr
from voicestack.engines.openai_tts import OpenAiTts, SpeechServer


def remote_asr_of(config: Config) -> OpenAiAsr:
    """The recogniser. Raises ConfigError: it has no address."""
    section = config.asr_server
    _require("asr", section.url)
    server = ListeningServer(
        section.model,
        section.language,
        section.partial_ms,
        section.window_s,
        section.deadline_ms,
        config.turn.words_deadline_ms,
    )
    return OpenAiAsr(section.url, server, api_key=section.api_key.get_secret_value() or None)


def remote_tts_of(config: Config) -> OpenAiTts:
    """The voice. Raises ConfigError: it has no address."""
    section = config.tts_server
    _require("tts", section.url)
    server = SpeechServer(
        section.model,
        section.voice,
        section.voices,
        section.rate_hz,
        section.first_sound_ms,
        section.sound_gap_ms,
    )
    return OpenAiTts(section.url, server, api_key=section.api_key.get_secret_value() or None)


def _require(stage: str, url: str) -> None:
    if not url:
        raise ConfigError(
            f"{stage}_server.url is needed when {stage}.engine is 'openai': "
            f"--set {stage}_server.url=http://HOST:PORT/v1"
        )
