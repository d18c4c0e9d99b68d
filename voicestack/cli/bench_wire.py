"""`voicestack bench wire`: what does a connection cost, before anything is thought or said?

Three figures. The protocol alone: CPU and bytes for a second of audio in each direction, in this process,
from the socket's bytes to samples and back. Connections that say nothing: with their microphones on, and
without. Events: how many a second one connection gets answered.
"""

import argparse
import asyncio
import base64
import os
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import orjson
import uvloop
from rich.console import Console
from rich.table import Table

from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_load import Harness, client_frame, spoken_frames
from voicestack.cli.bench_proc import cpu_s, family_of, memory_of, own_cpu_ns, waited_s
from voicestack.cli.bench_server import free_port, own_server, pin, usable_cpus
from voicestack.cli.bench_speech import Line
from voicestack.cli.client import session_update
from voicestack.cli.speaker import CALL_RATE_HZ, FRAME_MS, FRAME_SAMPLES, Mouth
from voicestack.core.audio import EAR_RATE_HZ
from voicestack.core.ids import ItemId, SessionId, TurnId
from voicestack.core.notes import MessageStarted, ReplyStarted
from voicestack.core.resample import Resampler
from voicestack.core.settings import SessionSettings
from voicestack.realtime.formats import samples_of
from voicestack.realtime.protocol import InputAudio, RealtimeProtocol
from voicestack.transports.ws_peer import Entry, WebSocketPeer

SUMMARY = "what a connection costs, apart from the engines"
_N_FRAMES = 3000
_WARM_UP = 500
_WINDOW = 64
"""Events on the way at a time: enough that nobody waits for the other's process to be scheduled."""
_EVENT = '{"type":"input_audio_buffer.clear"}'
_ANSWER = b'"input_audio_buffer.cleared"'
_MIB = 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument("--sessions", type=int, default=200, help="silent ones (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="watch them for so long (default: %(default)s)"
    )
    parser.add_argument("--events", type=int, default=20_000, help="to be answered (default: %(default)s)")


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Measure. Returns the exit code and the figures.

    Raises:
        NoServer: the server does not start.
    """
    found: dict[str, Any] = {"protocol": _protocol_alone(), **uvloop.run(_connections(args))}
    _show(Console(), found)
    return 0, found


# --- the protocol alone -----------------------------------------------------------------------------------


class _Nowhere(asyncio.Transport):
    """A socket that takes everything and counts it."""

    def __init__(self) -> None:
        super().__init__()
        self.n_bytes = 0

    def write(self, data: Any) -> None:
        self.n_bytes += len(data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


class _OpenDoor:
    """Lets everybody in."""

    def knock(self, request: Any, client: str) -> Entry:
        return Entry(lambda peer: None)


def _protocol_alone() -> dict[str, Any]:
    """CPU per second of audio, and bytes on the wire, through the very objects that the server uses."""
    socket, clock, numbers = _Nowhere(), SystemClock(), count(1)

    async def measure() -> dict[str, Any]:
        peer = WebSocketPeer(
            _OpenDoor(),
            clock,
            max_message_bytes=1 << 24,
            max_unsent_bytes=1 << 24,
            server_state=SimpleNamespace(connections=set()),
        )
        peer.connection_made(socket)
        peer.data_received(_upgrade())
        protocol = RealtimeProtocol(
            session_id=SessionId("sess_bench"),
            model="bench",
            defaults=SessionSettings(),
            now_ns=clock.now_ns,
            new_id=lambda first: f"{first}_{next(numbers)}",
            expires_at_s=0,
        )
        found = {"in": _listen(peer, protocol), "out": _talk(peer, protocol, socket)}
        peer.connection_lost(None)
        return found

    return uvloop.run(measure())


def _listen(peer: WebSocketPeer, protocol: RealtimeProtocol) -> dict[str, float]:
    """From the socket's bytes to samples at the rate of the ear."""
    resampler = Resampler(CALL_RATE_HZ, EAR_RATE_HZ)

    def take(message: str | bytes) -> None:
        for command in protocol.receive(message).commands:
            if isinstance(command, InputAudio):
                resampler.push(samples_of(command.data, protocol.input_format))

    peer.on_message = take
    silence = Mouth().render(0, FRAME_SAMPLES)
    (frame,) = spoken_frames(Line("", None, silence, 0, 0))
    for _ in range(_WARM_UP):
        peer.data_received(frame)
    start_ns = own_cpu_ns()
    for _ in range(_N_FRAMES):
        peer.data_received(frame)
    return _per_second(own_cpu_ns() - start_ns, len(frame))


def _talk(peer: WebSocketPeer, protocol: RealtimeProtocol, socket: _Nowhere) -> dict[str, float]:
    """From samples to the socket's bytes."""
    turn, data = TurnId(1), bytes(2 * FRAME_SAMPLES)
    peer.send(protocol.tell(ReplyStarted(turn, "audio")))
    peer.send(protocol.tell(MessageStarted(turn, ItemId("item_bench"))))
    for _ in range(_WARM_UP):
        peer.send(protocol.audio(turn, data, ""))
    socket.n_bytes = 0
    start_ns = own_cpu_ns()
    for _ in range(_N_FRAMES):
        peer.send(protocol.audio(turn, data, ""))
    return _per_second(own_cpu_ns() - start_ns, socket.n_bytes / _N_FRAMES)


