"""Do bundles carry models to machines without a network, and nothing else?"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.model_hub import sha256
from voicestack.cli import models as command
from voicestack.cli.main import run_command
from voicestack.cli.models_bundle import LIST
from voicestack.core.catalogue import Catalogue, Model, ModelFile, Pin
from voicestack.core.pins import written
from voicestack.engines.model_store import ModelStore

CONTENT = {"config.json": b'{"a": 1}', "model.bin": b"\x00weights\xff" * 2_000}
PIN = Pin("o/asr", "a" * 40, tuple(ModelFile(path, len(it), sha256(it)) for path, it in CONTENT.items()))

Member = tuple[tarfile.TarInfo, bytes]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelStore]:
    """A folder of models with one in it. A hub cannot be reached."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    loose = Model("loose", "llm", Pin("o/loose", "", ()), patterns=("*",))
    models = {"asr": Model("asr", "asr", PIN, licence="MIT"), "loose": loose}
    monkeypatch.setattr(command, "load_catalogue", lambda: Catalogue(models))
    monkeypatch.setenv("VOICESTACK__MODELS__FOLDER", str(tmp_path / "models"))
    store = ModelStore(tmp_path / "models")
    for name in ("asr", "loose"):
        fill(store, name)
    yield store
    assert not (tmp_path / "escaped").exists()


def fill(store: ModelStore, name: str) -> None:
    for path, content in CONTENT.items():
        store.where(name).mkdir(parents=True, exist_ok=True)
        (store.where(name) / path).write_bytes(content)
    store.remember(name, replace(PIN, repository=f"o/{name}"))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], ModelStore]:
    """Go to another machine, so to speak."""

    def go() -> ModelStore:
        monkeypatch.setenv("VOICESTACK__MODELS__FOLDER", str(tmp_path / "elsewhere"))
        return ModelStore(tmp_path / "elsewhere")

    return go


def models(*argv: str) -> int:
    return run_command(["models", *argv])


def plain(name: str, content: bytes) -> Member:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def odd(name: str, kind: bytes, target: str = "") -> Member:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def good(pins: str = written({"asr": PIN})) -> list[Member]:
    files = [plain(f"asr/{path}", content) for path, content in CONTENT.items()]
    return [plain(LIST, pins.encode()), *files]


def tar(path: Path, members: list[Member]) -> str:
    with tarfile.open(path, "w") as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return str(path)


