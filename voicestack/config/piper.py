"""What can be configured of Piper, the voice of the profiles `cpu` and `gpu`."""

from pydantic import BaseModel

from voicestack.config.kinds import STRICT


class PiperSection(BaseModel):
    """For `tts.engine = "piper"`."""

    model_config = STRICT

    voice: str = "en_US-lessac-medium"
    """A name that `voicestack models list` knows, or the path of a voice's `.onnx` file."""
