"""Is the server warm? Only a real turn, run under budget, says so."""

import asyncio
import itertools
import logging
import wave
from collections.abc import Callable
from importlib.resources import files
from typing import Protocol, runtime_checkable

import numpy as np

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.core.audio import Pcm
from voicestack.core.commands import CancelReply
from voicestack.core.errors import VoiceStackError
from voicestack.core.ids import own_session
from voicestack.core.marks import TurnMarks
from voicestack.core.notes import ReplyEnded, TurnMeasured, UserSaid
from voicestack.core.settings import SessionSettings
from voicestack.core.watching import Unobserved
from voicestack.server.supervised import Supervised
from voicestack.server.warm_up import NO_WARM_UP, Warmth, warm_up
from voicestack.session.session import Session
from voicestack.session.tuning import Engines, Tuning
from voicestack.transports.memory import MemoryPeer

log = logging.getLogger(__name__)

QUESTION_FILE = "question.wav"
"""'What is the capital of France', spoken by flite's voice slt: 16 kHz mono."""

TURN_LIMIT_S = 20
"""A synthetic turn that takes longer has failed, whatever the budget."""

AGAIN_AFTER_S = 1.0
"""Pause after a synthetic turn that failed."""


@runtime_checkable
class Examined(Protocol):
    """An engine that can tell what is wrong with its set-up."""

    async def faults(self) -> list[str]:
        """A sentence for each."""
        ...


class Readiness:
    """Warms the engines, then runs synthetic turns until one passes; all again when a process was replaced.

    Args:
        engines: What is to be ready.
        supervised: What must run for them.
        clock: Measures.
        settings: Of the session in which the synthetic turn is asked: the default ones, so that the KV of the
            default instructions is there afterwards.
        tuning: Likewise.
        budget_ms: What the synthetic turn may take.
        warmth: How to warm the language model, and who doubts that it is warm.

    Attributes:
        reason: Why the server is not ready, None when it is.
        ever: Whether it has been ready before; from then on sessions are taken.
        phases_s: What our own part of the last start took: `warm_up`, `first_turn`.
    """

    def __init__(
        self,
        engines: Engines,
        supervised: tuple[Supervised, ...],
        *,
        clock: Clock,
        settings: SessionSettings,
        tuning: Tuning,
        budget_ms: float,
        warmth: Warmth = NO_WARM_UP,
    ) -> None:
        self._engines, self._supervised, self._clock = engines, supervised, clock
        self._settings, self._tuning, self._budget_ms = settings, tuning, budget_ms
        self._reason: str | None = "starting"
        self._warmth = warmth
        self._n_restarts = 0
        self._is_warmed = False
        self.phases_s: dict[str, float] = {}
        self.ever = False
        self.last_turn: TurnMarks | None = None

    @property
    def reason(self) -> str | None:
        """Why the server is not ready; None when it is."""
        down = [part.name for part in self._supervised if not part.is_ready]
        if down:
            return f"not running: {', '.join(down)}"
        return self._reason or self._warmth.doubt()

    async def run(self, on_ready: Callable[[TurnMarks], None]) -> None:
        """Watch for ever. `on_ready` is called with the turn that passed, every time."""
        while True:
            n_restarts = sum(part.n_restarts for part in self._supervised)
            all_up = all(part.is_ready for part in self._supervised)
            if n_restarts != self._n_restarts:
                self._n_restarts, self._reason = n_restarts, "a process was replaced; warming it"
                self._is_warmed = False
            if all_up and self._reason is not None:
                await self._try(on_ready)
            await asyncio.sleep(0.1 if self._reason is None or not all_up else AGAIN_AFTER_S)

    async def _try(self, on_ready: Callable[[TurnMarks], None]) -> None:
        begun_ns = self._clock.now_ns()
        try:
            if not self._is_warmed:
                await warm_up(self._engines.llm, self._settings.instructions, self._warmth)
                self.phases_s["warm_up"] = (self._clock.now_ns() - begun_ns) / 1e9
                self._is_warmed = True
            begun_ns = self._clock.now_ns()
            async with asyncio.timeout(TURN_LIMIT_S):
                marks = await synthetic_turn(self._engines, self._clock, self._settings, self._tuning)
        except (VoiceStackError, TimeoutError) as error:
            step = "the synthetic turn" if self._is_warmed else "the warm-up"
            self._reason = f"{step} failed: {error or 'no answer'}"
            log.warning("%s", self._reason)
            return
        self.last_turn = marks
        self.phases_s["first_turn"] = (self._clock.now_ns() - begun_ns) / 1e9
        response_ms = marks.response_ms
        if response_ms is None or response_ms > self._budget_ms:
            self._reason = f"the synthetic turn took {response_ms} ms; the budget is {self._budget_ms} ms"
            log.warning("%s", self._reason)
            return
        if not self.ever and isinstance(self._engines.llm, Examined):
            for fault in await self._engines.llm.faults():
                log.warning("%s", fault)
        self._reason, self.ever = None, True
        on_ready(marks)


async def synthetic_turn(
    engines: Engines, clock: Clock, settings: SessionSettings, tuning: Tuning
) -> TurnMarks:
    """Ask the engines a spoken question through a session like any other, and hear the answer begin.

    Raises:
        VoiceStackError: a stage failed, or nothing was understood.
    """
    peer, numbers = MemoryPeer(clock), itertools.count(1)
    session = Session(
        own_session("readiness"),
        peer,
        engines,
        settings=settings,
        tuning=tuning,
        clock=clock,
        observer=Unobserved(),
        new_id=lambda prefix: f"{prefix}_{next(numbers)}",
    )

    async def ask() -> None:
        await peer.say(question())
        while not peer.played:
            await peer.be_silent(100)
            ends = [note for note in peer.notes(ReplyEnded) if isinstance(note, ReplyEnded)]
            if ends and ends[0].error is not None:
                raise ends[0].error
            said = [note.text for note in peer.notes(UserSaid) if isinstance(note, UserSaid)]
            if said and not said[0]:
                raise VoiceStackError("the recogniser understood nothing")
        peer.send(CancelReply())
        peer.hang_up()

    async with Scope() as scope:
        scope.start(ask(), name="readiness")
        await session.run()
    measured = [note for note in peer.notes(TurnMeasured) if isinstance(note, TurnMeasured)]
    return measured[0].marks


def question() -> Pcm:
    """The spoken question: int16 mono at EAR_RATE_HZ."""
    with wave.open(str(files("voicestack.server") / QUESTION_FILE)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
