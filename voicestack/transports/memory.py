"""A peer inside the process: for tests, and for the synthetic turn that decides readiness."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from voicestack.aio.clock import Clock
from voicestack.core.audio import EAR_RATE_HZ, NO_AUDIO, AudioFrame, Pcm, SpokenFrame
from voicestack.core.commands import Command
from voicestack.core.ids import TurnId
from voicestack.core.notes import Note

FRAME_SAMPLES = EAR_RATE_HZ // 50
"""20 ms, the packet length of nearly every telephone and browser."""


@dataclass(slots=True)
class MemoryPeer:
    """Both ends of a connection that cannot fail. Everything that it is told and played is kept.

    Attributes:
        told: (instant, note) in order.
        played: (instant, turn, frame) in order.
        flushed: Instants at which the session fell silent.
    """

    clock: Clock
    told: list[tuple[int, Note]] = field(default_factory=list)
    played: list[tuple[int, TurnId, SpokenFrame]] = field(default_factory=list)
    flushed: list[int] = field(default_factory=list)
    _sink: Callable[[AudioFrame | Command], None] | None = None
    _hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    _n_samples: int = 0

    async def run(self, on_received: Callable[[AudioFrame | Command], None]) -> None:
        """See `ports.TransportSession`."""
        self._sink = on_received
        await self._hung_up.wait()

    def tell(self, note: Note) -> None:
        """See `ports.TransportSession`."""
        self.told.append((self.clock.now_ns(), note))

    def play(self, turn: TurnId, frame: SpokenFrame) -> None:
        """See `ports.TransportSession`."""
        self.played.append((self.clock.now_ns(), turn, frame))

    def flush(self) -> None:
        """See `ports.TransportSession`."""
        self.flushed.append(self.clock.now_ns())

    def hang_up(self) -> None:
        """End the session."""
        self._hung_up.set()

    def send(self, command: Command) -> None:
        """Ask for something."""
        assert self._sink is not None
        self._sink(command)

    def say_now(self, pcm: Pcm) -> None:
        """Send one frame: int16 mono at EAR_RATE_HZ."""
        assert self._sink is not None
        frame = AudioFrame(pcm, self._n_samples, self.clock.now_ns())
        self._n_samples = frame.end_sample
        self._sink(frame)

    async def say(self, pcm: Pcm) -> None:
        """Send audio in 20 ms frames at the pace of speech; each frame leaves when it has been spoken."""
        start_ns = self.clock.now_ns()
        for i in range(0, len(pcm), FRAME_SAMPLES):
            frame = pcm[i : i + FRAME_SAMPLES]
            due_ns = start_ns + (i + len(frame)) * 1_000_000_000 // EAR_RATE_HZ
            await asyncio.sleep(max(0, due_ns - self.clock.now_ns()) / 1e9)
            self.say_now(frame)

    async def be_silent(self, ms: float) -> None:
        """Send silence for so long."""
        await self.say(np.zeros(int(ms * EAR_RATE_HZ / 1000), dtype=np.int16))

    def notes(self, *kinds: type) -> list[Note]:
        """What was told, of these kinds or all."""
        return [note for _, note in self.told if not kinds or isinstance(note, kinds)]

    def heard_pcm(self) -> Pcm:
        """All audio that was played, end to end."""
        parts = [frame.pcm for _, _, frame in self.played]
        return np.concatenate(parts) if parts else NO_AUDIO
