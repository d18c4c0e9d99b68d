"""What was measured, when, on what and with which configuration? The gate's record, as a JSON file."""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from voicestack import __version__
from voicestack.aio.clock import local_day, unix_s
from voicestack.cli.doctor import Here
from voicestack.cli.gate_figures import Events, PerItem, Times
from voicestack.cli.gate_verdict import Run
from voicestack.config.load import Loaded
from voicestack.core.errors import ConfigError

SCHEMA = 1
RECORD = Path("gate.json")
_CHECKOUT = Path(__file__).resolve().parents[2]
_GIT_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Machine:
    """What was measured on. Times of two machines cannot be compared."""

    processor: str
    n_cores: int
    memory_bytes: int
    gpus: tuple[str, ...] = ()

    def is_like(self, other: "Machine") -> bool:
        """Whether times can be compared. Memory sizes of one machine differ by what firmware keeps."""
        same = self.processor == other.processor and self.n_cores == other.n_cores
        return (
            same
            and self.gpus == other.gpus
            and abs(self.memory_bytes - other.memory_bytes) * 10 < self.memory_bytes
        )


def this_machine() -> Machine:
    """What can be seen of it, in a container too: the cores are those that this process may use."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    model = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    gpus = tuple(line.rpartition(",")[0] for line in Here().gpus())  # without the driver's version
    return Machine(model[1] if model else os.uname().machine, n_cores, memory_bytes, gpus)


@dataclass(frozen=True, slots=True)
class Capacity:
    """So many callers are all answered in time, and who says so."""

    n_callers: int
    source: Literal["given", "configured", "measured", "accepted"]


@checked(frozen=True)
class Record:
    """A run of the gate.

    Attributes:
        schema: Of this file.
        day: When it was, for people.
        unix_s: The same.
        version: Of voicestack.
        commit: Of the checkout, with `+` after it when there are other changes; None without one.
        machine: See there.
        labelled: The name of the labelled set.
        parts: What was measured: of `gate_run.PARTS`.
        quick: Whether only a part of it was run.
        config: Every value that is no secret, by its dotted key.
        fingerprint: SHA-256 of these.
        capacity: None when nothing was measured under load.
        figures: By name.
        texts: Greedy answers by the question's key.
        details: For people: what was heard, the server's stages, who disturbed.
    """

    day: str
    unix_s: int
    version: str
    commit: str | None
    machine: Machine
    labelled: str
    parts: list[str]
    quick: bool
    config: dict[str, Any]
    fingerprint: str
    capacity: Capacity | None
    figures: dict[str, Annotated[PerItem | Events | Times, Field(discriminator="kind")]]
    texts: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    schema: Literal[1] = 1

    @property
    def run(self) -> Run:
        """What is compared."""
        return Run(self.figures, self.texts)


_RECORDS: TypeAdapter[Record] = TypeAdapter(Record)


def values_of(loaded: Loaded) -> dict[str, Any]:
    """Every value by its dotted key; secrets are masked."""
    return {key: value for key, value, _ in loaded.rows()}


def fingerprint_of(values: Mapping[str, Any]) -> str:
    """The same for the same configuration."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def new_record(loaded: Loaded, **rest: Any) -> Record:
    """A record of now, of this machine and this checkout; `rest` is what was measured."""
    values, now_s = values_of(loaded), unix_s()
    return Record(
        day=local_day(now_s),
        unix_s=now_s,
        version=__version__,
        commit=commit_of(_CHECKOUT),
        config=values,
        fingerprint=fingerprint_of(values),
        **rest,
    )


def commit_of(folder: Path) -> str | None:
    """The commit of a checkout, None if it is not the root of one."""
    if not (folder / ".git").exists():
        return None
    head, changes = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain")
    return f"{head}{'+' if changes else ''}" if head else None


def _git(folder: Path, *arguments: str) -> str:
    command = ("git", "-C", str(folder), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_GIT_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def write_record(path: Path, record: Record) -> None:
    """Write it so that nobody ever reads half of it.

    Raises:
        ConfigError: it cannot be written there.
    """
    tree = _RECORDS.dump_python(record, mode="json")
    for name, figure in record.figures.items():
        tree["figures"][name] = {**_summary(figure), **tree["figures"][name]}
    beside = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(orjson.dumps(tree, option=orjson.OPT_INDENT_2) + b"\n")
        beside.replace(path)
    except OSError as bad:
        raise ConfigError(f"{path}: {bad.strerror}") from None


def _summary(figure: PerItem | Events | Times) -> dict[str, Any]:
    """For people who read the file; it is left out when it is read again."""
    if isinstance(figure, Times):
        n = len(figure.values)
        n_missing = sum(value == float("inf") for value in figure.values)
        return {"n": n, "n_missing": n_missing} | {
            f"p{share * 100:.0f}": figure.quantile(share) for share in (0.50, 0.95, 0.99)
        }
    return {
        "n_wrong": figure.n_wrong,
        "n_of": figure.n_of,
        "ratio": figure.ratio,
        "interval": figure.interval,
    }


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        ConfigError: there is none, or it cannot be used; the message says how to make a new one.
    """
    again = f"voicestack gate --accept --record {path}"
    try:
        tree = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no accepted record; the first one is made by\n{again}") from None
    except OSError as bad:
        raise ConfigError(f"{path}: {bad.strerror}") from None
    except orjson.JSONDecodeError as bad:
        raise ConfigError(f"{path}: not JSON ({bad}); a new record is made by\n{again}") from None
    schema = tree.get("schema") if isinstance(tree, dict) else None
    if not isinstance(schema, int):
        raise ConfigError(f"{path}: not a record of `voicestack gate`")
    if schema != SCHEMA:
        age = "an older" if schema < SCHEMA else "a newer"
        raise ConfigError(
            f"{path}: written by {age} voicestack (schema {schema}, this one reads {SCHEMA}); "
            f"a new record is made by\n{again}"
        )
    try:
        return _RECORDS.validate_python(tree)
    except ValidationError as bad:
        problem = bad.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(f"{path}: {where}: {problem['msg']}; a new record is made by\n{again}") from None
