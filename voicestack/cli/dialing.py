"""How does a program reach a Realtime server, and what can be said against trying?"""

import argparse
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, runtime_checkable
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

from voicestack.cli.speaker import Speaker
from voicestack.core.audio import Pcm
from voicestack.core.errors import VoiceStackError

DEFAULT_URL = "ws://127.0.0.1:8080"
KEY_VARIABLE = "VOICESTACK_API_KEY"
"""Not an option: command lines can be read by others on the machine."""
WEBSOCKET, WEBRTC = "websocket", "webrtc"
OPEN_TIMEOUT_S = 10


class NoServer(VoiceStackError):
    """The server cannot be reached, refuses the call, or hung up."""

    code = "no_server"


class Refused(NoServer):
    """The server is there and has no room for the call: HTTP 503, or WebSocket close 1013."""

    code = "refused"


FULL_STATUS, FULL_CLOSE = 503, 1013
"""HTTP: service unavailable. WebSocket: try again later (IANA's registry of close codes)."""


class Link(Protocol):
    """An open connection that carries text messages, audio among them unless it is a `MediaLink`."""

    async def send(self, message: str) -> None:
        """Send one message; waits while the peer does not read."""
        ...

    async def recv(self) -> str | bytes:
        """The next message."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


@runtime_checkable
class MediaLink(Link, Protocol):
    """A connection with a way of its own for audio, which the server paces: nothing is played ahead."""

    def speak(self, pcm: Pcm) -> None:
        """Send what was just spoken."""
        ...

    def attach(self, speaker: Speaker, item: Callable[[], str]) -> None:
        """From now on what arrives is played; `item` says to which item it belongs."""
        ...


def realtime_url(url: str, *, model: str = "voicestack") -> str:
    """The address of the Realtime endpoint with the ledger events switched on.

    `http` and `https` are taken for `ws` and `wss`; a path and a query that are given stay.
    """
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    query = {"model": model, "voicestack_events": "1", **dict(parse_qsl(parts.query))}
    path = parts.path if parts.path.strip("/") else "/v1/realtime"
    return urlunsplit((scheme, parts.netloc, path, urlencode(query), ""))


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turns the many ways in which a connection fails into one line for a person."""
    try:
        yield
    except InvalidStatus as refused:
        answer = refused.response
        again = answer.headers.get("Retry-After")
        hint = f" Try again in {again} s." if again else ""
        if answer.status_code == 401:
            hint = f" It wants an API key: put one into the environment as {KEY_VARIABLE}."
        kind = Refused if answer.status_code == FULL_STATUS else NoServer
        raise kind(f"The server at {url} refuses the call: HTTP {answer.status_code}.{hint}") from refused
    except InvalidURI as wrong:
        raise NoServer(f"{url} is not a WebSocket address; try {DEFAULT_URL}") from wrong
    except ssl.SSLCertVerificationError as untrusted:
        why = untrusted.verify_message
        raise NoServer(f"The certificate of {url} is not trusted: {why}. Try --insecure.") from untrusted
    except (OSError, TimeoutError, InvalidHandshake) as nobody:
        raise NoServer(f"No voicestack server answers at {url}. Start one with: voicestack serve") from nobody


async def dial(url: str, *, key: str | None = None, insecure: bool = False) -> Link:
    """Open the WebSocket.

    Args:
        url: The server, as the user wrote it.
        key: An API key; None for a server that asks for none.
        insecure: Take any certificate for the server's, a self-signed one for instance.

    Raises:
        NoServer: with one line that says what to do.
    """
    address = realtime_url(url)
    trust: dict[str, Any] = {}
    if insecure and address.startswith("wss:"):
        trust["ssl"] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with _explained(url):
        return await connect(
            address,
            additional_headers={"Authorization": f"Bearer {key}"} if key else None,
            compression=None,
            max_size=None,
            open_timeout=OPEN_TIMEOUT_S,
            proxy=None,
            **trust,
        )


def add_server_arguments(
    parser: argparse.ArgumentParser, *, transports: Sequence[str] = (WEBSOCKET, WEBRTC)
) -> None:
    """Which server is called, and how."""
    parser.add_argument(
        "--url", default=DEFAULT_URL, help=f"the server (default: %(default)s); its key is ${KEY_VARIABLE}"
    )
    parser.add_argument("--insecure", action="store_true", help="take any certificate, as of serve --tls")
    parser.add_argument(
        "--transport", choices=transports, default=WEBSOCKET, help="how to call it (default: %(default)s)"
    )


def dial_of(args: argparse.Namespace, transport: str | None = None) -> Callable[[str], Awaitable[Link]]:
    """How to connect as these arguments and the environment want it; `transport` overrides theirs."""
    key = os.environ.get(KEY_VARIABLE)
    if (transport or args.transport) != WEBRTC:
        return partial(dial, key=key, insecure=args.insecure)
    from voicestack.cli.rtc_caller import dial_rtc  # aiortc takes half a second to import

    return partial(dial_rtc, key=key, insecure=args.insecure)
