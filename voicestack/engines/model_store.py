"""Where are a model's files? Engines ask here, and never fetch anything themselves.

::

    models.lock             which bytes each model is (`core/pins.py`)
    base.en/model.bin       a model: a folder with its files, complete and checked
    .partial/base.en/       what a pull has so far; nothing here is ever loaded

A model appears, and is replaced, by renaming its folder, so that there is no half of one at any time.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from voicestack.core.catalogue import NAME, BadCatalogue, ModelFile, Pin
from voicestack.core.errors import ConfigError, ModelError
from voicestack.core.pins import read_pins, written
from voicestack.engines.model_files import differences

LOCK_FILE = "models.lock"
PARTIAL = ".partial"
SINGLE = (".gguf", ".onnx")
"""Formats of which one file is the whole model; the rest of its folder is found from there."""


def models_folder(configured: str) -> Path:
    """Where models lie: as configured, or in the user's data folder."""
    if configured:
        return Path(configured).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "voicestack" / "models"


def find_model(named: str, folder: Path) -> Path:
    """What an engine loads: the model of that name in the store, else the path `named`.

    Returns:
        A folder (CTranslate2, safetensors), or the file itself for a GGUF or an ONNX model: the first of its
        parts, if it has several.

    Raises:
        ConfigError: it is not there; the message has the command that fetches it.
    """
    for path in (folder / named, Path(named).expanduser()):
        if named and path.exists():
            return _loaded(path) if path.is_dir() else path
    if NAME.fullmatch(named):
        raise ConfigError(f"there is no model '{named}' in {folder}: run `voicestack models pull {named}`")
    raise ConfigError(f"there is no model at '{named}'")


def _loaded(path: Path) -> Path:
    singles = sorted(file for file in path.iterdir() if file.suffix in SINGLE)
    return singles[0] if singles else path


class ModelStore:
    """The folder of models.

    Raises, in every method: ModelError when the disk does not let it do its work.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def where(self, name: str) -> Path:
        """The folder of a model, whether it is there or not."""
        return self.folder / name

    def has(self, name: str) -> bool:
        """Whether it is there, complete."""
        return self.where(name).is_dir()

    def names(self) -> list[str]:
        """All models that are there."""
        found = []
        for path in _folders(self.folder):
            inner = _folders(path)
            holds_files = any(child.is_file() for child in path.iterdir())
            found += [path.name] if holds_files else [f"{path.name}/{child.name}" for child in inner]
        return found

    def pins(self) -> dict[str, Pin]:
        """What the lock file holds; nothing without one. Raises ConfigError if it cannot be used."""
        return read_lock(self.folder / LOCK_FILE)

    def remember(self, name: str, pin: Pin) -> None:
        """Write a model's pin into the lock file."""
        self._change(lambda pins: pins | {name: pin})

    def forget(self, name: str) -> None:
        """Take a model's pin out of the lock file."""
        self._change(lambda pins: {other: pin for other, pin in pins.items() if other != name})

    def _change(self, changed: Callable[[dict[str, Pin]], dict[str, Pin]]) -> None:
        with self._guarded(".pins"):
            write_lock(self.folder / LOCK_FILE, changed(self.pins()))

    @contextmanager
    def exclusive(self, name: str, on_wait: Callable[[], None]) -> Iterator[None]:
        """Be the only one who changes the model. `on_wait` is called if somebody else is at it."""
        with self._guarded(_flat(name), on_wait):
            old = self._work(name) / "old"
            if old.exists() and not self.has(name):  # a crash between the two renames of `install`
                old.rename(self.where(name))
            yield

    @contextmanager
    def _guarded(self, what: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        with _disk(self.folder):
            (self.folder / PARTIAL).mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / PARTIAL / f"{what}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _work(self, name: str) -> Path:
        return self.folder / PARTIAL / _flat(name)

    def part(self, name: str, file: ModelFile) -> Path:
        """Where what has been fetched of a file so far is kept. Other bytes of the same name have another."""
        identity = (file.sha256 or file.blob or "any")[:16]
        with _disk(self.folder):
            self._work(name).mkdir(parents=True, exist_ok=True)
        return self._work(name) / f"{file.path.replace('/', '--')}.{identity}.part"

    def install(self, name: str, pin: Pin, parts: Mapping[str, Path]) -> None:
        """Make the model of files that were checked, and put it in place of what was there.

        Args:
            name: The model's.
            pin: All files that it has.
            parts: Where those are that were fetched, by their path; the others are in the model's old folder.
        """
        new, old, target = self._work(name) / "new", self._work(name) / "old", self.where(name)
        with _disk(self.folder):
            for leftover in (new, old):
                shutil.rmtree(leftover, ignore_errors=True)
            for file in pin.files:
                place = new / file.path
                place.parent.mkdir(parents=True, exist_ok=True)
                _place(parts.get(file.path) or target / file.path, place)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                target.rename(old)
            new.rename(target)
            _sync_folder(target.parent)
        self.remember(name, pin)
        shutil.rmtree(self._work(name), ignore_errors=True)

    def remove(self, name: str) -> None:
        """Delete a model's files, and what a pull has of it. Its pin stays: it comes back as it was."""
        gone = self._work(name) / "old"
        with _disk(self.folder):
            shutil.rmtree(gone, ignore_errors=True)
            gone.parent.mkdir(parents=True, exist_ok=True)
            if self.has(name):
                self.where(name).rename(
                    gone
                )  # at once: an engine that starts meanwhile sees all of it or nothing
        shutil.rmtree(self._work(name), ignore_errors=True)
        if "/" in name and not any(self.where(name).parent.iterdir()):
            self.where(name).parent.rmdir()

    def differences(self, name: str, pin: Pin, on_bytes: Callable[[int], None]) -> list[str]:
        """What of a model is not as its pin says; see `model_files.differences`."""
        with _disk(self.folder):
            return differences(self.where(name), pin, on_bytes)

    def free_bytes(self) -> int:
        """Room on the disk, for users without privileges."""
        with _disk(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_frsize


def read_lock(path: Path) -> dict[str, Pin]:
    """The pins in a file; none if there is no such file. Raises ConfigError: it cannot be used."""
    try:
        return read_pins(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except BadCatalogue as error:
        raise ConfigError(f"{path} is not a lock file of models: {error}") from None


def write_lock(path: Path, pins: Mapping[str, Pin]) -> None:
    """Replace a file of pins as a whole. Raises ModelError: it cannot be written."""
    with _disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(written(pins))
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelError(f"{error.filename or path}: {error.strerror or error}") from None


def _flat(name: str) -> str:
    return name.replace("/", "--")


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _place(source: Path, target: Path) -> None:
    """Link a file to a second place; where links are not supported, copy it."""
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
