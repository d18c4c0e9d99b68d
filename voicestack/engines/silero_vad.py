"""Is the user speaking? Silero VAD for all sessions of the process, batched.

Batching is what makes it cheap: a window alone costs as much as `TILE` of them, and a window in a batch of 32
an eighth of that. So windows wait a few milliseconds for those of other sessions. The network runs in the
event loop's thread: a batch takes about 1 ms, less than handing it to a thread and back would delay it on the
one core that a server process has.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import numpy as np

from voicestack.core.audio import AudioFrame
from voicestack.engines.silero_net import (
    CONTEXT_SAMPLES,
    ROW_SAMPLES,
    STATE_SIZE,
    TILE,
    WINDOW_SAMPLES,
    SileroNet,
    find_weights,
)
from voicestack.ports import SpeechWindow

MAX_BATCH = 32
"""Windows judged in one go: about 1 ms. A multiple of TILE; beyond it a window costs no less."""

_FULL = CONTEXT_SAMPLES + WINDOW_SAMPLES
_SCALE = np.float32(1 / 32768)
_SPARE_ROW = 0
"""The row that fills a batch up to a multiple of TILE; it belongs to nobody."""


class SileroVad:
    """Satisfies `ports.Vad`.

    Args:
        net: The network; by default the one in the installed faster-whisper.
        gather_ms: Longest wait of a window for company. With at most `TILE` sessions, or when every session's
            window is there, nobody waits.

    Raises:
        ConfigError: the weights are not installed.
    """

    def __init__(self, net: SileroNet | None = None, *, gather_ms: float = 4.0) -> None:
        self._net = net or SileroNet(find_weights())
        self._gather_s = gather_ms / 1000
        self._audio = np.zeros((0, ROW_SAMPLES), np.float32)
        self._h = np.zeros((0, STATE_SIZE), np.float32)
        self._c = np.zeros((0, STATE_SIZE), np.float32)
        self._free_rows: list[int] = []
        self._grow(MAX_BATCH)
        self._free_rows.remove(_SPARE_ROW)
        self._n_open = 0
        self._waiting: deque[SileroStream] = deque()
        self._judged: deque[tuple[SileroStream, float]] = deque()
        self._wake: asyncio.Handle | None = None
        self._hurried = False

    def open(self, on_window: Callable[[SpeechWindow], None]) -> "SileroStream":
        """Begin a session. `on_window` is called from the running event loop, never from within `push`."""
        if not self._free_rows:
            self._grow(len(self._audio))
        row = self._free_rows.pop()
        self._audio[row] = self._h[row] = self._c[row] = 0
        self._n_open += 1
        return SileroStream(self, row, on_window)

    def _grow(self, n_rows: int) -> None:
        n_old = len(self._audio)
        self._audio = np.concatenate([self._audio, np.zeros((n_rows, ROW_SAMPLES), np.float32)])
        self._h = np.concatenate([self._h, np.zeros((n_rows, STATE_SIZE), np.float32)])
        self._c = np.concatenate([self._c, np.zeros((n_rows, STATE_SIZE), np.float32)])
        self._free_rows += range(n_old, n_old + n_rows)

    def _judge_soon(self, stream: "SileroStream") -> None:
        """A window of `stream` is complete."""
        self._waiting.append(stream)
        n_enough = min(self._n_open, MAX_BATCH)
        self._arrange(now=self._n_open <= TILE or len(self._waiting) >= n_enough)

    def _arrange(self, *, now: bool) -> None:
        """See that a batch is judged: in the next turn of the loop, or when the time to gather is over."""
        if self._wake is not None:
            if self._hurried or not now:
                return
            self._wake.cancel()
        loop = asyncio.get_running_loop()
        self._hurried = now
        self._wake = loop.call_soon(self._run) if now else loop.call_later(self._gather_s, self._run)

    def _run(self) -> None:
        self._wake = None
        batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
        if batch:
            n_spare = -len(batch) % TILE
            rows = np.array([stream.row for stream in batch] + [_SPARE_ROW] * n_spare)
            audio = self._audio[rows]
            p_speech, self._h[rows], self._c[rows] = self._net(audio, self._h[rows], self._c[rows])
            self._audio[rows, :CONTEXT_SAMPLES] = audio[:, WINDOW_SAMPLES:_FULL]
            self._judged.extend(zip(batch, p_speech.tolist(), strict=False))
        try:
            while self._judged:
                stream, p = self._judged.popleft()
                stream.take_opinion(p)
        finally:  # a session whose callback raises must not hold up the others
            if self._judged or self._waiting:
                self._arrange(now=True)

    def _forget(self, stream: "SileroStream") -> None:
        self._n_open -= 1
        self._free_rows.append(stream.row)
        if stream in self._waiting:
            self._waiting.remove(stream)


class SileroStream:
    """One session of `SileroVad`. A gap in media time drops the window that it tears apart."""

    def __init__(self, vad: SileroVad, row: int, on_window: Callable[[SpeechWindow], None]) -> None:
        self.row = row
        self._vad = vad
        self._on_window: Callable[[SpeechWindow], None] | None = on_window
        self._n_filled = CONTEXT_SAMPLES
        self._end_sample = -1
        self._backlog: deque[AudioFrame] = deque()

    def push(self, frame: AudioFrame) -> None:
        """Take the next frame."""
        if self._on_window is None:
            return
        if self._n_filled == _FULL:  # its window waits to be judged
            self._backlog.append(frame)
        else:
            self._fill(frame)

    def close(self) -> None:
        """No opinion comes after this."""
        if self._on_window is not None:
            self._on_window = None
            self._backlog.clear()
            self._vad._forget(self)

    def take_opinion(self, p_speech: float) -> None:
        """The window was judged: pass it on, and go on with what has come meanwhile."""
        if self._on_window is None:
            return
        self._n_filled = CONTEXT_SAMPLES
        window = SpeechWindow(p_speech, self._end_sample)
        while self._backlog and self._n_filled < _FULL:
            self._fill(self._backlog.popleft())
        self._on_window(window)

    def _fill(self, frame: AudioFrame) -> None:
        if frame.start_sample != self._end_sample:
            self._n_filled = CONTEXT_SAMPLES
        n_taken = min(len(frame.pcm), _FULL - self._n_filled)
        space = self._vad._audio[self.row, self._n_filled : self._n_filled + n_taken]
        np.multiply(frame.pcm[:n_taken], _SCALE, out=space)
        self._n_filled += n_taken
        self._end_sample = frame.start_sample + n_taken
        if n_taken < len(frame.pcm):
            rest = AudioFrame(frame.pcm[n_taken:], self._end_sample, frame.arrived_ns)
            self._backlog.appendleft(rest)
        if self._n_filled == _FULL:
            self._vad._judge_soon(self)
