"""Does the bench of the voice count what it says it counts?"""

import argparse
import math

import pytest

from voicestack.cli import bench_tts
from voicestack.core.errors import StageError
from voicestack.engines.scripted import ScriptedTts


def arguments(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench_tts.add_arguments(parser)
    return parser.parse_args(["--config", "scripted", *argv])


def test_every_kind_is_measured_as_often_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = bench_tts.run(arguments("--turns", "3", "--busy", "1"))
    assert code == 0
    assert found is not None
    assert found["engine"] == "scripted"
    assert list(found["kinds"]) == ["first clause, 4 words", "sentence, 15 words", "4 words, said before"]
    for kind in found["kinds"].values():
        assert kind["first_ms"].n == kind["whole_ms"].n == 3
        assert 0 <= kind["first_ms"].p50 <= kind["whole_ms"].max
    assert "beside 1 busy sessions" in " ".join(capsys.readouterr().out.split())


def test_lengths_and_speeds_are_those_of_the_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    """50 ms a character, and 30 ms before the first."""
    monkeypatch.setattr(bench_tts, "tts_of", lambda config, clock: (ScriptedTts(first_audio_ms=30), ()))
    _, found = bench_tts.run(arguments("--turns", "2"))
    assert found is not None
    kind = found["kinds"]["4 words, said before"]
    assert [one["audio_ms"] for one in kind["phrases"]] == [
        pytest.approx(50 * len("Of course I can"), abs=20)
    ] * 2
    assert kind["first_ms"].p50 >= 30
    assert math.isclose(kind["rtf"], sum(one["whole_ms"] for one in kind["phrases"]) / 1_500, rel_tol=0.05)


def test_a_voice_that_says_nothing_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_tts, "tts_of", lambda config, clock: (ScriptedTts(ms_per_char=0), ()))
    with pytest.raises(StageError, match="said nothing"):
        bench_tts.run(arguments("--turns", "1"))
