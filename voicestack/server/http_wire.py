"""HTTP connections of people who may not mean well: too slow, too long, too many, or never reading."""

from asyncio import BaseTransport, Transport
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from voicestack.access.limits import Seat, Seats
from voicestack.access.places import Proxies, counted_as
from voicestack.aio.clock import Clock, Timer
from voicestack.config.access import LimitsSection


class HttpLimits:
    """What all connections share.

    Args:
        limits: The numbers.
        proxies: Whose connections are not counted, as they bring many clients.
        clock: For time limits.
    """

    def __init__(self, limits: LimitsSection, proxies: Proxies, clock: Clock) -> None:
        self.limits = limits
        self.seats = Seats()
        self._proxies, self._clock = proxies, clock

    def seat_of(self, peer: str) -> tuple[Seat, ...]:
        """What a connection from there is counted against; empty if it is not."""
        name = "" if self._proxies.trusts(peer) else counted_as(peer)
        return (Seat(name, self.limits.connections_per_address),) if name else ()

    def call_in(self, wait_ms: int, callback: Callable[[], None]) -> Timer:
        """Arrange a time limit."""
        return self._clock.call_at(self._clock.now_ns() + wait_ms * 1_000_000, callback)


class LimitedHttp(HttpToolsProtocol):
    """uvicorn's HTTP connection with an end to every wait. Its request's head must come whole, and in time.

    Args:
        shared: See `HttpLimits`.
        uvicorn: What uvicorn gives its protocols.
    """

    def __init__(self, shared: HttpLimits, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._shared = shared
        self._seat: tuple[Seat, ...] = ()
        self._in_head = True
        self._n_head_bytes = 0
        self._head_timer: Timer | None = None
        self._unread_timer: Timer | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Count it, and wait for the first request."""
        super().connection_made(cast(Transport, transport))
        peer = self.client[0] if self.client else ""
        seat = self._shared.seat_of(peer)
        if self._shared.seats.full(seat) is not None:
            self.transport.abort()
            return
        self._seat = seat
        self._shared.seats.take(seat)
        self._head_timer = self._shared.call_in(self._shared.limits.header_timeout_ms, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        self._let_go()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come. A head may not go on for ever."""
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:
            self._n_head_bytes += len(data)
            if self._n_head_bytes > self._shared.limits.header_bytes:
                self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """A further request on the same connection has the same time as the first."""
        super().on_message_begin()
        self._in_head, self._n_head_bytes = True, 0
        if self._head_timer is None:
            self._head_timer = self._shared.call_in(self._shared.limits.header_timeout_ms, self._too_slow)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        self._stop_head_timer()
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        """From here on it is a session, or nothing."""
        self._let_go()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """The client reads too slowly, or not at all."""
        super().pause_writing()
        if self._unread_timer is None:
            self._unread_timer = self._shared.call_in(
                self._shared.limits.unread_timeout_ms, self.transport.abort
            )

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        self._refuse(b"408 Request Timeout")

    def _refuse(self, status: bytes) -> None:
        """Only said where no other answer is under way."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
        self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _let_go(self) -> None:
        self._stop_head_timer()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
        self._shared.seats.leave(self._seat)
        self._seat = ()
