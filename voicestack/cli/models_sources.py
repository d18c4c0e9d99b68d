"""Where do the files of models come from: the hub, a server with its layout, a folder?

A source says what it has (`offer`) and hands out bytes from any place on (`read`); whether they are the right
ones is not its business. The hub's address and token are those of the library `huggingface_hub`.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from voicestack import __version__
from voicestack.core.catalogue import REVISION, SHA256, Model, ModelFile, Pin, is_safe_path
from voicestack.core.errors import ModelError
from voicestack.engines.model_files import CHUNK_BYTES
from voicestack.engines.model_store import LOCK_FILE, read_lock

CONNECT_TIMEOUT_S = 10.0
SILENCE_TIMEOUT_S = 30.0
"""A connection that brings nothing for so long is lost."""
LISTING = "its list of files"
MIRROR_TOKEN_ENV = "VOICESTACK_MIRROR_TOKEN"
"""A mirror's own. The hub's token is for the hub alone."""


class Interrupted(Exception):
    """It may work if it is tried again, after `wait_s` seconds if the server has said so."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes of a file: from `start_byte`, which may be earlier than was asked for, to its end."""

    start_byte: int
    pieces: Iterator[bytes]


class Source(Protocol):
    """Where files come from."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    def offer(self, model: Model, wanted: Pin) -> Pin:
        """What it has of a repository, at the wanted revision or at its newest.

        Raises:
            ModelError: it has not, or does not give it.
            Interrupted: it could not be asked.
        """
        ...

    def read(self, model: Model, pin: Pin, file: ModelFile, start_byte: int) -> AbstractContextManager[Body]:
        """A file's bytes from `start_byte` on. Raises as `offer` does, while the bytes are read, too."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class Hub:
    """The hub, or a server with the same layout.

    Args:
        endpoint: Its address; empty for the library's own (`HF_ENDPOINT`).
    """

    def __init__(self, endpoint: str = "") -> None:
        try:
            from huggingface_hub import constants, get_token
        except ModuleNotFoundError:
            message = "models are fetched with the package huggingface_hub: pip install huggingface_hub"
            raise ModelError(message) from None
        if constants.HF_HUB_OFFLINE and not endpoint:
            raise ModelError("HF_HUB_OFFLINE is set: take it away, or use --mirror or --from")
        self._is_mirror = bool(endpoint)
        self._endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        token = os.environ.get(MIRROR_TOKEN_ENV, "") if endpoint else get_token()
        # Lengths and ranges should be those of the file.
        headers = {"User-Agent": f"voicestack/{__version__}", "Accept-Encoding": "identity"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        timeout = httpx.Timeout(SILENCE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        self._client = httpx.Client(timeout=timeout, headers=headers, follow_redirects=True)

    @property
    def name(self) -> str:
        """See `Source`."""
        return self._endpoint

    def close(self) -> None:
        """See `Source`."""
        self._client.close()

    def offer(self, model: Model, wanted: Pin) -> Pin:
        """See `Source`."""
        url = f"{self._endpoint}/api/models/{wanted.repository}"
        url += f"/revision/{wanted.revision}" if wanted.revision else ""
        with self._answer(url, wanted, LISTING, params={"blobs": "true"}) as response:
            body = response.read()
        try:
            info = json.loads(body)
            revision = str(info["sha"])
            files = [_sibling(sibling, wanted.folder) for sibling in info["siblings"]]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise ModelError(f"{url}: the answer is not that of a hub") from None
        if not REVISION.fullmatch(revision):
            raise ModelError(f"{url}: {revision!r} is not a revision")
        return Pin(wanted.repository, revision, tuple(file for file in files if file), wanted.folder)

    @contextmanager
    def read(self, model: Model, pin: Pin, file: ModelFile, start_byte: int) -> Iterator[Body]:
        """See `Source`."""
        url = f"{self._endpoint}/{pin.repository}/resolve/{pin.revision}/{quote(pin.at(file))}"
        headers = {"Range": f"bytes={start_byte}-"} if start_byte else {}
        with self._answer(url, pin, file.path, headers=headers) as response:
            _same(response, pin, file, self.name)
            yield Body(_start_byte(response), response.iter_raw())

    @contextmanager
    def _answer(
        self,
        url: str,
        pin: Pin,
        what: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Iterator[httpx.Response]:
        try:
            with self._client.stream("GET", url, headers=headers, params=params) as response:
                if response.status_code not in (200, 206):
                    raise self._refusal(response, pin, what)
                yield response
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise Interrupted(f"the connection to {self.name} broke: {reason}") from None
        except httpx.InvalidURL as error:
            raise ModelError(f"{self._endpoint} is not an address: {error}") from None

    def _refusal(self, response: httpx.Response, pin: Pin, what: str) -> ModelError | Interrupted:
        """Why nothing came. The hub says so in `X-Error-Code`, too."""
        status, code = response.status_code, response.headers.get("X-Error-Code", "")
        if status in (408, 416, 429) or status >= 500:
            after = response.headers.get("Retry-After", "")
            return Interrupted(f"{self.name} answered {status}", float(after) if after.isdigit() else None)
        where = f"{pin.repository} at {self.name}"
        if status == 403 or code == "GatedRepo":
            how = "accept its licence on its page there, make a token that may read, and give it as HF_TOKEN"
            return ModelError(f"{where} is gated: {how}")
        if status == 401:
            how = f"a token that may read it goes into {MIRROR_TOKEN_ENV if self._is_mirror else 'HF_TOKEN'}"
            return ModelError(f"{where} does not exist, or is private: {how}")
        if status == 404 and code == "RevisionNotFound":
            return ModelError(f"{where} has no revision {pin.revision or 'main'}")
        hint = ""
        if self._is_mirror and what == LISTING:
            hint = ": a mirror without a list needs the pins of a pull from the hub (--pin-file)"
        return ModelError(f"{where}: {what} cannot be had (HTTP {status}){hint}")


class MirrorFolder:
    """A folder with the hub's layout (`OWNER/NAME/resolve/REVISION/FILE`), or a models folder."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise ModelError(f"there is no folder {path}")
        self._path = path
        self._pins = read_lock(path / LOCK_FILE)

    @property
    def name(self) -> str:
        """See `Source`."""
        return str(self._path)

    def close(self) -> None:
        """See `Source`."""

    def offer(self, model: Model, wanted: Pin) -> Pin:
        """See `Source`."""
        if (pin := self._pins.get(model.name)) is not None and wanted.revision in ("", pin.revision):
            return pin
        revisions = self._path / wanted.repository / "resolve"
        found = sorted(path.name for path in revisions.glob("*") if REVISION.fullmatch(path.name))
        if wanted.revision:
            found = [revision for revision in found if revision == wanted.revision]
        if len(found) != 1:
            what = f"revision {wanted.revision}" if wanted.revision else "one revision"
            raise ModelError(f"{self._path} does not have {what} of {wanted.repository}")
        root = revisions / found[0] / wanted.folder
        files = (
            ModelFile(path.relative_to(root).as_posix(), path.stat().st_size)
            for path in sorted(root.rglob("*"))
            if path.is_file()
        )
        return Pin(wanted.repository, found[0], tuple(files), wanted.folder)

    @contextmanager
    def read(self, model: Model, pin: Pin, file: ModelFile, start_byte: int) -> Iterator[Body]:
        """See `Source`."""
        places = [self._path / pin.repository / "resolve" / pin.revision / pin.at(file)]
        if self._pins.get(model.name, pin).revision == pin.revision:
            places.append(self._path / model.name / file.path)
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise ModelError(f"{self._path} has no {file.path} of {pin.repository} at {pin.revision}")
        try:
            with path.open("rb") as opened:
                opened.seek(start_byte)
                yield Body(start_byte, iter(lambda: opened.read(CHUNK_BYTES), b""))
        except PermissionError as error:
            raise ModelError(f"{path}: {error.strerror}") from None


def source_of(mirror: str) -> Source:
    """The hub, or the mirror that somebody named: an address or a folder."""
    if mirror and not mirror.startswith(("http://", "https://")):
        return MirrorFolder(Path(mirror).expanduser())
    return Hub(mirror)


def _sibling(sibling: Mapping[str, Any], folder: str) -> ModelFile | None:
    """A file of the hub's list, if it lies in the folder."""
    path, prefix = str(sibling["rfilename"]), f"{folder}/" if folder else ""
    if not path.startswith(prefix) or not is_safe_path(path):
        return None
    lfs, size_bytes = sibling.get("lfs") or {}, sibling.get("size")
    sha256 = str(lfs.get("sha256", ""))
    blob = "" if lfs else str(sibling.get("blobId") or "")  # of a file in LFS it is the pointer's
    length = size_bytes if isinstance(size_bytes, int) else None
    return ModelFile(path.removeprefix(prefix), length, sha256 if SHA256.fullmatch(sha256) else "", blob)


def _same(response: httpx.Response, pin: Pin, file: ModelFile, server: str) -> None:
    """Refuse before anything is fetched what the server itself says is something else."""
    for answer in (*response.history, response):
        headers: Mapping[str, str] = answer.headers
        commit = headers.get("X-Repo-Commit", pin.revision)
        if commit != pin.revision:
            what = f"revision {commit} of {pin.repository} in place of {pin.revision}"
            raise ModelError(f"{server} gives {what}, which is pinned")
        tag = headers.get("X-Linked-ETag", "").strip('"')
        if file.sha256 and SHA256.fullmatch(tag) and tag != file.sha256:
            raise ModelError(
                f"{server} has other bytes of {pin.repository}, {file.path}: their SHA-256 is {tag}, and "
                f"{file.sha256} is pinned"
            )


def _start_byte(response: httpx.Response) -> int:
    """Where the bytes of an answer begin: a server may disregard `Range`."""
    if response.status_code == 200:
        return 0
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    first = rest.partition("-")[0]
    if unit != "bytes" or not first.isdigit():
        raise ModelError(f"{response.url}: an answer with the range {unit} {rest} cannot be used")
    return int(first)
