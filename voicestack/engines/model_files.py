"""Are these the bytes of a model? Lengths and checksums of files."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from voicestack.core.catalogue import ModelFile, Pin

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file's bytes are.

    Attributes:
        size_bytes: How many.
        sha256: Their SHA-256, in hex.
        blob: Their git object id: SHA-1 of `blob LENGTH NUL BYTES`, all that a hub knows of a file that is
            not in Git LFS. https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    """

    size_bytes: int
    sha256: str
    blob: str


def digest(path: Path, on_bytes: Callable[[int], None], *, with_blob: bool = False) -> Digest:
    """Read a file and say what is in it.

    Args:
        path: The file.
        on_bytes: Is told of every piece's length.
        with_blob: Find its git object id, too; otherwise that is empty.

    Raises:
        OSError: it cannot be read.
    """
    size_bytes = path.stat().st_size
    sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            sha256.update(piece)
            if with_blob:
                blob.update(piece)
            on_bytes(len(piece))
    return Digest(size_bytes, sha256.hexdigest(), blob.hexdigest() if with_blob else "")


def wrong(file: ModelFile, found: Digest) -> str:
    """What is wrong with a file's bytes; empty if they are right, as far as is known.

    Without a SHA-256 in `file`, `found` must have the git object id.
    """
    for what, should, is_ in (
        ("bytes", file.size_bytes, found.size_bytes),
        ("the SHA-256", file.sha256, found.sha256),
        ("the git object id", "" if file.sha256 else file.blob, found.blob),
    ):
        if should not in (None, "") and should != is_:
            return f"{what} {should} expected, {is_} found"
    return ""


def differences(folder: Path, pin: Pin, on_bytes: Callable[[int], None]) -> list[str]:
    """What in a folder is not as the pin says, a line per file: it is missing, different, or not the model's.

    Raises:
        OSError: something cannot be read.
    """
    found = []
    for file in pin.files:
        path = folder / file.path
        if not path.is_file():
            found.append(f"{file.path}: it is missing")
        elif problem := wrong(file, digest(path, on_bytes)):
            found.append(f"{file.path}: {problem}")
    known = {file.path for file in pin.files}
    others = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir())
    return found + [f"{other}: it does not belong to the model" for other in others if other not in known]
