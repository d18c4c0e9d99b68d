"""How can one core hold a hundred conversations with a server?

By doing nothing twice: every frame that a caller sends is a ready WebSocket frame (masked with zeros, which a
server undoes like any mask), and of what arrives only types and lengths are read. One coroutine paces all
callers. Its lateness is recorded, so that an overloaded harness is not mistaken for a slow server.
"""

import asyncio
import base64
import os
import random
import struct
from typing import cast

from voicestack.aio.clock import Clock
from voicestack.cli.bench_pace import FRAME_NS, Asker, Window, pace
from voicestack.cli.bench_speech import Line
from voicestack.cli.speaker import CALL_RATE_HZ, FRAME_SAMPLES, Mouth, append_message

_NS_PER_BYTE = 1e9 / CALL_RATE_HZ / 2
_STEADY_NS = 200_000_000
"""Audio at the beginning of an answer that arrives ahead of its time; pacing shows after it."""
_AUDIO = b'{"type":"response.output_audio.delta"'
_DELTA = b'"delta":"'


def client_frame(text: str) -> bytes:
    """A WebSocket text frame of a client, masked with zeros."""
    payload = text.encode()
    if len(payload) < 126:
        head = struct.pack("!BB", 0x81, 0x80 | len(payload))
    elif len(payload) < 1 << 16:
        head = struct.pack("!BBH", 0x81, 0xFE, len(payload))
    else:
        head = struct.pack("!BBQ", 0x81, 0xFF, len(payload))
    return head + bytes(4) + payload


