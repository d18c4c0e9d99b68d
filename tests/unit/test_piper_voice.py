"""Does a voice say what is written, when its alignment says so? Real inference, on a voice of known tones."""

# ruff: noqa: RUF001, RUF002 (phonemes are the subject)

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from piper import PiperVoice

from tests.support.tiny_voice import (
    HOP_SAMPLES,
    PAUSE_HOPS,
    PHONEME_HOPS,
    RATE_HZ,
    SPACE_HOPS,
    make_voice,
)
from voicestack.core.audio import Pcm
from voicestack.engines.loudness import CEILING, TARGET_LUFS, loudness_lufs
from voicestack.engines.piper_files import find_voice
from voicestack.engines.piper_voice import SAMPLE_TEXT, Stopped, Voice, estimated, with_durations
from voicestack.engines.piper_wish import Manner
from voicestack.engines.spoken.lexicon import EMPTY, Lexicon
from voicestack.engines.spoken_frames import LEAD_MS, LOUD

FRAME = RATE_HZ // 50
LEAD = LEAD_MS * RATE_HZ // 1000
PLAIN = Manner()

MakeVoice = Callable[..., Voice]


@pytest.fixture
def voice_of(tmp_path: Path) -> MakeVoice:
    def make(
        *, manner: Manner = PLAIN, lexicon: Lexicon = EMPTY, answers_hz: int = RATE_HZ, **about: Any
    ) -> Voice:
        path = make_voice(tmp_path, **about)
        return Voice(find_voice(str(path), tmp_path), manner, lexicon, answers_hz)

    return make


def said(
    voice: Voice, text: str, speed: float = 1.0, speaker: int | None = None
) -> tuple[Pcm, dict[str, int]]:
    """The sound, and the sample at which the frame ends in which each word ends."""
    sounds, ends, n, at = [], {}, 0, 0
    for pcm, n_chars in voice.say(text, speaker=speaker, speed=speed):
        sounds.append(pcm)
        at += len(pcm)
        if n_chars > n:
            ends[text[n:n_chars]] = at
            n = n_chars
    assert "".join(ends) == text
    return np.concatenate(sounds), ends


