"""Do models come here whole, checked and pinned, whatever the hub and the disk do?"""

import io
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.model_hub import Hub, blob_id, model_hub, revision_of, sha256
from voicestack.cli import models as command
from voicestack.cli.main import run_command
from voicestack.config.catalogue import load_catalogue
from voicestack.core.catalogue import Catalogue, Model, ModelFile, Pin
from voicestack.engines.model_store import ModelStore, find_model

WEIGHTS = random.Random(7).randbytes(300_000)
FILES = {"config.json": b'{"a": 1}', "model.bin": WEIGHTS, "README.md": b"not wanted", "empty.txt": b""}
TAKEN = ("config.json", "empty.txt", "model.bin")
VOICE = {"en/voice/v.onnx": random.Random(8).randbytes(5_000), "en/voice/v.onnx.json": b"{}", "x.onnx": b"x"}


def pin_of(repository: str, files: dict[str, bytes], paths: tuple[str, ...]) -> Pin:
    listed = tuple(ModelFile(path, len(files[path]), sha256(files[path])) for path in paths)
    return Pin(repository, revision_of(files), listed)


def catalogue() -> Catalogue:
    models = [
        Model("pinned", "asr", pin_of("o/asr", FILES, TAKEN), licence="MIT", profiles=("small",)),
        Model("loose", "llm", Pin("o/asr", "", ()), patterns=("*.json", "*.bin", "*.txt")),
        Model("voice", "tts", Pin("o/v", "", (ModelFile("v.onnx"), ModelFile("v.onnx.json")), "en/voice")),
        Model("half", "llm", Pin("o/asr", revision_of(FILES), ()), patterns=("*.json",), profiles=("small",)),
        Model("locked-up", "llm", Pin("o/gated", "", ()), patterns=("*.json",), gated=True),
    ]
    return Catalogue({model.name: model for model in models})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(command, "load_catalogue", catalogue)
    monkeypatch.setattr(command, "wait", WAITS.append)
    WAITS.clear()
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "VOICESTACK_MIRROR_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    with model_hub() as hub:
        hub.add("o/asr", FILES)
        hub.add("o/v", VOICE)
        hub.add("o/gated", {"config.json": b"{}"})
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nonexistent")
        yield hub


WAITS: list[float] = []


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    monkeypatch.setenv("VOICESTACK__MODELS__FOLDER", str(tmp_path / "models"))
    return ModelStore(tmp_path / "models")


def models(*argv: str) -> int:
    return run_command(["models", *argv])


def parts(store: ModelStore) -> list[str]:
    return [path.name for path in (store.folder / ".partial").rglob("*.part")]


def test_a_pinned_model_comes_whole_and_is_not_asked_for(hub: Hub, store: ModelStore) -> None:
    assert models("pull", "pinned") == 0
    for path in TAKEN:
        assert (store.where("pinned") / path).read_bytes() == FILES[path]
    assert not (store.where("pinned") / "README.md").exists()
    assert sorted(hub.fetched) == ["config.json", "model.bin"]  # nothing is asked for an empty file
    assert not any(one.path.startswith("/api") for one in hub.asked)
    assert parts(store) == []
    assert models("verify") == 0
    hub.asked.clear()
    assert models("pull", "pinned") == 0
    assert hub.asked == []


