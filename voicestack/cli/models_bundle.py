"""How do models get to a machine without a network? In one tar file that begins with a list of what is in it.

::

    voicestack-models.json      a lock file (`core/pins.py`), and each model's licence
    base.en/model.bin           the files, as in the models folder

Only that list is believed, and only where no other pin contradicts it: a member that is not on it, is not a
plain file, or has another length makes the whole bundle unusable.
"""

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, cast

from voicestack.cli.models_sources import Body
from voicestack.core.catalogue import BadCatalogue, Model, ModelFile, Pin
from voicestack.core.errors import ModelError
from voicestack.core.pins import VERSION, Pins, read_pins, rows
from voicestack.engines.model_files import CHUNK_BYTES
from voicestack.engines.model_store import ModelStore

LIST = "voicestack-models.json"
LIST_LIMIT_BYTES = 16 << 20
"""A list of 100,000 files; more is no bundle."""


class Bundle:
    """A bundle to read: a `Source`.

    Raises:
        ModelError: it cannot be read, or is not one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with tarfile.open(path, "r:") as archive:
                members = iter(archive)
                self.pins = self._list(archive, next(members, None))
                self._members = self._checked(members)
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror or error}") from None
        except tarfile.TarError as error:
            raise ModelError(f"{path} is not a bundle of models: {error}") from None

    @property
    def name(self) -> str:
        """See `Source`."""
        return str(self._path)

    def close(self) -> None:
        """See `Source`."""

    def offer(self, model: Model, wanted: Pin) -> Pin:
        """See `Source`."""
        if model.name not in self.pins:
            raise ModelError(f"{self._path} has no {model.name}; it has {', '.join(self.pins)}")
        return self.pins[model.name]

    @contextmanager
    def read(self, model: Model, pin: Pin, file: ModelFile, start_byte: int) -> Iterator[Body]:
        """See `Source`."""
        member = self._members.get(f"{model.name}/{file.path}")
        if member is None:
            raise ModelError(f"{self._path} has no {file.path} of {model.name}")
        with tarfile.open(self._path, "r:") as archive:
            opened = cast(IO[bytes], archive.extractfile(member))  # a plain file: see _checked
            opened.seek(start_byte)
            yield Body(start_byte, iter(lambda: opened.read(CHUNK_BYTES), b""))

    def _list(self, archive: tarfile.TarFile, member: tarfile.TarInfo | None) -> dict[str, Pin]:
        if member is None or member.name != LIST or not _is_plain(member) or member.size > LIST_LIMIT_BYTES:
            raise ModelError(f"{self._path} is not a bundle of models: it does not begin with {LIST}")
        try:
            return read_pins(cast(IO[bytes], archive.extractfile(member)).read())
        except BadCatalogue as error:
            raise ModelError(f"{self._path}: {LIST}: {error}") from None

    def _checked(self, members: Iterator[tarfile.TarInfo]) -> dict[str, tarfile.TarInfo]:
        sizes = {
            f"{name}/{file.path}": file.size_bytes for name, pin in self.pins.items() for file in pin.files
        }
        found: dict[str, tarfile.TarInfo] = {}
        for member in members:
            if member.name not in sizes or not _is_plain(member) or member.name in found:
                raise ModelError(f"{self._path}: {member.name!r} does not belong into a bundle of models")
            if member.size != sizes[member.name]:
                raise ModelError(f"{self._path}: {member.name} does not have the length that {LIST} says")
            found[member.name] = member
        if missing := sizes.keys() - found.keys():
            raise ModelError(f"{self._path}: {min(missing)} is missing: the bundle is cut off")
        return found


def write_bundle(
    target: Path,
    store: ModelStore,
    pins: Pins,
    licences: Mapping[str, str],
    on_bytes: Callable[[int], None],
) -> None:
    """Put models of a store into a bundle; their bytes are checked on the way.

    Args:
        target: The file, which appears when it is complete.
        store: Where they are.
        pins: The models, and which bytes they should be.
        licences: Of each model.
        on_bytes: Is told of every piece's length.

    Raises:
        ModelError: a file is not what its pin says, or the disk does not let it be written.
    """
    part = target.with_name(f"{target.name}.part")
    listed = {"version": VERSION, "models": rows(pins), "licences": dict(sorted(licences.items()))}
    try:
        with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as archive:
            text = json.dumps(listed, indent=1).encode()
            archive.addfile(_member(LIST, len(text)), BytesIO(text))
            for name, pin in sorted(pins.items()):
                for file in pin.files:
                    _add(archive, store.where(name) / file.path, f"{name}/{file.path}", file, on_bytes)
        part.replace(target)
    except OSError as error:
        raise ModelError(f"{error.filename or target}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)


def _add(
    archive: tarfile.TarFile, path: Path, name: str, file: ModelFile, on_bytes: Callable[[int], None]
) -> None:
    with path.open("rb") as opened:
        hashed = _Hashed(opened, on_bytes)
        size_bytes = path.stat().st_size
        archive.addfile(_member(name, size_bytes), hashed)
    if size_bytes != file.size_bytes or hashed.sha256.hexdigest() != file.sha256:
        raise ModelError(f"{path} is not what was pulled: `voicestack models pull` repairs it")


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, opened: IO[bytes], on_bytes: Callable[[int], None]) -> None:
        self._opened = opened
        self._on_bytes = on_bytes
        self.sha256 = hashlib.sha256()

    def read(self, n_bytes: int = -1, /) -> bytes:
        piece = self._opened.read(n_bytes)
        self.sha256.update(piece)
        self._on_bytes(len(piece))
        return piece


def _member(name: str, size_bytes: int) -> tarfile.TarInfo:
    """Nothing of this machine goes into a bundle: no owner, no time. The same models make the same bundle."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size_bytes, 0o644
    return member


def _is_plain(member: tarfile.TarInfo) -> bool:
    """A file: not a link, a folder, a device, or one with holes."""
    return member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
