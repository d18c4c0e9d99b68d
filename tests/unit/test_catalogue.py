"""Is the catalogue read as it is meant, and what is pinned held to?"""

from pathlib import Path
from typing import Any

import pytest

from voicestack.cli.main import run_command
from voicestack.config.catalogue import load_catalogue
from voicestack.config.load import load, profiles
from voicestack.core.catalogue import (
    BadCatalogue,
    Model,
    ModelFile,
    Pin,
    is_safe_path,
    model_of_repository,
    read_catalogue,
)
from voicestack.core.errors import ConfigError
from voicestack.core.pins import PinConflict, read_pins, settled, written
from voicestack.engines.model_store import find_model, models_folder
from voicestack.server import needed_models as needed
from voicestack.server.needed_models import needed_models, require_models

A, B, SHA = "a" * 40, "b" * 40, "c" * 64
ROW: dict[str, Any] = {
    "name": "m",
    "stage": "asr",
    "repository": "o/m",
    "revision": A,
    "files": [{"path": "model.bin", "size_bytes": 3, "sha256": SHA}],
}
WEIGHTS = ModelFile("model.bin", 3, SHA)


def read(**changed: Any) -> Model:
    row = {key: value for key, value in (ROW | changed).items() if value is not None}
    return read_catalogue([("x.toml", {"model": [row]})]).models[row["name"]]


def test_an_entry() -> None:
    model = read(profiles=["cpu"], licence="MIT")
    assert model.pin == Pin("o/m", A, (WEIGHTS,))
    assert model.is_pinned
    assert model.size_bytes == 3
    assert not read(revision=None).is_pinned
    assert not read(files=[{"path": "model.bin", "size_bytes": 3}]).is_pinned
    assert not read(files=None, patterns=["*.json"], size_bytes=9).is_pinned
    assert read(files=None, patterns=["*.json"], size_bytes=9).size_bytes == 9


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"name": "../m"}, "name should be"),
        ({"name": ".partial"}, "name should be"),
        ({"stage": "stt"}, "stage should be one of"),
        ({"repository": "m"}, "owner/name"),
        ({"repository": "../../m"}, "owner/name"),
        ({"revision": "main"}, "40 hex digits"),
        ({"folder": "../x"}, "below the repository"),
        ({"files": None}, "neither files nor patterns"),
        ({"files": [{"path": "../x"}]}, "below the model's folder"),
        ({"files": [{"path": "/x"}]}, "below the model's folder"),
        ({"files": [{"path": "x", "sha256": "c"}]}, "64 hex digits"),
        ({"files": [{"path": "x", "size_bytes": -1}]}, "whole number"),
        ({"files": [{"path": "x"}, {"path": "x"}]}, "a file is there twice"),
        ({"files": "x"}, "list of tables"),
        ({"patterns": "*"}, "list of texts"),
    ],
)
def test_a_bad_entry_is_named(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadCatalogue, match=problem) as error:
        read(**changed)
    assert str(error.value).startswith("x.toml: ")


def test_a_name_stands_for_one_model() -> None:
    with pytest.raises(BadCatalogue, match="m is there twice"):
        read_catalogue([("x.toml", {"model": [ROW]}), ("y.toml", {"model": [ROW]})])


def test_safe_paths() -> None:
    assert all(is_safe_path(path) for path in ("a", "a/b.c", "...a", "a b/ü"))
    bad = ("", ".", "..", "/a", "a/", "a//b", "a/../b", "./a", "a\\b", "c:a", "a\0", "a\nb")
    assert not any(is_safe_path(path) for path in bad)


def test_patterns_take_and_other_formats_do_not_come_along() -> None:
    model = read(files=None, patterns=["*.json", "*.safetensors"])
    assert model.takes("model-00001.safetensors")
    assert not model.takes("README.md")
    everything = model_of_repository("o/m")
    assert everything.takes("tokenizer.model")
    assert not any(everything.takes(path) for path in (".gitattributes", "original/x.bin", "x.pth"))


# --- what is offered, against what is wanted ------------------------------------------------------------


def test_what_is_not_known_yet_is_taken_from_the_offer() -> None:
    model = read(revision=None, files=[{"path": "model.bin"}])
    offered = Pin("o/m", B, (WEIGHTS, ModelFile("other", 1)))
    assert settled(model.pin, offered, model) == Pin("o/m", B, (WEIGHTS,))


def test_what_is_known_stays() -> None:
    model = read()
    offered = Pin("o/m", A, (ModelFile("model.bin", blob=B),))
    assert settled(model.pin, offered, model).files == (ModelFile("model.bin", 3, SHA, B),)


@pytest.mark.parametrize(
    ("offered", "problem"),
    [
        (Pin("o/m", B, (WEIGHTS,)), f"revision {A} is wanted, and {B} is offered"),
        (Pin("o/x", A, (WEIGHTS,)), "o/m is wanted, and o/x is offered"),
        (Pin("o/m", A, ()), "there is no model.bin"),
        (Pin("o/m", A, (ModelFile("model.bin", 4, SHA),)), "should have the length 3, and 4 is offered"),
        (Pin("o/m", A, (ModelFile("model.bin", 3, "d" * 64),)), "should have the SHA-256 c+, and d+"),
    ],
)
def test_what_differs_is_refused(offered: Pin, problem: str) -> None:
    model = read()
    with pytest.raises(PinConflict, match=problem):
        settled(model.pin, offered, model)


