"""What does `voicestack models list` show?"""

import json
import sys
from dataclasses import replace
from typing import Any, get_args

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voicestack.cli.models_fetch import readable
from voicestack.core.catalogue import Catalogue, Model, ModelStage, Pin, model_of_repository
from voicestack.engines.model_store import ModelStore, find_model

ONE_LINE_EACH = 1000
"""Columns in a pipe, so that `voicestack models list | grep tts` finds whole lines."""


def pinned(model: Model, lock: Pin | None) -> str:
    """Who says which bytes the model is: the catalogue, a lock file, or nobody.

    `revision` is in between: the catalogue names the commit, the first pull asks for its files' checksums.
    """
    if model.is_pinned and (lock is None or lock.revision == model.pin.revision):
        return "catalogue"
    if lock is not None:
        return "lock"
    return "revision" if model.pin.revision else "no"


def show_table(catalogue: Catalogue, store: ModelStore) -> None:
    """Print it for people."""
    locks = store.pins()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("model", "for", "languages", "size", "needs about", "licence", "pinned", "here", "profile"):
        table.add_column(title, overflow="fold")
    for model in _all(catalogue, store):
        here = store.has(model.name)
        size = readable(model.size_bytes) if model.size_bytes else "?"
        about = (" ".join(model.languages), size, _needs(model), _licence(model))
        cells = (model.name, model.stage, *about, pinned(model, locks.get(model.name)))
        marks = (Text("yes", "green") if here else Text("-", "dim"), Text(" ".join(model.profiles)))
        table.add_row(*(Text(cell) for cell in cells), *marks)
    in_pipe = not sys.stdout.isatty()
    console = Console(width=ONE_LINE_EACH if in_pipe else None)
    console.print(table)
    print(f"\nThey lie in {store.folder}. `voicestack models pull NAME` fetches one, or all of a profile.")


def show_json(catalogue: Catalogue, store: ModelStore) -> None:
    """Print it for programs."""
    locks = store.pins()
    rows = [_row(model, locks.get(model.name), store) for model in _all(catalogue, store)]
    print(json.dumps(rows, indent=2))


def _all(catalogue: Catalogue, store: ModelStore) -> list[Model]:
    """The catalogue's, and what else is here."""
    locks = store.pins()
    others = [name for name in store.names() if name not in catalogue.models]
    known = sorted(catalogue.models.values(), key=lambda model: get_args(ModelStage).index(model.stage))
    return [*known, *(_stranger(name, locks.get(name)) for name in others)]


def _stranger(name: str, lock: Pin | None) -> Model:
    model = model_of_repository(name)
    return model if lock is None else replace(model, pin=lock)


def _licence(model: Model) -> str:
    return (model.licence or "see its page") + (" (gated)" if model.gated else "")


def _needs(model: Model) -> str:
    sizes = (("RAM", model.ram_mib), ("GPU", model.gpu_mib))
    return ", ".join(f"{_memory(n_mib)} {kind}" for kind, n_mib in sizes if n_mib)


def _memory(n_mib: int) -> str:
    return f"{n_mib / 1024:.1f} GiB" if n_mib >= 1024 else f"{n_mib} MiB"


def _row(model: Model, lock: Pin | None, store: ModelStore) -> dict[str, Any]:
    pin = lock or model.pin
    here = store.has(model.name)
    files = ((file.path, file.size_bytes, file.sha256 or None) for file in pin.files)
    return {
        "name": model.name,
        "stage": model.stage,
        "repository": pin.repository,
        "revision": pin.revision or None,
        "size_bytes": (pin if lock else model).size_bytes or None,
        "files": [dict(zip(("path", "size_bytes", "sha256"), file, strict=True)) for file in files],
        "licence": model.licence or None,
        "licence_at": model.licence_at or None,
        "languages": list(model.languages),
        "profiles": list(model.profiles),
        "ram_mib": model.ram_mib or None,
        "gpu_mib": model.gpu_mib or None,
        "gated": model.gated,
        "pinned": pinned(model, lock),
        "path": str(find_model(model.name, store.folder)) if here else None,
        "note": model.note,
        "source": model.source,
    }
