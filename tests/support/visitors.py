"""Keys for tests, and what comes in with them."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.support.server import SCRIPTED
from voicestack.access.key_file import KeyFile
from voicestack.access.keys import Minted, Terms, mint
from voicestack.aio.clock import unix_s


def new_key(path: Path, **terms: Any) -> Minted:
    """A key that is in the file from now on."""
    made = mint(Terms(**terms), unix_s())
    KeyFile(path).change(lambda ring: ring.with_key(made.key))
    return made


def keyed(path: Path, *sets: str) -> list[str]:
    """What a scripted server with that keys file is started with."""
    return [*SCRIPTED, f"access.keys_file={path}", *sets]


def bearer(secret: str) -> dict[str, str]:
    """The header."""
    return {"Authorization": f"Bearer {secret}"}


def call(
    port: int,
    headers: Mapping[str, str] | None = None,
    *,
    query: str = "model=m",
    subprotocols: list[str] | None = None,
    **options: Any,
) -> connect:
    """Dial. To be used like `websockets.connect`."""
    return connect(
        f"ws://127.0.0.1:{port}/v1/realtime?{query}",
        additional_headers=headers,
        subprotocols=None if subprotocols is None else [Subprotocol(name) for name in subprotocols],
        compression=None,
        proxy=None,
        **options,
    )


async def raw(port: int, request: bytes) -> bytes:
    """What comes back for bytes that no client would send: the first 64 KiB of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read(65_536)
    finally:
        writer.close()


async def event_of(ws: ClientConnection, kind: str) -> dict[str, Any]:
    """The next event of that type."""
    while True:
        event: dict[str, Any] = json.loads(await ws.recv())
        if event["type"] == kind:
            return event


async def refused(port: int, headers: Mapping[str, str] | None = None, **how: Any) -> tuple[int, str, Any]:
    """Dial and be refused: status, code, and the answer's headers."""
    try:
        async with call(port, headers, **how):
            raise AssertionError("it was let in")
    except InvalidStatus as error:
        answer = error.response
        fields = json.loads(answer.body or b"{}")["error"]
        assert set(fields) == {"message", "type", "param", "code"}
        assert fields["message"].endswith(".")
        return answer.status_code, fields["code"], answer.headers


async def close_code(ws: ClientConnection) -> int | None:
    """Read on until the server closes."""
    try:
        while True:
            await ws.recv()
    except ConnectionClosed as closed:
        return None if closed.rcvd is None else closed.rcvd.code
