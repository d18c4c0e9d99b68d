"""Are phrases cut where a speaker would breathe, and the same however the text arrives?"""

# ruff: noqa: RUF001 (the punctuation of other scripts is the subject)

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voicestack.core.phrases import Phrases, speakable

WORDS = ["I", "the", "of", "Paris", "yes", "answer", "don't", "well-known", "naïve", "Größe", "question"]
TRICKY = [
    *["3.14", "1,000", "3:30", "Dr.", "e.g.", "U.S.", "p.m.", "J.", "$3.50,", "20°C", "50%", "1.", "2)"],
    *["https://example.com/x?y=1,2;z!", "someone@example.com", "www.example.com", "f(x,y)", "snake_case"],
    *["well...", "...", "…", ". . .", "?!", "!", "-", "—", "word—word", "*", "**bold**", "`code`", "```py"],
    *["#", "##", "|", "😀", "👍🏽", "你好，世界。", '"quoted."', "(aside)", "<br>", "&", "'tis", "end."],
]
MARKS = ["", "", "", "", ",", ".", "!", "?", ":", ";", " -", "..."]
GAPS = [" ", " ", " ", " ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", ""]

written = st.lists(
    st.tuples(
        st.one_of(
            st.sampled_from(WORDS), st.sampled_from(WORDS), st.sampled_from(TRICKY), st.text(max_size=3)
        ),
        st.sampled_from(MARKS),
        st.sampled_from(GAPS),
    ),
    max_size=60,
).map(lambda parts: "".join(word + mark + gap for word, mark, gap in parts))


def phrases_of(*deltas: str) -> list[str]:
    phrases = Phrases()
    return [phrase for delta in deltas for phrase in phrases.push(delta)] + phrases.end()


def has_sound(text: str) -> bool:
    return any(char.isalnum() for char in text)


def n_words(text: str) -> int:
    return sum(has_sound(word) for word in text.split())


@settings(max_examples=150, deadline=None)
@given(written, st.data())
def test_however_the_text_is_cut_the_phrases_are_the_same(text: str, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=20).map(sorted))
    deltas = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
    assert phrases_of(*deltas) == phrases_of(text) == phrases_of(*text)


@settings(max_examples=150, deadline=None)
@given(written)
@example("**Done!**")
@example(" \n 😀 ")
def test_joined_they_are_the_text_and_each_can_be_heard(text: str) -> None:
    phrases = phrases_of(text)
    whole = " ".join(text.split())
    said = "".join(phrases)
    assert whole.startswith(said)
    assert not has_sound(whole[len(said) :])
    for n, phrase in enumerate(phrases):
        assert has_sound(phrase)
        assert phrase == phrase.rstrip()
        assert n or not phrase.startswith(" ")


@settings(max_examples=80, deadline=None)
@given(written, st.integers(1, 8), st.integers(1, 25))
def test_it_never_holds_more_than_it_may(text: str, first_words: int, max_words: int) -> None:
    phrases = Phrases(first_words=first_words, max_words=max_words)
    said: list[str] = []
    for n, char in enumerate(text, 1):
        said += phrases.push(char)
        held = " ".join(text[:n].split())[len("".join(said)) :]
        assert n_words(held) <= (max_words if said else first_words)  # one of them still being written
    for n, phrase in enumerate([*said, *phrases.end()]):
        assert n_words(phrase) <= (max_words if n else first_words)


@settings(max_examples=80, deadline=None)
@given(written)
def test_what_is_spoken_is_clean(text: str) -> None:
    for phrase in phrases_of(text):
        spoken = speakable(phrase)
        assert spoken == "" or has_sound(spoken)
        assert spoken.startswith(" ") <= phrase.startswith(" ")
        assert not set(spoken) & set("`|😀👍\U0001f3fd\n\t")
        assert "**" not in spoken
        assert "  " not in spoken


@given(st.lists(st.sampled_from([*WORDS, "3.14", "1,000", "Dr.", "p.m."]), min_size=1, max_size=12))
def test_prose_is_spoken_as_it_is(words: list[str]) -> None:
    text = " ".join(words) + "!"
    assert speakable(text) == text
    assert speakable(" " + text) == " " + text


@given(st.text(max_size=60))
def test_nothing_breaks_speakable(text: str) -> None:
    assert isinstance(speakable(text), str)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sure, I can help you, of course.", ["Sure, I can help you,", " of course."]),
        ("Yes. No. Maybe.", ["Yes.", " No.", " Maybe."]),
        (
            "The capital of France is the city of Paris.",
            ["The capital of France is the city", " of Paris."],
        ),
        (
            "It costs $1,000.50 at 3:30 p.m. in the U.S. today. Ask Dr. Smith, e.g. now.",
            ["It costs $1,000.50 at 3:30 p.m.", " in the U.S. today.", " Ask Dr. Smith, e.g. now."],
        ),
        ("Well... I think so. OK", ["Well... I think so.", " OK"]),
        (
            "Go to https://example.com/a?b=1,2. Then stop.",
            ["Go to https://example.com/a?b=1,2.", " Then stop."],
        ),
        ("Two things:\n1. First one\n2. Second one", ["Two things:", " 1. First one", " 2. Second one"]),
        ('"Fine," he said, "I am." Then he left.', ['"Fine," he said,', ' "I am."', " Then he left."]),
        ("Oh — I see — well", ["Oh — I see —", " well"]),
        ("你好，我是助手。今天天气很好。", ["你好，", "我是助手。", "今天天气很好。"]),
        ("😀 👍", []),
    ],
)
def test_where_it_cuts(text: str, expected: list[str]) -> None:
    assert phrases_of(text) == expected


def test_the_first_clause_does_not_wait_for_the_next_token() -> None:
    phrases = Phrases()
    assert phrases.push("Of course") == []
    assert phrases.push("!") == ["Of course!"]
    assert phrases.push(" It is") == []
    assert phrases.push(" four,") == []
    assert phrases.push(" I think.") == []
    assert phrases.push(" ") == [" It is four, I think."]


def test_a_shorter_first_clause_can_be_asked_for() -> None:
    assert Phrases(first_clause_words=1).push("Sure, I can") == ["Sure,"]
    assert Phrases(first_clause_words=4).push("Of course, I can. ") == ["Of course, I can."]
    assert Phrases(first_words=3).push("one two three four") == ["one two three"]


@pytest.mark.parametrize(
    ("phrase", "spoken"),
    [
        ("**Bold** and *soft* and __loud__ and `code`.", "Bold and soft and loud and code."),
        ("# Heading", "Heading"),
        (" - item one", " item one"),
        ("* [x] done", "done"),
        ("> quoted", "quoted"),
        ("Great 😀!", "Great!"),
        ("👩‍👩‍👧 family 🇫🇷", "family"),
        ("See [the docs](https://example.com/x) or https://www.example.com.", "See the docs or example.com."),
        ("![a cat](cat.png) sits", "a cat sits"),
        ("```python", ""),
        ("2 * 3 = 6 and 2*3 too", "2 * 3 = 6 and 2*3 too"),
        ("snake_case stays, _this_ not", "snake_case stays, this not"),
        ("It is 20°C, about 5 < 7.", "It is 20°C, about 5 < 7."),
        ("one<br>two</b>", "one two"),
        ("| a | b |", "a b"),
        ("--- next", "next"),
        ('" she said.', "she said."),
        ("!** Right.", "Right."),
        ("~~no~~ yes", "no yes"),
        ("---", ""),
    ],
)
def test_what_is_not_spoken(phrase: str, spoken: str) -> None:
    assert speakable(phrase) == spoken
