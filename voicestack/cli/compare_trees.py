"""Which commit was accepted last, and where is a copy of it that can be run?"""

import subprocess
from pathlib import Path
from typing import Any

import orjson

from voicestack.aio.clock import local_day, unix_s
from voicestack.core.errors import ConfigError

CHECKOUT = Path(__file__).resolve().parents[2]
ACCEPTED = CHECKOUT / "tests" / "bench" / "accepted.json"
_GIT_TIMEOUT_S = 60


def accepted_commit(path: Path) -> str:
    """The commit of the accepted record.

    Raises:
        ConfigError: there is none, or it is no record.
    """
    try:
        record = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        again = "voicestack bench compare --accept"
        raise ConfigError(f"{path}: there is no accepted record; the first is made by\n{again}") from None
    except (OSError, orjson.JSONDecodeError) as bad:
        raise ConfigError(f"{path}: {bad}") from None
    commit = record.get("commit") if isinstance(record, dict) else None
    if not isinstance(commit, str) or not commit:
        raise ConfigError(f"{path}: not a record of `voicestack bench compare`")
    return commit


def accept(path: Path, found: dict[str, Any]) -> str:
    """Write down that the commit of this checkout is what later ones are compared with. Returns it.

    Raises:
        ConfigError: there are changes that are in no commit, or it cannot be written.
    """
    commit = _git("rev-parse", "HEAD").strip()
    if _git("status", "--porcelain", "--untracked-files=no").strip():
        raise ConfigError("--accept: commit the changes first; a record names a commit")
    record = {"commit": commit, "day": local_day(unix_s()), **found}
    try:
        path.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as bad:
        raise ConfigError(f"{path}: {bad.strerror}") from None
    return commit


def tree_of(revision: str, folder: Path) -> Path:
    """A copy of a commit, or the folder of a checkout that is named instead.

    Args:
        revision: Of this repository, or a folder.
        folder: Where a copy may be made.

    Raises:
        ConfigError: there is no such commit here (a shallow clone has few), or it cannot be copied.
    """
    if (Path(revision) / "voicestack" / "__main__.py").exists():
        return Path(revision).resolve()
    try:
        commit = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    except ConfigError:
        raise ConfigError(
            f"there is no commit {revision} here; in a shallow clone: git fetch --unshallow"
        ) from None
    tree = folder / commit[:12]
    tree.mkdir()
    archive = subprocess.run(
        ("git", "-C", str(CHECKOUT), "archive", commit),
        capture_output=True,
        timeout=_GIT_TIMEOUT_S,
        check=False,
    )
    if archive.returncode:
        raise ConfigError(archive.stderr.decode("utf-8", "replace").strip())
    subprocess.run(("tar", "-x", "-C", str(tree)), input=archive.stdout, check=True, timeout=_GIT_TIMEOUT_S)
    return tree


def _git(*arguments: str) -> str:
    command = ("git", "-C", str(CHECKOUT), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_GIT_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as failed:
        raise ConfigError(f"{' '.join(command)}: {failed}") from None
    return done.stdout
