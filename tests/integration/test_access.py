"""Who comes in, and who does not: real sockets, real clients, real key files."""

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, AuthenticationError

from tests.support.server import with_server
from tests.support.visitors import bearer, call, close_code, event_of, keyed, new_key, raw, refused
from voicestack.access.key_file import KeyFile
from voicestack.aio.clock import unix_s
from voicestack.cli.bench_server import free_port
from voicestack.core.errors import ConfigError

WITHIN_S = 5
"""A revocation counts within seconds."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def http(port: int, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, **options)


def openai(port: int, key: str) -> AsyncOpenAI:
    return AsyncOpenAI(api_key=key, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)


async def converses(ws: Any) -> None:
    """A typed turn goes through."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    await ws.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await ws.send(json.dumps({"type": "response.create", "response": {"output_modalities": ["text"]}}))
    assert (await event_of(ws, "response.done"))["response"]["status"] == "completed"


# --- without keys ---------------------------------------------------------------------------------------


def test_without_keys_this_machine_comes_in_with_any_key_or_none(path: Path) -> None:
    async def script(port: int) -> None:
        for headers in ({}, bearer("sk-local"), {"api-key": "whatever"}):
            async with call(port, headers) as ws:
                await event_of(ws, "session.created")
        async with http(port) as client:
            assert (await client.get("/v1/models")).status_code == 200
            assert "voicestack_turns" in (await client.get("/metrics")).text
            assert (await client.get("/readyz")).json()["profile"] == "scripted"

    with_server(script, sets=keyed(path))
    assert not path.exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_without_keys_no_other_machine_may_reach_it(path: Path, host: str) -> None:
    async def script(_: int) -> None:
        raise AssertionError("it was started")

    with pytest.raises(ConfigError, match="voicestack keys create") as caught:
        with_server(script, sets=keyed(path, f"server.host={host}"))
    assert str(path) in str(caught.value)
    assert "access.open_to_anyone=true" in str(caught.value)


def test_all_keys_revoked_is_not_the_same_as_open(path: Path) -> None:
    made = new_key(path)
    KeyFile(path).change(lambda ring: ring.without(made.key.id))

    async def script(port: int) -> None:
        assert (await refused(port))[0] == 401

    with_server(script, sets=keyed(path))
    with pytest.raises(ConfigError, match="there are no API keys"):
        with_server(script, sets=keyed(path, "server.host=0.0.0.0"))


def test_open_to_anyone_means_it(path: Path) -> None:
    new_key(path)

    async def script(port: int) -> None:
        async with call(port) as ws:
            await converses(ws)

    with_server(script, sets=keyed(path, "server.host=0.0.0.0", "access.open_to_anyone=true"))


def test_keys_that_cannot_be_read_stop_the_start(path: Path) -> None:
    async def script(_: int) -> None:
        raise AssertionError("it was started")

    path.write_text('{"version": 1, "keys": [{"id": "x"}]}')
    with pytest.raises(ConfigError, match=r"keys\.json: keys\.0\.id"):
        with_server(script, sets=keyed(path))
    path.write_text('{"version": 2}')
    with pytest.raises(ConfigError, match="version"):
        with_server(script, sets=keyed(path))


# --- with keys ------------------------------------------------------------------------------------------


def test_every_way_to_show_a_key_on_a_websocket(path: Path) -> None:
    key = new_key(path).secret

    async def script(port: int) -> None:
        for headers in (bearer(key), {"Authorization": f"bearer  {key}"}, {"api-key": key}):
            async with call(port, headers) as ws:
                assert ws.subprotocol is None
                await event_of(ws, "session.created")
        offered = ["realtime", f"openai-insecure-api-key.{key}", "openai-agents-sdk.0.20"]
        async with call(port, subprotocols=offered) as ws:
            assert ws.subprotocol == "realtime"
            assert ws.response is not None
            assert key not in str(ws.response.headers)
            await converses(ws)
        async with call(port, {"Authorization": "Basic dTpw", "api-key": key}) as ws:
            await event_of(ws, "session.created")

    with_server(script, sets=keyed(path))


