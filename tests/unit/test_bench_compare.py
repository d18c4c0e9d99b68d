"""Is a real regression called one, and nothing else?"""

import argparse
import io
import subprocess
from pathlib import Path

import numpy as np
import orjson
import pytest
from rich.console import Console

from voicestack.cli import bench_compare, compare_trees
from voicestack.cli.bench_compare import CPU, WAIT, Found, conclude
from voicestack.cli.compare_odds import Verdict, ratio_of
from voicestack.cli.compare_trees import accept, accepted_commit, tree_of
from voicestack.core.errors import ConfigError

TOLERANCE = 0.05


def pairs(factor: float, *, n: int = 20, noise: float = 0.02, seed: int = 1) -> list[tuple[float, float]]:
    """Figures of two versions, the second `factor` times the first, on a machine that slows down both."""
    rng = np.random.default_rng(seed)
    busy = rng.uniform(1.0, 3.0, n)
    first, second = (busy * rng.lognormal(0.0, noise, n) for _ in range(2))
    return list(zip((10 * first).tolist(), (10 * factor * second).tolist(), strict=True))


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (1.0, Verdict.SAME),
        (1.03, Verdict.TOLERATED),
        (1.10, Verdict.REGRESSED),
        (2.0, Verdict.REGRESSED),
        (0.9, Verdict.BETTER),
    ],
)
def test_what_is_said_of_a_factor(factor: float, verdict: Verdict) -> None:
    ratio = ratio_of(pairs(factor))
    assert ratio is not None
    assert ratio.low < factor < ratio.high
    assert ratio.verdict(TOLERANCE) is verdict


def test_equal_versions_hardly_ever_fail() -> None:
    found = [ratio_of(pairs(1.0, noise=0.06, seed=seed)) for seed in range(400)]
    failed = [ratio for ratio in found if ratio and ratio.verdict(0.0) is Verdict.REGRESSED]
    assert len(failed) <= 10  # 1 % are expected


def test_twice_as_slow_and_twice_as_quick_cancel() -> None:
    ratio = ratio_of([(1.0, 2.0), (2.0, 1.0)])
    assert ratio is not None
    assert ratio.value == pytest.approx(1.0)


def test_one_pair_says_nothing() -> None:
    ratio = ratio_of([(1.0, 5.0)])
    assert ratio is not None
    assert ratio.verdict(TOLERANCE) is Verdict.UNKNOWN
    assert ratio_of([(0.0, 1.0)]) is None
    assert ratio_of([]) is None


@pytest.mark.parametrize(
    ("found", "code", "words"),
    [
        (Found({CPU: pairs(1.0), WAIT: pairs(1.0)}), 0, "passed"),
        (Found({CPU: pairs(1.2), WAIT: pairs(1.0)}), 1, "regressed"),
        (Found({CPU: pairs(1.0), WAIT: pairs(1.2)}), 1, "regressed"),
        (Found({WAIT: pairs(1.0)}, [0, 3]), 1, "0 accepted, 3 now"),
        (Found({WAIT: pairs(1.0)}, [3, 3]), 0, "3 accepted, 3 now"),
        (Found({CPU: pairs(1.0, n=1)}), 2, "cannot be said"),
        (Found(), 2, "cannot be said"),
        (Found({CPU: pairs(1.0, noise=0.6)}), 2, "too much noise"),
    ],
)
def test_the_last_word_and_the_exit_code(found: Found, code: int, words: str) -> None:
    printed = io.StringIO()
    assert conclude(Console(file=printed, width=120), found) == code
    assert words in printed.getvalue()


# --- the accepted commit ------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one commit."""
    folder = tmp_path / "checkout"
    (folder / "voicestack").mkdir(parents=True)
    (folder / "voicestack" / "__main__.py").write_text("first\n")
    identity = ("-c", "user.name=tests", "-c", "user.email=tests@example.com")
    for arguments in (("init", "-q"), ("add", "."), (*identity, "commit", "-q", "-m", "first")):
        subprocess.run(("git", "-C", str(folder), *arguments), check=True)
    monkeypatch.setattr(compare_trees, "CHECKOUT", folder)
    return folder


def test_a_commit_is_copied_as_it_was(repository: Path, tmp_path: Path) -> None:
    (repository / "voicestack" / "__main__.py").write_text("changed since\n")
    tree = tree_of("HEAD", tmp_path)
    assert (tree / "voicestack" / "__main__.py").read_text() == "first\n"


def test_a_folder_is_taken_as_it_is(repository: Path, tmp_path: Path) -> None:
    assert tree_of(str(repository), tmp_path) == repository


def test_a_commit_that_is_not_there_is_said(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no commit abcdef0 here.*git fetch --unshallow"):
        tree_of("abcdef0", tmp_path)


def test_what_was_accepted_is_compared_with_later(repository: Path, tmp_path: Path) -> None:
    path = tmp_path / "accepted.json"
    with pytest.raises(ConfigError, match="bench compare --accept"):
        accepted_commit(path)
    commit = accept(path, {"figures": {}})
    assert accepted_commit(path) == commit
    (repository / "voicestack" / "__main__.py").write_text("changed since\n")
    with pytest.raises(ConfigError, match="commit the changes first"):
        accept(path, {})
    for bad in (b"[]", b"{}", b'{"commit": 7}'):
        path.write_bytes(bad)
        with pytest.raises(ConfigError, match="not a record"):
            accepted_commit(path)
    path.write_bytes(b"{")
    with pytest.raises(ConfigError):
        accepted_commit(path)


@pytest.mark.parametrize("code", [0, 1])
def test_only_what_passes_is_accepted(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    async def measured(args: argparse.Namespace, tree: Path, found: Found, console: Console) -> None:
        found.pairs[CPU] = pairs(1.3 if code else 1.0)

    monkeypatch.setattr(bench_compare, "_measure", measured)
    parser = argparse.ArgumentParser()
    bench_compare.add_arguments(parser)
    path = tmp_path / "accepted.json"
    args = parser.parse_args(["--record", str(path), "--accept"])
    found = bench_compare.run(args)
    assert found[0] == code
    assert path.exists() == (code == 0)
    if code == 0:
        assert orjson.loads(path.read_bytes())["figures"][CPU]["verdict"] == "same"
