"""Which words can still be understood in what came through?"""

from collections.abc import AsyncIterator, Sequence

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_stats import WordErrors, word_errors
from voicestack.core.audio import EAR_RATE_HZ, AudioFrame, Pcm
from voicestack.engines.pocketsphinx_asr import PocketSphinxAsr
from voicestack.ports import Asr, Certainty, Pause

_FRAME_SAMPLES = EAR_RATE_HZ // 50
_READY_NS = 60_000_000_000
_N_WORKERS = 2


async def frames_of(pcm: Pcm) -> AsyncIterator[AudioFrame | Pause]:
    """A recording as a session hears it, but without waiting."""
    for start in range(0, len(pcm), _FRAME_SAMPLES):
        yield AudioFrame(pcm[start : start + _FRAME_SAMPLES], start, 0)


async def text_of(asr: Asr, pcm: Pcm) -> str:
    """What a recogniser makes of a recording at EAR_RATE_HZ.

    Raises:
        StageError: it fails.
    """
    text = ""
    async for transcript in asr.transcribe(frames_of(pcm)):
        if transcript.certainty is Certainty.FINAL:
            text = transcript.text
    return text


async def errors_in(said: Sequence[tuple[str, Pcm]], clock: Clock) -> WordErrors:
    """Word errors of PocketSphinx, as in the embedded profile, over pairs of words and sound.

    Raises:
        StageError: it cannot be started.
    """
    asr = PocketSphinxAsr(clock=clock, n_workers_min=_N_WORKERS, n_workers_max=_N_WORKERS)
    found: list[WordErrors] = []
    left = list(reversed(said))

    async def listen() -> None:
        while left:
            words, pcm = left.pop()
            found.append(word_errors(words, await text_of(asr, pcm)))

    async with Scope() as scope:
        scope.start(asr.run(), name="asr")
        await asr.ready(_READY_NS)
        async with Scope() as listeners:
            tasks = [listeners.start(listen(), name="listener") for _ in range(_N_WORKERS)]
            for task in tasks:
                await task
    return sum(found, start=WordErrors())
