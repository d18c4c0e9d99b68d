"""How does the event loop use a library that blocks, crashes or is GPL? In a worker process, in streams.

A worker is a supervised child that speaks the frames of `pipe` on its stdin and stdout. Any number of streams
is open on it at once; what a stream carries is between the engine and its worker program.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from voicestack.aio.clock import Clock
from voicestack.aio.prefetch import Channel, Full
from voicestack.aio.scope import Scope
from voicestack.core.errors import Stage, StageError, StageUnavailable
from voicestack.engines.child import Child
from voicestack.engines.pipe import READ_BYTES, Frame, GarbledPipe, Kind, Unpacker

UNREAD_ITEMS = 16_384
"""What may wait in a stream for its reader: more frames of 20 ms than the strangest phrase has."""

_PACKAGE_ROOT = str(Path(__file__).parents[2])


class Stream:
    """One piece of work in a worker. Iterate over what comes back; `close` it in any case."""

    def __init__(self, worker: "Worker", number: int, on_over: Callable[[], None] = lambda: None) -> None:
        self.worker = worker
        self.on_over = on_over
        self._items: Channel[bytes] = Channel(UNREAD_ITEMS, name=f"{worker.name}-stream")
        self._error: StageError | None = None
        self.number = number

    def send(self, payload: bytes) -> None:
        """Give the worker the next piece. Never waits; nothing happens when the stream is over."""
        self.worker.tell(self, Kind.ITEM, payload)

    def finish(self) -> None:
        """Tell the worker that this was the last piece."""
        self.worker.tell(self, Kind.END)

    def close(self) -> None:
        """Tell the worker to forget the stream, unless it is over."""
        self.worker.tell(self, Kind.CANCEL)
        self.end(None)

    def put(self, payload: bytes) -> None:
        """The worker answered."""
        try:
            self._items.put(payload)
        except Full as error:
            self.worker.tell(self, Kind.CANCEL)
            self.end(str(error))

    def end(self, reason: str | None) -> None:
        """Nothing more will come: the iteration ends, or fails with `reason`."""
        self.worker.forget(self)
        if reason is not None and self._error is None:
            self._error = StageUnavailable(reason, stage=self.worker.stage)
        self._items.close()

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> bytes:
        """The next answer.

        Raises:
            StageUnavailable: the worker died, was stopped, or could not do it.
        """
        try:
            return await self._items.__anext__()
        except StopAsyncIteration:
            if self._error is not None:
                raise self._error from None
            raise


class Worker:
    """One supervised worker process.

    Args:
        module: Dotted name of the worker program. It sends READY and then serves.
        name: For logs, metrics and errors.
        stage: What stops working when it is gone.
        clock: For the supervision.
        arguments: Of the program.
    """

    def __init__(
        self, module: str, *, name: str, stage: Stage, clock: Clock, arguments: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.stage: Stage = stage
        self._child = Child(
            # -P: the working directory is not searched for modules.
            (sys.executable, "-P", "-m", module, *arguments),
            name=name,
            stage=stage,
            clock=clock,
            probe=self._probe,
            pipes=True,
            env=os.environ | {"PYTHONPATH": _search_path()},
        )
        self._child.on_exit(self._went_down)
        self._scope: Scope | None = None
        self._streams: dict[int, Stream] = {}
        self._n_streams_ever = 0
        self._process: asyncio.subprocess.Process | None = None  # while streams can be opened
        self._gone = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether a stream can be opened now."""
        return self._process is not None and self._child.is_ready

    @property
    def pid(self) -> int | None:
        """The process's id while it lives."""
        return self._child.pid

    @property
    def n_restarts(self) -> int:
        """How often it had to be started again."""
        return self._child.n_restarts

    def phases_s(self) -> dict[str, float]:
        """See `Child.phases_s`."""
        return self._child.phases_s()

    @property
    def n_streams(self) -> int:
        """Streams that are open now."""
        return len(self._streams)

    async def run(self) -> None:
        """Keep the process running until cancelled."""
        async with Scope() as scope:
            self._scope = scope
            await self._child.run()

    async def ready(self, within_ns: int) -> None:
        """Wait until a stream can be opened.

        Raises:
            StageUnavailable: that takes longer than `within_ns`, or will never be.
        """
        if self._process is None and self._child.is_ready:  # killed, but not dead yet
            with suppress(TimeoutError):
                async with asyncio.timeout(within_ns / 1e9):
                    await self._gone.wait()
        await self._child.ready(within_ns)

    def open(self, payload: bytes, on_over: Callable[[], None] = lambda: None) -> Stream:
        """Begin a stream; `payload` tells the worker what is wanted.

        `on_over` is called once, when the worker is done with it: its answers may still wait to be read.

        Raises:
            StageUnavailable: the process is down.
        """
        if not self.is_ready:
            raise StageUnavailable(f"{self.name} is down", stage=self.stage)
        self._n_streams_ever += 1
        stream = Stream(self, self._n_streams_ever, on_over)
        self._streams[stream.number] = stream
        self.tell(stream, Kind.OPEN, payload)
        return stream

    def kill(self) -> None:
        """End a process that does not answer any more; it is started again. Its streams fail at once."""
        process = self._process
        self._lose("it did not answer and was ended")
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()

    def tell(self, stream: Stream, kind: Kind, payload: bytes = b"") -> None:
        """Send a frame of a stream, unless the stream is over."""
        if stream.number in self._streams and self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(Frame(kind, stream.number, payload).packed())

    def forget(self, stream: Stream) -> None:
        """The stream is over."""
        if self._streams.pop(stream.number, None) is not None:
            stream.on_over()

    async def _probe(self, process: asyncio.subprocess.Process) -> None:
        """Wait for READY, then go on reading until the process ends."""
        assert process.stdout is not None
        assert self._scope is not None
        unpacker = Unpacker()
        frames: list[Frame] = []
        while not frames:
            data = await process.stdout.read(READ_BYTES)
            if not data:
                raise EOFError("it closed its pipe")
            frames = unpacker.push(data)
        if frames[0].kind is not Kind.READY:
            raise GarbledPipe(f"it began with {frames[0].kind.name}")
        self._process = process
        self._gone.clear()
        self._scope.start(self._read(process, unpacker), name=f"{self.name}-read")

    async def _read(self, process: asyncio.subprocess.Process, unpacker: Unpacker) -> None:
        assert process.stdout is not None
        try:
            while data := await process.stdout.read(READ_BYTES):
                for frame in unpacker.push(data):
                    self._deliver(frame)
        except OSError:
            with suppress(ProcessLookupError):
                process.kill()

    def _deliver(self, frame: Frame) -> None:
        stream = self._streams.get(frame.stream)
        if stream is None:
            return  # it was closed on this side while the frame was under way
        if frame.kind is Kind.ITEM:
            stream.put(frame.payload)
        elif frame.kind is Kind.END:
            stream.end(None)
        elif frame.kind is Kind.ERROR:
            stream.end(f"{self.name}: {frame.payload.decode(errors='replace')}")

    def _went_down(self, reason: str) -> None:
        self._gone.set()
        self._lose(reason)

    def _lose(self, reason: str) -> None:
        self._process = None
        for stream in list(self._streams.values()):
            stream.end(f"{self.name}: {reason}")


def _search_path() -> str:
    """PYTHONPATH with which the worker finds the same voicestack as we did."""
    return os.pathsep.join(filter(None, (_PACKAGE_ROOT, os.environ.get("PYTHONPATH"))))
