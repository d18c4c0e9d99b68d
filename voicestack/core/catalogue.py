"""Which models are known by name, where do their files come from, and which bytes must they be?

The catalogue is data (`configs/models/*.toml`); this module makes values of it, and of what is pinned.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, Literal, cast, get_args

ModelStage = Literal["asr", "llm", "tts", "draft"]
"""What a model is for; `draft` models speed up an `llm` by guessing ahead of it."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)?")
"""A model's name, which is also its folder: one part, or the two of a repository on the hub."""
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
REVISION = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")

EVERYTHING = ("*",)
NEVER = (".gitattributes", "original/*", "*.pth", "*.onnx_data", "*.msgpack", "*.h5")
"""What a repository has beside a model's files: other formats of the same weights."""


class BadCatalogue(Exception):
    """A table is not a catalogue's, or a pin file's; the message says where and why."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model.

    Attributes:
        path: Below the model's folder, with `/`.
        size_bytes: How long it is; None if that is not known.
        sha256: Of its bytes, 64 hex digits; empty if that is not known.
        blob: Its git object id, 40 hex digits, where the hub has no SHA-256 of it; else empty.
    """

    path: str
    size_bytes: int | None = None
    sha256: str = ""
    blob: str = ""

    @property
    def is_pinned(self) -> bool:
        """Whether its bytes are known."""
        return bool(self.sha256) and self.size_bytes is not None


