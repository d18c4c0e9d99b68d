"""What can be configured of vLLM, the LLM server of the profile `gpu`."""

from pydantic import BaseModel

from voicestack.config.kinds import STRICT


class VllmSection(BaseModel):
    """For `llm.engine = "vllm"`: the server that is started and supervised."""

    model_config = STRICT

    model: str = "qwen3-8b"
    """A name that `voicestack models list` knows, or the path of a folder with a model as vLLM loads it."""
