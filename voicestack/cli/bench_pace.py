"""When do the callers of a capacity bench speak, over whatever transport, and what do they see?"""

import asyncio
import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from voicestack.aio.clock import Clock
from voicestack.cli.speaker import FRAME_MS

FRAME_NS = FRAME_MS * 1_000_000
PATIENCE_NS = 10_000_000_000
THINK_NS = (50_000_000, 350_000_000)


@dataclass(slots=True)
class Window:
    """What all callers saw while it was open. Times in milliseconds."""

    send_late_ms: "array[float]" = field(default_factory=lambda: array("d"))
    arrival_late_ms: "array[float]" = field(default_factory=lambda: array("d"))
    n_gaps: int = 0
    gap_ms: float = 0.0
    agent_ms: float = 0.0
    user_ms: float = 0.0
    n_answers: int = 0
    n_missing: int = 0
    n_lost: int = 0


class Asker:
    """What a patient caller says: a line, then nothing until it was answered and a moment has passed.

    Args:
        rng: Chooses lines and moments.
        lines: Each as frames that are ready to be sent.
        pause_ns: Least and longest wait after a line, for whoever is not answered; None waits for answers.
    """

    def __init__(
        self, rng: random.Random, lines: Sequence[Sequence[bytes]], *, pause_ns: tuple[int, int] | None = None
    ) -> None:
        self._rng = rng
        self._lines = lines
        self._pause_ns = pause_ns
        self._line: Sequence[bytes] = ()
        self._n_said = 0
        self._asked_ns = 0
        self._next_line_ns: int | None = None  # None while an answer is awaited

    def begin(self, now_ns: int) -> None:
        """The call is open."""
        self._next_line_ns = now_ns + self._rng.randrange(2_000_000_000)

    def next_frame(self, now_ns: int, heard_until_ns: int, window: Window) -> bytes | None:
        """The frame to send now; None for silence.

        Args:
            now_ns: The time.
            heard_until_ns: When what the agent has said until now is over.
            window: Counts what is said, and answers that were waited for in vain.
        """
        if self._n_said < len(self._line):
            frame = self._line[self._n_said]
            window.user_ms += FRAME_MS
            self._n_said += 1
            if self._n_said == len(self._line):
                self._asked_ns = now_ns
                self._next_line_ns = (
                    None if self._pause_ns is None else now_ns + self._rng.randrange(*self._pause_ns)
                )
            return frame
        if self._next_line_ns is None:
            if now_ns - self._asked_ns > PATIENCE_NS and heard_until_ns < self._asked_ns:
                window.n_missing += 1
                self._next_line_ns = now_ns
        elif now_ns >= max(self._next_line_ns, heard_until_ns):
            self._line, self._n_said = self._rng.choice(self._lines), 0
        return None

    def answered(self, now_ns: int, heard_until_ns: int) -> None:
        """The answer is complete."""
        if self._next_line_ns is None:
            self._next_line_ns = max(now_ns, heard_until_ns) + self._rng.randrange(*THINK_NS)


class Paced(Protocol):
    """A caller whose frames are due `phase_ns` after the beginning of every 20 ms."""

    phase_ns: int

    def tick(self, now_ns: int) -> None:
        """Send the next 20 ms."""
        ...


async def pace(clock: Clock, callers: Callable[[], Sequence[Paced]], late: Callable[[float], None]) -> None:
    """Send every caller's frames when they are due, for ever. Sends up to half a millisecond early.

    Args:
        clock: The time.
        callers: Who there is at the moment, ordered by `phase_ns`.
        late: Is told how late each frame was, in milliseconds.
    """
    cycle_ns = clock.now_ns()
    while True:
        for caller in list(callers()):
            due_ns = cycle_ns + caller.phase_ns
            now_ns = clock.now_ns()
            if now_ns < due_ns - 500_000:
                await asyncio.sleep((due_ns - now_ns) / 1e9)
                now_ns = clock.now_ns()
            late(max(0, now_ns - due_ns) / 1e6)
            caller.tick(now_ns)
        cycle_ns += FRAME_NS
        await asyncio.sleep(max(0.0, (cycle_ns - clock.now_ns()) / 1e9))
