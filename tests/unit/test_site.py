"""What do browsers get: which files, kept how long, allowed to do what?"""

import gzip
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from voicestack.core.errors import ConfigError
from voicestack.server.site import FOR_EVER, REVALIDATED, read_site, site_routes

SCRIPT = b"export const answer = 42; // " + b"much the same " * 50
HERE = "http://talk.example:8080"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    built = tmp_path / "site"
    for name, body in {
        "index.html": b"<!doctype html><title>hello</title>",
        "widget/voicestack.js": SCRIPT,
        "widget/assets/playout-C0ffee42.js": b"registerProcessor",
        "demo/assets/page-deadbeef.css": b"body{}",
        "widget/.stamp": b"0",
        "notes.txt": b"not under a route",
    }.items():
        (built / name).parent.mkdir(parents=True, exist_ok=True)
        (built / name).write_bytes(body)
    (tmp_path / "secret.txt").write_text("secret")
    (built / "widget" / "link.txt").symlink_to(tmp_path / "secret.txt")
    return built


def browser(folder: Path) -> TestClient:
    return TestClient(Starlette(routes=site_routes(read_site(folder), lambda: "warming", "embedded")), HERE)


def policy(headers: Mapping[str, str]) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in headers["content-security-policy"].split(";"))
    return {name: value for name, _, value in parts}


def test_the_page_may_load_its_own_files_and_nothing_else(folder: Path) -> None:
    answer = browser(folder).get("/")
    assert answer.text == "<!doctype html><title>hello</title>"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    allowed = policy(answer.headers)
    assert allowed["default-src"] == "'self'"
    assert allowed["connect-src"] == "'self' ws://talk.example:8080 wss://talk.example:8080"
    assert allowed["frame-ancestors"] == allowed["object-src"] == allowed["base-uri"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "microphone=(self)" in answer.headers["permissions-policy"]
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", ["a; script-src *", "a b", "", "[::1]; x"])
def test_a_made_up_host_gets_into_no_policy(folder: Path, host: str) -> None:
    answer = browser(folder).get("/", headers={"host": host})
    assert policy(answer.headers)["connect-src"] == "'self'"


def test_addresses_of_ipv6_are_hosts(folder: Path) -> None:
    answer = browser(folder).get("/", headers={"host": "[::1]:8080"})
    assert policy(answer.headers)["connect-src"] == "'self' ws://[::1]:8080 wss://[::1]:8080"


def test_pages_of_any_site_may_load_the_widget_and_only_that(folder: Path) -> None:
    client = browser(folder)
    answer = client.get("/widget/voicestack.js")
    assert (answer.content, answer.headers["content-type"]) == (SCRIPT, "text/javascript; charset=utf-8")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    own = client.get("/demo/assets/page-deadbeef.css")
    assert own.headers["content-type"] == "text/css; charset=utf-8"
    assert own.headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in own.headers


@pytest.mark.parametrize(
    ("path", "cached"),
    [
        ("/", REVALIDATED),
        ("/widget/voicestack.js", REVALIDATED),
        ("/widget/assets/playout-C0ffee42.js", FOR_EVER),
        ("/demo/assets/page-deadbeef.css", FOR_EVER),
    ],
)
def test_what_has_a_hash_in_its_name_is_kept_and_the_rest_is_asked_for_again(
    folder: Path, path: str, cached: str
) -> None:
    client = browser(folder)
    answer = client.get(path)
    assert answer.headers["cache-control"] == cached
    tag = answer.headers["etag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        again = client.get(path, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["cache-control"] == cached
    assert client.get(path, headers={"if-none-match": '"other"'}).status_code == 200


def test_a_changed_file_has_another_tag(folder: Path) -> None:
    before = browser(folder).get("/widget/voicestack.js").headers["etag"]
    (folder / "widget/voicestack.js").write_bytes(SCRIPT + b"!")
    assert browser(folder).get("/widget/voicestack.js").headers["etag"] != before


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [("gzip", True), ("br;q=1.0, GZIP;q=0.8", True), ("gzip;q=0", False), ("br", False), ("", False)],
)
def test_compressed_for_whoever_takes_that(folder: Path, accepted: str, is_packed: bool) -> None:
    client = browser(folder)
    with client.stream("GET", "/widget/voicestack.js", headers={"accept-encoding": accepted}) as answer:
        raw = b"".join(answer.iter_raw())
    assert (answer.headers.get("content-encoding") == "gzip") == is_packed
    assert int(answer.headers["content-length"]) == len(raw)
    assert "Accept-Encoding" in answer.headers["vary"]
    assert (gzip.decompress(raw) if is_packed else raw) == SCRIPT
    assert answer.headers["etag"].endswith('-gz"') == is_packed, "two representations, two tags"


def test_what_compression_does_not_make_smaller_is_sent_as_it_is(folder: Path) -> None:
    assert "content-encoding" not in browser(folder).get("/widget/assets/playout-C0ffee42.js").headers


def test_head_says_the_same_without_the_body(folder: Path) -> None:
    client = browser(folder)
    for path in ("/", "/widget/voicestack.js"):
        got, asked = client.get(path), client.head(path)
        assert asked.content == b""
        assert asked.headers == got.headers


@pytest.mark.parametrize(
    "path",
    [
        "/widget/",
        "/widget/other.js",
        "/widget/../index.html",
        "/widget/..%2findex.html",
        "/widget/%2e%2e/%2e%2e/secret.txt",
        "/widget//etc/passwd",
        "/widget/.stamp",
        "/widget/link.txt",
        "/widget/voicestack.js/",
        "/widget/VOICESTACK.JS",
        "/demo/../notes.txt",
        "/demo/%00",
        "/notes.txt",
    ],
)
def test_nothing_else_can_be_had(folder: Path, path: str) -> None:
    answer = browser(folder).get(path)
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_a_kind_of_file_that_nobody_thought_of_is_not_served_as_anything(folder: Path) -> None:
    (folder / "widget" / "run.exe").touch()
    with pytest.raises(ConfigError, match=r"run\.exe is of no kind"):
        read_site(folder)


def test_without_a_build_the_page_says_how_to_make_one(tmp_path: Path) -> None:
    client = browser(tmp_path / "none")
    answer = client.get("/", headers={"host": "a<b"})
    assert answer.status_code == 200
    assert "make web" in answer.text
    assert "<b>warming</b>, profile <b>embedded</b>" in answer.text
    assert "ws://a&lt;b/v1/realtime" in answer.text
    assert client.get("/widget/voicestack.js").status_code == 404


def test_the_plain_page_keeps_to_its_own_policy(tmp_path: Path) -> None:
    answer = browser(tmp_path).get("/")
    assert not re.search(r"<script|\bstyle=|\bon\w+=", answer.text)
    assert re.search(r"style-src 'self' 'sha256-[\w+/]{43}='", answer.headers["content-security-policy"])
