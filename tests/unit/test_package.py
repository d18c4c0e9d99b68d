"""Does an installed voicestack have its profiles and its catalogue of models?"""

import runpy
from pathlib import Path

import pytest

import voicestack
from voicestack.config import catalogue, load

ROOT = Path(__file__).resolve().parents[2]


def test_the_package_has_what_lies_beside_it_in_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load.PROFILE_DIRS[0] == Path(voicestack.__file__).parent / "configs"
    known, models = load.profiles(), catalogue.load_catalogue()
    monkeypatch.setattr("setuptools.setup", lambda **options: None)
    runpy.run_path(str(ROOT / "setup.py"))["copy_configs"](tmp_path)
    monkeypatch.setattr(load, "PROFILE_DIRS", (tmp_path / "configs",))
    monkeypatch.setattr(catalogue, "PROFILE_DIRS", (tmp_path / "configs",))
    assert load.profiles() == known
    assert catalogue.load_catalogue() == models
