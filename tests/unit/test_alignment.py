"""Is the end of every word found in phonemes that run together?"""

# ruff: noqa: RUF001 (phonemes are the subject)

from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.engines.alignment import MARKS, spliced, word_ends


def parts(phonemes: str, *words: str) -> list[str]:
    """The phonemes cut at the ends of the words."""
    ends = word_ends(phonemes, words)
    return [phonemes[a:b] for a, b in zip([0, *ends], [*ends, len(phonemes)], strict=True)]


def test_words_that_are_said_as_they_are_alone() -> None:
    assert parts("həlˈoʊ ðˈɛɹ.", "həlˈoʊ", "ðˈɛɹ") == ["həlˈoʊ", " ðˈɛɹ", "."]


def test_words_that_run_together() -> None:
    assert parts("ðɪʲ ˈɛnd ʌvðə ɹˈoʊd,", "ðə", "ˈɛnd", "ˈʌv", "ðə", "ɹˈoʊd") == [
        "ðɪʲ",
        " ˈɛnd",
        " ʌv",
        "ðə",
        " ɹˈoʊd",
        ",",
    ]


def test_words_that_are_written_as_several() -> None:
    assert parts("twˈɛnti wˌʌn kˈæts.", "twˈɛntiwˌʌn", "kˈæts") == ["twˈɛnti wˌʌn", " kˈæts", "."]


def test_words_that_are_longer_here_and_shorter_there() -> None:
    assert parts("abxxxc defgh ik", "abc", "defgh", "iyyyk") == ["abxxxc", " defgh", " ik", ""]


def test_a_length_mark_belongs_to_its_vowel() -> None:
    assert parts("bˈɑːks: fˈaɪn", "bˈɑːks", "fˈaɪn") == ["bˈɑːks", ": fˈaɪn", ""]
    assert parts("sˈiː sˈiː", "sˈiː", "sˈiː") == ["sˈiː", " sˈiː", ""]


def test_a_word_without_sound_ends_with_the_one_before() -> None:
    assert word_ends("abc", ["ab", "", "c"]) == [2, 2, 3]
    assert word_ends("", ["a", "b"]) == [0, 0]
    assert word_ends("abc", []) == []
    assert word_ends("abc", ["", ""]) == [0, 0]


def test_given_phonemes_take_the_place_of_a_word() -> None:
    assert spliced("ab cd. ef", [2, 5, 9], [6, 9], {1: "xyz"}) == (list("ab xyz. ef"), [2, 6, 10], [7, 10])
    assert spliced("ab cd", [2, 5], [5], {0: "x", 1: "y"}) == (list("x y"), [1, 3], [3])
    assert spliced("ab cd", [2, 2, 5], [5], {1: "z"}) == (list("ab z cd"), [2, 4, 7], [7])


words = st.lists(st.text("abdefgiklmnoprstuvz", min_size=1, max_size=8), min_size=1, max_size=20)


@given(words, st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_is_the_same_is_found_exactly(said: list[str], spaced: bool) -> None:
    gap = " " if spaced else ""
    ends = word_ends(gap.join(said) + ".", said)
    assert ends == [len(gap.join(said[: n + 1])) for n in range(len(said))]


@given(words, st.text("abcxyzˈː .,", max_size=120))
@settings(max_examples=100, deadline=None)
def test_anything_else_is_in_order_and_inside(said: list[str], phonemes: str) -> None:
    ends = word_ends(phonemes, said)
    assert ends == sorted(ends)
    assert all(0 <= end <= len(phonemes) for end in ends)
    sounding = [n for n, phoneme in enumerate(phonemes) if phoneme not in MARKS]
    if sounding:
        assert ends[-1] > sounding[-1]
