"""Ephemeral secrets: made by a real client, used by another, worthless where they should be."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from tests.support.realtime_check import check_server_event
from tests.support.server import with_server
from tests.support.visitors import bearer, call, close_code, event_of, keyed, new_key, refused
from voicestack.access.key_file import KeyFile
from voicestack.access.secret import MAX_CHARS, Claims, sign
from voicestack.aio.clock import unix_s

URL = "/v1/realtime/client_secrets"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def http(port: int, key: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, headers=bearer(key))


def test_the_stock_client_makes_one_and_a_browser_uses_it(path: Path) -> None:
    key = new_key(path).secret

    async def script(port: int) -> None:
        async with AsyncOpenAI(api_key=key, base_url=f"http://127.0.0.1:{port}/v1") as client:
            made = await client.realtime.client_secrets.create(
                expires_after={"anchor": "created_at", "seconds": 60},
                session={
                    "type": "realtime",
                    "model": "gpt-realtime",
                    "instructions": "You are a pirate.",
                    "output_modalities": ["text"],
                    "audio": {"output": {"voice": "marin", "speed": 1.25}},
                    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
                },
            )
        assert made.value.startswith("ek_")
        assert abs(made.expires_at - unix_s() - 60) < 5
        shown: Any = made.session
        assert shown.object == "realtime.session"
        assert shown.id.startswith("sess_")
        assert (shown.type, shown.model, shown.instructions) == (
            "realtime",
            "gpt-realtime",
            "You are a pirate.",
        )
        check_server_event({"type": "session.created", "event_id": "e", "session": shown.to_dict()})
        offered = ["realtime", f"openai-insecure-api-key.{made.value}"]
        for _ in range(2):  # it can be used again until it expires
            async with call(port, subprotocols=offered, query="") as ws:
                session = (await event_of(ws, "session.created"))["session"]
                assert session["instructions"] == "You are a pirate."
                assert session["model"] == "gpt-realtime"
                assert session["audio"]["output"]["speed"] == 1.25
                assert session["tools"][0]["name"] == "f"
                assert session["id"] != shown.id
                await ws.send('{"type": "response.create"}')
                done = (await event_of(ws, "response.done"))["response"]
                assert done["output"][0]["content"][0]["type"] == "output_text"
                update = {"type": "session.update", "session": {"type": "realtime", "instructions": "No."}}
                await ws.send(json.dumps(update))  # what it fixes can be changed, as at OpenAI
                assert (await event_of(ws, "session.updated"))["session"]["instructions"] == "No."

    with_server(script, sets=keyed(path))


def test_defaults_and_transcription(path: Path) -> None:
    key = new_key(path).secret

    async def script(port: int) -> None:
        async with http(port, key) as client:
            for body in (None, b"{}", b'{"session": null, "expires_after": null}'):
                made = (await client.post(URL, content=body)).json()
                assert abs(made["expires_at"] - unix_s() - 600) < 5
                assert made["session"]["instructions"]
            answer = await client.post(URL, json={"session": {"type": "transcription"}})
            assert answer.headers["cache-control"] == "no-store"
            assert answer.json()["session"]["object"] == "realtime.transcription_session"
        async with call(port, bearer(answer.json()["value"])) as ws:
            session = (await event_of(ws, "session.created"))["session"]
            assert session["type"] == "transcription"

    with_server(script, sets=keyed(path))


def test_what_is_wrong_is_named(path: Path) -> None:
    key = new_key(path).secret
    wrong: list[tuple[Any, str | None]] = [
        ([], "body"),
        ({"expires_after": {"seconds": 9}}, "body.expires_after.seconds"),
        ({"expires_after": {"seconds": 7201}}, "body.expires_after.seconds"),
        ({"expires_after": {"anchor": "now"}}, "body.expires_after.anchor"),
        ({"session": []}, "session"),
        ({"session": {"type": "other"}}, "session.type"),
        ({"session": {"model": 5}}, "session.model"),
        ({"session": {"audio": {"output": {"speed": 9}}}}, "session.audio.output.speed"),
        ({"session": {"instructions": "".join(map(str, range(30_000)))}}, "session"),
    ]

    async def script(port: int) -> None:
        async with http(port, key) as client:
            for body, param in wrong:
                answer = await client.post(URL, json=body)
                assert answer.status_code == 400, body
                error = answer.json()["error"]
                assert error["param"] == param
                assert error["type"] == "invalid_request_error"
            assert error["code"] == "session_too_large"
            assert str(MAX_CHARS) in error["message"]
            for content in (b"{", b"\xff", b'"text"'):
                assert (await client.post(URL, content=content)).status_code == 400
            assert (await client.get(URL)).status_code == 405
            long = {"session": {"instructions": "Say what is true and nothing else. " * 1000}}
            fits = (await client.post(URL, json=long)).json()["value"]
        async with call(port, subprotocols=["realtime", f"openai-insecure-api-key.{fits}"]) as ws:
            session = (await event_of(ws, "session.created"))["session"]
            assert session["instructions"] == long["session"]["instructions"]

    with_server(script, sets=keyed(path))


def test_it_opens_sessions_and_nothing_else(path: Path) -> None:
    key = new_key(path).secret

    async def script(port: int) -> None:
        async with http(port, key) as client:
            value = (await client.post(URL, json={})).json()["value"]
        async with http(port, value) as client:
            for method, url in (("POST", URL), ("GET", "/v1/models"), ("GET", "/metrics")):
                answer = await client.request(method, url, json={})
                assert answer.status_code == 403
                assert answer.json()["error"]["code"] == "ephemeral_key_not_allowed"
            assert (await client.get("/readyz")).json() == {"ready": True}

    with_server(script, sets=keyed(path))


def test_forged_expired_and_orphaned_ones_are_worth_nothing(path: Path) -> None:
    one, other = new_key(path, tenant="acme"), new_key(path, tenant="globex")
    signing_key = KeyFile(path).signing_key()

    def made(**changes: Any) -> str:
        fields: dict[str, Any] = {
            "id": "x",
            "tenant": "acme",
            "key_id": one.key.id,
            "expires_at_s": unix_s() + 100,
            "session": {"type": "realtime"},
        }
        return sign(Claims(**{**fields, **changes}), signing_key)

    worthless = [
        made(expires_at_s=unix_s()),
        made(tenant="globex"),
        made(key_id=other.key.id),
        made(key_id=""),
        made(key_id="0123456789"),
        sign(Claims("x", "acme", one.key.id, unix_s() + 100, {}), b"k" * 32),
    ]

    async def script(port: int) -> None:
        for value in worthless:
            assert (await refused(port, bearer(value)))[:2] == (401, "invalid_api_key")
        async with call(port, bearer(made())) as ws:
            await event_of(ws, "session.created")
            async with asyncio.timeout(5):
                KeyFile(path).change(lambda ring: ring.without(one.key.id))
                assert await close_code(ws) == 1008
        assert (await refused(port, bearer(made())))[0] == 401
        soon = made(key_id=other.key.id, tenant="globex", expires_at_s=unix_s() + 2)
        async with call(port, bearer(soon)) as ws:
            await event_of(ws, "session.created")
            await asyncio.sleep(2.1)
            assert (await refused(port, bearer(soon)))[0] == 401
            await ws.send('{"type": "input_audio_buffer.clear"}')  # what it opened goes on
            await event_of(ws, "input_audio_buffer.cleared")
        bad = made(key_id=other.key.id, tenant="globex", session={"output_modalities": ["smell"]})
        async with call(port, bearer(bad)) as ws:  # as if an older server had taken it
            assert (await event_of(ws, "error"))["error"]["param"] == "session.output_modalities"
            assert await close_code(ws) == 1008

    with_server(script, sets=keyed(path, "limits.failures_per_minute_per_address=60"))


def test_a_restart_keeps_it_and_keys_end_what_was_made_without(path: Path) -> None:
    made: list[str] = []

    async def mint(port: int) -> None:
        async with http(port, "sk-local") as client:  # no keys: anybody on this machine may make one
            made.append((await client.post(URL, json={"session": {"instructions": "Hm."}})).json()["value"])

    async def use(port: int) -> None:
        async with call(port, bearer(made[0])) as ws:
            assert (await event_of(ws, "session.created"))["session"]["instructions"] == "Hm."
        assert (await refused(port, bearer(made[0][:-2])))[0] == 401  # even at an open server

    with_server(mint, sets=keyed(path))
    with_server(use, sets=keyed(path))
    assert path.with_name("keys.json.signing").stat().st_mode & 0o777 == 0o600
    new_key(path)

    async def after_keys(port: int) -> None:
        assert (await refused(port, bearer(made[0])))[0] == 401

    with_server(after_keys, sets=keyed(path))


def test_its_own_limits(path: Path) -> None:
    key = new_key(path).secret

    async def script(port: int) -> None:
        async with http(port, key) as client:
            value = (await client.post(URL, json={})).json()["value"]
            other = (await client.post(URL, json={})).json()["value"]
        async with call(port, bearer(value)), call(port, bearer(value)):
            status, code, headers = await refused(port, bearer(value))
            assert (status, code) == (429, "rate_limit_exceeded")
            assert int(headers["Retry-After"]) > 0
            async with call(port, bearer(other)) as ws:
                await event_of(ws, "session.created")

    with_server(script, sets=keyed(path, "limits.sessions_per_secret=2"))


def test_keys_of_tool_servers_are_not_put_where_a_browser_can_read_them(path: Path) -> None:
    key = new_key(path).secret
    tool = {"type": "mcp", "server_label": "docs", "server_url": "https://docs.example/mcp"}

    async def script(port: int) -> None:
        async with http(port, key) as client:
            for secret in ({"authorization": "sesame"}, {"headers": {"X-Key": "sesame"}}):
                made = await client.post(URL, json={"session": {"tools": [{**tool, **secret}]}})
                assert made.status_code == 400
                error = made.json()["error"]
                assert (error["code"], error["param"]) == (
                    "invalid_value",
                    f"session.tools[0].{next(iter(secret))}",
                )
                assert "sesame" not in made.text
            made = await client.post(URL, json={"session": {"tools": [tool]}})
            assert "mcp.allowed_hosts" in made.json()["error"]["message"]

    with_server(script, sets=keyed(path))