def _per_second(cpu_ns: int, frame_bytes: float) -> dict[str, float]:
    frames_per_s = 1000 / FRAME_MS
    us = cpu_ns / _N_FRAMES / 1000
    return {
        "frame_us": us,
        "cpu_ms_per_s": us * frames_per_s / 1000,
        "bytes_per_s": frame_bytes * frames_per_s,
        "audio_bytes_per_s": 2 * CALL_RATE_HZ,
    }


def _upgrade() -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        "GET /v1/realtime HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()


# --- connections ------------------------------------------------------------------------------------------


async def _connections(args: argparse.Namespace) -> dict[str, Any]:
    cpus, port = usable_cpus(), free_port()
    options = ["--config", "scripted", "--set", "vad.engine=silero", "--set", "server.max_sessions=5000"]
    silence = spoken_frames(Line("", None, Mouth().render(0, FRAME_SAMPLES), 0, 0))
    update = orjson.dumps(session_update()).decode()
    async with own_server(options, port=port, cpu=cpus[0]) as pid:
        pin(0, set(cpus[1:]) or set(cpus))
        before = _resident(pid)
        harness = Harness(port, [silence], update, SystemClock())
        await harness.grow(args.sessions)
        await asyncio.sleep(1.0)
        idle = await _watch(pid, args.seconds)
        async with Scope() as scope:
            pacer = scope.start(harness.pace(), name="pace")
            await asyncio.sleep(3.0)
            listening = await _watch(pid, args.seconds)
            session_bytes = (_resident(pid) - before) / max(1, args.sessions)
            pacer.cancel()
        harness.close()
        await asyncio.sleep(1.0)
        events = await _events(port, args.events)
    return {
        "sessions": args.sessions,
        "silent_without_audio": idle,
        "silent_with_audio": listening,
        "bytes_per_session": session_bytes,
        "events_per_s": events,
    }


async def _watch(pid: int, seconds: float) -> dict[str, float]:
    """CPU of the server as a share of its core, and how long it was kept waiting."""
    family = family_of(pid)
    used_s, kept_s, start_ns = cpu_s(family), _waited(family), SystemClock().now_ns()
    await asyncio.sleep(seconds)
    wall_s = (SystemClock().now_ns() - start_ns) / 1e9
    return {"cpu": (cpu_s(family) - used_s) / wall_s, "waited": (_waited(family) - kept_s) / wall_s}


def _waited(family: list[int]) -> float:
    return sum(map(waited_s, family))


def _resident(pid: int) -> int:
    return sum(memory.resident_bytes for memory in map(memory_of, family_of(pid)) if memory is not None)


class _Asker(asyncio.Protocol):
    """Sends events as fast as they are answered."""

    def __init__(self, n_events: int, done: asyncio.Future[None]) -> None:
        self._left_to_send, self._left_to_hear, self._done = n_events, n_events, done
        self._frame = client_frame(_EVENT)
        self._open = False
        self._rest = b""
        self.start_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(_upgrade())

    def data_received(self, data: bytes) -> None:
        if not self._open:
            if b"\r\n\r\n" not in data:
                return
            self._open, self.start_ns = True, SystemClock().now_ns()
            self._send(_WINDOW)
        data = self._rest + data
        n_heard = data.count(_ANSWER)
        end = data.rfind(_ANSWER)
        self._rest = data[end + len(_ANSWER) :][-len(_ANSWER) :] if end >= 0 else data[-len(_ANSWER) :]
        self._left_to_hear -= n_heard
        self._send(n_heard)
        if self._left_to_hear <= 0 and not self._done.done():
            self._done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(ConnectionError("the server hung up"))

    def _send(self, n_events: int) -> None:
        n_now = min(n_events, self._left_to_send)
        self._left_to_send -= n_now
        self._transport.write(self._frame * n_now)


async def _events(port: int, n_events: int) -> float:
    """How many a second are answered to one connection."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    transport, asker = await loop.create_connection(lambda: _Asker(n_events, done), "127.0.0.1", port)
    await done
    elapsed_s = (SystemClock().now_ns() - asker.start_ns) / 1e9
    transport.close()
    return n_events / elapsed_s


def _show(console: Console, found: dict[str, Any]) -> None:
    table = Table(title="\nThe protocol alone, for a second of audio", title_justify="left", box=None)
    for name in ("", "us a frame", "ms of CPU", "kB on the wire", "of it audio"):
        table.add_column(name, justify="right")
    for name, one in found["protocol"].items():
        share = one["audio_bytes_per_s"] / one["bytes_per_s"]
        figures = (f"{one['frame_us']:.1f}", f"{one['cpu_ms_per_s']:.2f}", f"{one['bytes_per_s'] / 1000:.1f}")
        table.add_row(name, *figures, f"{share:.0%}")
    console.print(table)
    n = found["sessions"]
    for name, what in (
        ("silent_without_audio", "connected, nothing sent"),
        ("silent_with_audio", "microphones on, nobody speaks (Silero VAD)"),
    ):
        one = found[name]
        console.print(
            f"{n} sessions, {what}: {one['cpu']:.1%} of the server's core"
            + (f", kept waiting {one['waited']:.0%}" if one["waited"] > 0.05 else ""),
            highlight=False,
        )
    console.print(f"memory: {found['bytes_per_session'] / 1000:.0f} kB a session", highlight=False)
    console.print(f"events: {found['events_per_s']:.0f} a second answered on one connection", highlight=False)
