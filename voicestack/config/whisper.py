"""What can be configured of faster-whisper, the recogniser of the profiles `cpu` and `gpu`."""

from pydantic import BaseModel

from voicestack.config.kinds import STRICT


class WhisperSection(BaseModel):
    """For `asr.engine = "whisper"`."""

    model_config = STRICT

    model: str = "base.en"
    """A name that `voicestack models list` knows, or the path of a folder with a CTranslate2 model."""
