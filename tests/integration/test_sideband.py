"""A second connection to a running call: it hears the events, asks for things, and is no microphone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.realtime_check import check_server_frames
from tests.support.server import SCRIPTED, with_server
from tests.support.visitors import bearer, call, keyed, new_key


async def until(ws: ClientConnection, kind: str, seen: list[Any] | None = None) -> dict[str, Any]:
    """Read up to the next event of that type; all of them go into `seen`."""
    while True:
        event: dict[str, Any] = json.loads(await ws.recv())
        if seen is not None:
            seen.append(event)
        if event["type"] == kind:
            return event


async def ask(ws: ClientConnection, **event: Any) -> None:
    await ws.send(json.dumps(event))


async def opened(ws: ClientConnection) -> str:
    return str((await until(ws, "session.created"))["session"]["id"])


TEXT_TURN = {"output_modalities": ["audio"], "metadata": {"from": "sideband"}}


def test_the_sideband_hears_everything_but_the_audio_and_may_ask() -> None:
    async def script(port: int) -> None:
        async with call(port) as caller:
            name = await opened(caller)
            async with call(port, query=f"call_id={name}") as sideband:
                assert await opened(sideband) == name
                await ask(sideband, type="session.update", session={"instructions": "Be kind."})
                for ws in (caller, sideband):
                    updated = await until(ws, "session.updated")
                    assert updated["session"]["instructions"] == "Be kind."
                await ask(sideband, type="response.create", response=TEXT_TURN)
                heard: list[Any] = []
                told: list[Any] = []
                await until(caller, "response.done", heard)
                await until(sideband, "response.done", told)
                audio = [event for event in heard if event["type"] == "response.output_audio.delta"]
                assert len(audio) > 10
                assert told == [event for event in heard if event not in audio]
                assert told[0]["response"]["metadata"] == {"from": "sideband"}
                check_server_frames([json.dumps(event).encode() for event in heard])

    with_server(script, sets=SCRIPTED)


def test_faults_of_the_sideband_are_its_own() -> None:
    async def script(port: int) -> None:
        async with call(port) as caller, call(port, query=f"call_id={await opened(caller)}") as sideband:
            await opened(sideband)
            for event, code in (
                ({"type": "nonsense"}, "invalid_value"),
                ({"type": "response.cancel", "event_id": "e1"}, "response_cancel_not_active"),
                ({"type": "conversation.item.delete", "item_id": "none"}, "item_delete_invalid_item_id"),
                ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "invalid_value"),
            ):
                await ask(sideband, **event)
                assert (await until(sideband, "error"))["error"]["code"] == code
            await ask(caller, type="input_audio_buffer.clear")
            seen: list[Any] = []
            await until(caller, "input_audio_buffer.cleared", seen)
            assert [event["type"] for event in seen] == ["input_audio_buffer.cleared"]

    with_server(script, sets=SCRIPTED)


def test_either_may_leave_first() -> None:
    async def script(port: int) -> None:
        async with call(port) as caller:
            name = await opened(caller)
            async with call(port, query=f"call_id={name}") as sideband:
                await opened(sideband)
            await ask(caller, type="session.update", session={"instructions": "Alone."})
            await until(caller, "session.updated")
            async with call(port, query=f"call_id={name}") as sideband:
                await opened(sideband)
                await caller.close()
                with pytest.raises(ConnectionClosed) as closed:
                    await until(sideband, "never")
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1000
        with pytest.raises(InvalidStatus) as refused:
            await call(port, query=f"call_id={name}")
        assert refused.value.response.status_code == 404

    with_server(script, sets=SCRIPTED)


def test_only_the_tenants_keys_join(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    own, other = new_key(path, tenant="a"), new_key(path, tenant="b")

    async def status(port: int, name: str, headers: Mapping[str, str]) -> int:
        with pytest.raises(InvalidStatus) as refused:
            await call(port, headers, query=f"call_id={name}")
        return refused.value.response.status_code

    async def script(port: int) -> None:
        async with call(port, bearer(own.secret)) as caller:
            name = await opened(caller)
            assert await status(port, name, {}) == 401
            assert await status(port, name, bearer(other.secret)) == 404
            url = f"http://127.0.0.1:{port}/v1/realtime/client_secrets"
            async with httpx.AsyncClient(headers=bearer(own.secret)) as http:
                made = (await http.post(url, json={})).json()
            assert await status(port, name, bearer(made["value"])) == 403
            async with call(port, bearer(own.secret), query=f"call_id={name}") as sideband:
                assert await opened(sideband) == name

    with_server(script, sets=keyed(path))
