"""The process in which Whisper listens: windows of sound in, words out, as many at once as wait.

Run as `python -m voicestack.engines.whisper_worker SETTINGS`, with the settings as JSON. The main thread
reads and prepares what comes, each lane decodes: the model is busy while the next windows are prepared.
CTranslate2 lets go of the GIL while it works.
"""

import json
import os
import sys
import threading
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from voicestack.aio.clock import SystemClock
from voicestack.core.audio import EAR_RATE_HZ, NO_AUDIO
from voicestack.engines.cuda_libraries import open_cuda_libraries
from voicestack.engines.pipe import Frame, Kind, Stdio
from voicestack.engines.whisper_model import Ready, WhisperEar, WhisperSettings
from voicestack.engines.whisper_window import LATE, Understood, Urgency, Window

NICENESS = 5
"""Where the cores do not suffice, sound is sent and received first."""


@dataclass(frozen=True, slots=True)
class Task:
    """A window that waits.

    Attributes:
        stream: Whom to answer.
        ready: It.
        arrived_ns: When it came.
    """

    stream: int
    ready: Ready
    arrived_ns: int

    @property
    def rank(self) -> tuple[int, int]:
        """The lowest is first: what is waited for most, and of that what waits longest."""
        return self.ready.window.urgency, self.arrived_ns

    def is_late(self, now_ns: int) -> bool:
        """Whether nobody wants it any more."""
        return now_ns - self.arrived_ns > self.ready.window.within_ms * 1_000_000


def next_batch(waiting: Iterable[Task], batch_max: int) -> list[Task]:
    """The first in rank, and those after it that can share its pass; none when none waits."""
    ranked = sorted(waiting, key=lambda task: task.rank)
    return [task for task in ranked if task.ready.kind == ranked[0].ready.kind][:batch_max]


class Desk:
    """The windows that wait, between the thread that reads and those that decode.

    Args:
        stdio: The way to the server.
        ear: The model.
        batch_max: Windows in a pass at most.
    """

    def __init__(self, stdio: Stdio, ear: WhisperEar, batch_max: int) -> None:
        self._stdio, self._ear, self._batch_max = stdio, ear, batch_max
        self._clock = SystemClock()
        self._waiting: dict[int, Task] = {}
        self._changed = threading.Condition()
        self._answering = threading.Lock()

    def serve(self, n_lanes: int) -> None:
        """Decode until the server closes the pipe."""
        for n in range(n_lanes):
            threading.Thread(target=self._decode, name=f"lane-{n}", daemon=True).start()
        while not self._stdio.closed:
            frames = self._stdio.receive(wait=True)
            gone = {frame.stream for frame in frames if frame.kind is Kind.CANCEL}
            with self._changed:
                for stream in gone:
                    self._waiting.pop(stream, None)
            for frame in frames:
                if frame.kind is Kind.OPEN and frame.stream not in gone:
                    self._take(frame)

    def _take(self, frame: Frame) -> None:
        arrived_ns = self._clock.now_ns()
        try:
            ready = self._ear.prepare(Window.unpacked(frame.payload))
        except (ValueError, KeyError) as error:
            self._answer(Frame(Kind.ERROR, frame.stream, f"no window: {error!r}".encode()))
            return
        with self._changed:
            self._waiting[frame.stream] = Task(frame.stream, ready, arrived_ns)
            self._changed.notify()

    def _decode(self) -> None:
        while True:
            batch = self._next()
            began_ns = self._clock.now_ns()
            answers = self._ear.understand([task.ready for task in batch])
            busy_ns = self._clock.now_ns() - began_ns
            for task, answer in zip(batch, answers, strict=True):
                self._deliver(task, answer, (began_ns - task.arrived_ns, busy_ns, len(batch)))

    def _next(self) -> list[Task]:
        """Wait for windows; those that are late are told so."""
        with self._changed:
            while True:
                now_ns = self._clock.now_ns()
                for task in [task for task in self._waiting.values() if task.is_late(now_ns)]:
                    del self._waiting[task.stream]
                    self._answer(Frame(Kind.ITEM, task.stream, LATE))
                batch = next_batch(self._waiting.values(), self._batch_max)
                for task in batch:
                    del self._waiting[task.stream]
                if batch:
                    return batch
                self._changed.wait()

    def _deliver(self, task: Task, answer: Understood, took: tuple[int, int, int]) -> None:
        waited_ns, busy_ns, n_batch = took
        measured = replace(
            answer, waited_ms=round(waited_ns / 1e6, 2), busy_ms=round(busy_ns / 1e6, 2), n_batch=n_batch
        )
        self._answer(Frame(Kind.ITEM, task.stream, measured.packed()))

    def _answer(self, frame: Frame) -> None:
        """Send it; when the server is gone, so is this process."""
        with self._answering, suppress(BrokenPipeError):
            self._stdio.send(frame)


def packed(settings: WhisperSettings, batch_max: int) -> tuple[str, ...]:
    """The arguments of the program."""
    return (json.dumps(asdict(settings) | {"batch_max": batch_max}),)


def main(arguments: Sequence[str]) -> None:
    """Serve until stdin ends."""
    fields = json.loads(arguments[0])
    batch_max = int(fields.pop("batch_max"))
    settings = WhisperSettings(**fields)
    stdio = Stdio()
    if settings.device == "cpu":
        os.nice(NICENESS)
    else:
        open_cuda_libraries()
    threading.excepthook = _end_with
    ear = WhisperEar(settings)
    # The first pass allocates and chooses kernels: nobody should wait for that.
    ear.understand([ear.prepare(Window(NO_AUDIO, Urgency.FINAL, EAR_RATE_HZ, language="en"))])
    stdio.send(Frame(Kind.READY, 0))
    Desk(stdio, ear, batch_max).serve(settings.n_lanes)
    # A lane may be in the middle of a pass, and CTranslate2 does not like to be torn down around it.
    os._exit(0)


def _end_with(trouble: threading.ExceptHookArgs) -> None:
    """A lane that fails leaves the model in an unknown state; the server starts a new process."""
    traceback.print_exception(trouble.exc_type, trouble.exc_value, trouble.exc_traceback)
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
