"""What does a request say about who sends it?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

KEY_PROTOCOL = "openai-insecure-api-key."
"""How a browser, which can set no header of a WebSocket, says its key: as a subprotocol."""

HeaderValues = Callable[[str], Sequence[str]]
"""All values of the header with this name."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The part of a request that decides whether it is let in.

    Attributes:
        peer: IP address of the other end of the connection, maybe a proxy's; no address for a Unix socket.
        credential: The key or ephemeral secret; None if there is none.
        origin: The web page that it comes from; None for anything but a browser.
        host: What the client calls this server.
        forwarded: The addresses in X-Forwarded-For, the nearest last.
        has_two_origins: More than one Origin header, which no browser sends.
    """

    peer: str
    credential: str | None = None
    origin: str | None = None
    host: str = ""
    forwarded: tuple[str, ...] = ()
    has_two_origins: bool = False


def read_request(values_of: HeaderValues, peer: str) -> Asked:
    """Pick out of the headers what matters."""
    origins, hosts = values_of("Origin"), values_of("Host")
    return Asked(
        peer=peer,
        credential=_credential(values_of),
        origin=origins[0] if origins else None,
        host=hosts[0] if hosts else "",
        forwarded=tuple(_listed(values_of("X-Forwarded-For"))),
        has_two_origins=len(origins) > 1,
    )


def subprotocols(values_of: HeaderValues) -> list[str]:
    """The WebSocket subprotocols that the client offers."""
    return _listed(values_of("Sec-WebSocket-Protocol"))


def _credential(values_of: HeaderValues) -> str | None:
    for value in values_of("Authorization"):
        scheme, _, credential = value.strip().partition(" ")
        if scheme.lower() == "bearer" and credential.strip():
            return credential.strip()
    for value in values_of("api-key"):  # Azure's
        if value.strip():
            return value.strip()
    for name in subprotocols(values_of):
        if name.startswith(KEY_PROTOCOL) and len(name) > len(KEY_PROTOCOL):
            return name[len(KEY_PROTOCOL) :]
    return None


def _listed(values: Sequence[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]
