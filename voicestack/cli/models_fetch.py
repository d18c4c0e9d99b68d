"""How do a model's files come into the store? From where a fetch stopped, checked, and all or none.

Each file is fetched into a part of its own, with which a later fetch goes on. It is checked as a whole, and
thrown away if it is wrong. Only when all are there and right does the model appear (`ModelStore.install`).
"""

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from voicestack.cli.models_sources import Body, Interrupted, Source
from voicestack.core.catalogue import Model, ModelFile, Pin
from voicestack.core.errors import ModelError
from voicestack.core.pins import PinConflict, settled
from voicestack.engines.model_files import Digest, digest, wrong
from voicestack.engines.model_store import ModelStore

TRIES = 6
"""In a row without a new byte; then the source is taken for dead."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
SPARE_BYTES = 64 << 20
"""Left free on the disk for everybody else."""


class Reports(Protocol):
    """Is told how it goes."""

    def say(self, text: str) -> None:
        """Something that a person should know."""
        ...

    def begin(self, title: str, size_bytes: int | None, done_bytes: int) -> None:
        """The next piece of work, of which some is done already."""
        ...

    def advance(self, n_bytes: int) -> None:
        """So much more of it is done."""
        ...

    def end(self) -> None:
        """It is done."""
        ...


@dataclass(frozen=True, slots=True)
class Pulled:
    """What became of a pull.

    Attributes:
        pin: Which bytes the model is, complete.
        fetched_bytes: How many came from the source.
    """

    pin: Pin
    fetched_bytes: int


class Fetcher:
    """Brings models from a source into a store.

    Args:
        store: Where to.
        source: Where from.
        reports: Is told how it goes.
        wait: Waits so many seconds, before trying again.
    """

    def __init__(
        self, store: ModelStore, source: Source, reports: Reports, wait: Callable[[float], object]
    ) -> None:
        self._store = store
        self._source = source
        self._reports = reports
        self._wait = wait
        self._fetched_bytes = 0

    def pull(self, model: Model, wanted: Pin, *, is_settled: bool) -> Pulled:
        """Bring a model; what is there and right stays.

        Args:
            model: Which.
            wanted: What is known of its bytes.
            is_settled: That is all there is to know, so that the source need not be asked what it has.

        Raises:
            ModelError: it cannot be had, is not what is wanted, or does not fit on the disk.
        """
        pin = wanted if is_settled else self._settled(model, wanted)
        there = self._good(model.name, pin)
        lacking = [file for file in pin.files if file.path not in there]
        self._require_room(model.name, lacking)
        self._fetched_bytes = 0
        parts: dict[str, Path] = {}
        files = dict(there)
        for file in lacking:
            parts[file.path], files[file.path] = self._fetch(model, pin, file)
        complete = replace(pin, files=tuple(files[file.path] for file in pin.files))
        if lacking or self._has_others(model.name, pin):
            self._store.install(model.name, complete, parts)
        else:
            self._store.remember(model.name, complete)
        return Pulled(complete, self._fetched_bytes)

    def _settled(self, model: Model, wanted: Pin) -> Pin:
        n_failures = 0
        while True:
            try:
                return settled(wanted, self._source.offer(model, wanted), model)
            except Interrupted as error:
                n_failures += 1
                self._recover(error, n_failures)
            except PinConflict as error:
                raise ModelError(f"{model.name} at {self._source.name}: {error}") from None

    def _good(self, name: str, pin: Pin) -> Mapping[str, ModelFile]:
        """The files that are there and right, with their checksums."""
        good = {}
        for file in pin.files if self._store.has(name) else ():
            path = self._store.where(name) / file.path
            if path.is_file() and path.stat().st_size == file.size_bytes and (file.sha256 or file.blob):
                found = self._digest(name, file, path)
                if not wrong(file, found):
                    good[file.path] = ModelFile(file.path, found.size_bytes, found.sha256)
        return good

    def _digest(self, name: str, file: ModelFile, path: Path) -> Digest:
        self._reports.begin(f"checking {name}/{file.path}", path.stat().st_size, 0)
        found = digest(path, self._reports.advance, with_blob=not file.sha256)
        self._reports.end()
        return found

    def _has_others(self, name: str, pin: Pin) -> bool:
        folder = self._store.where(name)
        n_files = sum(1 for path in folder.rglob("*") if not path.is_dir())
        return n_files != len(pin.files)

    def _require_room(self, name: str, files: list[ModelFile]) -> None:
        done = sum(_length(self._store.part(name, file)) for file in files)
        needed_bytes = sum(file.size_bytes or 0 for file in files) - done
        free_bytes = self._store.free_bytes() - SPARE_BYTES
        if needed_bytes > free_bytes:
            raise ModelError(
                f"{name} needs {readable(needed_bytes)} more, and {self._store.folder} has room for "
                f"{readable(max(0, free_bytes))}: make room, or set models.folder"
            )

    def _fetch(self, model: Model, pin: Pin, file: ModelFile) -> tuple[Path, ModelFile]:
        part = self._store.part(model.name, file)
        # Where a file ends that has no known length, nobody knows whether a part is all of it.
        if file.size_bytes is None or _length(part) > file.size_bytes:
            part.unlink(missing_ok=True)
        goes_on = _length(part) > 0
        self._complete(model, pin, file, part)
        found = self._digest(model.name, file, part)
        problem = wrong(file, found)
        if problem and goes_on:  # what was there before may have been something else
            part.unlink()
            self._reports.say(f"{model.name}/{file.path}: {problem}; fetching it anew")
            self._complete(model, pin, file, part)
            found = self._digest(model.name, file, part)
            problem = wrong(file, found)
        if problem:
            part.unlink()
            what = f"{model.name}/{file.path} from {self._source.name}"
            raise ModelError(f"{what} is not what it should be, and was thrown away: {problem}")
        return part, ModelFile(file.path, found.size_bytes, found.sha256)

    def _complete(self, model: Model, pin: Pin, file: ModelFile, part: Path) -> None:
        """Fetch until all of it is there."""
        n_failures = 0
        self._reports.begin(f"{model.name}/{file.path}", file.size_bytes, _length(part))
        while not part.exists() or _length(part) != file.size_bytes:
            before_bytes = _length(part)
            try:
                self._receive(model, pin, file, part)
                if file.size_bytes is None:
                    break
                if _length(part) < file.size_bytes:
                    raise Interrupted(f"{self._source.name} ended early")
            except Interrupted as error:
                n_failures = 1 if _length(part) > before_bytes else n_failures + 1
                self._recover(error, n_failures)
        self._reports.end()

    def _receive(self, model: Model, pin: Pin, file: ModelFile, part: Path) -> None:
        """Fetch what is lacking, or as much of it as comes."""
        have_bytes = _length(part)
        try:
            with part.open("ab") as opened:
                if file.size_bytes == 0:
                    return
                with self._source.read(model, pin, file, have_bytes) as body:
                    self._write(body, file, opened.fileno(), have_bytes)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                how = "make room and run the same command, which goes on from there"
                raise ModelError(f"the disk is full at {part}: {how}") from None
            raise ModelError(f"{part}: {error.strerror or error}") from None

    def _write(self, body: Body, file: ModelFile, handle: int, have_bytes: int) -> None:
        if body.start_byte != have_bytes:  # the source begins where it likes
            if body.start_byte > have_bytes:
                raise ModelError(f"{self._source.name} left out a piece of {file.path}")
            os.ftruncate(handle, body.start_byte)
            self._reports.advance(body.start_byte - have_bytes)
            have_bytes = body.start_byte
        try:
            for piece in body.pieces:
                have_bytes += len(piece)
                if file.size_bytes is not None and have_bytes > file.size_bytes:
                    os.ftruncate(handle, 0)
                    raise ModelError(
                        f"{self._source.name} sends more than the {file.size_bytes} bytes of {file.path}"
                    )
                view = memoryview(piece)
                while view:
                    view = view[os.write(handle, view) :]
                self._fetched_bytes += len(piece)
                self._reports.advance(len(piece))
        finally:
            os.fsync(handle)

    def _recover(self, error: Interrupted, n_failures: int) -> None:
        if n_failures >= TRIES:
            raise ModelError(f"{error}; given up after {TRIES} tries. The same command goes on from there")
        wait_s = FIRST_WAIT_S * 2 ** (n_failures - 1) if error.wait_s is None else error.wait_s
        wait_s = min(LONGEST_WAIT_S, wait_s)
        self._reports.say(f"{error}; trying again in {wait_s:.0f} s")
        self._wait(wait_s)


def readable(n_bytes: int) -> str:
    """`1.6 GB`: powers of 1000, as disks and hubs have it."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
