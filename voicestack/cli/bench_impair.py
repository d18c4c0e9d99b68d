"""How bad is the network? A path that loses, delays and reorders packets, and a UDP relay with two of them.

The path is arithmetic: it says of every packet when it arrives, if at all, and the same seed says the same
again. The relay stands between one server and its clients, as a router would that translates addresses.
"""

import asyncio
import heapq
import random
from asyncio import DatagramProtocol, DatagramTransport
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any

from voicestack.aio.clock import Clock, LoopClock, Timer
from voicestack.aio.scope import Scope

Address = tuple[str, int]
Send = Callable[[bytes], None]

MAX_QUEUED = 5000
"""Packets on their way in one direction; more are dropped, as by a router."""
MAX_CLIENTS = 32
"""Addresses that the relay learns. A browser has one for each of its interfaces and attempts."""


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a path does to packets.

    Loss is that of Gilbert and Elliott: a path is good or bad, and changes between two packets.

    Attributes:
        delay_ms: Every packet is on the way for so long, at least.
        jitter_ms: And for up to so much longer, each value as likely, drawn anew for each packet.
        keeps_order: Jitter as in a queue: a packet that is held up holds up those behind it. False: packets
            overtake each other.
        p_good_to_bad: Chance that the path turns bad before a packet.
        p_bad_to_good: Chance that it turns good again.
        p_loss_good: Share that is lost while it is good.
        p_loss_bad: Share that is lost while it is bad.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    keeps_order: bool = False
    p_good_to_bad: float = 0.0
    p_bad_to_good: float = 1.0
    p_loss_good: float = 0.0
    p_loss_bad: float = 1.0

    @classmethod
    def of(
        cls,
        p_loss: float = 0.0,
        *,
        n_burst: float | None = None,
        delay_ms: float = 0.0,
        jitter_ms: float = 0.0,
        keeps_order: bool = False,
    ) -> "Impairment":
        """A path that loses `p_loss` of all packets, in runs of `n_burst` on average.

        Args:
            p_loss: 0 .. below 1.
            n_burst: At least 1. None: every packet has the same chance, whatever became of the one before
                (which makes runs of 1 / (1 - p_loss)).
            delay_ms: See the class.
            jitter_ms: See the class.
            keeps_order: See the class.

        Raises:
            ValueError: so much cannot be lost in runs so short.
        """
        n_run = 1 / (1 - p_loss) if n_burst is None else n_burst
        p_bad_to_good = 1 / n_run
        p_good_to_bad = p_bad_to_good * p_loss / (1 - p_loss)
        if n_run < 1 or p_good_to_bad > 1 + 1e-9:
            raise ValueError(f"a loss of {p_loss:g} in runs of {n_run:g} packets cannot be")
        return cls(delay_ms, jitter_ms, keeps_order, min(p_good_to_bad, 1.0), p_bad_to_good)

    @property
    def p_lost(self) -> float:
        """The share that is lost in the long run."""
        total = self.p_good_to_bad + self.p_bad_to_good
        p_bad = self.p_good_to_bad / total if total else 0.0
        return p_bad * self.p_loss_bad + (1 - p_bad) * self.p_loss_good


@dataclass(slots=True)
class Path:
    """One direction. Pure: instants in, instants out.

    Attributes:
        impairment: May be changed at any time.
        seed: Two paths with the same seed do the same.
    """

    impairment: Impairment
    seed: int
    _rng: random.Random = field(init=False)
    _is_bad: bool = False
    _last_ns: int = 0

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def arrival_ns(self, sent_ns: int) -> int | None:
        """When the next packet arrives, having been sent then; None for never."""
        of = self.impairment
        turns, is_lost, late = self._rng.random(), self._rng.random(), self._rng.random()
        self._is_bad = turns >= of.p_bad_to_good if self._is_bad else turns < of.p_good_to_bad
        if is_lost < (of.p_loss_bad if self._is_bad else of.p_loss_good):
            return None
        arrival_ns = sent_ns + round((of.delay_ms + of.jitter_ms * late) * 1e6)
        if of.keeps_order:
            arrival_ns = max(arrival_ns, self._last_ns)
        self._last_ns = max(arrival_ns, self._last_ns)
        return arrival_ns


@dataclass(slots=True)
class CrossingFigures:
    """What became of the packets of one direction.

    Attributes:
        n_packets: All that came in.
        n_bytes: Their payload.
        n_lost: Dropped by the path.
        n_overflowed: Dropped because too many were on the way.
        n_overtaken: Passed on after a packet that had come in later.
        late_ms: Of every delayed packet: how long after its time it was passed on.
    """

    n_packets: int = 0
    n_bytes: int = 0
    n_lost: int = 0
    n_overflowed: int = 0
    n_overtaken: int = 0
    late_ms: list[float] = field(default_factory=list)