def test_wrong_keys_are_answered_as_openai_does(path: Path) -> None:
    key = new_key(path).secret
    expired = new_key(path, expires_at_s=unix_s() - 1).secret
    wrong = [None, "sk-local", key[:-1] + ("A" if key[-1] != "A" else "B"), key + "x", expired, "ek_abc"]

    async def script(port: int) -> None:
        for one in wrong:
            status, code, headers = await refused(port, bearer(one) if one else {})
            assert (status, code) == (401, "invalid_api_key")
            assert headers["WWW-Authenticate"] == "Bearer"
        async with openai(port, "sk-wrong") as client:
            with pytest.raises(AuthenticationError) as caught:
                await client.models.list()
        assert caught.value.code == "invalid_api_key"
        async with openai(port, key) as client:
            assert [model.id async for model in client.models.list()]
        async with call(port, bearer(key)) as ws:
            await converses(ws)

    with_server(script, sets=keyed(path, "limits.failures_per_minute_per_address=60"))


def test_what_is_open_and_what_is_not(path: Path) -> None:
    key, other = new_key(path).secret, new_key(path, tenant="acme").secret
    closed = (
        "/v1/models",
        "/metrics",
        "/v1/nowhere",
        "/elsewhere",
        "/v1/../metrics",
        "//metrics",
        "/metrics/",
    )

    disguised = (
        "/%6detrics",
        "/healthz/../metrics",
        "//x/metrics",
        "http://x/metrics",
        "/metrics?x=/healthz",
    )

    async def script(port: int) -> None:
        async with http(port) as client:
            assert (await client.get("/healthz")).text == "ok\n"
            assert "voicestack" in (await client.get("/")).text
            assert (await client.get("/readyz")).json() == {"ready": True}
            for one in (*closed, *disguised):
                answer = await raw(port, f"GET {one} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert answer.startswith(b"HTTP/1.1 401"), one
            assert (await client.post("/v1/realtime/client_secrets", json={})).status_code == 401
            mine, theirs = bearer(key), bearer(other)
            page = (await client.get("/metrics", headers=mine)).text
            assert "voicestack_turns" in page
            n_refused = len(closed) + len(disguised) + 1
            assert f'voicestack_refusals_total{{code="invalid_api_key"}} {n_refused}.0' in page
            denied = await client.get("/metrics", headers=theirs)
            assert (denied.status_code, denied.json()["error"]["code"]) == (403, "insufficient_permissions")
            assert (await client.get("/readyz", headers=mine)).json()["profile"] == "scripted"
            assert (await client.get("/readyz", headers=theirs)).json() == {"ready": True}
            assert (await client.get("/v1/models", headers=theirs)).status_code == 200
            nowhere = await client.get("/v1/nowhere", headers=theirs)
            assert (nowhere.status_code, nowhere.json()["error"]["code"]) == (404, "not_found")

    with_server(script, sets=keyed(path, "limits.failures_per_minute_per_address=60"))


def test_figures_can_be_shown_to_all(path: Path) -> None:
    new_key(path)

    async def script(port: int) -> None:
        async with http(port) as client:
            assert "voicestack_turns" in (await client.get("/metrics")).text
            assert (await client.get("/readyz")).json()["profile"] == "scripted"
            assert (await client.get("/v1/models")).status_code == 401

    with_server(script, sets=keyed(path, "access.open_metrics=true"))


def test_a_key_counts_at_once_and_ends_its_sessions_when_it_is_revoked(path: Path) -> None:
    first = new_key(path)

    async def script(port: int) -> None:
        second = new_key(path)
        async with asyncio.timeout(WITHIN_S):
            while True:
                async with http(port) as client:
                    if (await client.get("/v1/models", headers=bearer(second.secret))).is_success:
                        break
                await asyncio.sleep(0.1)
        async with call(port, bearer(first.secret)) as ends, call(port, bearer(second.secret)) as stays:
            await event_of(ends, "session.created")
            await event_of(stays, "session.created")
            KeyFile(path).change(lambda ring: ring.without(first.key.id))
            async with asyncio.timeout(WITHIN_S):
                error = (await event_of(ends, "error"))["error"]
                assert error["code"] == "invalid_api_key"
                assert "revoked" in error["message"]
                assert await close_code(ends) == 1008
            await converses(stays)
        assert (await refused(port, bearer(first.secret)))[0] == 401
        path.write_text("damaged")
        await asyncio.sleep(1.5)
        async with call(port, bearer(second.secret)) as ws:  # the last keys that could be read count
            await converses(ws)
            path.unlink()  # and without a file none do
            async with asyncio.timeout(WITHIN_S):
                assert await close_code(ws) == 1008
        assert (await refused(port))[0] == 401

    with_server(script, sets=keyed(path, "limits.failures_per_minute_per_address=60"))


def test_an_open_server_asks_for_keys_once_there_are_some(path: Path) -> None:
    async def script(port: int) -> None:
        async with call(port) as ws:
            await event_of(ws, "session.created")
            key = new_key(path).secret
            async with asyncio.timeout(WITHIN_S), http(port) as client:
                while True:
                    if (await client.get("/v1/models")).status_code == 401:
                        break
                    await asyncio.sleep(0.1)
            assert (await refused(port))[0] == 401
            await converses(ws)  # who was let in stays
        async with call(port, bearer(key)) as ws:
            await event_of(ws, "session.created")

    with_server(script, sets=keyed(path))


def test_bytes_that_no_client_sends_are_refused_in_words(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = new_key(path).secret.encode()
    upgrade = (
        b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==\r\n"
    )
    good = b"Authorization: Bearer " + key + b"\r\n"
    odd = [
        (b"/v1/realtime", b"Authorization: Bearer \xff\xfe\r\n", b"401"),
        (b"/v1/realtime", b"Authorization: Bearer ek_\xff\xfe\r\n", b"401"),
        (b"/v1/realtime", b"Sec-WebSocket-Protocol: openai-insecure-api-key.\xff\r\n", b"400"),
        (b"/v1/realtime", b"Origin: http://[\r\n" + good, b"403"),
        (b"/v1/realtime", b"Origin: \xff\r\n" + good, b"403"),
        (b"/v1/realtime", b"Origin: http://a\r\nOrigin: http://localhost\r\n" + good, b"400"),
        (b"/v1/realtime", b"X-Forwarded-For: " + b"1.2.3.4," * 900 + b"\r\n" + good, b"101"),
        (b"/v1/realtime?call_id=%ff%00", good, b"404"),
        (b"/v1/realtime?model=%ff%ed%a0%80", good, b"101"),
        (b"//[/v1/realtime", good, b"404"),
        (b"http://x/v1/realtime?model=m", good, b"101"),
        (b"http://x/v1/realtime?model=m", b"", b"401"),
        (b"/%ff", good, b"404"),
        (b"/\xff", good, b"40"),
    ]

    async def script(port: int) -> None:
        for url, headers, status in odd:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET " + url + b" HTTP/1.1\r\n" + upgrade + headers + b"\r\n")
                line = await reader.readline()
                writer.close()
            assert line.startswith(b"HTTP/1.1 " + status), (url, headers, line)
        async with http(port) as client:
            for one in (b"Bearer \xff\xfe", b"Bearer ek_\xff"):
                answer = await client.get("/v1/models", headers={b"Authorization": one})
                assert answer.status_code == 401

    with_server(script, sets=keyed(path, "limits.failures_per_minute_per_address=60"))
    assert not [record for record in caplog.records if record.exc_info]


# --- tenants --------------------------------------------------------------------------------------------


def test_one_tenant_cannot_reach_what_is_of_another(path: Path) -> None:
    mine, theirs = new_key(path, tenant="acme"), new_key(path, tenant="globex")

    async def script(port: int) -> None:
        async with call(port, bearer(mine.secret)) as victim, call(port, bearer(theirs.secret)) as thief:
            session = (await event_of(victim, "session.created"))["session"]["id"]
            await event_of(thief, "session.created")
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "secret"}]}
            await victim.send(json.dumps({"type": "conversation.item.create", "item": item}))
            name = (await event_of(victim, "conversation.item.done"))["item"]["id"]
            for event in (
                {"type": "conversation.item.retrieve", "item_id": name},
                {"type": "conversation.item.delete", "item_id": name},
                {
                    "type": "conversation.item.truncate",
                    "item_id": name,
                    "content_index": 0,
                    "audio_end_ms": 0,
                },
            ):
                await thief.send(json.dumps(event))
                error = (await event_of(thief, "error"))["error"]
                assert "secret" not in json.dumps(error)
            assert (await refused(port, bearer(theirs.secret), query=f"call_id={session}"))[:2] == (
                404,
                "not_found",
            )
            async with http(port) as client:
                hang_up = f"/v1/realtime/calls/{session}/hangup"
                for way in (theirs.secret, "sk-wrong"):
                    answer = await client.post(hang_up, headers=bearer(way))
                    assert answer.status_code in (401, 404)
                await victim.send(json.dumps({"type": "conversation.item.retrieve", "item_id": name}))
                assert (await event_of(victim, "conversation.item.retrieved"))["item"]["id"] == name
                assert (await client.post(hang_up, headers=bearer(mine.secret))).status_code == 200
                assert await close_code(victim) == 1000
            await converses(thief)

    with_server(script, sets=keyed(path))


