"""How do a server and its worker process talk? Frames on the worker's stdin and stdout, many streams at once.

A frame is a header (payload length, stream, kind; little-endian) and a payload that only the engine
understands. The worker's half is here as well: plain blocking reads and writes, no event loop.
"""

import os
import select
import struct
from dataclasses import dataclass
from enum import IntEnum

HEADER = struct.Struct("<IIB")
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
"""No honest frame is near it; a longer one means that something else wrote into the pipe."""
READ_BYTES = 64 * 1024
"""What a Linux pipe holds (pipe(7))."""


class Kind(IntEnum):
    """What a frame says about its stream."""

    READY = 0  # worker: loaded, send work (stream 0)
    OPEN = 1  # server: a new stream; payload: what is wanted
    ITEM = 2  # both: the next piece
    END = 3  # both: no more pieces from this side; from the worker, the stream is over
    CANCEL = 4  # server: forget the stream; nothing more is read from it
    ERROR = 5  # worker: the stream failed; payload: why, as UTF-8


class GarbledPipe(ConnectionError):
    """What came through the pipe is not a frame."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message. `stream` is chosen by the server and is used once in a worker's life."""

    kind: Kind
    stream: int
    payload: bytes = b""

    def packed(self) -> bytes:
        """The frame as it goes through the pipe."""
        return HEADER.pack(len(self.payload), self.stream, self.kind) + self.payload


class Unpacker:
    """Cuts a stream of bytes into frames, however it was chopped up."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def push(self, data: bytes) -> list[Frame]:
        """Take the next bytes and return the frames that are complete.

        Raises:
            GarbledPipe: the bytes are no frames.
        """
        rest = self._rest
        rest += data
        frames = []
        start = 0
        while len(rest) - start >= HEADER.size:
            n_bytes, stream, kind = HEADER.unpack_from(rest, start)
            if n_bytes > MAX_PAYLOAD_BYTES or kind > Kind.ERROR:
                raise GarbledPipe(f"a frame of kind {kind} with {n_bytes} bytes")
            end = start + HEADER.size + n_bytes
            if len(rest) < end:
                break
            frames.append(Frame(Kind(kind), stream, bytes(rest[start + HEADER.size : end])))
            start = end
        del rest[:start]
        return frames


class Stdio:
    """The worker's end of the pipe.

    It takes file descriptors 0 and 1 for itself: from then on whatever a library prints to stdout goes to
    stderr, and a library that reads stdin reads nothing.
    """

    def __init__(self) -> None:
        self._in, self._out = os.dup(0), os.dup(1)
        os.dup2(2, 1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        self._unpacker = Unpacker()
        self.closed = False

    def send(self, frame: Frame) -> None:
        """Write a frame; waits while the pipe is full. Raises BrokenPipeError when the server is gone."""
        left = memoryview(frame.packed())
        while left:
            left = left[os.write(self._out, left) :]

    def receive(self, *, wait: bool) -> list[Frame]:
        """Take what has arrived; with `wait`, at least one frame, or none when the server closed the pipe.

        `closed` tells the end of the pipe from a moment without frames.
        """
        frames: list[Frame] = []
        while not self.closed and ((wait and not frames) or self._readable()):
            data = os.read(self._in, READ_BYTES)
            self.closed = not data
            frames.extend(self._unpacker.push(data))
        return frames

    def _readable(self) -> bool:
        return bool(select.select([self._in], [], [], 0)[0])
