"""Is the installed vLLM asked once what it is and knows, and missed with the right words?"""

import sys
from pathlib import Path

import pytest

from voicestack.core.errors import ConfigError
from voicestack.engines.vllm_installed import look_at, version_text

FAKE = """#!/bin/sh
echo asked >> {log}
case "$*" in
  *--help=all*) {help} ;;
  *) {version} ;;
esac
"""


def interpreter(folder: Path, *, version: str = "echo 0.32.0", help_text: str = "") -> Path:
    path = folder / "python"
    told = help_text or "echo '  --max-model-len N'; echo '  --uds UDS'"
    path.write_text(FAKE.format(log=folder / "log", help=told, version=version))
    path.chmod(0o755)
    return path


def n_asked(folder: Path) -> int:
    return len((folder / "log").read_text().splitlines())


def test_options_are_asked_for_once_for_each_version(tmp_path: Path) -> None:
    python, cache = str(interpreter(tmp_path)), tmp_path / "cache"
    first = look_at(python, "0.32.0", cache, {})
    assert first.version == (0, 32, 0)
    assert first.flags == {"--max-model-len", "--uds"}
    assert look_at(python, "0.32.0", cache, {}) == first
    assert n_asked(tmp_path) == 1
    assert look_at(python, "0.33.0", cache, {}).version == (0, 33, 0)
    assert n_asked(tmp_path) == 2


def test_a_broken_answer_in_the_cache_is_asked_for_again(tmp_path: Path) -> None:
    python, cache = str(interpreter(tmp_path)), tmp_path / "cache"
    look_at(python, "0.32.0", cache, {})
    (kept,) = cache.iterdir()
    kept.write_text("[")
    assert look_at(python, "0.32.0", cache, {}).flags == {"--max-model-len", "--uds"}


def test_a_vllm_that_does_not_start_says_why(tmp_path: Path) -> None:
    python = str(interpreter(tmp_path, help_text="echo 'ImportError: libcuda' >&2; exit 1"))
    with pytest.raises(ConfigError, match="libcuda"):
        look_at(python, "0.32.0", tmp_path / "cache", {})
    assert not (tmp_path / "cache").exists()


def test_the_version_of_an_interpreter(tmp_path: Path) -> None:
    assert version_text(str(interpreter(tmp_path))) == "0.32.0"


def test_an_interpreter_without_it_names_the_command() -> None:
    with pytest.raises(ConfigError, match=f"{sys.executable} -m pip install vllm"):
        version_text("")


def test_an_interpreter_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"vllm\.python cannot be run"):
        version_text(str(tmp_path / "nowhere"))
