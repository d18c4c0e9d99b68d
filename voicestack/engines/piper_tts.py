"""How does the agent speak with Piper? In a small pool of worker processes, a phrase in each at a time."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np

from voicestack.aio.clock import Clock
from voicestack.aio.expiry import Expiry
from voicestack.aio.scope import Scope
from voicestack.core.audio import NO_AUDIO, SpokenFrame
from voicestack.core.deadline import Deadline
from voicestack.core.errors import StageOverloaded, StageTimeout
from voicestack.core.queues import QueueReading
from voicestack.engines.dealing import Due, due, next_of
from voicestack.engines.espeak_tts import pieces, sayable
from voicestack.engines.line import Line, Ticket
from voicestack.engines.piper_files import Choice, VoiceFile, choose
from voicestack.engines.piper_wish import N_CHARS, Manner, Settings, Wish
from voicestack.engines.worker import Stream, Worker
from voicestack.ports import SpeechRequest

MAX_PIECE_CHARS = 240
"""About 15 s of speech. Phrases of a reply are hardly ever as long; other texts are cut, so that others get a
turn, and because the network's memory grows with its longest phrase."""
RESTART_NS = 5_000_000_000
"""A worker that died is back when its voices are loaded: a second or two."""
HUNG_S = 15.0
"""A worker that says nothing for so long is ended. A piece is 15 s of speech at most, which a machine that
can hold a conversation makes in less."""
MAX_WAIT_NS = 10_000_000_000
"""A phrase that waited longer for a worker comes too late for any reply."""
MAX_WAITING = 256
"""Phrases that may wait: four for each of 64 sessions."""


FIRST_VOICE = Choice(0)
PLAIN = Manner()


class _Waiter:
    """A phrase that waits for a worker, or has one."""

    def __init__(self, when: Due, ticket: Ticket) -> None:
        self.due_ns, self.follows, self.ticket = when.due_ns, when.follows, ticket
        self.worker: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()


