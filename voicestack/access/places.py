"""Where does a request come from: which address counts, and may this web page connect?"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from voicestack.access.asked import Asked

_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
CUSTOMER_BITS = 64
"""The smallest IPv6 network that a provider hands out: whoever has one address has all 2^64 of it."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there, or sends from there."""
    address = _address(host.strip("[]"))
    return host.lower() == "localhost" or (address is not None and address.is_loopback)


class Proxies:
    """Reverse proxies that are believed.

    Args:
        trusted: IP addresses and networks.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._networks = [ip_network(network) for network in trusted]

    def client_of(self, asked: Asked) -> str:
        """The client's address: that of the nearest hop that is no trusted proxy.

        What is further away was written by somebody who is not trusted, and may be made up.
        """
        address = asked.peer
        for hop in reversed(asked.forwarded):
            if not self.trusts(address) or _address(_without_port(hop)) is None:
                break
            address = _without_port(hop)
        return address

    def trusts(self, address: str) -> bool:
        """Whether that is one of them."""
        found = _address(address)
        return found is not None and any(found in network for network in self._networks)


def counted_as(address: str) -> str:
    """The name under which the limits of an address are kept; empty when it is not counted (this machine)."""
    found = _address(address)
    if found is None or found.is_loopback:
        return ""
    return str(IPv6Network((found, CUSTOMER_BITS), strict=False)) if found.version == 6 else str(found)


class Origins:
    """Which web pages may connect.

    A page from anywhere can make its reader's browser talk to a server that only the reader's machine can
    reach. Programs that are no browsers send no origin and are always let through.

    Args:
        allowed: Origins as browsers write them; `*` for all.
        own_pages: Also let in pages of the host that is being asked. Not for a server that only this machine
            can reach and that asks for no key: a name that is made to point here would pass for such a page.
    """

    def __init__(self, allowed: Sequence[str], *, own_pages: bool) -> None:
        self._allowed = {origin.lower().rstrip("/") for origin in allowed}
        self._own_pages = own_pages

    def allow(self, asked: Asked) -> bool:
        """Whether the page that the request comes from may connect."""
        if asked.has_two_origins:
            return False
        if asked.origin is None or "*" in self._allowed or asked.origin.lower() in self._allowed:
            return True
        scheme, host, port = _parts(asked.origin)
        if scheme in ("http", "https") and is_loopback(host):
            return True
        own = _parts(f"{scheme}://{asked.host}")
        return self._own_pages and bool(host) and own == (scheme, host, port)


def _parts(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port; an empty host when it cannot be read."""
    try:
        parts = urlsplit(url.lower())
        return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return "", "", None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _without_port(hop: str) -> str:
    """Some proxies write `1.2.3.4:5678` and `[2001:db8::1]:5678`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
