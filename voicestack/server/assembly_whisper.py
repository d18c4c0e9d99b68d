"""From the configuration of Whisper to the recogniser."""

import importlib.util
import os

from voicestack.aio.clock import Clock
from voicestack.config.schema import Config
from voicestack.config.whisper import LANGUAGES
from voicestack.core.errors import ConfigError
from voicestack.engines.model_store import find_model, models_folder
from voicestack.engines.whisper_asr import WhisperAsr
from voicestack.engines.whisper_model import WhisperSettings
from voicestack.engines.whisper_pace import PaceRules

GPU_LANES, CPU_LANES = 2, 1


def whisper_of(config: Config, clock: Clock) -> WhisperAsr:
    """The recogniser.

    Raises:
        ConfigError: the package or the model is missing, there is no GPU, or no such language.
    """
    section = config.whisper
    if importlib.util.find_spec("faster_whisper") is None:
        message = "asr.engine = 'whisper' needs faster-whisper: run `pip install faster-whisper`"
        raise ConfigError(message)
    path = find_model(section.model, models_folder(config.models.folder))
    if not (path / "model.bin").is_file():
        message = f"whisper.model: '{path}' holds no CTranslate2 model (model.bin)"
        raise ConfigError(f"{message}: run `voicestack models pull {section.model}`")
    _check_language(section.language)
    device, indexes = _devices(config)
    n_lanes = section.lanes or (GPU_LANES if device == "cuda" else CPU_LANES)
    settings = [
        WhisperSettings(
            path=str(path),
            device=device,
            device_index=index,
            compute_type=section.compute_type,
            n_threads=section.threads or max(1, (os.cpu_count() or 1) // n_lanes),
            n_lanes=n_lanes,
            n_beams=section.beam_size,
            hotwords=", ".join(section.hotwords),
            prompt=section.prompt,
        )
        for index in indexes
    ]
    return WhisperAsr(
        clock=clock,
        settings=settings,
        rules=PaceRules(
            cadence_min_s=section.cadence_ms / 1000,
            cadence_max_s=section.cadence_max_ms / 1000,
            window_max_s=section.window_s,
            window_min_s=section.window_min_s,
            busy_ratio=section.busy_ratio,
        ),
        language=section.language,
        batch_max=section.batch_size,
        deadline_ms=section.deadline_ms,
        n_utterances_max=section.max_utterances,
    )


def _check_language(language: str) -> None:
    if language and language not in LANGUAGES:
        raise ConfigError(f"whisper.language: Whisper knows no '{language}'; it knows {', '.join(LANGUAGES)}")


def _devices(config: Config) -> tuple[str, tuple[int, ...]]:
    """The device, and which of them."""
    import ctranslate2  # type: ignore[import-untyped]

    wanted, n_found = config.whisper.device, ctranslate2.get_cuda_device_count()
    if wanted == "cpu" or (wanted == "auto" and n_found == 0):
        return "cpu", (0,)
    if max(config.whisper.devices) >= n_found:
        message = (
            f"whisper.devices: there is no GPU {max(config.whisper.devices)}, CTranslate2 finds {n_found}"
        )
        raise ConfigError(
            f"{message}; set whisper.device to 'cpu', or install the CUDA 12 libraries it needs"
        )
    return "cuda", config.whisper.devices