class PiperTts:
    """Satisfies `ports.Tts`. Run `run` in a task of its own, for as long as phrases are wanted.

    Args:
        clock: For the supervision of the workers, and for fairness.
        voices: At least one; every worker loads all of them.
        default: What the voice "default", and every name that means none of them, means.
        n_workers: Phrases that are made at the same time. Of two or more, one is left to first clauses.
        manner: How the voices speak.
        lexicon: Path of a lexicon file, see `spoken.lexicon`; empty for none.

    Attributes:
        workers: The processes, for metrics.
    """

    def __init__(
        self,
        voices: Sequence[VoiceFile],
        *,
        clock: Clock,
        default: Choice = FIRST_VOICE,
        n_workers: int = 2,
        manner: Manner = PLAIN,
        lexicon: str = "",
    ) -> None:
        self._clock = clock
        self._voices, self._default = voices, default
        self._rate_hz = voices[default.voice].rate_hz
        files = [replace(voice, speakers={}) for voice in voices]  # hundreds of names, for a command line
        often = {} if default.speaker is None else {default.voice: default.speaker}
        settings = Settings(files, self._rate_hz, manner, lexicon, often).text()
        self.workers = [_hired(n, settings, clock) for n in range(n_workers)]
        self._idle = list(self.workers)
        self._waiting: list[_Waiter] = []
        self._line = Line("tts", stage="tts", clock=clock, n_places=n_workers, n_waiting_max=MAX_WAITING)
        self._n_phrases = 0
        self._expiry = Expiry("tts", clock)

    @property
    def rate_hz(self) -> int:
        """The default voice's rate; what others speak is converted to it."""
        return self._rate_hz

    def figures(self) -> Mapping[str, float]:
        """For metrics: phrases so far, those that wait now, and workers that are idle."""
        return {
            "piper_phrases_total": self._n_phrases,
            "piper_waiting_phrases": len(self._waiting),
            "piper_expired_total": self._expiry.n_expired,
            "piper_idle_workers": sum(worker.is_ready for worker in self._idle),
        }

    async def run(self) -> None:
        """Keep the workers running until cancelled."""
        async with Scope() as scope:
            for worker in self.workers:
                scope.start(worker.run(), name=worker.name)
            await asyncio.get_running_loop().create_future()

    async def ready(self, within_ns: int) -> None:
        """Wait until a phrase would be said at once.

        Raises:
            StageUnavailable: that takes longer than `within_ns`, or will never be.
        """
        await self.workers[0].ready(within_ns)

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        """See `ports.Tts`. Frames of 20 ms, the last one of a sentence shorter.

        Raises:
            StageOverloaded: no worker was free soon enough.
            StageUnavailable: the worker died, or could not say it.
            StageExpired: nobody wants the first sound any more.
            StageTimeout: it hung.
        """
        choice = choose(self._voices, request.voice, self._default)
        follows, begin_by = request.follows, request.begin_by
        for piece in pieces(request.text, MAX_PIECE_CHARS):
            if not any(map(str.isalnum, piece)):
                yield SpokenFrame(NO_AUDIO, piece)
                continue
            wish = Wish(sayable(piece), choice.voice, choice.speaker, request.speed)
            with closing(await self._begin(wish, begin_by, follows=follows)) as stream:
                n_said = 0
                async with self._expiry.within(begin_by):
                    answer = await _next(stream)
                begin_by = None
                while answer is not None:
                    (n_chars,) = N_CHARS.unpack_from(answer)
                    pcm = np.frombuffer(answer, dtype="<i2", offset=N_CHARS.size)
                    yield SpokenFrame(pcm, piece[n_said:n_chars])
                    n_said = n_chars
                    answer = await _next(stream)
            follows = True

    async def _begin(self, wish: Wish, begin_by: Deadline | None, *, follows: bool) -> Stream:
        """Give the phrase to a worker, which is free again when it has made it, whoever still listens.

        Raises:
            StageOverloaded: as `_take`.
            StageExpired: likewise.
        """
        worker, ticket = await self._take(begin_by, follows=follows)
        try:
            async with self._expiry.within(begin_by):
                await worker.ready(RESTART_NS)
            stream = worker.open(wish.payload(), lambda: self._give_back(worker, ticket))
        except BaseException:
            self._give_back(worker, ticket)
            raise
        self._n_phrases += 1
        return stream

    async def _take(self, begin_by: Deadline | None, *, follows: bool) -> tuple[Worker, Ticket]:
        """A worker for this phrase alone. Only the beginning of a reply is ever refused because it is late.

        Raises:
            StageOverloaded: none will be free soon enough.
            StageExpired: nobody wants the phrase any more.
        """
        now_ns = self._clock.now_ns()
        patient = Deadline(now_ns + MAX_WAIT_NS, now_ns + MAX_WAIT_NS)
        waiter = _Waiter(due(now_ns, follows=follows), self._line.arrive(0, begin_by or patient))
        self._waiting.append(waiter)
        self._deal()
        try:
            async with self._expiry.within(begin_by), asyncio.timeout(MAX_WAIT_NS / 1e9):
                return await waiter.worker, waiter.ticket
        except TimeoutError:
            self._forget(waiter)
            raise StageOverloaded(f"no Piper was free for {MAX_WAIT_NS / 1e9:g} s", stage="tts") from None
        except BaseException:
            self._forget(waiter)
            raise

    def _forget(self, waiter: _Waiter) -> None:
        """The phrase is not wanted any more, or not in time."""
        worker = waiter.worker
        if waiter in self._waiting:
            self._waiting.remove(waiter)
            self._line.leave(waiter.ticket)
        elif worker.done() and not worker.cancelled() and worker.exception() is None:
            self._give_back(worker.result(), waiter.ticket)  # it got one in the same instant

    def queues(self) -> list[QueueReading]:
        """See `ports.Queued`."""
        return [self._line.reading()]

    def _give_back(self, worker: Worker, ticket: Ticket) -> None:
        self._line.leave(ticket)
        self._idle.insert(0, worker)  # the last one used has the warmest caches
        self._deal()

    def _deal(self) -> None:
        """Let those begin whose turn it is. Workers that are down are left alone while others are up."""
        self._turn_away()
        while True:
            usable = [worker for worker in self._idle if worker.is_ready]
            n_up = sum(worker.is_ready for worker in self.workers)
            if n_up == 0:  # whoever is dealt one waits until it is back
                usable, n_up = self._idle, len(self.workers)
            n = next_of(self._waiting, len(usable), n_up)
            if n is None:
                return
            waiter = self._waiting.pop(n)
            if not waiter.worker.done():  # else it was cancelled in this instant
                worker = usable[0]
                self._idle.remove(worker)
                self._line.begin(waiter.ticket)
                waiter.worker.set_result(worker)
            else:
                self._line.leave(waiter.ticket)

    def _turn_away(self) -> None:
        """Tell those that are too late already."""
        for ticket in self._line.next()[1]:
            waiter = next(one for one in self._waiting if one.ticket is ticket)
            self._waiting.remove(waiter)
            if not waiter.worker.done():
                waiter.worker.set_exception(self._line.refusal())


async def _next(stream: Stream) -> bytes | None:
    try:
        async with asyncio.timeout(HUNG_S):
            return await anext(stream, None)
    except TimeoutError:
        stream.worker.kill()
        raise StageTimeout("Piper does not answer", stage="tts") from None


def _hired(n: int, settings: str, clock: Clock) -> Worker:
    module = "voicestack.engines.piper_worker"
    return Worker(module, name=f"piper-{n}", stage="tts", clock=clock, arguments=(settings,))