def test_models_go_from_one_machine_to_another(
    store: ModelStore, tmp_path: Path, elsewhere: Callable[[], ModelStore], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "models.tar"
    assert models("bundle", "asr", "loose", "-o", str(bundle)) == 0
    again = tmp_path / "again.tar"
    assert models("bundle", "loose", "asr", "-o", str(again)) == 0
    assert again.read_bytes() == bundle.read_bytes()
    other = elsewhere()
    assert models("pull", "--from", str(bundle)) == 0
    assert other.names() == ["asr", "loose"]
    assert other.pins() == store.pins()
    assert models("verify") == 0
    assert models("pull", "--from", str(bundle), "asr") == 0
    assert "asr: nothing had to be fetched" in capsys.readouterr().out
    assert models("pull", "--from", str(bundle), "o/other") == 1
    assert "has no o/other; it has asr, loose" in capsys.readouterr().err


def test_the_list_has_the_licences(tmp_path: Path) -> None:
    assert models("bundle", "asr", "-o", str(tmp_path / "b.tar")) == 0
    with tarfile.open(tmp_path / "b.tar") as archive:
        first = archive.next()
        assert first is not None
        listed = archive.extractfile(first)
        assert listed is not None
        assert json.load(listed)["licences"] == {"asr": "MIT"}
        assert {(member.uname, member.uid, member.mtime) for member in archive} == {("", 0, 0)}


def test_only_what_is_here_and_right_goes_into_a_bundle(
    store: ModelStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store.where("asr") / "model.bin").write_bytes(CONTENT["model.bin"][::-1])
    assert models("bundle", "asr", "-o", str(tmp_path / "b.tar")) == 1
    assert "model.bin is not what was pulled" in capsys.readouterr().err
    assert models("bundle", "o/other", "-o", str(tmp_path / "b.tar")) == 1
    assert "o/other is not here" in capsys.readouterr().err
    assert list(tmp_path.glob("b.tar*")) == []


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([], "does not begin with"),
        (good()[1:], "does not begin with"),
        ([*good(), plain("../escaped", b"x")], "'../escaped' does not belong"),
        ([*good(), plain("/escaped", b"x")], "'/escaped' does not belong"),
        ([*good(), plain("asr/more", b"x")], "'asr/more' does not belong"),
        ([*good(), good()[1]], "'asr/config.json' does not belong"),
        (
            [*good()[:2], odd("asr/model.bin", tarfile.SYMTYPE, "/etc/passwd")],
            "'asr/model.bin' does not belong",
        ),
        ([*good()[:2], odd("asr/model.bin", tarfile.LNKTYPE, LIST)], "'asr/model.bin' does not belong"),
        ([*good()[:2], odd("asr/model.bin", tarfile.CHRTYPE)], "'asr/model.bin' does not belong"),
        ([*good()[:2], odd("asr/model.bin", tarfile.FIFOTYPE)], "'asr/model.bin' does not belong"),
        ([odd(LIST, tarfile.SYMTYPE, "/etc/passwd")], "does not begin with"),
        (good()[:2], "asr/model.bin is missing: the bundle is cut off"),
        ([*good()[:2], plain("asr/model.bin", b"short")], "asr/model.bin does not have the length"),
        (good("{}"), "it has no models"),
        (good("["), "it is not JSON"),
        (good(written({"asr": PIN}).replace("model.bin", "../escaped")), "should stay below"),
        (good(written({"asr": PIN}).replace("model.bin", "/escaped")), "should stay below"),
        (good(written({"asr": PIN}).replace('"asr"', '"../escaped"')), "is no model"),
    ],
)
def test_a_bundle_with_anything_odd_is_refused(
    members: list[Member],
    problem: str,
    tmp_path: Path,
    elsewhere: Callable[[], ModelStore],
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = tar(tmp_path / "bad.tar", members)
    other = elsewhere()
    assert models("pull", "--from", bundle) == 1
    assert problem in capsys.readouterr().err
    assert other.names() == []


def test_other_bytes_in_a_bundle_are_refused(
    tmp_path: Path, elsewhere: Callable[[], ModelStore], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = CONTENT["model.bin"][::-1]
    members = [*good()[:2], plain("asr/model.bin", weights)]
    other = elsewhere()
    assert models("pull", "--from", tar(tmp_path / "bad.tar", members)) == 1
    assert "asr/model.bin" in capsys.readouterr().err
    # A list that fits these bytes does not help: the catalogue knows better.
    fitting = written({"asr": PIN}).replace(sha256(CONTENT["model.bin"]), sha256(weights))
    members = [plain(LIST, fitting.encode()), *members[1:]]
    assert models("pull", "--from", tar(tmp_path / "bad.tar", members)) == 1
    assert f"{sha256(CONTENT['model.bin'])} expected" in capsys.readouterr().err
    assert other.names() == []


@pytest.mark.parametrize("content", [b"", b"no tar", b"\x1f\x8b" + bytes(600), bytes(2_000)])
def test_what_is_no_bundle(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    assert models("pull", "--from", str(tmp_path / "x.tar")) == 1
    assert "is not a bundle of models" in capsys.readouterr().err
    assert models("pull", "--from", str(tmp_path / "nothing.tar")) == 1
    assert "nothing.tar: No such file or directory" in capsys.readouterr().err


def test_a_bundle_that_breaks_off_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert models("bundle", "asr", "-o", str(tmp_path / "b.tar")) == 0
    whole = (tmp_path / "b.tar").read_bytes()
    for n_bytes in range(0, len(whole) - 2 * 512 - 8_192, 4_096):
        (tmp_path / "cut.tar").write_bytes(whole[:n_bytes])
        assert models("pull", "--from", str(tmp_path / "cut.tar")) == 1, n_bytes
    assert "Traceback" not in capsys.readouterr().err
