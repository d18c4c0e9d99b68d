"""What does the dashboard's API answer, and to whom?"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.dashboard_demo import Demo, app_of
from tests.support.nearly import same
from tests.support.openapi import KEPT, Described
from tests.support.server import SCRIPTED, with_server
from tests.support.visitors import bearer, call, event_of, keyed, new_key
from voicestack.access.key_file import KeyFile, KeysInForce
from voicestack.aio.scope import Scope
from voicestack.server.dashboard.shapes import Capacity, Replicas
from voicestack.server.dashboard.turn_shapes import TurnRow

API = "/dashboard/api"
QUESTIONS = ("me", "facets", "overview", "turns", "heat", "replicas", "capacity", "compare")
LAST_DAY = {"from": "0"}


@pytest.fixture(scope="module")
def described() -> Described:
    return Described(json.loads(KEPT.read_bytes()))


@pytest.fixture(scope="module")
def demo() -> Demo:
    return Demo(2_000, 24)


def asked(
    demo: Demo, path: Path, script: Callable[[httpx.AsyncClient], Awaitable[None]], key: str | None = None
) -> None:
    """Ask the API, behind its guard, without a network."""

    async def run() -> None:
        app = app_of(demo, KeysInForce(KeyFile(path)))
        headers = {} if key is None else bearer(key)
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers=headers
        ) as client:
            await script(client)

    asyncio.run(run())


def test_every_answer_is_as_described(demo: Demo, described: Described, tmp_path: Path) -> None:
    async def script(client: httpx.AsyncClient) -> None:
        for question in QUESTIONS:
            for query in ({}, LAST_DAY, {"cold": "1", "from": "0"}, {"tenant": "nobody"}):
                answer = await client.get(f"{API}/{question}", params=query)
                assert answer.status_code == 200
                assert answer.headers["cache-control"] == "no-store"
                described.check(answer)
        turn = (await client.get(f"{API}/turns")).json()["turns"][0]
        answer = await client.get(f"{API}/turns/{turn['id']}")
        described.check(answer)
        assert answer.json() == turn
        assert "NaN" not in answer.text

    asked(demo, tmp_path / "keys.json", script)


WRONG = [
    *("from=x", "from=-1", "to=1e3", "from=5&to=5", "from=6&to=5", "to=1795886000000000", "from=" + "1" * 30),
    *("verdict=good", "outcome=lost", "rung=step", "stage=vad", "cold=2", "cold=true", "tenant=" + "x" * 201),
    *("limit=0", "limit=501", "limit=ten", "before=x", "before=12", "before=.sess_1.1"),
]


@pytest.mark.parametrize("query", WRONG)
def test_a_value_that_cannot_be_is_refused_by_name(
    demo: Demo, described: Described, tmp_path: Path, query: str
) -> None:
    async def script(client: httpx.AsyncClient) -> None:
        answer = await client.get(f"{API}/turns?{query}")
        assert answer.status_code == 400
        described.check(answer)
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("invalid_value", query.partition("=")[0])

    asked(demo, tmp_path / "keys.json", script)


def test_both_sides_of_a_comparison_have_times_and_releases_of_their_own(demo: Demo, tmp_path: Path) -> None:
    async def script(client: httpx.AsyncClient) -> None:
        query = {
            "a_from": "0",
            "b_from": "0",
            "a_release": "0.4.0",
            "b_release": "0.4.1",
            "region": "eu-west",
        }
        found = (await client.get(f"{API}/compare", params=query)).json()
        for side, release in (("a", "0.4.0"), ("b", "0.4.1")):
            only = {"from": "0", "release": release, "region": "eu-west"}
            page = (await client.get(f"{API}/overview", params=only)).json()
            assert (found[side]["n"], found[side]["response"]) == (page["n_turns"], page["response"])
        wrong = await client.get(f"{API}/compare?b_from=x")
        assert wrong.json()["error"]["param"] == "b_from"

    asked(demo, tmp_path / "keys.json", script)


def test_the_list_is_read_to_its_end(demo: Demo, tmp_path: Path) -> None:
    async def script(client: httpx.AsyncClient) -> None:
        query: dict[str, str] = {"from": "0", "region": "ap-south", "limit": "90"}
        seen: list[dict[str, Any]] = []
        while True:
            page = (await client.get(f"{API}/turns", params=query)).json()
            seen += page["turns"]
            if page["next"] is None:
                break
            query["before"] = page["next"]
        assert len({one["id"] for one in seen}) == len(seen) == page["n_total"] > 200
        began_ms = [one["began_unix_ms"] for one in seen]
        assert began_ms == sorted(began_ms, reverse=True)
        assert {one["region"] for one in seen} == {"ap-south"}

    asked(demo, tmp_path / "keys.json", script)


# --- who may ask ------------------------------------------------------------------------------------------


def test_a_tenant_sees_its_own_turns_and_no_figures_of_the_server(
    demo: Demo, described: Described, tmp_path: Path
) -> None:
    path = tmp_path / "keys.json"
    operator, acme = new_key(path), new_key(path, tenant="acme")
    of_others: list[str] = []

    async def as_operator(client: httpx.AsyncClient) -> None:
        assert (await client.get(f"{API}/me")).json()["is_operator"]
        page = (await client.get(f"{API}/turns", params={"from": "0", "limit": "500"})).json()
        of_others.extend(one["id"] for one in page["turns"] if one["tenant"] != "acme")
        assert {one["tenant"] for one in page["turns"]} > {"acme", "default"}

    async def as_acme(client: httpx.AsyncClient) -> None:
        me = (await client.get(f"{API}/me")).json()
        assert (me["tenant"], me["is_operator"]) == ("acme", False)
        for query in ({}, {"tenant": "default"}, {"tenant": "acme"}):
            page = (await client.get(f"{API}/turns", params={**LAST_DAY, **query, "limit": "500"})).json()
            assert {one["tenant"] for one in page["turns"]} <= {"acme"}
            assert page["n_total"] == (0 if query.get("tenant") == "default" else me["n_turns"])
            shown = (await client.get(f"{API}/overview", params={**LAST_DAY, **query})).json()
            assert {one["name"] for one in shown["by"]["tenant"]} <= {"acme"}
            assert shown["n_turns"] == page["n_total"]
        assert (await client.get(f"{API}/facets")).json()["tenants"] == ["acme"]
        for turn_id in of_others[:20]:
            for answer in (
                await client.get(f"{API}/turns/{turn_id}"),
                await client.get(f"{API}/turns/{turn_id}/recording"),
            ):
                assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        for question in ("replicas", "capacity"):
            answer = await client.get(f"{API}/{question}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_permissions")
            described.check(answer)

    asked(demo, path, as_operator, operator.secret)
    asked(demo, path, as_acme, acme.secret)


def test_strangers_get_the_page_and_nothing_else(demo: Demo, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    new_key(path)

    async def script(client: httpx.AsyncClient) -> None:
        for place in ("/dashboard", "/dashboard/"):
            page = await client.get(place)
            assert page.status_code == 200
            assert "default-src 'self'" in page.headers["content-security-policy"]
        assert (await client.get("/dashboard/assets/none.js")).status_code == 404

    asked(demo, path, script)
    for question in (*QUESTIONS, "turns/sess_1.1", "turns/sess_1.1/recording", "live"):

        async def ask(client: httpx.AsyncClient, question: str = question) -> None:
            answer = await client.get(f"{API}/{question}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"

        asked(demo, path, ask)


def test_a_browsers_secret_opens_no_dashboard(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = new_key(path)

    async def script(port: int) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            made = await client.post("/v1/realtime/client_secrets", headers=bearer(key.secret))
            for question in (*QUESTIONS, "live"):
                answer = await client.get(f"{API}/{question}", headers=bearer(made.json()["value"]))
                assert (answer.status_code, answer.json()["error"]["code"]) == (
                    403,
                    "ephemeral_key_not_allowed",
                )

    with_server(script, sets=keyed(path))


# --- a real server ----------------------------------------------------------------------------------------


@asynccontextmanager
async def watching(port: int, query: str = "") -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """The events of the live stream."""
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
        client.stream("GET", f"{API}/live{query}", timeout=20) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        yield events(answer)


async def events(answer: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


async def next_of(stream: AsyncIterator[tuple[str, Any]], kind: str) -> Any:
    async for name, data in stream:
        if name == kind:
            return data
    raise AssertionError(f"the stream ended without {kind}")


async def type_something(port: int) -> None:
    async with call(port) as ws:
        await event_of(ws, "session.created")
        content = [{"type": "input_text", "text": "Hello there."}]
        item = {"type": "message", "role": "user", "content": content}
        await ws.send(json.dumps({"type": "conversation.item.create", "item": item}))
        await ws.send(json.dumps({"type": "response.create"}))
        await event_of(ws, "response.done")


def test_a_turn_is_told_listed_and_outlives_the_server(tmp_path: Path, described: Described) -> None:
    sets = [
        *SCRIPTED[:2],
        f"ledger.store=sqlite:///{tmp_path}/ledger.db",
        f"telemetry.record_dir={tmp_path}/calls",
    ]
    told: list[Any] = []

    async def first(port: int) -> None:
        async with watching(port) as stream:
            described_live = await next_of(stream, "live")
            assert described_live["sessions"] == []
            assert Capacity.model_validate(await next_of(stream, "capacity")).admitting
            assert Replicas.model_validate(await next_of(stream, "replicas")).replicas
            async with Scope() as scope:
                scope.start(type_something(port), name="user")
                told.append(await next_of(stream, "turn"))
        TurnRow.model_validate(told[0])
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            answer = await client.get(f"{API}/turns/{told[0]['id']}")
            described.check(answer)
            recording = await client.get(answer.json()["recording"])
            assert recording.status_code == 200
            assert recording.text.startswith("{")
            same(answer.json() | {"recording": None}, told[0])

    async def second(port: int) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            page = (await client.get(f"{API}/turns")).json()
            same(page["turns"], told)
            overview = (await client.get(f"{API}/overview")).json()
            assert (overview["n_turns"], overview["verdicts"]["unmeasured"]) == (1, 1)
            metrics = (await client.get("/metrics")).text
            assert 'voicestack_engine_counts_total{engine="ledger",figure="dropped"} 0.0' in metrics

    with_server(first, sets=sets)
    with_server(second, sets=sets)


def test_watchers_do_not_hold_a_server_up_that_stops() -> None:
    tasks: list[asyncio.Task[None]] = []

    async def script(port: int) -> None:
        seen = asyncio.Event()

        async def watch() -> None:
            async with watching(port) as stream:
                async for _ in stream:
                    seen.set()

        tasks.append(asyncio.ensure_future(watch()))  # noqa: TID251 (it outlives the script)
        await seen.wait()

    with_server(script, sets=[*SCRIPTED, "server.shutdown_grace_s=600"])
    assert tasks[0].done()
    assert tasks[0].exception() is None  # the stream came to its end, it was not cut
