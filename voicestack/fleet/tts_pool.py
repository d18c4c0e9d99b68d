"""Which replica speaks a phrase? Until its first frame another one can say it instead."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from voicestack.core.audio import SpokenFrame
from voicestack.core.errors import StageError, StageRejected, StageTimeout
from voicestack.core.resample import Resampler
from voicestack.core.turn_record import Use
from voicestack.fleet.choose import Wish
from voicestack.fleet.member import Call
from voicestack.fleet.replica import ReplicaView
from voicestack.fleet.roster import Importance, Pick, Roster
from voicestack.ports import SpeechRequest, Tts

PROBE = SpeechRequest("One.")


class TtsPool:
    """Satisfies `ports.Tts` and `ports.Measured`.

    The first replica is asked as long as it is well and not much later than others: another voice in the
    middle of an answer would be heard.

    Args:
        roster: The replicas; the first one's rate is that of everything that is yielded.
        patience_ms: Another replica is asked when there is no sound for so long.
    """

    def __init__(self, roster: Roster[Tts], *, patience_ms: float = 500) -> None:
        self.roster, self._patience_s = roster, patience_ms / 1e3
        self._first = next(iter(roster.members.values()))

    @property
    def rate_hz(self) -> int:
        """See `ports.Tts`."""
        return self._first.engine.rate_hz

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        """See `ports.Tts`.

        Raises:
            StageExpired: nobody wants it any more, and it was not begun.
            StageError: no replica would say it, as the first of them said; or the sound broke off.
        """
        without: set[str] = set()
        first_error: StageError | None = None
        while True:
            # What follows something that is heard is wanted, however late it is.
            deadline = None if request.follows else request.deadline
            wish = Wish(self._first.name, without)
            if first_error is None:
                pick = await self.roster.picked(wish, Importance.COMMITTED, deadline, may_shed=False)
            elif (other := self.roster.pick(wish)) is not None:
                pick = other
                self.roster.counts["retries"] += 1
            else:
                raise first_error
            has_begun = False
            try:
                async with aclosing(self._spoken(pick, request, without)) as frames:
                    async for frame in frames:
                        has_begun = True
                        yield frame
                return
            except StageError as error:
                may_go_on = error.retryable or isinstance(error, StageRejected)
                if has_begun or not may_go_on:
                    raise
                first_error = first_error or error
                without.add(pick.member.name)

    def figures(self) -> dict[str, float]:
        """See `ports.Measured`: of the pool, not of its replicas."""
        replicas = self.roster.now()
        return {
            "retries_total": self.roster.counts["retries"],
            "replicas": len(replicas),
            "replicas_good": sum(one.is_good for one in replicas),
            "waiting_requests": self.roster.n_waiting,
        }

    def replicas(self) -> list[ReplicaView]:
        """What operators see of each."""
        return self.roster.views()

    async def _spoken(
        self, pick: Pick[Tts], request: SpeechRequest, without: set[str]
    ) -> AsyncGenerator[SpokenFrame, None]:
        """The phrase as one replica says it, at our rate."""
        tts = pick.member.engine
        resampler = None if tts.rate_hz == self.rate_hz else Resampler(tts.rate_hz, self.rate_hz)
        call = pick.member.call()
        try:
            with call:
                async with aclosing(tts.speak(request)) as frames:
                    frame = await self._first_of(frames, self._may_wait(pick, without))
                    if frame is not None:
                        call.first()
                        _tell(request, pick, call, won=True)
                    while frame is not None:
                        pcm = frame.pcm if resampler is None else resampler.push(frame.pcm)
                        yield SpokenFrame(pcm, frame.text)
                        frame = await anext(frames, None)
                if resampler is not None and len(rest := resampler.flush()):
                    yield SpokenFrame(rest, "")
        finally:
            if call.first_ms is None:
                _tell(request, pick, call, won=False)

    async def _first_of(
        self, frames: AsyncGenerator[SpokenFrame, None], limit_s: float | None
    ) -> SpokenFrame | None:
        try:
            async with asyncio.timeout(limit_s):
                return await anext(frames, None)
        except TimeoutError:
            raise StageTimeout(f"no sound within {self._patience_s * 1e3:.0f} ms", stage="tts") from None

    def _may_wait(self, pick: Pick[Tts], without: set[str]) -> float | None:
        """How long to wait for a sound: for ever, where nobody else could say it."""
        asked = {*without, pick.member.name}
        other = self.roster.pick(Wish(without=asked, only_good=True))
        return None if other is None else self._patience_s


def _tell(request: SpeechRequest, pick: Pick[Tts], call: Call[Tts], *, won: bool) -> None:
    """Of the phrases after the first only what is unusual is told."""
    about = pick.member.about
    is_usual = won and about.kind == "local"
    if request.trail is not None and not (request.follows and is_usual):
        request.trail.used(Use("tts", about.name, about.region, call.was_warm, call.first_ms, won))


async def probe_tts(engine: Tts) -> None:
    """Have a word said. Raises StageError: that failed."""
    async with aclosing(engine.speak(PROBE)) as frames:
        async for _ in frames:
            pass
