"""Who may not call, how not, and what of whose: the HTTP side of calls, with links in memory."""

import base64
import hashlib
import hmac
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import httpx
import pytest

from tests.support.call import FakeLink
from tests.support.server import SCRIPTED, with_server
from tests.support.visitors import bearer, keyed, new_key, raw, refused
from voicestack.access.key_file import KeyFile
from voicestack.aio.clock import SystemClock, unix_s
from voicestack.server import lifecycle

SDP = {"Content-Type": "application/sdp"}
CALLS = "/v1/realtime/calls"


@contextmanager
def fake_links() -> Iterator[list[FakeLink]]:
    """The links that a server makes, in memory."""
    made: list[FakeLink] = []

    def new_link(scope: Any) -> FakeLink:
        made.append(FakeLink(SystemClock()))
        return made[-1]

    with patch.object(lifecycle, "link_maker", lambda *_: new_link):
        yield made


Script = Callable[[httpx.AsyncClient, list[FakeLink]], Awaitable[None]]


def asked(script: Script, *sets: str, headers: dict[str, str] | None = None) -> None:
    """A client of a server with links in memory."""

    async def with_client(port: int) -> None:
        base_url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base_url, headers={**SDP, **(headers or {})}) as http:
            await script(http, links)

    with fake_links() as links:
        with_server(with_client, sets=[*SCRIPTED, *sets])


def code_of(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].endswith(".")
    return answer.status_code, error["code"]


async def opened(http: httpx.AsyncClient, query: str = "", **options: Any) -> str:
    """Call; returns the call's name."""
    answer = await http.post(f"{CALLS}?{query}", content="offer", **options)
    assert answer.status_code == 201, answer.text
    return str(answer.headers["Location"].rpartition("/")[2])


async def n_sessions(http: httpx.AsyncClient, wanted: int) -> None:
    """Wait until there are so many."""
    for _ in range(2_000):
        if (await http.get("/readyz")).json()["sessions"] == wanted:
            return
    raise AssertionError("it did not come to that")


def test_the_answer_to_an_offer() -> None:
    async def script(http: httpx.AsyncClient, links: list[FakeLink]) -> None:
        answer = await http.post(CALLS, content="offer", headers={"Origin": "http://localhost:3000"})
        assert (answer.status_code, answer.text) == (201, "answer")
        assert answer.headers["Content-Type"] == "application/sdp"
        assert answer.headers["Location"].startswith("/v1/realtime/calls/rtc_")
        assert len(answer.headers["Location"].rpartition("/")[2]) <= 32
        assert "Location" in answer.headers["Access-Control-Expose-Headers"]
        azure = await http.post(f"/openai{CALLS}", content="offer")
        assert azure.headers["Location"].startswith("/openai/v1/realtime/calls/rtc_")
        await n_sessions(http, 2)

    asked(script)


def test_a_form_may_bring_a_session_with_or_without_types_of_its_parts() -> None:
    session = json.dumps({"instructions": "Be kind.", "model": "mine", "output_modalities": ["text"]})
    typed = {"sdp": (None, "offer", "application/sdp"), "session": (None, session, "application/json")}
    plain = {"sdp": (None, "offer"), "session": (None, session)}
    files = {"sdp": ("sdp", "offer", "application/sdp"), "session": ("session", session)}

    async def script(http: httpx.AsyncClient, links: list[FakeLink]) -> None:
        del http.headers["Content-Type"]
        for parts in cast("list[dict[str, Any]]", [typed, plain, files]):
            assert (await http.post(CALLS, files=parts)).status_code == 201
            links[-1].on_open()
            (created,) = links[-1].events
            assert created["session"]["instructions"] == "Be kind."
            assert created["session"]["model"] == "mine"
            assert created["session"]["output_modalities"] == ["text"]
        assert (await http.post(CALLS, files={"sdp": (None, "offer")})).status_code == 201

    asked(script)


@pytest.mark.parametrize(
    ("parts", "code", "param"),
    [
        ({"session": "{}"}, "missing_required_parameter", "sdp"),
        ({"sdp": "offer", "session": "{"}, "invalid_value", "session"),
        ({"sdp": "offer", "session": "[]"}, "invalid_value", "session"),
        ({"sdp": "offer", "session": '{"audio": {"output": {"speed": 9}}}'}, "invalid_value", "speed"),
        ({"sdp": "wrong"}, "invalid_offer", None),
    ],
)
def test_wrong_forms(parts: dict[str, str], code: str, param: str | None) -> None:
    async def script(http: httpx.AsyncClient, links: list[FakeLink]) -> None:
        del http.headers["Content-Type"]
        answer = await http.post(CALLS, files={name: (None, text) for name, text in parts.items()})
        assert code_of(answer) == (400, code)
        if param is not None:
            assert answer.json()["error"]["param"].endswith(param)
        await n_sessions(http, 0)

    asked(script)


