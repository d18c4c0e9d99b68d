"""A model hub on loopback: the part of its HTTP interface that fetching needs, and its bad days.

`GET /api/models/OWNER/NAME[/revision/SHA]?blobs=true` lists files; `GET /OWNER/NAME/resolve/SHA/FILE` gives
one, by way of a redirect to another origin if it is in Git LFS, as the real one does.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LFS_FROM_BYTES = 1_000
"""Shorter files are in git itself, and the hub knows no SHA-256 of them."""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def revision_of(files: Mapping[str, bytes]) -> str:
    """A commit that stands for these files."""
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    path: str
    range: str | None
    authorization: str | None


@dataclass
class Hub:
    """What is on it, and how it behaves.

    Attributes:
        url: Where it is.
        repositories: Files by repository, revision and path; the last revision is the newest.
        asked: What was asked for, in order.
        cut_after_bytes: The next answer with this file ends so early.
        lies: Files of which other bytes are sent.
        gated: Repositories that want a token.
        token: The one that opens them.
        other_commit: The commit that every answer claims to be of.
        busy: So many requests are answered with 429 first.
        has_list: Without it it is a plain file server.
        knows_ranges: Otherwise it sends everything, always.
    """

    url: str = ""
    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    cut_after_bytes: dict[str, int] = field(default_factory=dict)
    lies: set[str] = field(default_factory=set)
    gated: set[str] = field(default_factory=set)
    token: str = ""
    other_commit: str = ""
    busy: int = 0
    has_list: bool = True
    knows_ranges: bool = True

    def add(self, repository: str, files: Mapping[str, bytes]) -> str:
        """Commit files. Returns the revision."""
        revision = revision_of(files)
        self.repositories.setdefault(repository, {})[revision] = dict(files)
        return revision

    @property
    def fetched(self) -> list[str]:
        """The files that were asked for, without the redirects."""
        return [unquote(one.path).split("/", 5)[5] for one in self.asked if "/resolve/" in one.path]


@contextmanager
def model_hub() -> Iterator[Hub]:
    """A hub with nothing on it."""
    hub = Hub()

    class Answers(_Answers):
        of = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Answers(BaseHTTPRequestHandler):
    of: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        hub, path = self.of, urlsplit(self.path).path
        hub.asked.append(Asked(path, self.headers["Range"], self.headers["Authorization"]))
        if hub.busy:
            hub.busy -= 1
            return self._short(429, {"Retry-After": "7"})
        if path.startswith("/cdn/"):
            return self._cdn(path.removeprefix("/cdn/"))
        if path.startswith("/api/models/"):
            repository, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            return self._list(repository, revision) if hub.has_list else self._short(404)
        repository, _, rest = path.removeprefix("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        return self._resolve(repository, revision, unquote(file))

    def _files(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The revision and its files; None after a refusal."""
        hub = self.of
        if repository in hub.gated and self.headers["Authorization"] != f"Bearer {hub.token}":
            status = 403 if self.headers["Authorization"] else 401
            self._short(status, {"X-Error-Code": "GatedRepo"})
            return None
        if repository not in hub.repositories:
            self._short(401, {"X-Error-Code": "RepoNotFound"})
            return None
        revisions = hub.repositories[repository]
        revision = revision or list(revisions)[-1]
        if revision not in revisions:
            self._short(404, {"X-Error-Code": "RevisionNotFound"})
            return None
        return revision, revisions[revision]

    def _list(self, repository: str, revision: str) -> None:
        found = self._files(repository, revision)
        if found is None:
            return
        siblings = []
        for path, content in found[1].items():
            row: dict[str, object] = {"rfilename": path, "size": len(content), "blobId": blob_id(content)}
            if len(content) >= LFS_FROM_BYTES:
                row |= {"blobId": "0" * 40, "lfs": {"sha256": sha256(content), "size": len(content)}}
            siblings.append(row)
        body = json.dumps({"id": repository, "sha": self.of.other_commit or found[0], "siblings": siblings})
        self._short(200, {"Content-Type": "application/json"}, body.encode())

    def _resolve(self, repository: str, revision: str, file: str) -> None:
        found = self._files(repository, revision)
        if found is None:
            return
        if file not in found[1]:
            self._short(404, {"X-Error-Code": "EntryNotFound"})
            return
        content = found[1][file]
        headers = {"X-Repo-Commit": self.of.other_commit or found[0]}
        if len(content) < LFS_FROM_BYTES:
            self._send(file, content, headers | {"ETag": f'"{blob_id(content)}"'})
            return
        place = self.of.url.replace("127.0.0.1", "localhost") + f"/cdn/{sha256(content)}"
        self._short(302, headers | {"X-Linked-ETag": f'"{sha256(content)}"', "Location": place})

    def _cdn(self, wanted: str) -> None:
        for revisions in self.of.repositories.values():
            for files in revisions.values():
                for file, content in files.items():
                    if sha256(content) == wanted:
                        self._send(file, content, {})
                        return
        self._short(404)

    def _send(self, file: str, content: bytes, headers: Mapping[str, str]) -> None:
        hub = self.of
        if file in hub.lies:
            content = bytes(byte ^ 1 for byte in content)
        start = 0
        if hub.knows_ranges and (asked := self.headers["Range"]):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = hub.cut_after_bytes.pop(file, None)
        self.wfile.write(content[start:cut])
        self.close_connection = True

    def _short(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
