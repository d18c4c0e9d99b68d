"""Over which addresses does a peer reach us? One ICE agent on aioice, made for a server.

What is different from aioice as it is: loopback and chosen addresses, a range of ports, a 1:1 NAT, a short
limit for servers that do not answer, consent that is lost within seconds, and datagrams that are handed on
at once instead of through a queue and a task.
"""

import asyncio
import ipaddress
import logging
import random
import secrets
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aioice import Candidate, Connection, TransportPolicy
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol, get_host_addresses, server_reflexive_candidate
from aioice.stun import TransactionError
from aiortc.rtcicetransport import parse_stun_turn_uri

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.transports.rtc_settings import IceServer, RtcSettings

log = logging.getLogger(__name__)

CONSENT_INTERVAL_S = 2.5
"""Half of RFC 7675's 5 s, as libwebrtc does, so that a loss is noticed within `consent_timeout_ms`."""
CONSENT_REPEATS = 2
"""After 0.5 and 1.5 s (RFC 8489's RTO of 500 ms, doubled)."""

CLOSE_LIMIT_S = 2.0
"""aioice would repeat its goodbye to a TURN server for a minute."""

PORT_TRIES = 20
"""Random ports of the range that are tried for one address."""

LAST_OF_STUN = 3
"""STUN begins with 0..3, DTLS with 20..63, SRTP with 128..191 (RFC 7983)."""

LOOPBACK = "127.0.0.1"
"""Announced on a machine that has no other address."""

COMPONENT = 1
"""RTP and RTCP on one port, so there is only one."""


def read_ice_server(url: str) -> dict[str, Any]:
    """Take a STUN or TURN URL (RFC 7064, 7065) apart.

    Raises:
        ValueError: it is not one.
    """
    return parse_stun_turn_uri(url)


class PathLostError(Exception):
    """No way to the peer was found."""


class RtcPath(Connection):
    """One ICE generation: its own ufrag, password and sockets. A restart makes another.

    Subclasses aioice's Connection to replace three of its methods, all without an underscore:
    `get_component_candidates`, `query_consent` and `data_received`. Of what has one, `_protocols`,
    `_nominated` and `_remote_candidates` are used.

    Args:
        settings: Addresses, ports and servers.
        clock: For consent.
        on_datagram: Given everything that is not STUN. Must not raise.
        on_lost: The peer no longer consents.
    """

    def __init__(
        self,
        settings: RtcSettings,
        clock: Clock,
        on_datagram: Callable[[bytes], None],
        on_lost: Callable[["RtcPath"], None],
    ) -> None:
        super().__init__(
            ice_controlling=False,
            transport_policy=TransportPolicy.RELAY if settings.relay_only else TransportPolicy.ALL,
            # Longer than the least allowed (4), since a stranger may guess at our port.
            local_username=secrets.token_hex(4),
            local_password=secrets.token_hex(16),
            **_servers(settings.ice_servers),
        )
        self._settings = settings
        self._time = clock
        self._on_datagram = on_datagram
        self._on_lost = on_lost

    async def establish(self, ufrag: str, password: str, *, lite: bool, candidates: list[Candidate]) -> None:
        """Find a way. The end of candidates is never told, so checks from unknown addresses keep counting.

        Raises:
            PathLostError: none was found.
        """
        self.remote_username, self.remote_password = ufrag, password
        self.remote_is_lite = self.ice_controlling = lite
        for candidate in candidates:
            await self.add_remote_candidate(candidate)
        try:
            await self.connect()
        except ConnectionError as problem:
            raise PathLostError(str(problem)) from None

    def put(self, datagram: bytes) -> None:
        """Send to the peer now; dropped before there is a way."""
        # aioice's `sendto` is a coroutine that never waits; the pair it has chosen is not public.
        pair = self._nominated.get(COMPONENT)
        if pair is not None:
            pair.protocol.transport.sendto(datagram, pair.remote_addr)

    @property
    def peer_address(self) -> str:
        """Where the peer is; empty before there is a way."""
        pair = self._nominated.get(COMPONENT)
        return "" if pair is None else f"{pair.remote_addr[0]}:{pair.remote_addr[1]}"

    def knows(self, host: str, port: int) -> bool:
        """Whether the address is the peer's: from its SDP, or it has sent a check with our password."""
        pair = self._nominated.get(COMPONENT)
        if pair is not None and pair.remote_addr == (host, port):
            return True
        return any(each.port == port and each._network_host == host for each in self._remote_candidates)

    def announced(self) -> list[Candidate]:
        """The candidates for the SDP, with what the 1:1 NAT makes of them."""
        found = self.local_candidates
        if self._settings.public_address:
            inside = [each for each in found if each.type == "host" and ":" not in each.host]
            found += [_seen_from_outside(each, self._settings.public_address) for each in inside]
        return found

    async def close(self) -> None:
        """Free the sockets. A TURN server that does not confirm in time is not waited for."""
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await super().close()
        except TimeoutError:
            for protocol in self._protocols:
                protocol.transport.close()
                # A TURN client's goodbye is a task of its own; cancelled, it closes its socket.
                goodbye = getattr(protocol.transport, "_TurnTransport__close_task", None)
                if goodbye is not None:
                    goodbye.cancel()

    # --- instead of aioice's --------------------------------------------------------------------------

    def data_received(self, data: bytes, component: int) -> None:
        """Hand a datagram on at once. aioice calls this, too, for what only begins like STUN."""
        if data and data[0] > LAST_OF_STUN:
            self._on_datagram(data)

    async def get_component_candidates(
        self, component: int, addresses: list[str], *_: Any, **__: Any
    ) -> list[Candidate]:
        """Bind the configured addresses, and ask STUN and TURN for no longer than configured."""
        limit_s, began_ns = self._settings.gather_timeout_ms / 1000, self._time.now_ns()
        protocols = []
        if not self._settings.relay_only:
            found_addresses = self._settings.addresses or get_host_addresses(use_ipv4=True, use_ipv6=True)
            for address in found_addresses or [LOOPBACK]:
                protocol = await self._bind(address)
                if protocol is not None:
                    protocols.append(protocol)
        self._protocols += protocols  # aioice pairs and closes what is in this list
        found = [protocol.local_candidate for protocol in protocols]

        async def reflexive(protocol: StunProtocol, server: tuple[str, int]) -> None:
            with suppress(TransactionError, OSError, LookupError):  # no answer, no such host, nothing in it
                found.append((await server_reflexive_candidate(protocol, server))[0])

        async with Scope() as scope:  # whoever has not answered when it ends is not waited for
            reflexives = [
                scope.start(reflexive(protocol, self.stun_server), name="stun")
                for protocol in protocols
                if self.stun_server is not None and ":" not in protocol.local_candidate.host
            ]
            if self.turn_server is not None:
                # Without addresses aioice asks TURN and nothing else; it has a limit of its own.
                limit = max(1, round(limit_s))
                found += await super().get_component_candidates(component, [], timeout=limit)
            if reflexives:
                left_s = max(0.0, limit_s - (self._time.now_ns() - began_ns) / 1e9)
                await asyncio.wait(reflexives, timeout=left_s)
        return found

    async def query_consent(self) -> None:
        """Ask the peer for its consent until it does not answer any more."""
        assert self.remote_password is not None
        clock, key = self._time, self.remote_password.encode()
        limit_ns = self._settings.consent_timeout_ms * 1_000_000
        confirmed_ns = clock.now_ns()
        while clock.now_ns() - confirmed_ns < limit_ns:
            await asyncio.sleep(CONSENT_INTERVAL_S * random.uniform(0.8, 1.2))
            pair = self._nominated.get(COMPONENT)
            if pair is None:
                return
            request = self.build_request(pair, nominate=False)
            try:
                await pair.protocol.request(
                    request, pair.remote_addr, integrity_key=key, retransmissions=CONSENT_REPEATS
                )
            except TransactionError:
                continue
            confirmed_ns = clock.now_ns()
        self._on_lost(self)

    async def _bind(self, address: str) -> StunProtocol | None:
        bound = self._bound(address)
        if bound is None:
            return None
        _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Socket(self), sock=bound
        )
        host, port = bound.getsockname()[:2]
        protocol.local_candidate = Candidate(
            foundation=candidate_foundation("host", "udp", host),
            component=COMPONENT,
            transport="udp",
            priority=candidate_priority(COMPONENT, "host"),
            host=host,
            port=port,
            type="host",
        )
        return protocol

    def _bound(self, address: str) -> socket.socket | None:
        """A socket on a port of the range. Bound here: uvloop leaks the one that it cannot bind itself."""
        low, high = self._settings.port_min, self._settings.port_max
        ports = [0]
        if low:
            ports = random.sample(range(low, high + 1), min(PORT_TRIES, high - low + 1))
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            found = socket.socket(family, socket.SOCK_DGRAM)
        except OSError:  # no IPv6 here
            return None
        found.setblocking(False)
        for port in ports:
            try:
                found.bind((address, port))
            except OSError:  # taken, or not an address of this machine
                continue
            return found
        found.close()
        return None