def framed_end(hops: float) -> int:
    """The end of the frame in which a sound ends that ends so many hops after the first loud one begins."""
    return -(-int(LEAD + hops * HOP_SAMPLES) // FRAME) * FRAME


def test_words_end_when_their_phonemes_do(voice_of: MakeVoice) -> None:
    """həz nˈoʊ. -> "no" is n, o, ʊ; stress marks take no time."""
    voice = voice_of()
    pcm, ends = said(voice, "no no, no.")
    word = 3 * PHONEME_HOPS
    first, second = word, 2 * word + SPACE_HOPS
    third = second + PAUSE_HOPS + SPACE_HOPS + word
    assert ends == {"no": framed_end(first), " no,": framed_end(second), " no.": framed_end(third)}
    assert len(pcm) == pytest.approx(LEAD + third * HOP_SAMPLES + 0.12 * RATE_HZ, abs=HOP_SAMPLES / 8)


def test_what_is_written_short_and_said_long_ends_with_its_last_word(voice_of: MakeVoice) -> None:
    _, short = said(voice_of(), "It is $5 now.")
    _, long = said(voice_of(), "It is five dollars now.")
    assert short[" $5"] == long[" dollars"]
    assert short[" now."] == long[" now."]


def test_words_that_run_together_end_apart(voice_of: MakeVoice) -> None:
    _, ends = said(voice_of(), "the end of the road")
    assert list(ends) == ["the", " end", " of", " the", " road"]
    assert ends[" the"] - ends[" of"] == pytest.approx(2 * PHONEME_HOPS * HOP_SAMPLES, abs=FRAME)


def test_sentences_follow_each_other_with_a_gap(voice_of: MakeVoice) -> None:
    pcm, ends = said(voice_of(), "No. No.")
    word = LEAD + 3 * PHONEME_HOPS * HOP_SAMPLES
    assert list(ends) == ["No.", " No."]
    assert len(pcm) == pytest.approx(2 * (word + 0.12 * RATE_HZ), abs=HOP_SAMPLES / 4)


def test_a_voice_that_tells_no_lengths_is_estimated(voice_of: MakeVoice) -> None:
    _, exact = said(voice_of(), "the capital of France is Paris")
    _, close = said(voice_of(tells_lengths=False), "the capital of France is Paris")
    assert list(close) == list(exact)
    assert all(abs(close[word] - exact[word]) < 0.25 * RATE_HZ for word in exact)


def test_an_estimate_gives_every_phoneme_its_share() -> None:
    pcm = np.concatenate([np.zeros(100), np.full(800, 5_000), np.zeros(50)]).astype(np.int16)
    assert estimated("ab cd.", pcm) == [100, 300, 500, 500, 700, 900, 900]
    assert estimated("", pcm) == [100]
    assert estimated("ab", np.zeros(10, np.int16)) == [0, 5, 10]


def test_silence_is_trimmed_and_a_cut_clause_is_followed_closely(voice_of: MakeVoice) -> None:
    for text, gap_ms in (("no", 30), ("no,", 80), ("no.", 120)):
        pcm, _ = said(voice_of(), text)
        loud = np.flatnonzero(np.abs(pcm.astype(int)) >= LOUD)
        assert loud[0] <= LEAD + 2
        assert len(pcm) - loud[-1] - 1 == gap_ms * RATE_HZ // 1000


def test_a_cut_clause_goes_on_and_a_sentence_falls(
    voice_of: MakeVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    phonemize = PiperVoice.phonemize

    def spy(self: PiperVoice, text: str) -> list[list[str]]:
        asked.append(text)
        return phonemize(self, text)

    monkeypatch.setattr(PiperVoice, "phonemize", spy)
    voice = voice_of()
    for text in ("I would like to", "I would like to go."):
        said(voice, text)
    assert "I would like to," in asked
    assert "I would like to go." in asked
    assert "I would like to" not in asked


@pytest.mark.parametrize("amplitude", [0.03, 0.1, 0.9])
def test_every_voice_is_as_loud(voice_of: MakeVoice, amplitude: float) -> None:
    voice = voice_of(amplitude=amplitude)
    voice.warm_up()
    pcm, _ = said(voice, SAMPLE_TEXT)
    assert loudness_lufs(pcm / 32_767, RATE_HZ) == pytest.approx(TARGET_LUFS, abs=1.0)
    assert np.abs(pcm.astype(int)).max() <= round(CEILING * 32_767)


def test_speed_and_length_scale_stretch_it(voice_of: MakeVoice) -> None:
    usual, _ = said(voice_of(), "the capital of France")
    fast, _ = said(voice_of(), "the capital of France", 2.0)
    slow, _ = said(voice_of(manner=Manner(length_scale=2.0)), "the capital of France")
    assert len(fast) == pytest.approx(0.5 * len(usual), rel=0.05)
    assert len(slow) == pytest.approx(2.0 * len(usual), rel=0.05)
    far_too_fast, _ = said(voice_of(), "the capital of France", 1_000.0)
    assert len(far_too_fast) > 0.2 * len(usual)


def pitch_hz(pcm: Pcm, rate_hz: int = RATE_HZ) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * rate_hz / len(pcm))


def test_speakers_differ_and_are_as_loud(voice_of: MakeVoice) -> None:
    voice = voice_of(n_speakers=3, lexicon=Lexicon({"en": {"hum": "[[mmmmmm]]"}}))
    own, _ = said(voice, "hum")
    first, _ = said(voice, "hum", speaker=0)
    third, _ = said(voice, "hum", speaker=2)
    assert np.array_equal(own, first)
    assert pitch_hz(third) == pytest.approx(1.5**2 * pitch_hz(first), rel=0.02)


def test_a_speaker_who_was_warmed_up_is_not_measured_again(voice_of: MakeVoice) -> None:
    voice = voice_of(n_speakers=2)
    voice.warm_up(1)
    voice._gain = lambda speaker: {1: voice._gains[1]}[speaker]  # type: ignore[method-assign, index]
    said(voice, "no", speaker=1)
    with pytest.raises(KeyError):
        said(voice, "no", speaker=0)


def test_another_rate_is_converted_and_words_stay_in_place(voice_of: MakeVoice) -> None:
    text = "the capital of France"
    pcm, ends = said(voice_of(), text)
    low, low_ends = said(voice_of(answers_hz=RATE_HZ // 2), text)
    assert len(low) == pytest.approx(len(pcm) / 2, rel=0.01)
    assert pitch_hz(low, RATE_HZ // 2) == pytest.approx(pitch_hz(pcm), rel=0.02)
    assert all(abs(2 * low_ends[word] - ends[word]) <= 2 * FRAME for word in ends)


def test_phonemes_of_the_lexicon_are_said_as_they_are(voice_of: MakeVoice) -> None:
    lexicon = Lexicon({"en": {"gif": "[[nˈoʊ]]", "Nginx": "no"}})
    plain, ends = said(voice_of(), "a no here")
    for word in ("GIF", "Nginx"):
        pcm, its_ends = said(voice_of(lexicon=lexicon), f"a {word} here")
        assert len(pcm) == len(plain)
        assert list(its_ends.values()) == list(ends.values())
    bracketed, _ = said(voice_of(lexicon=lexicon), "a [[GIF]] here")
    assert len(bracketed) == len(plain)


def test_a_voice_of_another_language_has_its_rules(voice_of: MakeVoice) -> None:
    voice = voice_of(name="de_DE-tiny-low", espeak="de")
    _, short = said(voice, "um 5 €")
    _, long = said(voice, "um fünf Euro")
    assert short[" 5 €"] == long[" Euro"]


def test_what_has_no_sound_is_passed_over(voice_of: MakeVoice) -> None:
    voice = voice_of()
    text = "\N{GRINNING FACE} hi \N{GRINNING FACE}"
    assert list(said(voice, text)[1]) == [text]
    assert [(len(pcm), n) for pcm, n in voice.say("...", speaker=None, speed=1.0)] == [(0, 3)]


def test_it_can_be_stopped_and_speaks_again(voice_of: MakeVoice) -> None:
    voice = voice_of()
    voice.warm_up()
    voice.stop()
    with pytest.raises(Stopped):
        said(voice, "no")
    voice.begin()
    assert len(said(voice, "no")[0])


def test_a_network_that_fails_says_so(voice_of: MakeVoice) -> None:
    voice = voice_of(n_speakers=2)
    with pytest.raises(RuntimeError, match="network failed"):
        voice._piper.phoneme_ids_to_audio([1, 9_999, 2])


def test_lengths_become_an_output_without_the_onnx_package(tmp_path: Path) -> None:
    network = make_voice(tmp_path).read_bytes()
    outputs = [one.name for one in onnx.load_from_string(with_durations(network)).graph.output]
    assert outputs == ["output", "w_ceil"]
    assert with_durations(with_durations(network)) == with_durations(network)
    silent = make_voice(tmp_path, tells_lengths=False).read_bytes()
    assert with_durations(silent) == silent
    with pytest.raises((ValueError, IndexError)):
        with_durations(b"\xff" * 20)
