"""Too often, too many, too long, too slow: each is refused in words, costs little, and harms nobody else."""

import asyncio
import json
import ssl
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.support.server import with_server
from tests.support.visitors import bearer, call, close_code, event_of, keyed, new_key, raw, refused

PROXY = 'access.trusted_proxies=["127.0.0.1"]'
"""Clients of this machine are not counted; behind a proxy they have addresses."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def http(port: int, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, headers=headers)


def behind(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def opened(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


# --- how often --------------------------------------------------------------------------------------------


def test_requests_of_an_address_and_of_no_other(path: Path) -> None:
    async def script(port: int) -> None:
        one, other = behind("203.0.113.1"), behind("203.0.113.2")
        async with http(port) as client:
            codes = [(await client.get("/v1/models", headers=one)).status_code for _ in range(7)]
            assert codes == [200] * 5 + [429] * 2
            answer = await client.get("/v1/models", headers=one)
            assert answer.json()["error"]["code"] == "rate_limit_exceeded"
            assert answer.json()["error"]["type"] == "rate_limit_error"
            assert 1 <= int(answer.headers["retry-after"]) <= 4
            assert answer.headers["retry-after"] in answer.json()["error"]["message"]
            assert (await refused(port, one))[:2] == (429, "rate_limit_exceeded")
            assert (await client.get("/v1/models", headers=other)).status_code == 200
            for _ in range(20):
                assert (await client.get("/healthz", headers=one)).status_code == 200
            unbelieved = await client.get("/v1/models", headers=behind("not an address"))
            assert unbelieved.status_code == 200
        async with call(port, other) as ws:
            await event_of(ws, "session.created")

    with_server(script, sets=keyed(path, PROXY, "limits.requests_per_minute_per_address=15"))


def test_a_forwarded_address_is_believed_from_proxies_only(path: Path) -> None:
    async def script(port: int) -> None:
        async with http(port, **behind("203.0.113.1")) as client:
            for _ in range(10):
                assert (await client.get("/v1/models")).status_code == 200

    with_server(script, sets=keyed(path, "limits.requests_per_minute_per_address=3"))


def test_requests_with_a_key_and_a_key_with_limits_of_its_own(path: Path) -> None:
    common = new_key(path, tenant="acme").secret
    own = new_key(path, tenant="acme", requests_per_minute=6, max_sessions=1).secret

    async def script(port: int) -> None:
        async with http(port) as client:

            async def codes(key: str, n: int) -> list[int]:
                return [(await client.get("/v1/models", headers=bearer(key))).status_code for _ in range(n)]

            assert await codes(common, 5) == [200] * 4 + [429]
            assert await codes(own, 1) == [200]
        async with call(port, bearer(own)) as ws:
            await event_of(ws, "session.created")
            assert (await refused(port, bearer(own)))[1] == "rate_limit_exceeded"

    with_server(script, sets=keyed(path, "limits.requests_per_minute_per_key=12"))


def test_replies_of_a_key_over_all_its_sessions(path: Path) -> None:
    key, own = new_key(path).secret, new_key(path, tenant="acme", responses_per_minute=1).secret

    async def answered(port: int, secret: str) -> tuple[list[tuple[str, int, int]], str]:
        """What is left after a written reply, and the code of the refusal of one more, in another session."""
        async with call(port, bearer(secret)) as ws:
            await ws.send(
                json.dumps({"type": "response.create", "response": {"output_modalities": ["text"]}})
            )
            updated = await event_of(ws, "rate_limits.updated")
        left = [(one["name"], one["limit"], one["remaining"]) for one in updated["rate_limits"]]
        async with call(port, bearer(secret)) as ws:
            await ws.send(json.dumps({"type": "response.create", "event_id": "e1"}))
            error = (await event_of(ws, "error"))["error"]
            assert (error["type"], error["event_id"]) == ("rate_limit_error", "e1")
            await ws.send(json.dumps({"type": "session.update", "session": {"type": "realtime"}}))
            await event_of(ws, "session.updated")
        return left, error["code"]

    async def script(port: int) -> None:
        left, code = await answered(port, own)
        assert left[0] == ("requests", 1, 0)
        assert left[1][:2] == ("tokens", 5)
        assert code == "rate_limit_exceeded"
        left, code = await answered(port, key)
        assert (left[0], code) == (("requests", 20, 19), "rate_limit_exceeded")
        assert left[1] == ("tokens", 5, 0)

    limits = ("limits.responses_per_minute_per_key=20", "limits.tokens_per_minute_per_key=5")
    with_server(script, sets=keyed(path, *limits))


def test_wrong_keys_are_slowed_down_and_right_ones_are_not(path: Path) -> None:
    key = new_key(path).secret

    async def script(port: int) -> None:
        answers = [await refused(port, bearer(f"sk-wrong-{n}")) for n in range(6)]
        assert [status for status, _, _ in answers] == [401] * 3 + [429] * 3
        assert int(answers[-1][2]["Retry-After"]) > 0
        async with http(port) as client:
            answer = await client.get("/v1/models")
            assert (answer.status_code, answer.headers["connection"]) == (429, "close")
            assert (await client.get("/readyz", headers=bearer("sk-wrong"))).json() == {"ready": True}
            assert (await client.get("/v1/models", headers=bearer(key))).status_code == 200
        async with call(port, bearer(key)) as ws:
            await event_of(ws, "session.created")

    with_server(script, sets=keyed(path, "limits.failures_per_minute_per_address=9"))


# --- how many at once -------------------------------------------------------------------------------------


def test_sessions_at_once_of_an_address_and_of_a_key(path: Path) -> None:
    key, other = new_key(path).secret, new_key(path).secret

    async def script(port: int) -> None:
        async with AsyncExitStack() as stack:
            for n in range(3):
                ws = await stack.enter_async_context(call(port, bearer(key) | behind(f"203.0.113.{n}")))
                await event_of(ws, "session.created")
            status, code, headers = await refused(port, bearer(key) | behind("203.0.113.9"))
            assert (status, code, headers["Retry-After"]) == (429, "rate_limit_exceeded", "5")
            v6 = behind("2001:db8::1")
            await stack.enter_async_context(call(port, bearer(other) | v6))
            await stack.enter_async_context(call(port, bearer(other) | behind("2001:db8::2")))
            assert (await refused(port, bearer(other) | behind("2001:db8::3")))[0] == 429
            async with call(port, bearer(other) | behind("2001:db8:0:1::3")) as ws:
                await event_of(ws, "session.created")
        async with asyncio.timeout(5):  # who leaves makes room
            while True:
                async with http(port, **bearer(key)) as client:
                    if (await client.get("/readyz")).json()["sessions"] == 0:
                        break
        async with call(port, bearer(key) | behind("203.0.113.9")) as ws:
            await event_of(ws, "session.created")

    with_server(script, sets=keyed(path, PROXY, "limits.sessions_per_key=3", "limits.sessions_per_address=2"))


def test_whoever_is_turned_away_takes_no_seat(path: Path) -> None:
    async def script(port: int) -> None:
        one = behind("203.0.113.1")
        async with call(port) as ws:
            await event_of(ws, "session.created")
            for _ in range(3):
                async with call(port, one) as late:
                    assert (await event_of(late, "error"))["error"]["code"] == "overloaded"
                    assert await close_code(late) == 1013

    with_server(script, sets=keyed(path, PROXY, "limits.sessions_per_address=1", "server.max_sessions=1"))


# --- how long and how slow --------------------------------------------------------------------------------


def test_bodies_that_are_too_long(path: Path) -> None:
    async def script(port: int) -> None:
        url = "/v1/realtime/client_secrets"
        async with http(port) as client:
            fits = json.dumps({"session": {"instructions": "x" * 1900}}).encode()
            assert (await client.post(url, content=fits)).status_code == 200
            answer = await client.post(url, content=b"x" * 5000)
            assert (answer.status_code, answer.headers["connection"]) == (413, "close")
            assert answer.json()["error"]["code"] == "request_too_large"
        chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
        head = f"POST {url} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        told = await raw(port, head + chunk * 3)  # no end, and no length said
        assert told.startswith(b"HTTP/1.1 413")

    with_server(script, sets=keyed(path, "limits.body_bytes=2048"))


def test_bodies_that_do_not_come(path: Path) -> None:
    async def script(port: int) -> None:
        head = b"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        async with asyncio.timeout(5):
            answer = await raw(port, head + b"{")
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"request_timeout" in answer
        async with http(port) as client:
            assert (await client.get("/v1/models")).status_code == 200

    with_server(script, sets=keyed(path, "limits.body_timeout_ms=300"))


def test_heads_that_do_not_come_or_do_not_end(path: Path) -> None:
    async def script(port: int) -> None:
        async with asyncio.timeout(10):
            assert await raw(port, b"") == (
                b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            assert (await raw(port, b"GET / HTTP/1.1\r\nHost: x\r\n")).startswith(b"HTTP/1.1 408")
            reader, writer = await opened(port)
            writer.write(b"GET /v1/realtime HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
            answer = asyncio.create_task(reader.read())  # noqa: TID251 (a plain client)
            try:
                while not answer.done():  # a letter now and then does not keep it open
                    writer.write(b"X")
                    await asyncio.sleep(0.05)
            finally:
                writer.close()
            assert (await answer).startswith(b"HTTP/1.1 408")
            endless, writer = await opened(port)
            writer.write(b"GET / HTTP/1.1\r\n")
            try:
                n_lines, answered = 0, asyncio.create_task(endless.read(40))  # noqa: TID251
                while not answered.done():
                    writer.write(b"X-Long: " + b"x" * 1000 + b"\r\n")
                    n_lines += 1
                    await asyncio.sleep(0.01)
                assert (await answered).startswith(b"HTTP/1.1 431")
                assert n_lines < 30
            finally:
                writer.close()
            reader, writer = await opened(port)
            for _ in range(3):  # the time begins anew with each request of a connection that is kept
                await asyncio.sleep(0.3)
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert b"200 OK" in await reader.readuntil(b"ok\n")
            writer.close()

    with_server(script, sets=keyed(path, "limits.header_timeout_ms=500", "limits.header_bytes=8192"))


def test_an_upgraded_connection_has_no_head_to_wait_for(path: Path) -> None:
    async def script(port: int) -> None:
        async with call(port) as ws:
            await event_of(ws, "session.created")
            await asyncio.sleep(0.8)
            await ws.send('{"type": "input_audio_buffer.clear"}')
            await event_of(ws, "input_audio_buffer.cleared")

    with_server(script, sets=keyed(path, "limits.header_timeout_ms=500", "limits.speechless_ms=5000"))


def test_a_session_whose_client_says_nothing(path: Path) -> None:
    async def script(port: int) -> None:
        async with call(port) as silent, call(port) as ws:
            await ws.send('{"type": "input_audio_buffer.clear"}')
            async with asyncio.timeout(5):
                error = (await event_of(silent, "error"))["error"]
                assert error["code"] == "session_expired"
                assert "0.4 seconds" in error["message"]
                assert await close_code(silent) == 1000
            await event_of(ws, "input_audio_buffer.cleared")
            await ws.send('{"type": "input_audio_buffer.clear"}')
            await event_of(ws, "input_audio_buffer.cleared")

    with_server(script, sets=keyed(path, "limits.speechless_ms=400"))


def test_a_client_that_never_reads_its_answer_is_cut_off(path: Path) -> None:
    async def script(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        try:
            async with asyncio.timeout(20):
                while True:
                    writer.write(request * 50)
                    await asyncio.sleep(0.02)
                    await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
        async with http(port) as client:
            assert (await client.get("/v1/models")).status_code == 200

    with_server(script, sets=keyed(path, "limits.unread_timeout_ms=300"))


# --- encryption -------------------------------------------------------------------------------------------


def test_a_handshake_that_stops_is_cut_off_and_harms_nobody(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    async def script(port: int) -> None:
        trusted = ssl.create_default_context(cafile=str(tmp_path / "voicestack/tls/self-signed.pem"))
        stuck = [await opened(port) for _ in range(20)]
        for _, writer in stuck:
            writer.write(b"\x16\x03\x01")
        plain = await raw(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in plain
        async with httpx.AsyncClient(verify=trusted, trust_env=False) as client:
            assert (await client.get(f"https://localhost:{port}/healthz")).text == "ok\n"
        async with asyncio.timeout(5):
            for reader, writer in stuck:
                with suppress(ConnectionError):
                    await reader.read()
                writer.close()

    with_server(script, sets=keyed(path, "tls.self_signed=true", "limits.header_timeout_ms=1000"))
