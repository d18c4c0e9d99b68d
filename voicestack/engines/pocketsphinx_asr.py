"""How are the user's words recognised without a GPU? By a small pool of PocketSphinx decoders, as they speak.

Every decoder is a worker process and serves one utterance at a time. More are started when more people
speak at once; beyond the pool an utterance waits, and is then decoded faster than it was spoken.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import closing
from dataclasses import replace

import numpy as np

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.core.audio import EAR_RATE_HZ, AudioFrame, Pcm
from voicestack.core.errors import StageOverloaded
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.queues import QueueReading
from voicestack.engines.line import Line, Ticket
from voicestack.engines.pocketsphinx_worker import AUDIO, PARTS_END, PAUSE, SETTLED
from voicestack.engines.pocketsphinx_worker import FINAL as FINAL_TAG
from voicestack.engines.worker import Stream, Worker
from voicestack.ports import Certainty, Pause, Transcript

SILENT_RMS = 33.0
"""-60 dBFS. A quieter frame cannot begin an utterance: a room with a microphone in it is louder."""
PRE_ROLL_FRAMES = 15
"""Frames that are kept from before the first audible one: 300 ms at 20 ms, as `prefix_padding_ms` has it."""
START_NS = 5_000_000_000
"""A decoder loads its model in 0.4 s on an idle core."""
MAX_WAIT_S = 10.0
"""An answer to an utterance that waited longer for a decoder would not be an answer any more."""
HUNG_S = 10.0
"""A decoder that does not finish so long after the sound ended is ended itself ..."""
HUNG_PER_SAMPLE_S = 0.5 / EAR_RATE_HZ
"""... and half the length of the sound later where much of it had to wait; it decodes in 0.15 of that."""

_TAGS = {SETTLED: Certainty.SETTLED, FINAL_TAG: Certainty.FINAL}
_NO_WORD = re.compile(r"<.*>|\[.*\]|\+\+.*\+\+")
_VARIANT = re.compile(r"\(\d+\)$")


class PocketSphinxAsr:
    """Satisfies `ports.Asr`. Run `run` in a task of its own, for as long as anybody may speak.

    Args:
        clock: For the supervision of the workers.
        n_workers_min: Decoders that are started at once.
        n_workers_max: Decoders at most; the others are started when they are needed, and stay.
        n_waiting_max: Utterances that may wait for a decoder.

    Attributes:
        workers: The decoder processes so far, for metrics.
        n_waiting: Utterances that wait for a decoder now.
    """

    def __init__(
        self, *, clock: Clock, n_workers_min: int = 1, n_workers_max: int = 4, n_waiting_max: int = 16
    ) -> None:
        self._clock = clock
        self._n_workers_max = max(n_workers_min, n_workers_max)
        self._n_waiting_max = n_waiting_max
        self._permits = asyncio.Semaphore(self._n_workers_max)
        self._line = Line("asr", stage="asr", clock=clock, n_places=self._n_workers_max)
        self._scope: Scope | None = None
        self.workers = [self._hired(n) for n in range(n_workers_min)]
        self._idle = deque(self.workers)
        self.n_waiting = 0

    async def run(self) -> None:
        """Keep the workers running until cancelled."""
        async with Scope() as scope:
            self._scope = scope
            for worker in self.workers:
                scope.start(worker.run(), name=worker.name)
            await asyncio.get_running_loop().create_future()

    async def ready(self, within_ns: int) -> None:
        """Wait until an utterance would be heard at once.

        Raises:
            StageUnavailable: that takes longer than `within_ns`, or will never be.
        """
        await self.workers[0].ready(within_ns)

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        """See `ports.Asr`. A decoder is taken when something can be heard, not before.

        Its model knows English and no more, and its words are fixed: hints are ignored.

        Raises:
            StageUnavailable: the decoder died.
            StageOverloaded: too many utterances wait.
        """
        early: deque[AudioFrame] = deque(maxlen=PRE_ROLL_FRAMES)
        async for sound in sounds:
            if isinstance(sound, Pause):
                yield Transcript("", Certainty.SETTLED)
                continue
            early.append(sound)
            if is_audible(sound.pcm):
                break
        else:
            yield Transcript("", Certainty.FINAL)
            return
        with self._line.held() as ticket:
            worker = await self._take(ticket)
            try:
                with closing(worker.open(b"")) as stream:
                    async with Scope() as scope:
                        scope.start(_feed(worker, stream, early, sounds), name=f"{worker.name}-feed")
                        async for answer in stream:
                            yield _transcript(answer)
            finally:
                self._give_back(worker)

    def queues(self) -> list[QueueReading]:
        """See `ports.Queued`. Nothing is turned away while the user speaks on: waiting costs nothing then."""
        return [replace(self._line.reading(), is_hidden=True)]

    async def _take(self, ticket: Ticket) -> Worker:
        """A decoder for this utterance alone.

        Raises:
            StageOverloaded: none will be free soon enough.
            StageUnavailable: there is none.
        """
        if self._permits.locked() and self.n_waiting >= self._n_waiting_max:
            message = f"all {self._n_workers_max} decoders are busy and {self.n_waiting} utterances wait"
            raise StageOverloaded(message, stage="asr")
        self.n_waiting += 1
        try:
            async with asyncio.timeout(MAX_WAIT_S):
                await self._permits.acquire()
        except TimeoutError:
            raise StageOverloaded(f"no decoder was free for {MAX_WAIT_S:.0f} s", stage="asr") from None
        finally:
            self.n_waiting -= 1
        self._line.begin(ticket)
        worker = self._pick()
        try:
            await worker.ready(START_NS)
        except BaseException:
            self._give_back(worker)
            raise
        return worker

    def _pick(self) -> Worker:
        """With a permit: an idle decoder that can begin now, else a new one, else one that is starting."""
        ready = next((worker for worker in self._idle if worker.is_ready), None)
        if ready is None and len(self.workers) < self._n_workers_max and self._scope is not None:
            worker = self._hired(len(self.workers))
            self.workers.append(worker)
            self._scope.start(worker.run(), name=worker.name)
            return worker
        chosen = ready or self._idle[0]
        self._idle.remove(chosen)
        return chosen

    def _give_back(self, worker: Worker) -> None:
        self._idle.appendleft(worker)  # the last one used has the warmest caches
        self._permits.release()

    def _hired(self, n: int) -> Worker:
        module = "voicestack.engines.pocketsphinx_worker"
        return Worker(module, name=f"pocketsphinx-{n}", stage="asr", clock=self._clock)


async def _feed(
    worker: Worker, stream: Stream, early: deque[AudioFrame], sounds: AsyncIterator[AudioFrame | Pause]
) -> None:
    """Pass the sounds on, and end a decoder that then does not finish."""
    n_samples = 0
    for frame in early:
        stream.send(AUDIO + frame.pcm.tobytes())
    async for sound in sounds:
        if isinstance(sound, Pause):
            stream.send(PAUSE)
        else:
            n_samples += len(sound.pcm)
            stream.send(AUDIO + sound.pcm.tobytes())
    stream.finish()
    await asyncio.sleep(HUNG_S + n_samples * HUNG_PER_SAMPLE_S)
    worker.kill()


def _transcript(answer: bytes) -> Transcript:
    words = answer[1:].decode()
    certainty, sure = _TAGS.get(answer[:1], Certainty.PARTIAL), words.partition(PARTS_END)[0]
    return Transcript(written(words), certainty, written(sure))


def is_audible(pcm: Pcm) -> bool:
    """Whether there is anything in it that could be a voice."""
    samples = pcm.astype(np.float32)
    return float(samples @ samples) > len(samples) * SILENT_RMS**2


def written(words: str) -> str:
    """The decoder's words as a person would write them: without noises and variants, "I" and the start large.

    >>> written("<sil> what(2) do i [NOISE] know")
    'What do I know'
    """
    said = [_VARIANT.sub("", word) for word in words.split() if not _NO_WORD.fullmatch(word)]
    text = " ".join("I" + word[1:] if word == "i" or word.startswith("i'") else word for word in said)
    return text[:1].upper() + text[1:]