def test_an_offer_without_a_file_of_the_model_is_refused() -> None:
    model = read(files=None, patterns=["*.json"])
    with pytest.raises(PinConflict, match=r"none of its files are \*\.json"):
        settled(model.pin, Pin("o/m", A, (WEIGHTS,)), model)


def test_pins_are_read_as_they_are_written() -> None:
    pins = {"m": Pin("o/m", A, (WEIGHTS,), "en/x"), "a/b": Pin("a/b", B, (WEIGHTS, ModelFile("z", 0, SHA)))}
    assert read_pins(written(pins)) == pins
    assert written(dict(reversed(pins.items()))) == written(pins)


@pytest.mark.parametrize("wanted", ["revision", "sha256", "size_bytes", "repository"])
def test_half_a_pin_is_none(wanted: str) -> None:
    text = written({"m": Pin("o/m", A, (WEIGHTS,))}).replace(f'"{wanted}"', '"x"')
    with pytest.raises(BadCatalogue):
        read_pins(text)


# --- the real ones --------------------------------------------------------------------------------------


def test_the_catalogue_that_is_shipped() -> None:
    catalogue = load_catalogue()
    assert {"tiny.en", "base.en", "base", "small.en", "small", "large-v3-turbo"} <= set(catalogue.models)
    assert catalogue.profiles == ["cpu", "gpu"]
    stages = {
        profile: {catalogue.models[name].stage for name in catalogue.of_profile(profile)}
        for profile in ("cpu", "gpu")
    }
    assert stages == {"cpu": {"asr", "llm", "tts"}, "gpu": {"asr", "llm", "tts", "draft"}}
    for model in catalogue.models.values():
        assert model.source, f"{model.name}: where are its pins from?"
        assert model.licence or "licence" in model.note.lower(), model.name
    assert not set(catalogue.models) & set(profiles())


def test_the_models_that_a_configuration_names_are_those_of_the_catalogue() -> None:
    config = load(None, env={}, sets=["llm.model=qwen2.5-1.5b-instruct"]).config
    assert needed_models(config) == [("llm.model", "qwen2.5-1.5b-instruct")]
    assert {config.whisper.model, config.vllm.model, config.piper.voice} <= set(load_catalogue().models)


@pytest.mark.parametrize("profile", profiles())
def test_pulling_a_profile_brings_what_it_loads(profile: str) -> None:
    config = load(profile, env={}, sets=[]).config
    assert {name for _, name in needed_models(config)} <= set(load_catalogue().of_profile(profile))


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_command_that_lacks_a_model_says_how_to_get_it(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ["--set", "llm.model=qwen3-1.7b", "--set", f"models.folder={tmp_path}"]
    assert run_command([command, *sets]) == 2
    problem = "llm.model: there is no model 'qwen3-1.7b' in {}: run `voicestack models pull qwen3-1.7b`"
    assert capsys.readouterr().err == f"voicestack: {problem.format(tmp_path)}\n"


# --- finding --------------------------------------------------------------------------------------------


def test_the_store_is_looked_into_first_and_any_path_will_do(tmp_path: Path) -> None:
    store = tmp_path / "models"
    for path in ("base.en/model.bin", "v/v.onnx", "v/v.onnx.json", "o/big/big-2.gguf", "o/big/big-1.gguf"):
        (store / path).parent.mkdir(parents=True, exist_ok=True)
        (store / path).write_bytes(b"")
    (store / "plain.gguf").write_bytes(b"")
    assert find_model("base.en", store) == store / "base.en"
    assert find_model("v", store) == store / "v" / "v.onnx"
    assert find_model("o/big", store) == store / "o" / "big" / "big-1.gguf"
    assert find_model("plain.gguf", store) == store / "plain.gguf"
    assert find_model(str(store / "base.en" / "model.bin"), tmp_path) == store / "base.en" / "model.bin"
    with pytest.raises(
        ConfigError, match=r"no model 'tiny\.en' in .*: run `voicestack models pull tiny\.en`"
    ):
        find_model("tiny.en", store)
    with pytest.raises(ConfigError, match=r"no model at '/nowhere/x\.gguf'"):
        find_model("/nowhere/x.gguf", store)
    with pytest.raises(ConfigError):
        find_model("", store)


def test_where_models_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert models_folder("") == Path("/data/voicestack/models")
    assert models_folder("~/m") == Path.home() / "m"


def test_a_configuration_whose_models_are_missing_names_each_command(tmp_path: Path) -> None:
    sets = [f"models.folder={tmp_path}", "llm.model=qwen3-1.7b"]
    config = load(None, env={}, sets=sets).config
    with pytest.raises(ConfigError, match=r"voicestack models pull qwen3-1\.7b"):
        require_models(config)
    (tmp_path / "qwen3-1.7b").mkdir()
    require_models(config)


def test_all_that_is_missing_comes_with_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = [("whisper.model", "base.en"), ("llm.model", "qwen3-1.7b"), ("piper.voice", "here")]
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(needed, "needed_models", lambda config: lacking)
    config = load(None, env={}, sets=[f"models.folder={tmp_path}"]).config
    with pytest.raises(
        ConfigError, match=r"lacks base\.en \(whisper\.model\), .*pull base\.en qwen3-1\.7b`$"
    ):
        require_models(config)
    lacking.append(("vllm.model", "/nowhere/x.gguf"))
    with pytest.raises(ConfigError) as error:
        require_models(config)
    assert len(str(error.value).splitlines()) == 3
