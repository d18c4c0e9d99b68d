"""Which speech recogniser does a configuration ask for?"""

from voicestack.aio.clock import Clock
from voicestack.config.schema import Config
from voicestack.ports import Asr
from voicestack.server.assembly_scripted import scripted_asr
from voicestack.server.supervised import Supervised


def asr_of(config: Config, clock: Clock) -> tuple[Asr, tuple[Supervised, ...]]:
    """The recogniser, and what must run for it. Raises ConfigError: its package or file is missing."""
    if config.asr.engine == "scripted":
        return scripted_asr(config, clock), ()
    if config.asr.engine == "whisper":
        from voicestack.server.assembly_whisper import whisper_of

        whisper = whisper_of(config, clock)
        return whisper, (Supervised("whisper", whisper.run, lambda: whisper.workers),)
    if config.asr.engine == "openai":
        from voicestack.server.assembly_remote import remote_asr_of

        return remote_asr_of(config), ()
    from voicestack.engines.pocketsphinx_asr import PocketSphinxAsr

    asr = PocketSphinxAsr(
        clock=clock, n_workers_min=config.asr.workers_min, n_workers_max=config.asr.workers_max
    )
    return asr, (Supervised("pocketsphinx", asr.run, lambda: asr.workers),)