# --- web pages ------------------------------------------------------------------------------------------


def test_pages_from_elsewhere_may_not_connect(path: Path) -> None:
    async def script(port: int) -> None:
        for origin in ("http://localhost:3000", "http://127.0.0.1:5173", "https://app.example.com"):
            async with call(port, origin=origin) as ws:
                await event_of(ws, "session.created")
        for origin in ("https://evil.example", "https://app.example.com.evil.example", "null"):
            assert (await refused(port, origin=origin))[:2] == (403, "origin_not_allowed")
        rebound = {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"}
        async with http(port) as client:
            assert (await client.get("/v1/models", headers=rebound)).status_code == 403

    with_server(script, sets=keyed(path, 'access.origins=["https://app.example.com"]'))


def test_a_browser_may_read_answers_for_allowed_pages_only(path: Path) -> None:
    key = new_key(path).secret
    page, evil = {"Origin": "https://app.example.com"}, {"Origin": "https://evil.example"}
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-stainless-lang"}

    async def script(port: int) -> None:
        async with http(port) as client:
            answer = await client.options("/v1/realtime/calls", headers=page | ask)
            assert answer.status_code == 204
            assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
            allowed = answer.headers["access-control-allow-headers"].lower()
            assert "authorization" in allowed
            assert "x-stainless-lang" in allowed
            answer = await client.options("/v1/realtime/calls", headers=evil | ask)
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers
            answer = await client.get("/v1/models", headers=page | bearer(key))
            assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
            assert "Location" in answer.headers["access-control-expose-headers"]
            assert "Origin" in answer.headers["vary"]
            answer = await client.get("/v1/models", headers=page | bearer("sk-wrong"))
            assert (answer.status_code, len(answer.headers.get_list("access-control-allow-origin"))) == (
                401,
                1,
            )
            answer = await client.get("/v1/models", headers=evil | bearer(key))
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers

    with_server(script, sets=keyed(path, 'access.origins=["https://app.example.com"]'))


def test_openai_connects_without_a_page(path: Path) -> None:
    key = new_key(path).secret

    async def script(port: int) -> None:
        async with openai(port, key) as client, client.realtime.connect(model="m") as connection:
            event = await connection.recv()
            assert event.type == "session.created"

    with_server(script, sets=keyed(path))


def test_a_port_that_is_taken_is_named(path: Path) -> None:
    async def script(_: int) -> None:
        raise AssertionError("it was started")

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"server\.port {port} on 127\.0\.0\.1 cannot be used.* taken"):
            with_server(script, sets=keyed(path, f"server.port={port}"))


