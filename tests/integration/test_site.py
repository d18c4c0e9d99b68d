"""Over the wire: may a page load the widget, and its reader's browser make a client secret?"""

from pathlib import Path

import httpx
import pytest

from tests.support.server import with_server
from tests.support.visitors import call, event_of, keyed, new_key
from voicestack.server import site

MINT = "/v1/realtime/client_secrets"
FOREIGN = "https://shop.example"


@pytest.fixture(autouse=True)
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files in the place of the built ones."""
    folder = tmp_path / "site"
    (folder / "widget").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>page</title>")
    (folder / "widget" / "voicestack.js").write_text("export {};" + " " * 2000)
    monkeypatch.setattr("voicestack.server.app.BUILT", folder)
    assert site.read_site(folder)


def http(port: int, host: str = "127.0.0.1", **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False, headers=headers)


def test_files_over_the_wire() -> None:
    async def script(port: int) -> None:
        async with http(port) as client:
            page = await client.get("/")
            assert page.text == "<!doctype html><title>page</title>"
            assert f"ws://127.0.0.1:{port}" in page.headers["content-security-policy"]
            asked = await client.head("/widget/voicestack.js")
            got = await client.get("/widget/voicestack.js")
            assert (asked.content, len(got.content)) == (b"", 2010)
            assert asked.headers["content-length"] == got.headers["content-length"]
            tag = {"if-none-match": got.headers["etag"]}
            again = await client.get("/widget/voicestack.js", headers=tag)
            assert (again.status_code, again.content) == (304, b"")
            assert set(got.headers["vary"].replace(" ", "").split(",")) == {"Accept-Encoding", "Origin"}

    with_server(script)


@pytest.mark.parametrize("is_keyed", [False, True])
def test_a_page_from_anywhere_may_load_the_widget_but_not_talk(tmp_path: Path, is_keyed: bool) -> None:
    keys = tmp_path / "keys.json"
    if is_keyed:
        new_key(keys)

    async def script(port: int) -> None:
        async with http(port, origin=FOREIGN) as client:
            got = await client.get("/widget/voicestack.js")
            assert (got.status_code, got.headers["access-control-allow-origin"]) == (200, "*")
            assert "access-control-allow-origin" not in (await client.get("/")).headers
            refused = await client.post(MINT)
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "origin_not_allowed")

    with_server(script, sets=keyed(keys))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_without_keys_the_servers_own_page_makes_a_secret_and_talks(host: str) -> None:
    async def script(port: int) -> None:
        origins = [f"http://{host}:{port}", "http://localhost:5173"]  # the second: a page being developed
        for origin in origins:
            async with http(port, origin=origin) as client:
                made = await client.post(MINT, json={"session": {"type": "realtime", "instructions": "Hi."}})
            assert made.status_code == 200
            assert made.headers["access-control-allow-origin"] == origin
            offered = ["realtime", f"openai-insecure-api-key.{made.json()['value']}"]
            async with call(port, {"Origin": origin}, subprotocols=offered) as ws:
                assert (await event_of(ws, "session.created"))["session"]["instructions"] == "Hi."

    with_server(script)


def test_with_keys_the_page_loads_and_needs_a_secret_from_elsewhere(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    new_key(keys)

    async def script(port: int) -> None:
        async with http(port, origin=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/")).status_code == 200
            assert (await client.get("/readyz")).json() == {"ready": True}
            refused = await client.post(MINT)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")

    with_server(script, sets=keyed(keys))
