"""Which voice does a configuration ask for?"""

from voicestack.aio.clock import Clock
from voicestack.config.schema import Config
from voicestack.ports import Tts
from voicestack.server.assembly_scripted import scripted_tts
from voicestack.server.supervised import Supervised


def tts_of(config: Config, clock: Clock) -> tuple[Tts, tuple[Supervised, ...]]:
    """The voice, and what must run for it. Raises ConfigError: its package or file is missing."""
    if config.tts.engine == "scripted":
        return scripted_tts(config, clock), ()
    if config.tts.engine == "piper":
        from voicestack.server.assembly_piper import piper_of

        return piper_of(config, clock)
    if config.tts.engine == "openai":
        from voicestack.server.assembly_remote import remote_tts_of

        return remote_tts_of(config), ()
    from voicestack.engines.espeak_tts import EspeakTts

    tts = EspeakTts(clock=clock, voice=config.tts.voice, rate_wpm=config.tts.rate_wpm)
    return tts, (Supervised("espeak", tts.run, lambda: (tts.worker,)),)