def test_wrong_bodies() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65_536)

    async def script(http: httpx.AsyncClient, links: list[FakeLink]) -> None:
        assert code_of(await http.post(CALLS, content="wrong")) == (400, "invalid_offer")
        assert code_of(await http.post(CALLS, content=b"\xff")) == (400, "invalid_offer")
        as_json = await http.post(CALLS, content="{}", headers={"Content-Type": "application/json"})
        assert code_of(as_json) == (415, "unsupported_media_type")
        form = {"Content-Type": "multipart/form-data; boundary=x"}
        assert (await http.post(CALLS, content="no form", headers=form)).status_code == 400
        assert code_of(await http.post(CALLS, content=bytes(65_537)))[0] == 413
        for headers in (SDP, form):  # it is cut off while it still writes, and may not see why
            with suppress(httpx.TransportError):
                assert code_of(await http.post(CALLS, content=endless(), headers=headers))[0] in (400, 413)
        head = f"POST {CALLS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n"
        huge = f"{head}Content-Length: {3 << 30}\r\n\r\nv=0".encode()
        assert http.base_url.port is not None
        assert (await raw(http.base_url.port, huge)).startswith(b"HTTP/1.1 413 ")
        await n_sessions(http, 0)
        assert len(links) == 1  # only what looked like an offer came that far

    asked(script)


def test_nothing_of_another_tenants_calls_can_be_reached(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    own, other = new_key(path, tenant="a"), new_key(path, tenant="b")

    async def script(port: int) -> None:
        base_url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base_url, headers=SDP) as http:
            assert code_of(await http.post(CALLS, content="offer")) == (401, "invalid_api_key")
            mine, theirs = bearer(own.secret), bearer(other.secret)
            name = await opened(http, "voicestack_events=1", headers=mine)
            links[0].on_open()
            session_id = links[0].events[0]["session"]["id"]
            for known in (name, session_id, "rtc_never"):
                url = f"{CALLS}/{known}"
                for answer in (
                    await http.post(f"{CALLS}?resume={known}", content="offer", headers=theirs),
                    await http.patch(url, content="offer", headers=theirs),
                    await http.post(f"{url}/hangup", headers=theirs),
                    await http.post(f"{url}/accept", headers=theirs),
                    await http.post(f"{url}/reject", headers=theirs),
                    await http.post(f"{url}/refer", headers=theirs),
                ):
                    assert code_of(answer) == (404, "call_not_found")
                status, _, _ = await refused(port, theirs, query=f"call_id={known}")
                assert status == 404
            assert len(links) == 1
            for verb in ("accept", "reject", "refer"):
                answer = await http.post(f"{CALLS}/{name}/{verb}", headers=mine)
                assert code_of(answer) == (409, "call_not_ringing")
            patched = await http.patch(f"{CALLS}/{name}", content="offer", headers=mine)
            assert (patched.status_code, patched.text) == (200, "answer")
            assert patched.headers["Location"] == f"{CALLS}/{name}"
            again = await http.post(f"{CALLS}?resume={name}", content="offer", headers=mine)
            assert (again.status_code, again.headers["Location"]) == (201, f"{CALLS}/{name}")
            links[1].on_closed("gone")
            answer = await http.patch(f"{CALLS}/{name}", content="offer", headers=mine)
            assert code_of(answer) == (409, "call_not_connected")
            assert (await http.post(f"{CALLS}/{name}/hangup", headers=mine)).status_code == 200

    with fake_links() as links:
        with_server(script, sets=keyed(path))


def test_a_wrong_offer_leaves_the_present_connection_alone() -> None:
    async def script(http: httpx.AsyncClient, links: list[FakeLink]) -> None:
        name = await opened(http, "voicestack_events=1")
        links[0].on_open()
        answer = await http.post(f"{CALLS}?resume={name}", content="wrong")
        assert code_of(answer) == (400, "invalid_offer")
        assert code_of(await http.patch(f"{CALLS}/{name}", content="wrong")) == (400, "invalid_offer")
        assert links[0].kinds == ["session.created"]
        links[0].on_closed("gone")
        answer = await http.post(f"{CALLS}?resume={name}", content="wrong")
        assert code_of(answer) == (400, "invalid_offer")
        await n_sessions(http, 1)

    asked(script)


def test_no_more_calls_than_there_may_be(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    operator, narrow = new_key(path), new_key(path, tenant="a", max_sessions=1)

    async def script(port: int) -> None:
        base_url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base_url, headers=SDP) as http:
            one, other = bearer(narrow.secret), bearer(operator.secret)
            name = await opened(http, headers=one)
            answer = await http.post(CALLS, content="offer", headers=one)
            assert code_of(answer) == (429, "rate_limit_exceeded")
            assert answer.headers["Retry-After"]
            await opened(http, headers=other)
            answer = await http.post(CALLS, content="offer", headers=other)
            assert code_of(answer) == (503, "overloaded")
            assert answer.headers["Retry-After"] == "1"
            await http.post(f"{CALLS}/{name}/hangup", headers=one)
            for _ in range(2_000):
                answer = await http.post(CALLS, content="offer", headers=one)
                if answer.status_code == 201:
                    break
            else:
                raise AssertionError("the seat was not given back")

    with fake_links() as links:
        with_server(script, sets=keyed(path, "server.max_sessions=2"))
    assert len(links) == 3


