"""What were the models that somebody pulled? A lock file keeps it, so that the next pull gets the same bytes.

::

    {"version": 1, "models": {"base.en": {"repository": "...", "revision": "...", "files": [...]}}}
"""

import json
from collections.abc import Mapping
from typing import Any

from voicestack.core.catalogue import NAME, BadCatalogue, Model, ModelFile, Pin, read_pin

VERSION = 1

Pins = Mapping[str, Pin]
"""By the model's name."""


class PinConflict(Exception):
    """What is offered is not what was pinned; the message says what differs."""


def read_pins(text: str | bytes) -> dict[str, Pin]:
    """The pins in a lock file.

    Raises:
        BadCatalogue: it is none, or one of a newer version.
    """
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        raise BadCatalogue("it is not JSON") from None
    models = tree.get("models") if isinstance(tree, dict) else None
    if not isinstance(models, dict):
        raise BadCatalogue("it has no models")
    if tree.get("version") != VERSION:
        raise BadCatalogue(f"it has version {tree.get('version')!r}; this voicestack reads {VERSION}")
    pins = {}
    for name, row in models.items():
        if not NAME.fullmatch(name) or not isinstance(row, dict):
            raise BadCatalogue(f"{name!r} is no model")
        pins[name] = read_pin(row, name)
        if not pins[name].is_complete:
            raise BadCatalogue(f"{name}: a revision, and every file's length and checksum, are needed")
    return pins


def written(pins: Pins) -> str:
    """The text of a lock file, the same for the same pins, so that it can be compared and kept in git."""
    return json.dumps({"version": VERSION, "models": rows(pins)}, indent=2) + "\n"


def rows(pins: Pins) -> dict[str, Any]:
    """The pins as JSON has them."""
    return {name: _row(pins[name]) for name in sorted(pins)}


def settled(wanted: Pin, offered: Pin, model: Model) -> Pin:
    """What to fetch: what is offered, held against what is wanted.

    Args:
        wanted: What is known beforehand: of the catalogue, or of a lock file.
        offered: What the hub, or a mirror, says that it has; its files may be more than the model's.
        model: Says which of the files belong to it.

    Raises:
        PinConflict: another repository or commit, another length or checksum, or a file that is not there.
    """
    if offered.repository != wanted.repository:
        raise PinConflict(f"{wanted.repository} is wanted, and {offered.repository} is offered")
    if wanted.revision and offered.revision != wanted.revision:
        raise PinConflict(f"revision {wanted.revision} is wanted, and {offered.revision} is offered")
    known = {file.path: file for file in wanted.files}
    taken = {file.path: file for file in offered.files if file.path in known or model.takes(file.path)}
    missing = sorted(known.keys() - taken.keys())
    if missing:
        raise PinConflict(f"there is no {', '.join(missing)} at revision {offered.revision}")
    if not taken:
        raise PinConflict(f"none of its files are {', '.join(model.patterns)}")
    files = tuple(_held(known.get(path), file) for path, file in sorted(taken.items()))
    return Pin(wanted.repository, offered.revision, files, wanted.folder)


def _held(wanted: ModelFile | None, offered: ModelFile) -> ModelFile:
    if wanted is None:
        return offered
    for what, ours, theirs in (
        ("length", wanted.size_bytes, offered.size_bytes),
        ("SHA-256", wanted.sha256, offered.sha256),
    ):
        if ours and theirs and ours != theirs:
            raise PinConflict(f"{wanted.path} should have the {what} {ours}, and {theirs} is offered")
    size_bytes = wanted.size_bytes if offered.size_bytes is None else offered.size_bytes
    return ModelFile(wanted.path, size_bytes, wanted.sha256 or offered.sha256, offered.blob)


def _row(pin: Pin) -> dict[str, Any]:
    files = [
        {"path": file.path, "size_bytes": file.size_bytes, "sha256": file.sha256}
        for file in sorted(pin.files, key=lambda file: file.path)
    ]
    folder = {"folder": pin.folder} if pin.folder else {}
    return {"repository": pin.repository, "revision": pin.revision, **folder, "files": files}
