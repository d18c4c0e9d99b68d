"""`GET /v1/models`: which models are in use here?"""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from voicestack.config.schema import Config
from voicestack.core.errors import PeerProtocolError
from voicestack.server.stages.errors import told
from voicestack.server.stages.wire import Model, ModelList

Stage = Literal["asr", "llm", "tts"]

DEFAULT_LLM = "SmolLM2-135M-Instruct"
"""What `llm.model = ""` means to the engine `llama_server`."""

_OWNERS = {
    "pocketsphinx": "cmusphinx",
    "whisper": "openai",
    "espeak": "espeak-ng",
    "piper": "rhasspy",
    "scripted": "voicestack",
    DEFAULT_LLM: "huggingfacetb",
}


def models_of(config: Config, since_s: int) -> tuple[Model, ...]:
    """The models of a configuration, by their configured names.

    Args:
        config: The configuration.
        since_s: When they were taken into use, in seconds since 1970.
    """
    engines: dict[Stage, str] = {
        "asr": config.asr.engine,
        "llm": config.llm.engine,
        "tts": config.tts.engine,
    }
    names = {
        "asr": _asr_name(config),
        "llm": llm_name(config),
        "tts": _tts_name(config),
    }
    models = []
    for stage, engine in engines.items():
        name = names[stage]
        is_shared = list(names.values()).count(name) > 1
        owner = _OWNERS.get(name) or _OWNERS.get(engine) or "unknown"
        models.append(
            Model(id=f"{name}-{stage}" if is_shared else name, created=since_s, owned_by=owner, stage=stage)
        )
    if config.llm.engine == "vllm":
        adapters = [name for name in config.vllm.loras if name != names["llm"]]
        models += [Model(id=name, created=since_s, owned_by="unknown", stage="llm") for name in adapters]
    if config.tts.engine == "piper":
        more = dict.fromkeys(_voice_name(voice) for voice in config.piper.voices)
        models += [
            Model(id=name, created=since_s, owned_by=_OWNERS["piper"], stage="tts")
            for name in more
            if name != names["tts"]
        ]
    return tuple(models)


def _asr_name(config: Config) -> str:
    if config.asr.engine == "openai":
        return config.asr_server.model
    return PurePath(config.whisper.model).name if config.asr.engine == "whisper" else config.asr.engine


def _tts_name(config: Config) -> str:
    if config.tts.engine == "openai":
        return config.tts_server.model
    return _voice_name(config.piper.voice) if config.tts.engine == "piper" else config.tts.engine


def _voice_name(voice: str) -> str:
    """What a client calls a voice of Piper: the file's name, without its ending."""
    return PurePath(voice).name.removesuffix(".onnx")


def llm_name(config: Config) -> str:
    """What the language model is called."""
    if config.llm.engine == "llama_server":
        return PurePath(config.llm.model).stem if config.llm.model else DEFAULT_LLM
    return config.llm.model or config.llm.engine


@dataclass(frozen=True, slots=True)
class ModelsApi:
    """The two endpoints."""

    models: tuple[Model, ...]

    async def all(self, request: Request) -> Response:
        """Every model."""
        return _json(ModelList(data=self.models).model_dump_json(), 200)

    async def one(self, request: Request) -> Response:
        """One of them; its name may hold slashes."""
        name = request.path_params["model"]
        model = next((model for model in self.models if model.id == name), None)
        if model is not None:
            return _json(model.model_dump_json(), 200)
        message = f"There is no model '{name}' here; /v1/models lists those that there are."
        status, _, answer = told(PeerProtocolError(message, code="model_not_found", param="model"))
        return _json(answer.model_dump_json(), status)


def _json(body: str, status: int) -> Response:
    return Response(body, status, media_type="application/json")
