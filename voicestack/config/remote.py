"""What can be configured of speech engines that run elsewhere, behind the OpenAI API of their stage?"""

from pydantic import BaseModel, Field, SecretStr

from voicestack.config.kinds import STRICT, HttpUrl, Names


class AsrServerSection(BaseModel):
    """For `asr.engine = "openai"`: `POST /v1/audio/transcriptions`."""

    model_config = STRICT

    url: HttpUrl = ""
    """Where the API is, up to and including /v1: another voicestack, speaches, vLLM, OpenAI."""
    model: str = "whisper-1"
    """Its name at the API. A voicestack takes any."""
    api_key: SecretStr = SecretStr("")
    """Better set as VOICESTACK__ASR_SERVER__API_KEY than in a file."""
    language: str = Field(default="", pattern=r"^([a-z]{2,3})?$")
    """ISO 639-1; empty to let the server find out. A given one is quicker and safer."""
    partial_ms: int = Field(default=0, ge=0, le=60_000)
    """New sound before an unfinished utterance is sent for partial words; 0 for never. Each is a request with
    all that was said so far."""
    window_s: float = Field(default=20.0, ge=2.0, le=25.0)
    """After a pause, sound of more than this is not sent again: what was understood of it stays."""
    deadline_ms: int = Field(default=5_000, ge=100, le=600_000)
    """Settled and final words that take longer are given up. A turn stops waiting after
    `turn.words_deadline_ms`."""


class TtsServerSection(BaseModel):
    """For `tts.engine = "openai"`: `POST /v1/audio/speech`."""

    model_config = STRICT

    url: HttpUrl = ""
    """Where the API is, up to and including /v1: another voicestack, Kokoro-FastAPI, speaches, OpenAI."""
    model: str = "tts-1"
    """Its name at the API. A voicestack takes any."""
    api_key: SecretStr = SecretStr("")
    """Better set as VOICESTACK__TTS_SERVER__API_KEY than in a file."""
    voice: str = "alloy"
    """What the voice `default` means, and any that is not among `voices`."""
    voices: Names = ()
    """Names of voices that clients may ask for; they are passed on. Servers refuse those they do not know."""
    rate_hz: int = Field(default=24_000, ge=8_000, le=48_000, multiple_of=50)
    """Sample rate of what the server sends as `pcm`, and does not say: 24 kHz at OpenAI and voicestack."""
    first_sound_ms: int = Field(default=5_000, ge=100, le=600_000)
    """Longest wait for the first sound of a phrase."""
    sound_gap_ms: int = Field(default=2_000, ge=100, le=600_000)
    """Longest wait for more; then the server has hung."""
