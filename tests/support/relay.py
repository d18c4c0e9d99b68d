"""What exactly went over the wire? A proxy between a client and the server that keeps every event.

With a certificate it is also the TLS end that a client of a deployed server sees.
"""

import asyncio
import json
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from voicestack.aio.scope import Scope

HEAD_END = b"\r\n\r\n"
TEXT, CONTINUATION = 1, 0
READ_BYTES = 65_536

Event = dict[str, Any]


class Wire:
    """One direction of a WebSocket, read along: HTTP head first, then frames (RFC 6455, section 5.2)."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self.head = ""
        self._rest = bytearray()
        self._message = bytearray()
        self._on_event = on_event

    def feed(self, data: bytes) -> None:
        """Read on. Events are those of complete text messages."""
        self._rest += data
        if not self.head:
            if HEAD_END not in self._rest:
                return
            head, _, rest = bytes(self._rest).partition(HEAD_END)
            self.head, self._rest = head.decode("latin-1"), bytearray(rest)
        while self._frame():
            pass

    def _frame(self) -> bool:
        """Take one frame off the buffer, if it is complete."""
        rest = self._rest
        if len(rest) < 2:
            return False
        opcode, is_final, size, at = rest[0] & 15, rest[0] >> 7, rest[1] & 127, 2
        assert not rest[0] & 0x70, "no extension was agreed on"
        if size > 125:
            at += 2 if size == 126 else 8
            size = int.from_bytes(rest[2:at], "big")
        mask = bytes(rest[at : at + 4]) if rest[1] >> 7 else bytes(4)
        at += 4 if rest[1] >> 7 else 0
        if len(rest) < at + size:
            return False
        body = bytes(rest[at : at + size])
        del rest[: at + size]
        if opcode in (TEXT, CONTINUATION):
            self._message += unmasked(body, mask)
            if is_final:
                self._on_event(json.loads(bytes(self._message)))
                self._message.clear()
        return True


def unmasked(body: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask."""
    key = (mask * (len(body) // 4 + 1))[: len(body)]
    return (int.from_bytes(body, "big") ^ int.from_bytes(key, "big")).to_bytes(len(body), "big")


@dataclass
class Connection:
    """One connection, both directions.

    Attributes:
        model: What the client asked for in the URL.
        sent: The client's events.
        got: The server's.
    """

    model: str = ""
    sent: list[Event] = field(default_factory=list)
    got: list[Event] = field(default_factory=list)

    def of(self, kind: str) -> list[Event]:
        """The server's events of a type."""
        return [event for event in self.got if event["type"] == kind]


class Relay:
    """Listens on a port of its own and passes everything on.

    Args:
        port: The server's.
        tls: The certificate to show, None for plain TCP.
        drops: The first connection for this model is cut, as by a lost network, when its first response is
            done.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, drops: str = "") -> None:
        self._target = port
        self._tls = tls
        self._drops = drops
        self._server: asyncio.Server | None = None
        self.connections: list[Connection] = []

    async def __aenter__(self) -> "Relay":
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        connection = Connection()
        sent = Wire(connection.sent.append)
        got = Wire(connection.got.append)
        self.connections.append(connection)

        def on_sent(data: bytes) -> None:
            sent.feed(data)
            if sent.head and not connection.model:
                query = parse_qs(urlsplit(sent.head.split(" ", 2)[1]).query)
                connection.model = query.get("model", ["?"])[0]

        def on_got(data: bytes) -> None:
            got.feed(data)
            if connection.model == self._drops and connection.of("response.done"):
                self._drops = ""
                writer.transport.abort()

        try:
            async with Scope() as scope:
                scope.start(_pump(up_reader, writer, on_got), name="from the server")
                await _pump(reader, up_writer, on_sent)
        finally:
            writer.close()
            up_writer.close()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_data: Callable[[bytes], None]
) -> None:
    try:
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            on_data(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


def certificate(folder: Path) -> Path:
    """A new certificate for localhost, with its key, in one PEM file."""
    path = folder / "localhost.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext"]
    command += ["subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(path), "-out", str(path) + ".crt"]
    subprocess.run(command, check=True, capture_output=True)
    with path.open("a") as file:
        file.write(Path(str(path) + ".crt").read_text())
    return path


def tls_end(pem: Path) -> ssl.SSLContext:
    """What a TLS server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
