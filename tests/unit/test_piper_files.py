"""Is a voice found, is one that is none refused, and what does a voice name mean?"""

import json
import re
from pathlib import Path

import pytest

from tests.support.tiny_voice import make_voice
from voicestack.core.errors import ConfigError
from voicestack.engines.piper_files import Choice, VoiceFile, choose, find_voice
from voicestack.engines.piper_wish import Manner, Settings, Wish

AMY = VoiceFile("en_US-amy-medium", "amy.onnx", 22_050, "en_US")
MANY = VoiceFile("en_GB-vctk-medium", "vctk.onnx", 22_050, "en_GB", 4, {"p225": 0, "p226": 1})
THORSTEN = VoiceFile("de_DE-thorsten-low", "thorsten.onnx", 16_000, "de_DE")
VOICES = [AMY, MANY, THORSTEN]


def test_a_voice_is_found_by_path_by_name_and_in_a_folder_of_its_own(tmp_path: Path) -> None:
    path = make_voice(tmp_path, "en_US-tiny-low", n_speakers=3)
    store = tmp_path / "store"
    (store / "de_DE-tiny-low").mkdir(parents=True)
    make_voice(store / "de_DE-tiny-low", "de_DE-tiny-low", espeak="de", rate_hz=16_000)
    make_voice(store, "fr_FR-flat-low", espeak="fr")
    found = find_voice(str(path), store)
    assert (found.name, found.rate_hz, found.language) == ("en_US-tiny-low", 22_050, "en_US")
    assert found.n_speakers == 3
    assert found.speakers == {"one": 0, "two": 1, "three": 2}
    german = find_voice("de_DE-tiny-low", store)
    assert (german.path, german.rate_hz) == (str(store / "de_DE-tiny-low" / "de_DE-tiny-low.onnx"), 16_000)
    assert find_voice("fr_FR-flat-low", store).language == "fr_FR"


def test_a_voice_that_is_not_there_is_named_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="voicestack models pull en_US-lessac-medium"):
        find_voice("en_US-lessac-medium", tmp_path)
    path = make_voice(tmp_path)
    Path(f"{path}.json").unlink()
    with pytest.raises(ConfigError, match=r"no en_US-tiny-low\.onnx\.json beside it.*models pull"):
        find_voice(str(path), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="should hold one Piper voice"):
        find_voice("empty", tmp_path)


@pytest.mark.parametrize("about", ["", "[]", "{}", '{"audio": {}, "espeak": {}}', '{"audio": 1}'])
def test_a_file_that_describes_no_voice_is_named(tmp_path: Path, about: str) -> None:
    path = make_voice(tmp_path)
    Path(f"{path}.json").write_text(about)
    with pytest.raises(ConfigError, match=re.escape(f"{path.name}.json does not describe")):
        find_voice(str(path), tmp_path)


def test_a_voice_without_a_language_has_that_of_its_phonemes(tmp_path: Path) -> None:
    path = make_voice(tmp_path, espeak="en-gb-x-rp")
    about = json.loads(Path(f"{path}.json").read_text())
    del about["language"]
    Path(f"{path}.json").write_text(json.dumps(about))
    assert find_voice(str(path), tmp_path).language == "en-gb-x-rp"


@pytest.mark.parametrize(
    ("wanted", "choice"),
    [
        ("default", Choice(0)),
        ("", Choice(0)),
        ("alloy", Choice(0)),
        ("en_US-amy-medium", Choice(0)),
        ("en_US-amy-medium#3", Choice(0)),
        ("en_GB-vctk-medium", Choice(1)),
        ("en_GB-vctk-medium#3", Choice(1, 3)),
        ("en_GB-vctk-medium#p226", Choice(1, 1)),
        ("en_GB-vctk-medium#4", Choice(1)),
        ("en_GB-vctk-medium#\N{SUPERSCRIPT TWO}", Choice(1)),
        ("de", Choice(2)),
        ("DE-de", Choice(2)),
        ("en_GB", Choice(1)),
        ("en-gb#2", Choice(1, 2)),
        ("en", Choice(0)),
        ("fr", Choice(0)),
        ("../../etc/passwd", Choice(0)),
        ("#1", Choice(0)),
    ],
)
def test_what_a_voice_name_means(wanted: str, choice: Choice) -> None:
    assert choose(VOICES, wanted, Choice(0)) == choice


def test_a_speaker_of_the_default_voice() -> None:
    assert choose(VOICES, "#2", Choice(1, 3)) == Choice(1, 2)
    assert choose(VOICES, "#9", Choice(1, 3)) == Choice(1, 3)
    assert choose(VOICES, "unknown", Choice(1, 3)) == Choice(1, 3)
    assert choose(VOICES, "en_GB-vctk-medium", Choice(1, 3)) == Choice(1, 3)


def test_what_server_and_worker_tell_each_other_arrives() -> None:
    settings = Settings(VOICES, 22_050, Manner(2, length_scale=1.1), "words.toml", {1: 3})
    assert Settings.read(settings.text()) == settings
    wish = Wish('naïve "text"', 1, None, 1.5)
    assert Wish.read(wish.payload()) == wish
