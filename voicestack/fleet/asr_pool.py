"""Which replica listens to an utterance? One that is well; another one if it fails at first."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import numpy as np

from voicestack.aio.scope import Scope
from voicestack.core.audio import EAR_RATE_HZ, AudioFrame
from voicestack.core.errors import StageError, StageRejected, StageTimeout
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.turn_record import Use
from voicestack.fleet.choose import Wish
from voicestack.fleet.member import Call
from voicestack.fleet.replica import ReplicaView
from voicestack.fleet.roster import Importance, Pick, Roster
from voicestack.ports import Asr, Pause, Transcript

KEPT_S = 30.0
"""An utterance that has been longer without any word cannot be heard again: so much sound is kept."""
PROBE_S = 0.2
"""Silence that a replica is asked about to see whether it is well."""

Sound = AudioFrame | Pause


class Recording:
    """The sounds of an utterance, kept until it is known who understands them.

    Args:
        source: They.
        patience_ms: See `AsrPool`.

    Attributes:
        is_needed: Nobody has understood anything yet.
        is_whole: All of it is there, so that another one can hear it from the beginning.
    """

    def __init__(self, source: AsyncIterator[Sound], patience_ms: float) -> None:
        self._source, self._patience_s = source, patience_ms / 1e3
        self._kept: deque[Sound] = deque()
        self._n_dropped = self._n_kept_samples = 0
        self._is_over = self._is_due = False
        self._changed, self._room = asyncio.Event(), asyncio.Event()
        self._limit: asyncio.Timeout | None = None
        self.is_needed = self.is_whole = True

    async def read(self) -> None:
        """Read the source to its end, no further ahead than so much can be kept."""
        async for sound in self._source:
            self._kept.append(sound)
            self._n_kept_samples += _samples(sound)
            self._changed.set()
            if isinstance(sound, Pause):
                self._due()
            while self._n_kept_samples > KEPT_S * EAR_RATE_HZ:
                self.is_needed = False
                self._room.clear()
                await self._room.wait()
        self._is_over = True
        self._changed.set()
        self._due()

    async def play(self) -> AsyncGenerator[Sound, None]:
        """All of it from the beginning, and then as it comes. One player at a time."""
        n_played = 0
        while True:
            while n_played - self._n_dropped < len(self._kept):
                sound = self._kept[n_played - self._n_dropped]
                n_played += 1
                if not self.is_needed:
                    self._drop(n_played)
                yield sound
            if self._is_over:
                return
            self._changed.clear()
            await self._changed.wait()

    async def first_of(self, transcripts: AsyncGenerator[Transcript, None]) -> Transcript | None:
        """The first transcript, waited for no longer than patience allows after a pause.

        Raises:
            StageTimeout: none came.
        """
        try:
            async with asyncio.timeout(self._patience_s if self._is_due else None) as self._limit:
                return await anext(transcripts, None)
        except TimeoutError:
            message = f"no words within {self._patience_s * 1e3:.0f} ms"
            raise StageTimeout(message, stage="asr") from None
        finally:
            self._limit = None

    def _due(self) -> None:
        """From now on words are waited for."""
        self._is_due = True
        if self._limit is not None and self._limit.when() is None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._patience_s)

    def _drop(self, n_played: int) -> None:
        self.is_whole = False
        while self._kept and self._n_dropped < n_played:
            self._n_kept_samples -= _samples(self._kept.popleft())
            self._n_dropped += 1
        self._room.set()


class AsrPool:
    """Satisfies `ports.Asr` and `ports.Measured`.

    Args:
        roster: The replicas.
        patience_ms: Another replica is asked when there are no words so long after the first pause.
    """

    def __init__(self, roster: Roster[Asr], *, patience_ms: float = 1_000) -> None:
        self.roster, self._patience_ms = roster, patience_ms

    async def transcribe(
        self, sounds: AsyncIterator[Sound], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        """See `ports.Asr`. Transcripts say who made them (`use`).

        Raises:
            StageError: no replica understands it, as the first of them said; or it broke off.
        """
        if len(self.roster.members) == 1:
            pick = await self._pick(set())
            async with aclosing(self._heard(pick, sounds, hints, None)) as transcripts:
                async for transcript in transcripts:
                    yield transcript
            return
        recording = Recording(sounds, self._patience_ms)
        async with Scope() as scope:
            scope.start(recording.read(), name="asr-recording")
            async with aclosing(self._by_anybody(recording, hints)) as transcripts:
                async for transcript in transcripts:
                    yield transcript

    async def _by_anybody(self, recording: Recording, hints: Hints) -> AsyncGenerator[Transcript, None]:
        without: set[str] = set()
        first_error: StageError | None = None
        while True:
            if first_error is not None and without >= set(self.roster.members):
                raise first_error
            pick = await self._pick(without)
            other = self.roster.pick(Wish(without={*without, pick.member.name}, only_good=True))
            try:
                sounds = recording.play()
                heard = self._heard(pick, sounds, hints, recording if other is not None else None)
                async with aclosing(sounds), aclosing(heard) as transcripts:
                    async for transcript in transcripts:
                        recording.is_needed = False
                        yield transcript
                return
            except StageError as error:
                may_go_on = error.retryable or isinstance(error, StageRejected)
                if not recording.is_needed or not recording.is_whole or not may_go_on:
                    raise
                first_error = first_error or error
                without.add(pick.member.name)
                self.roster.counts["retries"] += 1

    async def _pick(self, without: set[str]) -> Pick[Asr]:
        local = self.roster.local
        home = local.name if local is not None else ""
        return await self.roster.picked(Wish(home, without), Importance.COMMITTED, None, may_shed=False)

    async def _heard(
        self, pick: Pick[Asr], sounds: AsyncIterator[Sound], hints: Hints, recording: Recording | None
    ) -> AsyncGenerator[Transcript, None]:
        # A transcript comes when words have been said, so the time to it says nothing about the replica.
        with pick.member.call(is_timed=False) as call:
            async with aclosing(pick.member.engine.transcribe(sounds, hints)) as transcripts:
                waits = recording.first_of(transcripts) if recording else anext(transcripts, None)
                transcript = await waits
                while transcript is not None:
                    call.first_ms = 0.0
                    yield replace(transcript, use=_use(pick, call))
                    transcript = await anext(transcripts, None)

    def figures(self) -> dict[str, float]:
        """See `ports.Measured`: of the pool, not of its replicas."""
        replicas = self.roster.now()
        return {
            "retries_total": self.roster.counts["retries"],
            "replicas": len(replicas),
            "replicas_good": sum(one.is_good for one in replicas),
        }

    def replicas(self) -> list[ReplicaView]:
        """What operators see of each."""
        return self.roster.views()


def _samples(sound: Sound) -> int:
    return 0 if isinstance(sound, Pause) else len(sound.pcm)


def _use(pick: Pick[Asr], call: Call[Asr]) -> Use:
    about = pick.member.about
    return Use("asr", about.name, about.region, call.was_warm)


async def probe_asr(engine: Asr) -> None:
    """Have a moment of silence transcribed. Raises StageError: that failed."""
    async with aclosing(engine.transcribe(_silence())) as transcripts:
        async for _ in transcripts:
            pass


async def _silence() -> AsyncGenerator[AudioFrame | Pause, None]:
    yield AudioFrame(np.zeros(int(PROBE_S * EAR_RATE_HZ), np.int16), 0, 0)