def test_who_never_connects_is_reaped_and_gives_back_the_seat() -> None:
    async def script(http: httpx.AsyncClient, links: list[FakeLink]) -> None:
        await opened(http)
        await n_sessions(http, 1)
        await n_sessions(http, 0)
        assert links[0].kinds == ["close"]

    asked(script, "webrtc.connect_timeout_ms=500")


def test_a_call_ends_after_the_longest_session_and_says_so() -> None:
    async def script(http: httpx.AsyncClient, links: list[FakeLink]) -> None:
        await opened(http)
        links[0].on_open()
        await n_sessions(http, 0)
        assert links[0].kinds == ["session.created", "error", "close"]
        assert links[0].events[1]["error"]["code"] == "session_expired"

    asked(script, "server.session_limit_s=1")


def test_a_call_ends_when_its_key_is_revoked(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    own = new_key(path, tenant="a")
    operator = new_key(path)

    async def script(port: int) -> None:
        headers = {**SDP, **bearer(own.secret)}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as http:
            await opened(http)
            links[0].on_open()
            KeyFile(path).change(lambda ring: ring.without(own.key.id))
            http.headers.update(bearer(operator.secret))
            await n_sessions(http, 0)
            assert links[0].kinds == ["session.created", "error", "close"]
            assert links[0].events[1]["error"]["code"] == "invalid_api_key"

    with fake_links() as links:
        with_server(script, sets=keyed(path))


def test_an_ephemeral_secret_calls_with_the_session_that_it_was_made_for(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    own = new_key(path)

    async def script(port: int) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            wish = {"session": {"type": "realtime", "instructions": "Be kind.", "model": "mine"}}
            made = await http.post("/v1/realtime/client_secrets", json=wish, headers=bearer(own.secret))
            secret = {**SDP, **bearer(made.json()["value"])}
            await opened(http, headers=secret)
            links[0].on_open()
            created = links[0].events[0]["session"]
            assert (created["instructions"], created["model"]) == ("Be kind.", "mine")
            assert (await http.get("/v1/realtime/ice_servers", headers=secret)).status_code == 200

    with fake_links() as links:
        with_server(script, sets=keyed(path))


def test_a_server_that_stops_hangs_up() -> None:
    links_seen: list[FakeLink] = []

    async def script(http: httpx.AsyncClient, links: list[FakeLink]) -> None:
        await opened(http, "voicestack_events=1")
        links[0].on_open()
        await opened(http)
        await n_sessions(http, 2)
        links_seen.extend(links)

    asked(script)
    assert [link.kinds[-1] for link in links_seen] == ["close", "close"]


def test_turn_credentials_are_what_coturn_expects() -> None:
    turn = ('stun_urls=["stun:s.example:3478"]', 'turn_urls=["turn:t.example:3478"]', "turn_secret=hush")

    async def script(http: httpx.AsyncClient, links: list[FakeLink]) -> None:
        answer = await http.get("/v1/realtime/ice_servers")
        assert answer.headers["Cache-Control"] == "no-store"
        body = answer.json()
        stun, turn = body["ice_servers"]
        assert stun == {"urls": ["stun:s.example:3478"]}
        assert turn["urls"] == ["turn:t.example:3478"]
        expires_at_s, _, name = turn["username"].partition(":")
        assert name == "anyone"
        assert 590 <= int(expires_at_s) - unix_s() <= 600 == body["ttl_s"]
        signature = hmac.new(b"hush", turn["username"].encode(), hashlib.sha1).digest()
        assert base64.b64decode(turn["credential"]) == signature

    asked(script, *(f"webrtc.{one}" for one in turn))


def test_without_servers_there_are_none() -> None:
    async def script(http: httpx.AsyncClient, links: list[FakeLink]) -> None:
        answer = await http.get("/openai/v1/realtime/ice_servers")
        assert answer.json() == {"ice_servers": [], "ttl_s": 600}

    asked(script)


def test_a_server_may_take_no_calls() -> None:
    async def script(port: int) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=SDP) as http:
            answer = await http.post(CALLS, content="offer")
            assert code_of(answer) == (404, "webrtc_disabled")
            answer = await http.post(f"{CALLS}?resume=rtc_1", content="offer")
            assert code_of(answer) == (404, "webrtc_disabled")

    with_server(script, sets=[*SCRIPTED, "webrtc.enabled=false"])


def test_a_server_without_the_packages_runs_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "voicestack.transports.rtc_link", None)

    async def script(port: int) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=SDP) as http:
            answer = await http.post(CALLS, content="offer")
            assert code_of(answer) == (501, "webrtc_unavailable")

    with_server(script)
