"""What does a server look like that is slow, deaf, dead, badly connected or mad? A TCP relay that plays it.

It stands between one server and its clients and passes bytes on, until it is told of a fault. It knows of
HTTP only where a request ends, so that it can answer one itself.
"""

import re
import socket
import struct
from asyncio import BaseTransport, Protocol, Server, Transport, get_running_loop, sleep
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from voicestack.aio.clock import Clock, SystemClock, Timer
from voicestack.aio.scope import Scope

SLICE_S = 0.02
"""What is throttled leaves in pieces of so long: a thin stream, not a lump now and then."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a wait of 0: closing sends a reset (socket(7))."""
_LENGTH = re.compile(rb"^content-length:\s*(\d+)\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of requests and answers. The default is nothing.

    Attributes:
        slow_ratio: Every byte of an answer comes so many times as long after the request as the server's did:
            the time to the first byte and the pace of the stream are both multiplied.
        bytes_per_s: More does not pass in either direction of a connection; 0 for no limit.
        is_stuck: Connections are taken, and nothing is ever said.
        is_dead: Open connections are reset, new ones are refused.
        cut_after_bytes: A connection is reset when so much of an answer has passed; None for never.
        answer: Said, and the connection closed, in the place of what the server would have answered.
    """

    slow_ratio: float = 1.0
    bytes_per_s: int = 0
    is_stuck: bool = False
    is_dead: bool = False
    cut_after_bytes: int | None = None
    answer: bytes | None = None


HEALTHY = Fault()


def due_ns(asked_ns: int, now_ns: int, slow_ratio: float) -> int:
    """When something is passed on that came now in answer to what was asked then."""
    return asked_ns + round((now_ns - asked_ns) * slow_ratio)


def request_is_whole(data: bytes) -> bool:
    """Whether an HTTP request that begins there is all there. Chunked ones never are."""
    head, found, body = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(found) and len(body) >= (int(length.group(1)) if length else 0)


class Lane:
    """One direction of one connection: bytes that leave in order, each when it is time.

    Args:
        clock: Says when.
        send: Takes the bytes, in order; `b""` stands for the end.
    """

    def __init__(self, clock: Clock, send: Callable[[bytes], None]) -> None:
        self._clock, self._send = clock, send
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._free_ns = 0
        self._timer: Timer | None = None

    def carry(self, data: bytes, at_ns: int, bytes_per_s: int = 0) -> None:
        """Pass `data` on, not before `at_ns` and no faster than so many bytes a second."""
        at_ns = max(at_ns, self._free_ns)
        if not bytes_per_s or not data:
            self._put(data, at_ns)
            return
        n_slice = max(1, round(bytes_per_s * SLICE_S))
        for start in range(0, len(data), n_slice):
            piece = data[start : start + n_slice]
            at_ns += round(len(piece) / bytes_per_s * 1e9)
            self._put(piece, at_ns)

    def close(self) -> None:
        """What waits never leaves."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _put(self, data: bytes, at_ns: int) -> None:
        self._free_ns = at_ns
        if not self._waiting and at_ns <= self._clock.now_ns():
            self._send(data)
            return
        self._waiting.append((at_ns, data))
        self._arm()

    def _arm(self) -> None:
        if self._timer is None and self._waiting:
            self._timer = self._clock.call_at(self._waiting[0][0], self._leave)

    def _leave(self) -> None:
        self._timer = None
        # Half a millisecond is what a timer may be early.
        while self._waiting and self._waiting[0][0] <= self._clock.now_ns() + 500_000:
            _, data = self._waiting.popleft()
            self._send(data)
        self._arm()


class FaultProxy:
    """`async with FaultProxy(url) as proxy`, and let clients use `proxy.url`; `await proxy.become(fault)`.

    Args:
        url: The server's, `http://host:port` or `unix:/path`.
        clock: The machine's unless a test has its own.

    Attributes:
        fault: What happens now.
        n_requests: How many have come in, by bytes after an answer.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._target, self._clock = url, clock or SystemClock()
        self._scope = Scope()
        self._port = 0
        self._listening: Server | None = None
        self._calls: set[_Call] = set()
        self.fault, self.n_requests = HEALTHY, 0

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self._port}"

    async def become(self, fault: Fault) -> None:
        """From now on this happens, to open connections too."""
        self.fault = fault
        if fault.is_dead:
            self._close()
        elif self._listening is None:
            await self._listen()

    async def __aenter__(self) -> "FaultProxy":
        await self._scope.__aenter__()
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        await self._scope.__aexit__(kind, error, trace)
        await sleep(0)  # what was reset is closed in the loop's next round

    async def _listen(self) -> None:
        self._listening = await get_running_loop().create_server(
            lambda: _Call(self), "127.0.0.1", self._port, reuse_address=True
        )
        self._port = self._listening.sockets[0].getsockname()[1]

    def _close(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for call in list(self._calls):
            call.reset()

    # --- for its connections --------------------------------------------------------------------------

    def begin(self, call: "_Call") -> None:
        """A client is there."""
        self._calls.add(call)

    def reach(self, call: "_Call") -> None:
        """It wants something of the server."""
        self._scope.start(self._connect(call), name="connect")

    def end(self, call: "_Call") -> None:
        """It is gone."""
        self._calls.discard(call)

    def lane(self, send: Callable[[bytes], None]) -> Lane:
        """One more direction."""
        return Lane(self._clock, send)

    def now_ns(self) -> int:
        """The time."""
        return self._clock.now_ns()

    async def _connect(self, call: "_Call") -> None:
        loop = get_running_loop()
        path = self._target.removeprefix("unix:")
        try:
            if path != self._target:
                await loop.create_unix_connection(lambda: _Far(call), path)
            else:
                host, _, port = self._target.removeprefix("http://").partition(":")
                await loop.create_connection(lambda: _Far(call), host, int(port))
        except OSError:
            call.reset()


class _Call(Protocol):
    """A client's connection, and what it has to do with the server's."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._near: Transport | None = None
        self._far: Transport | None = None
        self._early = bytearray()  # asked before the server was reached
        self._asked = bytearray()  # of a request that is answered here
        self._asked_ns = 0
        self._n_answered = 0
        self._is_deaf = False  # a part of the talk is lost: nothing true can follow
        self._up, self._down = proxy.lane(self._to_server), proxy.lane(self._to_client)

    def connection_made(self, transport: BaseTransport) -> None:
        assert isinstance(transport, Transport)
        self._near = transport
        self._proxy.begin(self)

    def data_received(self, data: bytes) -> None:
        """The client asks."""
        proxy, fault = self._proxy, self._proxy.fault
        proxy.n_requests += self._n_answered > 0 or not self._asked_ns
        self._asked_ns, self._n_answered = proxy.now_ns(), 0
        if fault.is_stuck or self._is_deaf:
            self._is_deaf = True
        elif fault.answer is not None:
            self._asked += data
            if request_is_whole(bytes(self._asked)) and self._near is not None:
                self._is_deaf = True
                self._near.write(fault.answer)
                self._near.close()
        else:
            self._up.carry(data, self._asked_ns, fault.bytes_per_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; so nobody wants an answer."""
        self._proxy.end(self)
        self._near = None
        self._up.close()
        self._down.close()
        if self._far is not None:
            self._far.abort()

    def reached(self, far: Transport) -> None:
        """The server is there."""
        self._far = far
        if self._near is None:
            far.abort()
            return
        early, self._early = bytes(self._early), bytearray()
        if early:
            far.write(early)

    def answered(self, data: bytes) -> None:
        """The server says something; `b""`: it has hung up."""
        fault, now_ns = self._proxy.fault, self._proxy.now_ns()
        if fault.is_stuck or self._is_deaf:
            self._is_deaf = True
            return
        # That a kept connection ends is no answer: whoever learns of it late asks again in vain.
        at_ns = due_ns(self._asked_ns, now_ns, fault.slow_ratio) if data else now_ns
        self._down.carry(data, at_ns, fault.bytes_per_s)

    def reset(self) -> None:
        """Break the connection as a process does that dies."""
        near, self._near = self._near, None
        if self._far is not None:
            self._far.abort()
        if near is not None and not near.is_closing():
            found: socket.socket = near.get_extra_info("socket")
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            near.abort()

    def _to_server(self, data: bytes) -> None:
        if self._far is None:
            if not self._early:
                self._proxy.reach(self)
            self._early += data
        elif not self._far.is_closing():
            self._far.write(data)
        else:
            self.reset()

    def _to_client(self, data: bytes) -> None:
        near, limit = self._near, self._proxy.fault.cut_after_bytes
        if near is None or near.is_closing():
            return
        if not data:
            near.close()
            return
        left = len(data) if limit is None else max(0, limit - self._n_answered)
        self._n_answered += len(data)
        near.write(data[:left])
        if limit is not None and left < len(data):
            self.reset()


class _Far(Protocol):
    """The server's end of a connection."""

    def __init__(self, call: _Call) -> None:
        self._call = call

    def connection_made(self, transport: BaseTransport) -> None:
        assert isinstance(transport, Transport)
        self._call.reached(transport)

    def data_received(self, data: bytes) -> None:
        self._call.answered(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._call.answered(b"")
