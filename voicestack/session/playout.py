"""When each frame of the answer leaves, and how much of it has been heard.

Audio is made faster than it is played. It leaves at the pace of playing, `lead_ms` ahead, so that little is
in flight when the user interrupts, and so that what was sent says what was heard.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from voicestack.aio.clock import Clock, Timer
from voicestack.core.audio import SpokenFrame
from voicestack.core.ids import TurnId


class Playout:
    """The one buffer between the engines and the peer. Carries one reply at a time.

    Args:
        clock: For pacing.
        send: Given each frame when it is due. Must not wait.
        rate_hz: Sample rate of the frames.
        lead_ms: How far ahead of being played a frame leaves; covers the network's jitter.
        queue_ms: Audio held at most; `put` waits beyond it.
        on_sent: Told how late each frame was, in nanoseconds after it was due *and* here.
    """

    def __init__(
        self,
        clock: Clock,
        send: Callable[[TurnId, SpokenFrame], None],
        *,
        rate_hz: int,
        lead_ms: float,
        queue_ms: float,
        on_sent: Callable[[int], None],
    ) -> None:
        self._clock = clock
        self._send = send
        self._rate_hz = rate_hz
        self._lead_ns = round(lead_ms * 1e6)
        self._limit_ns = round(queue_ms * 1e6)
        self._on_sent = on_sent
        self._turn: TurnId | None = None
        self._open_ns: int | None = None  # when the gate was opened
        self._queue: deque[tuple[SpokenFrame, int]] = deque()
        self._queued_ns = 0
        self._play_end_ns = 0  # when the last sample that was sent will have been played
        self._sent_ns = 0  # audio sent of this reply
        self._timer: Timer | None = None
        self._room: asyncio.Future[None] | None = None
        self._idle: asyncio.Future[None] | None = None

    @property
    def queued_ms(self) -> float:
        """Audio that waits for its time."""
        return self._queued_ns / 1e6

    def begin(self, turn: TurnId) -> None:
        """Carry this reply from now on; what was left of another is dropped. The gate is closed."""
        self._drop()
        self._turn, self._open_ns = turn, None
        self._sent_ns = self._play_end_ns = 0

    def open_gate(self, turn: TurnId) -> None:
        """Let the reply's frames leave, beginning in the next turn of the event loop."""
        if turn == self._turn:
            self._open_ns = self._clock.now_ns()
            self._arm(self._open_ns)

    async def put(self, turn: TurnId, frame: SpokenFrame) -> None:
        """Queue a frame; wait while the buffer is full. Frames of any other reply are dropped."""
        while turn == self._turn and self._queued_ns >= self._limit_ns:
            self._room = self._room or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)
        if turn != self._turn:
            return
        self._queue.append((frame, self._clock.now_ns()))
        self._queued_ns += self._duration_ns(frame)
        if self._open_ns is not None and self._timer is None:
            self._pump()

    def insert(self, turn: TurnId, frames: Iterable[SpokenFrame]) -> None:
        """Queue something that is there as a whole, without waiting for room. The gate must be open."""
        if turn != self._turn:
            return
        now_ns = self._clock.now_ns()
        for frame in frames:
            self._queue.append((frame, now_ns))
            self._queued_ns += self._duration_ns(frame)
        if self._timer is None:
            self._pump()

    def unsay(self) -> None:
        """Drop what is queued of the answer; what fills the silence before it is still said."""
        self._queue = deque(entry for entry in self._queue if entry[0].filler)
        self._queued_ns = sum(self._duration_ns(frame) for frame, _ in self._queue)
        self._wake()

    async def drained(self, turn: TurnId) -> None:
        """Return when everything queued for the reply has been played, by its pace."""
        while turn == self._turn:
            all_sent = self._open_ns is not None and not self._queue
            if all_sent and self._play_end_ns <= self._clock.now_ns():
                return
            self._idle = self._idle or asyncio.get_running_loop().create_future()
            if all_sent:
                self._arm(self._play_end_ns)
            await asyncio.shield(self._idle)

    def flush(self) -> float:
        """Drop what has not been sent and carry nothing.

        Returns:
            How much of the reply the peer has played by now, in milliseconds, going by the pace.
        """
        in_flight_ns = max(0, self._play_end_ns - self._clock.now_ns())
        heard_ns = max(0, self._sent_ns - in_flight_ns)
        self._turn = None
        self._drop()
        return heard_ns / 1e6

    def _drop(self) -> None:
        self._queue.clear()
        self._queued_ns = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()

    def _arm(self, at_ns: int) -> None:
        if self._timer is None:
            self._timer = self._clock.call_at(at_ns, self._pump_by_timer)

    def _pump_by_timer(self) -> None:
        self._timer = None
        self._pump()

    def _pump(self) -> None:
        """Send what is due, then set the timer for the next frame."""
        turn, open_ns = self._turn, self._open_ns
        assert open_ns is not None
        while self._queue and turn is not None and turn == self._turn:
            now_ns = self._clock.now_ns()
            # A first frame, or one after the peer has run dry, is played when it comes.
            self._play_end_ns = max(self._play_end_ns, now_ns)
            due_ns = self._play_end_ns - self._lead_ns
            if due_ns > now_ns:
                self._arm(due_ns)
                break
            frame, here_ns = self._queue.popleft()
            duration_ns = self._duration_ns(frame)
            self._queued_ns -= duration_ns
            self._play_end_ns += duration_ns
            self._sent_ns += duration_ns
            self._send(turn, frame)
            self._on_sent(max(0, now_ns - max(due_ns, here_ns, open_ns)))
        self._wake()

    def _wake(self) -> None:
        if self._room is not None and self._queued_ns < self._limit_ns:
            self._room.set_result(None)
            self._room = None
        if self._idle is not None and not self._queue:
            self._idle.set_result(None)
            self._idle = None

    def _duration_ns(self, frame: SpokenFrame) -> int:
        return len(frame.pcm) * 1_000_000_000 // self._rate_hz
