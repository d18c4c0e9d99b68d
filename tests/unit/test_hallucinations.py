"""Which words of a window are believed?"""

import numpy as np
import pytest

from tests.support.speech import hiss, silence, utterances
from voicestack.core.heard import HeardWord
from voicestack.engines.hallucinations import (
    SILENCE_DBFS,
    are_improbable,
    audible,
    is_phantom,
    is_repetitive,
    is_silence,
    level_dbfs,
    levels_dbfs,
    within_sound,
    without_loops,
)


def words(text: str, p_right: float = 0.9, each_s: float = 0.3) -> tuple[HeardWord, ...]:
    return tuple(
        HeardWord(f" {word}", n * each_s, (n + 1) * each_s, p_right) for n, word in enumerate(text.split())
    )


@pytest.mark.parametrize(
    ("p_no_speech", "mean_log_p", "silent"),
    [(0.9, -1.5, True), (0.9, -0.5, False), (0.5, -1.5, False), (0.9, -np.inf, True), (0.9, np.nan, True)],
)
def test_silence_is_what_whisper_finds_silent(p_no_speech: float, mean_log_p: float, silent: bool) -> None:
    assert is_silence(p_no_speech, mean_log_p) is silent


def test_text_that_goes_in_circles_is_repetitive() -> None:
    assert is_repetitive("I am going to the shop. " * 8)
    assert not is_repetitive("What is the capital of France, and how many people live there?")
    assert not is_repetitive("")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("no no no", "no no no"),
        ("No, no. no no no", "No,"),
        ("tell me the time the time the time the time the time", "tell me the time"),
        ("a b a b a b a b c", "a b"),
        ("one two three four", "one two three four"),
        ("", ""),
    ],
)
def test_a_loop_ends_the_words(text: str, kept: str) -> None:
    assert without_loops(words(text)) == words(text)[: len(kept.split())]


def test_audible_is_what_could_be_a_word_of_this_voice() -> None:
    question = utterances()[0].pcm
    pcm = np.concatenate([silence(500), question, hiss(500, -58)])
    heard = audible(levels_dbfs(pcm))
    assert not heard[:49].any()
    assert heard[50:-50].mean() > 0.5
    assert not audible(levels_dbfs(hiss(300, SILENCE_DBFS - 6))).any()
    assert len(audible(levels_dbfs(silence(5)))) == 0
    assert level_dbfs(hiss(1000, -30)) == pytest.approx(-30, abs=0.5)
    assert level_dbfs(silence(10)) == pytest.approx(-90)


def test_a_doubtful_word_where_there_is_nothing_to_hear_is_left_out() -> None:
    pcm = np.concatenate([hiss(600, -20), silence(3000)])
    heard = audible(levels_dbfs(pcm))
    said, made_up = HeardWord(" yes", 0.1, 0.5, 0.2), HeardWord(" thanks", 2.0, 2.4, 0.4)
    certain = HeardWord(" please", 2.0, 2.4, 0.9)  # its time may be wrong: it is not the word's fault
    assert within_sound([said, made_up, certain], heard) == (said, certain)
    beyond = HeardWord(" end", 5.0, 5.5, 0.1)
    assert within_sound([beyond], heard) == ()


@pytest.mark.parametrize(
    ("text", "p_no_speech", "p_right", "phantom"),
    [
        ("Thank you.", 0.4, 0.9, True),
        ("Thank you.", 0.1, 0.9, False),  # people say so
        ("Thank you.", 0.1, 0.3, True),
        ("Thanks for watching!", 0.4, 0.9, True),
        ("Thank you, that is all.", 0.5, 0.9, False),
        ("What is that", 0.4, 0.1, True),
        ("What is that", 0.1, 0.1, False),
        ("", 0.9, 0.1, False),
    ],
)
def test_phantoms(text: str, p_no_speech: float, p_right: float, phantom: bool) -> None:
    assert is_phantom(words(text, p_right), p_no_speech) is phantom


def test_words_are_improbable_when_all_of_them_are() -> None:
    assert are_improbable(words("a b c", p_right=0.1))
    assert are_improbable(words("a b c", each_s=0.05))
    assert not are_improbable(words("a b c"))
    assert not are_improbable((*words("a b", p_right=0.1), *words("c")))
    assert not are_improbable(())