def test_what_nobody_pinned_is_pinned_by_its_first_pull(
    hub: Hub, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models("pull", "loose") == 0
    assert f"pinned from now on: revision {revision_of(FILES)}" in capsys.readouterr().out
    assert store.pins()["loose"] == pin_of("o/asr", FILES, TAKEN)
    newer = hub.add("o/asr", FILES | {"config.json": b"newer"})
    assert models("remove", "loose") == 0
    assert not store.has("loose")
    assert models("pull", "loose") == 0  # the pin outlives the files
    assert (store.where("loose") / "config.json").read_bytes() == FILES["config.json"]
    hub.asked.clear()
    assert models("pull", "--update", "loose") == 0
    assert (store.where("loose") / "config.json").read_bytes() == b"newer"
    assert store.pins()["loose"].revision == newer
    assert hub.fetched == ["config.json"]  # the weights are the same


def test_a_file_in_a_folder_of_a_repository_is_what_engines_load(hub: Hub, store: ModelStore) -> None:
    assert models("pull", "voice") == 0
    assert find_model("voice", store.folder) == store.where("voice") / "v.onnx"
    assert sorted(path.name for path in store.where("voice").iterdir()) == ["v.onnx", "v.onnx.json"]


def test_after_a_cut_only_the_rest_is_fetched(
    hub: Hub, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.cut_after_bytes["model.bin"] = 200_000
    assert models("pull", "pinned") == 0
    ranges = [one.range for one in hub.asked if one.path.startswith("/cdn/")]
    assert ranges == [None, "bytes=200000-"]
    assert "trying again in 1 s" in capsys.readouterr().err
    assert models("verify", "pinned") == 0


def test_a_stopped_pull_goes_on(
    hub: Hub, store: ModelStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(wait_s: float) -> None:
        raise KeyboardInterrupt

    hub.cut_after_bytes["model.bin"] = 123_456
    monkeypatch.setattr(command, "wait", stop)
    assert models("pull", "pinned") == 130
    assert "goes on from here" in capsys.readouterr().err
    assert not store.has("pinned")
    with pytest.raises(Exception, match=r"voicestack models pull pinned"):
        find_model("pinned", store.folder)
    hub.asked.clear()
    assert models("pull", "pinned") == 0
    assert [one.range for one in hub.asked if one.path.startswith("/cdn/")] == ["bytes=123456-"]
    assert models("verify", "pinned") == 0


def test_a_server_without_ranges_sends_everything_again(hub: Hub, store: ModelStore) -> None:
    hub.knows_ranges = False
    hub.cut_after_bytes["model.bin"] = 200_000
    assert models("pull", "pinned") == 0
    assert [one.range for one in hub.asked if one.path.startswith("/cdn/")] == [None, "bytes=200000-"]
    assert models("verify", "pinned") == 0


def test_a_part_of_something_else_is_fetched_anew(hub: Hub, store: ModelStore) -> None:
    part = store.part("pinned", catalogue().models["pinned"].pin.files[2])
    part.write_bytes(b"z" * 1_000)
    assert models("pull", "pinned") == 0
    assert models("verify", "pinned") == 0


@pytest.mark.parametrize("file", ["model.bin", "config.json"])
@pytest.mark.parametrize("name", ["pinned", "loose"])
def test_wrong_bytes_are_refused_and_thrown_away(
    file: str, name: str, hub: Hub, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.lies.add(file)
    assert models("pull", name) == 1
    problem = capsys.readouterr().err
    assert f"{name}/{file} from {hub.url} is not what it should be" in problem
    assert (sha256(FILES[file]) in problem) or (blob_id(FILES[file]) in problem)
    assert "[model_failed]" in problem
    assert not store.has(name)
    assert not any(part.startswith(file) for part in parts(store))
    assert name not in store.pins()


def test_a_revision_that_moved_is_refused(
    hub: Hub, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.other_commit = "1" * 40
    assert models("pull", "pinned") == 1
    assert f"gives revision {'1' * 40} of o/asr in place of {revision_of(FILES)}" in capsys.readouterr().err
    assert models("pull", "half") == 1  # the list of files is of that commit, too
    assert f"revision {revision_of(FILES)} is wanted, and {'1' * 40} is offered" in capsys.readouterr().err
    assert not store.has("pinned")
    assert not store.has("half")


def test_other_bytes_at_the_same_revision_are_refused_before_they_come(
    hub: Hub, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories["o/asr"][revision_of(FILES)]["model.bin"] = WEIGHTS[::-1]
    assert models("pull", "pinned") == 1
    assert f"their SHA-256 is {sha256(WEIGHTS[::-1])}" in capsys.readouterr().err
    assert all((store.folder / ".partial" / "pinned" / part).stat().st_size < 1_000 for part in parts(store))


def test_a_gated_model_says_how_a_token_is_given(
    hub: Hub, store: ModelStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.gated.add("o/gated")
    hub.token = "hf_good"
    for token in ("", "hf_bad"):
        monkeypatch.setenv("HF_TOKEN", token)
        assert models("pull", "locked-up") == 1
        assert "is gated: accept its licence" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert models("pull", "locked-up") == 0


def test_the_token_goes_to_the_hub_alone(
    hub: Hub, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert models("pull", "loose") == 0
    sent = {one.path.split("/")[1]: one.authorization for one in hub.asked}
    assert sent == {"api": "Bearer hf_mine", "o": "Bearer hf_mine", "cdn": None}
    hub.asked.clear()
    assert models("remove", "loose") == 0
    assert models("pull", "--mirror", hub.url, "loose") == 0
    assert {one.authorization for one in hub.asked} == {None}
    monkeypatch.setenv("VOICESTACK_MIRROR_TOKEN", "of-the-mirror")
    assert models("pull", "--mirror", hub.url, "voice") == 0
    assert "Bearer of-the-mirror" in {one.authorization for one in hub.asked}


@pytest.mark.parametrize(
    ("repository", "problem"),
    [
        ("o/nothing", "does not exist, or is private"),
        (f"o/asr@{'2' * 40}", f"has no revision {'2' * 40}"),
    ],
)
def test_what_is_not_there(
    repository: str, problem: str, hub: Hub, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models("pull", repository) == 1
    assert problem in capsys.readouterr().err


def test_any_repository_can_be_pulled(hub: Hub, store: ModelStore) -> None:
    assert models("pull", f"o/asr@{revision_of(FILES)}") == 0
    assert find_model("o/asr", store.folder) == store.where("o/asr")
    assert store.names() == ["o/asr"]
    assert models("remove", "o/asr") == 0
    assert store.names() == []


def test_a_busy_hub_is_asked_again_when_it_says(hub: Hub, store: ModelStore) -> None:
    hub.busy = 3
    assert models("pull", "loose") == 0
    assert WAITS == [7.0, 7.0, 7.0]


def test_a_dead_hub_is_given_up(
    hub: Hub, store: ModelStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    assert models("pull", "loose") == 1
    assert "the connection to http://127.0.0.1:1 broke" in capsys.readouterr().err
    assert WAITS == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_an_offline_machine_is_told_what_to_do(
    hub: Hub, store: ModelStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert models("pull", "pinned") == 1
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err
    assert models("pull", "pinned", "--mirror", hub.url) == 0


def test_no_room_is_said_before_anything_is_fetched(
    hub: Hub, store: ModelStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ModelStore, "free_bytes", lambda self: (64 << 20) + 300_007)
    assert models("pull", "pinned") == 1
    assert "pinned needs 300.0 kB more" in capsys.readouterr().err
    assert hub.asked == []
    monkeypatch.setattr(ModelStore, "free_bytes", lambda self: (64 << 20) + 300_008)
    assert models("pull", "pinned") == 0


def test_a_disk_that_fills_up_is_said_and_what_came_is_kept(
    hub: Hub, store: ModelStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = os.write
    monkeypatch.setattr("voicestack.cli.models_fetch.os.write", full_after(200_000))
    assert models("pull", "pinned") == 1
    assert "the disk is full at " in capsys.readouterr().err
    assert not store.has("pinned")
    monkeypatch.setattr("voicestack.cli.models_fetch.os.write", write)
    hub.asked.clear()
    assert models("pull", "pinned") == 0
    assert [one.range for one in hub.asked if one.path.startswith("/cdn/")] == ["bytes=200000-"]
    assert models("verify", "pinned") == 0


def full_after(n_bytes: int) -> Callable[[int, memoryview], int]:
    """`os.write` on a disk that has room for so much of a large file."""
    write, left = os.write, n_bytes

    def limited(handle: int, content: memoryview) -> int:
        nonlocal left
        if len(content) > 1_000:
            if not left:
                raise OSError(28, "No space left on device")
            content = content[:left]
            left -= len(content)
        return write(handle, content)

    return limited


def test_of_two_pulls_at_once_the_second_finds_the_work_done(
    hub: Hub, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    with store.exclusive("pinned", lambda: None):  # so that both wait at the same place
        pulls = [
            threading.Thread(target=lambda: codes.append(models("pull", "pinned", "half"))) for _ in range(2)
        ]
        for pull in pulls:
            pull.start()
    for pull in pulls:
        pull.join()
    assert codes == [0, 0]
    assert sorted(hub.fetched) == ["config.json", "config.json", "model.bin"]
    assert set(store.pins()) == {"pinned", "half"}
    assert models("verify") == 0


def test_a_crash_while_a_model_is_replaced_loses_nothing(hub: Hub, store: ModelStore) -> None:
    assert models("pull", "pinned") == 0
    old = store.folder / ".partial" / "pinned" / "old"
    old.parent.mkdir()
    store.where("pinned").rename(old)  # and here the power fails
    hub.asked.clear()
    assert models("pull", "pinned") == 0
    assert hub.asked == []
    assert models("verify", "pinned") == 0


def test_the_hub_is_where_its_library_says(hub: Hub, tmp_path: Path) -> None:
    """As it is typed, on a terminal."""
    env = os.environ | {"HF_ENDPOINT": hub.url, "VOICESTACK__MODELS__FOLDER": str(tmp_path), "TERM": "xterm"}
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "voicestack", "models", "pull", "o/asr"]
    with subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            shown = b"".join(until_hung_up(terminal)).decode()
    assert process.returncode == 0, shown
    assert "o/asr/model.bin" in shown
    assert "100%" in shown or "300.0/300.0 kB" in shown
    assert (tmp_path / "o/asr/model.bin").read_bytes() == WEIGHTS


def until_hung_up(terminal: io.RawIOBase | io.FileIO) -> Iterator[bytes]:
    with suppress(OSError):  # which is how Linux says that the other side is closed
        while piece := terminal.read(4_096):
            yield piece


# --- verify, where, remove, list -----------------------------------------------------------------------


def test_verify_names_what_differs_and_pull_repairs_it(
    hub: Hub, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models("pull", "pinned", "loose") == 0
    folder = store.where("pinned")
    damaged = bytearray(WEIGHTS)
    damaged[150_000] ^= 1
    (folder / "model.bin").unlink()  # its bytes may be shared
    (folder / "model.bin").write_bytes(damaged)
    (folder / "config.json").unlink()
    (folder / "evil.py").write_text("import os")
    capsys.readouterr()
    assert models("verify") == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "loose: as pinned",
        "pinned: config.json: it is missing",
        f"pinned: model.bin: the SHA-256 {sha256(WEIGHTS)} expected, {sha256(bytes(damaged))} found",
        "pinned: evil.py: it does not belong to the model",
    ]
    assert "1 of 2 are not as they should be" in err
    assert models("pull", "pinned") == 0
    assert models("verify") == 0
    assert not (folder / "evil.py").exists()
    assert models("verify", "voice") == 1
    assert "voice: it is not here" in capsys.readouterr().out


def test_where_is_alone_on_stdout(hub: Hub, store: ModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert models("where", "pinned") == 2
    assert capsys.readouterr().err.endswith("run `voicestack models pull pinned`\n")
    assert models("pull", "pinned") == 0
    capsys.readouterr()
    assert models("where", "pinned") == 0
    assert capsys.readouterr().out == f"{store.where('pinned')}\n"


def test_list_says_what_is_pinned_and_here(
    hub: Hub, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    def pinned() -> dict[str, str]:
        assert models("list", "--json") == 0
        return {row["name"]: row["pinned"] for row in json.loads(capsys.readouterr().out)}

    assert pinned() == {
        "pinned": "catalogue",
        "loose": "no",
        "voice": "no",
        "half": "revision",
        "locked-up": "no",
    }
    assert models("pull", "loose", "half", "pinned", "o/v") == 0
    capsys.readouterr()
    assert pinned() == {
        "pinned": "catalogue",
        "loose": "lock",
        "voice": "no",
        "half": "lock",
        "locked-up": "no",
        "o/v": "lock",
    }
    assert models("list", "--json") == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert row["path"] == str(store.where("pinned"))
    assert (row["licence"], row["revision"]) == ("MIT", revision_of(FILES))
    assert models("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("model", "for", "languages", "size", "needs", "about", "licence"),
        *lines[0].split()[-3:],
    ]
    assert next(line for line in lines if line.startswith("pinned")).split() == [
        *("pinned", "asr", "300.0", "kB", "MIT", "catalogue", "yes", "small"),
    ]


def test_a_profile_stands_for_its_models(
    hub: Hub, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models("pull", "small") == 0
    assert store.names() == ["half", "pinned"]
    assert models("pull", "smal") == 2
    assert capsys.readouterr().err.endswith("there is no model 'smal'; did you mean small?\n")
    assert models("pull", "o/asr@main") == 2
    assert models("pull") == 0
    assert "needs no models" in capsys.readouterr().out


# --- sharing -------------------------------------------------------------------------------------------


def test_a_team_shares_its_pins(
    hub: Hub, store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "my-models.lock"
    assert models("pull", "loose", "--pin-file", str(shared)) == 0
    hub.add("o/asr", FILES | {"config.json": b"newer"})
    monkeypatch.setenv("VOICESTACK__MODELS__FOLDER", str(tmp_path / "another"))
    assert models("pull", "loose", "voice", "--pin-file", str(shared)) == 0
    another = ModelStore(tmp_path / "another")
    assert another.pins()["loose"].revision == revision_of(FILES)
    assert set(json.loads(shared.read_text())["models"]) == {"loose", "voice"}
    assert models("pull", "loose", "--update", "--pin-file", str(shared)) == 0
    assert json.loads(shared.read_text())["models"]["loose"]["revision"] != revision_of(FILES)


@pytest.mark.parametrize(
    "content", ["", "{}", '{"version": 9, "models": {}}', '{"version": 1, "models": {"a": {}}}']
)
def test_a_damaged_pin_file_is_a_clear_error(
    content: str, hub: Hub, store: ModelStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pins").write_text(content)
    assert models("pull", "loose", "--pin-file", str(tmp_path / "pins")) == 2
    assert "pins is not a lock file of models: " in capsys.readouterr().err


@pytest.mark.parametrize("by_option", [True, False])
def test_a_folder_can_be_a_mirror(
    by_option: bool, hub: Hub, store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tmp_path / "mirror"
    for path, content in FILES.items():
        place = mirror / "o/asr/resolve" / revision_of(FILES) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    if not by_option:
        monkeypatch.setenv("VOICESTACK__MODELS__MIRROR", str(mirror))
    assert models("pull", "pinned", "loose", *(["--mirror", str(mirror)] if by_option else [])) == 0
    assert models("verify") == 0
    assert hub.asked == []
    assert models("pull", "voice", "--mirror", str(mirror)) == 1


def test_a_models_folder_can_be_a_mirror(
    hub: Hub, store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert models("pull", "loose", "voice") == 0
    hub.asked.clear()
    monkeypatch.setenv("VOICESTACK__MODELS__FOLDER", str(tmp_path / "another"))
    assert (
        models("pull", "loose", "voice", "pinned", "--mirror", str(store.folder)) == 1
    )  # it has no `pinned`
    assert ModelStore(tmp_path / "another").names() == ["loose", "voice"]
    assert models("verify") == 0
    assert hub.asked == []


def test_a_plain_file_server_can_be_a_mirror_for_what_is_pinned(
    hub: Hub, store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.has_list = False
    assert models("pull", "pinned", "--mirror", f"{hub.url}/") == 0
    assert models("pull", "loose", "--mirror", hub.url) == 1
    assert "needs the pins of a pull from the hub (--pin-file)" in capsys.readouterr().err


def test_every_name_of_the_real_catalogue_can_be_asked_for() -> None:
    real = load_catalogue()
    assert {"base.en", "large-v3-turbo", "qwen3-8b", "en_US-lessac-medium"} <= set(real.models)
    assert real.profiles == ["cpu", "gpu"]
    for model in real.models.values():
        assert model.source, model.name
        assert model.pin.revision, model.name
