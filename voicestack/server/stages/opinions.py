"""What does the VAD make of every frame of a recording that is read faster than it was spoken?

A VAD gives its opinions when it likes, in windows of its own length; here every frame waits for its opinion,
and only so many wait at a time.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator

import numpy as np

from voicestack.core.audio import AudioFrame
from voicestack.core.errors import StageTimeout
from voicestack.ports import SpeechWindow, Vad

FRAME_SAMPLES = 512
"""One window of Silero VAD at 16 kHz."""
MAX_WAITING = 10
"""Frames without an opinion at most: 320 ms, longer than the window of any VAD."""
HUNG_S = 10.0

_SILENCE = np.zeros(FRAME_SAMPLES, np.int16)


class Opinions:
    """The VAD's opinions of one recording. Call `close` at the end."""

    def __init__(self, vad: Vad) -> None:
        self._windows: deque[SpeechWindow] = deque()
        self._told: asyncio.Future[None] | None = None
        self._stream = vad.open(self._on_window)

    def close(self) -> None:
        """No more opinions are wanted."""
        self._stream.close()

    async def of(self, frames: AsyncIterator[AudioFrame]) -> AsyncGenerator[tuple[AudioFrame, float], None]:
        """Every frame with p_speech of the window in which it ends.

        Raises:
            StageTimeout: the VAD has stopped giving opinions.
        """
        waiting: deque[AudioFrame] = deque()
        async for frame in frames:
            waiting.append(frame)
            self._stream.push(frame)
            while waiting and (len(waiting) > MAX_WAITING or self._is_judged(waiting[0])):
                p_speech = await self._opinion(waiting[0])
                yield waiting.popleft(), p_speech
        for n in range(MAX_WAITING if waiting else 0):  # silence after the end pushes the last windows out
            start = waiting[-1].end_sample + n * FRAME_SAMPLES
            self._stream.push(AudioFrame(_SILENCE, start, waiting[-1].arrived_ns))
        for frame in waiting:
            yield frame, await self._opinion(frame)

    def _is_judged(self, frame: AudioFrame) -> bool:
        return bool(self._windows) and self._windows[-1].end_sample >= frame.end_sample

    async def _opinion(self, frame: AudioFrame) -> float:
        while not self._is_judged(frame):
            self._told = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(HUNG_S):
                    await self._told
            except TimeoutError:
                raise StageTimeout("the VAD does not answer", stage="vad") from None
        while self._windows[0].end_sample < frame.end_sample:
            self._windows.popleft()
        return self._windows[0].p_speech

    def _on_window(self, window: SpeechWindow) -> None:
        self._windows.append(window)
        if self._told is not None and not self._told.done():
            self._told.set_result(None)