def test_no_log_ever_shows_a_key(path: Path) -> None:
    key, wrong = new_key(path).secret, "sk-wrong-0123456789"
    port = free_port()
    command = [sys.executable, "-m", "voicestack", "serve", "--config", "scripted", "--port", str(port)]
    command += ["--set", "telemetry.log_level=debug", "--set", f"access.keys_file={path}"]

    async def script() -> None:
        server = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        assert server.stdout is not None
        said = b""
        try:
            while b"ready on" not in said:
                said += await server.stdout.readline()
            async with http(port) as client:
                made = await client.post("/v1/realtime/client_secrets", headers=bearer(key))
                value = made.json()["value"]
                await client.get("/v1/models", headers=bearer(wrong))
            for one in (key, value):
                async with call(port, bearer(one)) as ws:
                    await converses(ws)
                async with call(port, subprotocols=["realtime", f"openai-insecure-api-key.{one}"]) as ws:
                    await converses(ws)
            await refused(port, bearer(wrong))
        finally:
            server.terminate()
            rest, _ = await server.communicate()
        said += rest
        assert b"shows no valid key" in said
        assert key.split("-")[2].encode() in said  # its name is
        for one in (key.split("-", 3)[3], value, wrong):
            assert one.encode() not in said

    asyncio.run(asyncio.wait_for(script(), 60))