def spoken_frames(line: Line) -> list[bytes]:
    """A recording as frames that are ready to be sent; the last one is filled up with silence."""
    mouth = Mouth()
    mouth.say(line.pcm)
    n_frames = -(-len(line.pcm) // FRAME_SAMPLES)
    return [client_frame(append_message(mouth.frame())) for _ in range(n_frames)]


class LoadCaller(asyncio.Protocol):
    """One caller: a connection, a microphone that is always on, and a patient ear.

    Args:
        harness: What all callers share.
        number: Which of them this is.
    """

    def __init__(self, harness: "Harness", number: int) -> None:
        self._harness = harness
        rng = random.Random(number)
        self.phase_ns = rng.randrange(FRAME_NS)
        self._asker = Asker(rng, harness.lines)
        self._transport: asyncio.Transport | None = None
        self._open = False
        self._bytes = bytearray()
        self._play_end_ns = 0
        self._reply_start_ns = 0
        self._reply_ns = 0
        self._delays_ns: list[int] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = wire = cast(asyncio.Transport, transport)  # uvloop's inherits from nothing
        key = base64.b64encode(os.urandom(16)).decode()
        wire.write(
            (
                f"GET /v1/realtime?model=bench HTTP/1.1\r\nHost: 127.0.0.1:{self._harness.port}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {key}\r\n\r\n"
            ).encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """The server hung up, or we did."""
        self._open = False
        if not self._harness.closing:
            self._harness.window.n_lost += 1

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def tick(self, now_ns: int) -> None:
        """Send the next 20 ms."""
        if not self._open or self._transport is None:
            return
        frame = self._asker.next_frame(now_ns, self._play_end_ns, self._harness.window)
        self._transport.write(frame or self._harness.silence)

    def data_received(self, data: bytes) -> None:
        """Take bytes off the wire."""
        now_ns = self._harness.clock.now_ns()
        self._bytes += data
        if not self._open:
            self._upgrade(now_ns)
        at = 0
        while self._open and len(self._bytes) - at >= 2:
            head, n_payload = 2, self._bytes[at + 1]
            if n_payload == 126:
                head, n_payload = 4, int.from_bytes(self._bytes[at + 2 : at + 4])
            elif n_payload == 127:
                head, n_payload = 10, int.from_bytes(self._bytes[at + 2 : at + 10])
            if len(self._bytes) - at < head + n_payload:
                break
            self._message(self._bytes[at] & 0x0F, at + head, at + head + n_payload, now_ns)
            at += head + n_payload
        del self._bytes[:at]

    def _upgrade(self, now_ns: int) -> None:
        end = self._bytes.find(b"\r\n\r\n")
        if end < 0 or self._transport is None:
            return
        if not self._bytes.startswith(b"HTTP/1.1 101"):
            self._transport.close()
            return
        del self._bytes[: end + 4]
        self._open = True
        self._transport.write(self._harness.update)
        self._asker.begin(now_ns)

    def _message(self, opcode: int, start: int, end: int, now_ns: int) -> None:
        """Take one message, which is `self._bytes[start:end]`."""
        if opcode == 9 and self._transport is not None and end - start < 126:  # ping, answered by a pong
            self._transport.write(
                bytes((0x8A, 0x80 | (end - start))) + bytes(4) + bytes(self._bytes[start:end])
            )
        elif self._bytes.startswith(_AUDIO, start):
            value = self._bytes.find(_DELTA, start, end) + len(_DELTA)
            self._audio(round(((end - 2 - value) // 4 * 3) * _NS_PER_BYTE), now_ns)
        elif self._bytes.startswith(b'{"type":"response.created"', start):
            self._reply_ns = 0
        elif self._bytes.startswith(b'{"type":"response.done"', start):
            self._answered(now_ns)

    def _audio(self, duration_ns: int, now_ns: int) -> None:
        """Some of the answer arrived: note how late by the pace of playing it, and whether it ran dry."""
        window = self._harness.window
        if not self._reply_ns:
            self._reply_start_ns = now_ns
        elif now_ns > self._play_end_ns:
            window.n_gaps += 1
            window.gap_ms += (now_ns - self._play_end_ns) / 1e6
        if self._reply_ns >= _STEADY_NS:
            self._delays_ns.append(now_ns - self._reply_start_ns - self._reply_ns)
        self._reply_ns += duration_ns
        self._play_end_ns = max(now_ns, self._play_end_ns) + duration_ns
        window.agent_ms += duration_ns / 1e6

    def _answered(self, now_ns: int) -> None:
        window = self._harness.window
        window.n_answers += 1
        if self._delays_ns:
            earliest = min(self._delays_ns)
            window.arrival_late_ms.extend((delay - earliest) / 1e6 for delay in self._delays_ns)
        self._delays_ns.clear()
        self._asker.answered(now_ns, self._play_end_ns)


class Harness:
    """All callers of one process.

    Args:
        port: Where the server listens, on the loopback interface.
        lines: What the callers say, as `spoken_frames`.
        update: The `session.update` that every caller begins with.
        clock: Paces the callers.
    """

    def __init__(self, port: int, lines: list[list[bytes]], update: str, clock: Clock) -> None:
        self.port = port
        self.lines = lines
        self.update = client_frame(update)
        self.silence = spoken_frames(Line("", None, Mouth().render(0, FRAME_SAMPLES), 0, 0))[0]
        self.clock = clock
        self.window = Window()
        self.closing = False
        self._callers: list[LoadCaller] = []

    async def grow(self, n_callers: int) -> None:
        """Connect more callers, one after the other, until there are so many."""
        while len(self._callers) < n_callers:
            caller = await self._connect(len(self._callers))
            self._callers = sorted([*self._callers, caller], key=lambda one: one.phase_ns)
            await asyncio.sleep(0.02)

    async def _connect(self, number: int) -> LoadCaller:
        loop = asyncio.get_running_loop()
        _, caller = await loop.create_connection(lambda: LoadCaller(self, number), "127.0.0.1", self.port)
        return caller

    async def pace(self) -> None:
        """Send every caller's frames when they are due, for ever."""
        await pace(self.clock, lambda: self._callers, self._late)

    def _late(self, late_ms: float) -> None:
        self.window.send_late_ms.append(late_ms)

    def close(self) -> None:
        """Hang up every call."""
        self.closing = True
        for caller in self._callers:
            caller.close()
