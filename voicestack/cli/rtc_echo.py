"""What are the WebRTC benches compared with: a plain aiortc echo, and an echo whose delay is known?

Run as a program (`python -m voicestack.cli.rtc_echo`) it takes calls as voicestack does, prints the port that
it listens on, and ends when its standard input does. The plain echo is what aiortc's own examples do: the
track that comes in goes out again, through aiortc's jitter buffer, decoder and encoder. The other one answers
with a click, a known time after it received the last audible sample; nothing in it waits for anything else.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import orjson
import uvloop
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from voicestack.aio.clock import SystemClock
from voicestack.aio.prefetch import Channel
from voicestack.aio.scope import Scope
from voicestack.cli.bench_echo import DELAY_MS, EchoCall
from voicestack.cli.bench_server import pin, usable_cpus
from voicestack.cli.conversation import decode_audio
from voicestack.cli.rtc_peer import LOOPBACK, Heard, RtcPeer, gather_at
from voicestack.cli.speaker import CALL_RATE_HZ, FRAME_SAMPLES, append_message
from voicestack.transports.opus import OpusDecoder, OpusEncoder

_DELTA = '"response.output_audio.delta"'


class EchoSocket:
    """The server's end of a call, with the audio as the WebSocket's messages: what `EchoCall` wants.

    Args:
        clock: Stamps arrivals.
    """

    def __init__(self, clock: SystemClock) -> None:
        self._messages: Channel[str] = Channel(10_000, name="echo")
        self._decoder, self._encoder = OpusDecoder(CALL_RATE_HZ), OpusEncoder(CALL_RATE_HZ)
        self.peer = RtcPeer(
            clock, on_packet=self._hear, on_text=self._messages.put, on_closed=self._messages.close
        )

    def _hear(self, packet: Heard) -> None:
        self._messages.put(append_message(self._decoder.decode(packet.payload)))

    async def send(self, message: str) -> None:
        """Send one event; audio leaves as packets, at once."""
        if _DELTA not in message:
            self.peer.send_text(message)
            return
        pcm = decode_audio(orjson.loads(message)["delta"])
        padded = np.zeros(-(-len(pcm) // FRAME_SAMPLES) * FRAME_SAMPLES, dtype=np.int16)
        padded[: len(pcm)] = pcm
        self._encoder.reset()
        for frame in padded.reshape(-1, FRAME_SAMPLES):
            self.peer.send_packet(self._encoder.encode(frame))

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        async for message in self._messages:
            yield message


class EchoServer:
    """Takes calls and echoes them.

    Args:
        delay_ms: From the receipt of the last audible sample to the click; None for the plain echo.
        scope: Owns the calls.
    """

    def __init__(self, delay_ms: float | None, scope: Scope) -> None:
        self._delay_ms = delay_ms
        self._scope = scope
        self._clock = SystemClock()
        self._calls: list[Any] = []

    async def answer(self, offer: str) -> str:
        """Take a call."""
        if self._delay_ms is None:
            return await self._plain(offer)
        socket = EchoSocket(self._clock)
        answer = await socket.peer.answer(offer)
        self._calls.append(socket)
        self._scope.start(self._echo(socket, self._delay_ms), name="echo")
        return answer

    async def _echo(self, socket: EchoSocket, delay_ms: float) -> None:
        if await socket.peer.opened():
            await EchoCall(socket, self._clock, delay_ms).run()

    async def _plain(self, offer: str) -> str:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._calls.append(pc)
        pc.on("track", pc.addTrack)
        await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for transceiver in pc.getTransceivers():
            gather_at(transceiver, LOOPBACK)
        await pc.setLocalDescription(await pc.createAnswer())
        return pc.localDescription.sdp

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One HTTP request: an offer comes, the answer goes back."""
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        offer = await reader.readexactly(int(lengths[0].partition(b":")[2])) if lengths else b""
        body = (await self.answer(offer.decode())).encode()
        writer.write(
            b"HTTP/1.1 201 Created\r\nContent-Type: application/sdp\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await writer.drain()
        writer.close()


@asynccontextmanager
async def rtc_echo_process(
    delay_ms: float | None, *, cpu: int | None = None
) -> AsyncIterator[tuple[int, int]]:
    """Run the echo server in a process of its own, on one core if one is given. Yields port and process id.

    Args:
        delay_ms: As of `EchoServer`.
        cpu: The core.
    """
    cpus = usable_cpus()
    if cpu is not None:
        pin(0, {cpu})  # the child and all its threads inherit it
    options = [] if delay_ms is None else ["--delay-ms", str(delay_ms)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "voicestack.cli.rtc_echo", *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if cpu is not None:
        pin(0, set(cpus))
    try:
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        yield port, process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _serve(delay_ms: float | None) -> None:
    async with Scope() as scope:
        server = await asyncio.start_server(EchoServer(delay_ms, scope).serve, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description="A WebRTC server that echoes what it hears.")
    parser.add_argument(
        "--delay-ms", type=float, help=f"answer with a click after so long, for example {DELAY_MS}"
    )
    uvloop.run(_serve(parser.parse_args().delay_ms))


if __name__ == "__main__":
    main()