class _Socket(StunProtocol):
    """Does not try to read audio as STUN first, and takes it from nobody but the peer."""

    def __init__(self, path: RtcPath) -> None:
        super().__init__(path)
        self._path = path

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        assert isinstance(data, bytes)
        if data and data[0] > LAST_OF_STUN:
            if self._path.knows(addr[0], addr[1]):
                self._path.data_received(data, COMPONENT)
            return
        try:
            super().datagram_received(data, addr)
        except (AssertionError, LookupError, TypeError, ValueError, struct.error) as problem:
            # aioice reads attributes as if they were whole and all there; anybody can send us what is not.
            log.debug("a STUN message that makes no sense (%s)", type(problem).__name__)


def _seen_from_outside(host: Candidate, public_address: str) -> Candidate:
    return Candidate(
        foundation=candidate_foundation("srflx", "udp", host.host),
        component=COMPONENT,
        transport="udp",
        priority=candidate_priority(COMPONENT, "srflx"),
        host=public_address,
        port=host.port,
        type="srflx",
        related_address=host.host,
        related_port=host.port,
    )


def _servers(servers: tuple[IceServer, ...]) -> dict[str, Any]:
    """The first STUN and the first TURN server, as aioice wants them."""
    chosen: dict[str, Any] = {}
    for server in servers:
        parts = read_ice_server(server.url)
        address = (parts["host"], parts["port"])
        if parts["scheme"] == "stun":
            chosen.setdefault("stun_server", address)
        elif parts["scheme"] in ("turn", "turns") and "turn_server" not in chosen:
            chosen |= {
                "turn_server": address,
                "turn_ssl": parts["scheme"] == "turns",
                "turn_transport": parts["transport"],
                "turn_username": server.username,
                "turn_password": server.credential,
            }
    return chosen


def is_usable(address: str) -> bool:
    """Whether a peer's candidate names an address that can be sent to: an IP address, and not a name.

    Names that end in .local (mDNS) would have to be asked for on the local network; such a peer's checks
    reach us all the same, and show its address.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (found.is_multicast or found.is_unspecified)
