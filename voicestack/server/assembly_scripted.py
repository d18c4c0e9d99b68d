"""Which engines that follow a script does a configuration ask for? Free ones, or some that take time."""

from pathlib import Path

from voicestack.aio.clock import Clock
from voicestack.config.schema import Config
from voicestack.engines.scripted import ScriptedAsr, ScriptedLlm, ScriptedTts
from voicestack.engines.scripted_load import Draw, LoadedAsr, LoadedLlm, LoadedTts, drawn_with
from voicestack.engines.work_times import WorkTimes, read_times
from voicestack.ports import Asr, Llm, Tts


def scripted_asr(config: Config, clock: Clock) -> Asr:
    """Raises ConfigError: the file of service times cannot be used."""
    asr = ScriptedAsr(config.asr.texts)
    if not config.scripted.times:
        return asr
    times, draw = _load(config, 1)
    return LoadedAsr(asr, clock=clock, times=times, n_places=config.asr.workers_max, draw=draw)


def scripted_llm(config: Config, clock: Clock) -> Llm:
    """Raises ConfigError: the file of service times cannot be used."""
    llm = ScriptedLlm(config.llm.answers)
    if not config.scripted.times:
        return llm
    times, draw = _load(config, 2)
    return LoadedLlm(llm, clock=clock, times=times, n_places=config.llm.slots, draw=draw)


def scripted_tts(config: Config, clock: Clock) -> Tts:
    """Raises ConfigError: the file of service times cannot be used."""
    tts = ScriptedTts()
    if not config.scripted.times:
        return tts
    times, draw = _load(config, 3)
    return LoadedTts(tts, clock=clock, times=times, n_places=config.scripted.tts_places, draw=draw)


def _load(config: Config, stage: int) -> tuple[WorkTimes, Draw]:
    """Each stage draws from a row of its own, so that one does not change what another gets."""
    return read_times(Path(config.scripted.times)), drawn_with(config.scripted.seed * 10 + stage)
