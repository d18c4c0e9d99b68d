"""One WebSocket connection, from bytes to messages, without a queue or a task on the way.

The framing is the sans-I/O core of `websockets`; uvicorn hands over the connection at the upgrade. A message
is dealt with completely inside `data_received`, and what is sent is written at once, so a frame of audio
costs two function calls and not two task switches.
"""

import logging
from asyncio import Protocol as AsyncioProtocol
from asyncio import Transport
from asyncio.transports import BaseTransport
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from voicestack.aio.clock import Clock, Timer

log = logging.getLogger(__name__)

PING_INTERVAL_NS = 20_000_000_000
"""What the stock Python clients use themselves (`websockets`: ping_interval=20)."""

CLOSE_TIMEOUT_NS = 5_000_000_000
"""A peer that does not answer a close is cut off after this."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Answer the upgrade with this HTTP response instead."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """Admit them.

    Attributes:
        enter: Called when the connection is open; sets `on_message` and `on_closed`.
        subprotocol: To answer with, None for none.
    """

    enter: Callable[["WebSocketPeer"], None]
    subprotocol: str | None = None


class Door(Protocol):
    """Decides who comes in and what becomes of them."""

    def knock(self, request: Request, client: str) -> Refusal | Entry:
        """Refuse or admit. `client` is the address of the other end of the connection."""
        ...


def ignore_message(message: str | bytes) -> None:
    """A peer that nobody listens to."""


def ignore_closed(code: int | None) -> None:
    """A peer that nobody misses."""


class WebSocketPeer(AsyncioProtocol):
    """The server's end of one connection. `on_message` is given str for text and bytes for binary.

    Args:
        door: See `Door`.
        clock: For pings and time limits.
        max_message_bytes: A longer message closes the connection (1009).
        max_unsent_bytes: A peer that leaves more than this unread is cut off.
        server_state: uvicorn's, which knows all connections for its shutdown.
    """

    def __init__(
        self,
        door: Door,
        clock: Clock,
        *,
        max_message_bytes: int,
        max_unsent_bytes: int,
        server_state: Any,
        **_uvicorn: Any,
    ) -> None:
        self._door = door
        self._clock = clock
        self._connections: set[Any] = server_state.connections
        self._wire = ServerProtocol(
            max_size=max_message_bytes, logger=logging.getLogger("voicestack.websocket")
        )
        self._max_unsent_bytes = max_unsent_bytes
        self._transport: Transport | None = None
        self._parts: list[bytes] = []
        self._is_text = True
        self._open = False
        self._answered = True
        self._has_sent = False
        self._timer: Timer | None = None
        self.request: Request | None = None
        self.client = ""
        self.on_message: Callable[[str | bytes], None] = ignore_message
        self.on_closed: Callable[[int | None], None] = ignore_closed

    @property
    def has_sent(self) -> bool:
        """Whether the peer has ever sent a message."""
        return self._has_sent

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._open and self._wire.state is State.OPEN

    # --- asyncio.Protocol -----------------------------------------------------------------------------

    def connection_made(self, transport: BaseTransport) -> None:
        """The upgrade request follows."""
        self._transport = cast(Transport, transport)
        self._connections.add(self)
        address = transport.get_extra_info("peername")
        self.client = f"{address[0]}" if isinstance(address, tuple) else "unix"

    def data_received(self, data: bytes) -> None:
        """Deal with every message that is complete now."""
        self._wire.receive_data(data)
        for event in self._wire.events_received():
            if isinstance(event, Request):
                self._handshake(event)
            elif isinstance(event, Frame):
                self._frame(event)
        self._flush()
        if self._wire.close_expected():
            self._cut_off_later()

    def eof_received(self) -> None:
        """The peer closed its side."""
        self._wire.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._wire.state is not State.CLOSED:
            self._wire.receive_eof()
        was_open, self._open = self._open, False
        if was_open:
            code = self._wire.close_rcvd.code if self._wire.close_rcvd else None
            self.on_closed(code)

    def shutdown(self) -> None:
        """Called by uvicorn when the server stops."""
        self.close(CloseCode.GOING_AWAY, "the server is stopping")

    # --- sending --------------------------------------------------------------------------------------

    def send(self, messages: list[bytes]) -> None:
        """Write text messages now. Does nothing on a closed connection."""
        if not self.is_open:
            return
        for message in messages:
            self._wire.send_text(message)
        self._flush()

    def pause(self) -> None:
        """Read no more for now; the peer feels it as back pressure."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self, code: int, reason: str) -> None:
        """Say goodbye and hang up."""
        if self.is_open:
            self._wire.send_close(code, reason[:120])
            self._flush()
            self._cut_off_later()
        elif self._transport is not None and not self._open:
            self._transport.close()

    def _flush(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        n_unread = transport.get_write_buffer_size()  # before: one event may be larger than the limit
        for data in self._wire.data_to_send():
            if data:
                transport.write(data)
            else:  # the sans-I/O core asks for the end of the stream
                transport.close()
                return
        if n_unread > self._max_unsent_bytes:
            log.info("%s does not read: cut off", self.client)
            transport.abort()

    # --- receiving ------------------------------------------------------------------------------------

    def _handshake(self, request: Request) -> None:
        self.request = request
        try:
            response = self._wire.accept(request)
        except UnicodeError:  # websockets before 16 stumbles over quoting a header that is not ASCII
            response = self._wire.reject(400, "A header is not ASCII.\n")
        if response.status_code == 101:
            answer = self._door.knock(request, self.client)
            if isinstance(answer, Refusal):
                response = self._refuse(answer)
            elif answer.subprotocol is not None:
                response.headers["Sec-WebSocket-Protocol"] = answer.subprotocol
        self._wire.send_response(response)
        self._flush()
        if response.status_code == 101:
            assert isinstance(answer, Entry)
            self._open = True
            self._timer = self._clock.call_at(self._clock.now_ns() + PING_INTERVAL_NS, self._ping)
            answer.enter(self)

    def _refuse(self, refusal: Refusal) -> Response:
        response = self._wire.reject(refusal.status, "")
        response.body = refusal.body
        for name in ("Content-Length", "Content-Type"):
            if name in response.headers:
                del response.headers[name]
        response.headers["Content-Length"] = str(len(refusal.body))
        response.headers["Content-Type"] = refusal.content_type
        for name, value in refusal.headers:
            response.headers[name] = value
        return response

    def _frame(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.TEXT | Opcode.BINARY:
                self._is_text = frame.opcode is Opcode.TEXT
                self._parts = []
                if frame.fin:
                    self._message(bytes(frame.data))
                else:
                    self._parts.append(bytes(frame.data))
            case Opcode.CONT:
                self._parts.append(bytes(frame.data))
                if frame.fin:
                    message, self._parts = b"".join(self._parts), []
                    self._message(message)
            case Opcode.PONG:
                self._answered = True

    def _message(self, data: bytes) -> None:
        """Pass on a complete message: text as str, binary as bytes."""
        self._has_sent = True
        if not self._is_text:
            self.on_message(data)
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:  # RFC 6455, section 8.1: fail the connection
            self.close(CloseCode.INVALID_DATA, "text that is not UTF-8")
        else:
            self.on_message(text)

    def _ping(self) -> None:
        """Find out whether the peer still lives."""
        self._timer = None
        if not self.is_open or self._transport is None:
            return
        if not self._answered:
            log.info("%s does not answer pings: cut off", self.client)
            self._transport.abort()
            return
        self._answered = False
        self._wire.send_ping(b"voicestack")
        self._flush()
        self._timer = self._clock.call_at(self._clock.now_ns() + PING_INTERVAL_NS, self._ping)

    def _cut_off_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_at(self._clock.now_ns() + CLOSE_TIMEOUT_NS, self._cut_off)

    def _cut_off(self) -> None:
        self._timer = None
        if self._transport is not None:
            self._transport.abort()