class Crossing:
    """Packets on their way along a path, in real time (or the virtual time of a test).

    Args:
        path: When they arrive.
        clock: The loop's own, so that a packet's time and its timer agree.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.figures = CrossingFigures()
        self._clock = clock
        self._numbers = count()
        self._n_last = -1
        self._on_the_way: list[tuple[int, int, bytes, Send]] = []
        self._timer: Timer | None = None
        self._timer_ns = 0

    def carry(self, data: bytes, send: Send) -> None:
        """Pass `data` on by `send` when it is time, if ever. What needs no time goes at once."""
        self.figures.n_packets += 1
        self.figures.n_bytes += len(data)
        now_ns = self._clock.now_ns()
        arrival_ns = self.path.arrival_ns(now_ns)
        number = next(self._numbers)
        if arrival_ns is None:
            self.figures.n_lost += 1
        elif arrival_ns <= now_ns and not self._on_the_way:
            self._deliver(number, data, send)
        elif len(self._on_the_way) >= MAX_QUEUED:
            self.figures.n_overflowed += 1
        else:
            heapq.heappush(self._on_the_way, (arrival_ns, number, data, send))
            self._arm()

    def close(self) -> None:
        """What is on the way never arrives."""
        self._on_the_way.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _deliver(self, number: int, data: bytes, send: Send) -> None:
        self.figures.n_overtaken += number < self._n_last
        self._n_last = max(self._n_last, number)
        send(data)

    def _arm(self) -> None:
        due_ns = self._on_the_way[0][0]
        if self._timer is not None:
            if self._timer_ns <= due_ns:
                return
            self._timer.cancel()
        self._timer, self._timer_ns = self._clock.call_at(due_ns, self._arrive), due_ns

    def _arrive(self) -> None:
        self._timer = None
        now_ns = self._clock.now_ns()
        # A loop with a coarse clock may call a little early; then it is asked again.
        while self._on_the_way and self._on_the_way[0][0] <= now_ns:
            due_ns, number, data, send = heapq.heappop(self._on_the_way)
            self.figures.late_ms.append((now_ns - due_ns) / 1e6)
            self._deliver(number, data, send)
        if self._on_the_way:
            self._arm()


class UdpRelay:
    """Stands between clients and a server: `async with UdpRelay(...) as relay`, and send to `relay.address`.

    Each client gets a socket of its own towards the server, so that answers find their way back.
    Both directions use one path for all clients.

    Args:
        server: Where everything goes.
        up: The path from the clients to the server; may be replaced at any time (`relay.up.path.impairment`).
        down: The way back.
        seed: Of both.
        clock: None for the running loop's own.
        host: Where to listen.
    """

    def __init__(
        self,
        server: Address,
        *,
        up: Impairment,
        down: Impairment,
        seed: int = 1,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._server, self._host = server, host
        clock = LoopClock() if clock is None else clock
        self.up = Crossing(Path(up, seed), clock)
        self.down = Crossing(Path(down, seed + 1), clock)
        self._scope = Scope()
        self._outer: DatagramTransport | None = None
        self._inner: dict[Address, _Inner] = {}
        self.n_refused = 0
        """Packets of clients beyond MAX_CLIENTS."""

    async def __aenter__(self) -> "UdpRelay":
        await self._scope.__aenter__()
        loop = asyncio.get_running_loop()
        self._outer, _ = await loop.create_datagram_endpoint(
            lambda: _Ear(self._from_client), local_addr=(self._host, 0)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.up.close()
        self.down.close()
        for inner in self._inner.values():
            inner.close()
        if self._outer is not None:
            self._outer.close()
        await self._scope.__aexit__(kind, error, trace)

    @property
    def address(self) -> Address:
        """Where clients send to."""
        assert self._outer is not None
        host, port = self._outer.get_extra_info("sockname")[:2]
        return host, port

    @property
    def clients(self) -> list[Address]:
        """Who has sent something, in the order of their first packets."""
        return list(self._inner)

    def _from_client(self, data: bytes, client: Address) -> None:
        inner = self._inner.get(client)
        if inner is None:
            if len(self._inner) >= MAX_CLIENTS:
                self.n_refused += 1
                return
            inner = self._inner[client] = _Inner()
            self._scope.start(self._open(client, inner), name=f"relay for port {client[1]}")
        self.up.carry(data, inner.send)

    async def _open(self, client: Address, inner: "_Inner") -> None:
        outer = self._outer
        assert outer is not None

        def back(data: bytes) -> None:
            if not outer.is_closing():
                outer.sendto(data, client)

        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Ear(lambda data, _: self.down.carry(data, back)), remote_addr=self._server
        )
        inner.connect(transport)


class _Inner:
    """The socket towards the server of one client; what is sent before it is there waits."""

    def __init__(self) -> None:
        self._transport: DatagramTransport | None = None
        self._early: list[bytes] = []

    def connect(self, transport: DatagramTransport) -> None:
        self._transport = transport
        for data in self._early:
            transport.sendto(data)
        self._early.clear()

    def send(self, data: bytes) -> None:
        if self._transport is None:
            self._early.append(data)
        elif not self._transport.is_closing():
            self._transport.sendto(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Ear(DatagramProtocol):
    """A socket's packets, as calls. What the network complains about is as good as lost."""

    def __init__(self, on_data: Callable[[bytes, Address], None]) -> None:
        self._on_data = on_data

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._on_data(data, (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """The server is not there (yet)."""
