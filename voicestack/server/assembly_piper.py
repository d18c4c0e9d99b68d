"""Which Piper does a configuration ask for: its voices, its pool, and the memory in front of it?"""

import importlib.util
import os
from pathlib import Path

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError, StageUnavailable
from voicestack.engines.model_store import models_folder
from voicestack.engines.phrase_cache import PhraseCache
from voicestack.engines.piper_files import Choice, VoiceFile, find_voice
from voicestack.engines.piper_tts import PiperTts
from voicestack.engines.piper_wish import Manner
from voicestack.engines.spoken.lexicon import read_lexicon
from voicestack.ports import Tts
from voicestack.server.supervised import Supervised

PACKAGES = {"piper": "piper-tts", "num2words": "num2words", "babel": "Babel"}
"""What the extra `piper` brings: module and package. Only the worker imports Piper, which is GPL-3.0."""
MAX_THREADS = 4
WARM_NS = 60_000_000_000
"""Longest wait for the first worker before fixed phrases are made."""


def piper_of(config: Config, clock: Clock) -> tuple[Tts, tuple[Supervised, ...]]:
    """The voice, and what must run for it.

    Raises:
        ConfigError: a package, a voice or the lexicon is missing or cannot be used.
    """
    piper = config.piper
    missing = [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        message = f"tts.engine 'piper' needs {', '.join(missing)}: pip install 'voicestack[piper]'"
        raise ConfigError(message)
    if piper.use_cuda:
        _check_cuda()
    folder = models_folder(config.models.folder)
    voices = [find_voice(named, folder) for named in dict.fromkeys([piper.voice, *piper.voices])]
    lexicon = str(Path(piper.lexicon).expanduser()) if piper.lexicon else ""
    if lexicon:
        read_lexicon(Path(lexicon))  # a mistake in it is to be told now, not by a worker that does not start
    manner = Manner(
        threads=piper.threads or threads_of(os.cpu_count() or 1, piper.workers),
        use_cuda=piper.use_cuda,
        length_scale=_own(piper.length_scale) or None,
        noise_scale=_own(piper.noise_scale),
        noise_w_scale=_own(piper.noise_w),
    )
    tts = PiperTts(
        voices,
        clock=clock,
        default=Choice(0, _default_speaker(voices[0], piper.speaker)),
        n_workers=piper.workers,
        manner=manner,
        lexicon=lexicon,
    )
    fixed = (config.session.apology, *piper.phrases)
    cache = PhraseCache(tts, max_bytes=piper.cache_bytes, fixed=fixed, voice=config.session.voice)

    async def run() -> None:
        async with Scope() as scope:
            scope.start(_warm(tts, cache), name="phrases")
            await tts.run()

    return cache, (Supervised("piper", run, lambda: tts.workers),)


async def _warm(tts: PiperTts, cache: PhraseCache) -> None:
    """Make the fixed phrases as soon as somebody can."""
    try:
        await tts.ready(WARM_NS)
    except StageUnavailable:
        return  # they are made when they are wanted
    await cache.warm()


def _default_speaker(voice: VoiceFile, named: str) -> int | None:
    if not named:
        return None
    speaker = voice.speaker(named)
    if speaker is None:
        known = ", ".join(voice.speakers) or f"0 to {voice.n_speakers - 1}"
        raise ConfigError(f"piper.speaker: {voice.name} has no speaker '{named}'; it has {known}")
    return speaker


def threads_of(n_cpus: int, n_workers: int) -> int:
    """Cores for one phrase, where all workers may be busy at once."""
    return max(1, min(MAX_THREADS, n_cpus // n_workers))


def _own(figure: float) -> float | None:
    """None where the voice's own figure is wanted."""
    return None if figure < 0 else figure


def _check_cuda() -> None:
    import onnxruntime  # type: ignore[import-untyped]

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise ConfigError("piper.use_cuda needs ONNX Runtime for CUDA: pip install onnxruntime-gpu")