@dataclass(frozen=True, slots=True)
class Pin:
    """Which bytes a model is.

    Attributes:
        repository: Owner and name on the hub.
        revision: The commit, 40 hex digits; empty if any would do.
        files: With their checksums, as far as they are known.
        folder: Where in the repository they lie; empty for its root.
    """

    repository: str
    revision: str
    files: tuple[ModelFile, ...]
    folder: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether nothing needs to be asked for: the commit, and all files' lengths and checksums."""
        return bool(self.revision) and bool(self.files) and all(file.is_pinned for file in self.files)

    @property
    def size_bytes(self) -> int:
        """Of all files, as far as it is known."""
        return sum(file.size_bytes or 0 for file in self.files)

    def at(self, file: ModelFile) -> str:
        """The file's path in the repository."""
        return f"{self.folder}/{file.path}" if self.folder else file.path


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of the catalogue.

    Attributes:
        name: What people call it.
        stage: What it is for.
        pin: What is known of its files.
        patterns: Names of the files to take; empty when `pin.files` are all of them.
        licence: SPDX identifier, or a LicenseRef of the model's own; empty when only its page says it.
        licence_at: The file in the repository, at the same commit, that states the licence.
        languages: BCP 47 tags, or a phrase.
        profiles: The profiles that use it.
        ram_mib: Main memory that it takes, roughly; 0 for unknown.
        gpu_mib: GPU memory that it takes, roughly, weights and work; 0 for none or unknown.
        gated: The hub gives it only to those who have accepted its licence there.
        about_bytes: Its length, roughly, where `pin` does not know it.
        note: What else one should know.
        source: Where the pins come from.
    """

    name: str
    stage: ModelStage
    pin: Pin
    patterns: tuple[str, ...] = ()
    licence: str = ""
    licence_at: str = ""
    languages: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    ram_mib: int = 0
    gpu_mib: int = 0
    gated: bool = False
    about_bytes: int = 0
    note: str = ""
    source: str = ""

    @property
    def size_bytes(self) -> int:
        """How long it is, roughly if `pin` is not complete; 0 for unknown."""
        return self.about_bytes if self.patterns and self.about_bytes else self.pin.size_bytes

    @property
    def is_pinned(self) -> bool:
        """Whether the catalogue says which bytes the model is."""
        return self.pin.is_complete and not self.patterns

    def takes(self, path: str) -> bool:
        """Whether a file of the repository, named from the model's folder in it, belongs to the model."""
        if not self.patterns:
            return any(file.path == path for file in self.pin.files)
        refused = any(fnmatch(path, pattern) for pattern in NEVER)
        return not refused and any(fnmatch(path, pattern) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models that are known by name."""

    models: Mapping[str, Model] = field(default_factory=dict)

    def of_profile(self, profile: str) -> list[str]:
        """The names of the models that a profile uses, in the catalogue's order."""
        return [model.name for model in self.models.values() if profile in model.profiles]

    @property
    def profiles(self) -> list[str]:
        """The profiles that use any."""
        return sorted({profile for model in self.models.values() for profile in model.profiles})


def read_catalogue(tables: Iterable[tuple[str, Mapping[str, Any]]]) -> Catalogue:
    """Make a catalogue of parsed TOML.

    Args:
        tables: What to call each table in messages, and the table.

    Raises:
        BadCatalogue: an entry is not one, or a name occurs twice.
    """
    models: dict[str, Model] = {}
    for where, table in tables:
        for row in _rows(table.get("model", []), where):
            model = _model(row, f"{where}: {row.get('name', 'an entry without a name')}")
            if model.name in models:
                raise BadCatalogue(f"{where}: {model.name} is there twice")
            models[model.name] = model
    return Catalogue(models)


def model_of_repository(repository: str, revision: str = "") -> Model:
    """A repository of the hub as a model that is in no catalogue; its name is that of the repository."""
    return Model(repository, "llm", Pin(repository, revision, ()), patterns=EVERYTHING)


def read_pin(row: Mapping[str, Any], where: str) -> Pin:
    """A pin from a table with `repository`, `revision`, `folder` and `files`.

    Raises:
        BadCatalogue: it is none.
    """
    repository, revision, folder = (str(row.get(key, "")) for key in ("repository", "revision", "folder"))
    if not REPOSITORY.fullmatch(repository):
        raise BadCatalogue(f"{where}: repository should be owner/name, not {repository!r}")
    if revision and not REVISION.fullmatch(revision):
        raise BadCatalogue(f"{where}: revision should be 40 hex digits, not {revision!r}")
    if folder and not is_safe_path(folder):
        raise BadCatalogue(f"{where}: folder should be a path below the repository, not {folder!r}")
    files = tuple(_file(file, where) for file in _rows(row.get("files", []), where))
    if len({file.path for file in files}) < len(files):
        raise BadCatalogue(f"{where}: a file is there twice")
    return Pin(repository, revision, files, folder)


def is_safe_path(path: str) -> bool:
    """Whether a name stays below the folder that it is written in, on any system."""
    climbs = any(part in ("", ".", "..") for part in path.split("/"))
    return not climbs and not re.search(r"[\\:\x00-\x1f]", path)


def _model(row: Mapping[str, Any], where: str) -> Model:
    name, stage = str(row.get("name", "")), str(row.get("stage", ""))
    if not NAME.fullmatch(name):
        raise BadCatalogue(f"{where}: name should be letters, digits, '.', '_' and '-', not {name!r}")
    if stage not in get_args(ModelStage):
        raise BadCatalogue(
            f"{where}: stage should be one of {', '.join(get_args(ModelStage))}, not {stage!r}"
        )
    model = Model(
        name=name,
        stage=cast(ModelStage, stage),
        pin=read_pin(row, where),
        patterns=_texts(row, "patterns", where),
        licence=str(row.get("licence", "")),
        licence_at=str(row.get("licence_at", "")),
        languages=_texts(row, "languages", where),
        profiles=_texts(row, "profiles", where),
        ram_mib=_number(row, "ram_mib", where),
        gpu_mib=_number(row, "gpu_mib", where),
        gated=row.get("gated") is True,
        about_bytes=_number(row, "size_bytes", where),
        note=str(row.get("note", "")),
        source=str(row.get("source", "")),
    )
    if not model.patterns and not model.pin.files:
        raise BadCatalogue(f"{where}: neither files nor patterns")
    return model


def _file(row: Mapping[str, Any], where: str) -> ModelFile:
    path, sha256 = str(row.get("path", "")), str(row.get("sha256", ""))
    if not is_safe_path(path):
        raise BadCatalogue(f"{where}: a file's path should stay below the model's folder, not {path!r}")
    if sha256 and not SHA256.fullmatch(sha256):
        raise BadCatalogue(f"{where}: sha256 of {path} should be 64 hex digits, not {sha256!r}")
    size_bytes = _number(row, "size_bytes", where) if "size_bytes" in row else None
    return ModelFile(path, size_bytes, sha256)


def _rows(value: Any, where: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise BadCatalogue(f"{where}: a list of tables is needed")
    return value


def _texts(row: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = row.get(key, [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise BadCatalogue(f"{where}: {key} should be a list of texts")
    return tuple(value)


def _number(row: Mapping[str, Any], key: str, where: str) -> int:
    value = row.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadCatalogue(f"{where}: {key} should be a whole number, not {value!r}")
    return value
