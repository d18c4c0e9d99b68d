"""Are words said as the lexicon has them, and are mistakes in it named?"""

# ruff: noqa: RUF001 (phonemes are the subject)

from pathlib import Path

import pytest

from voicestack.core.errors import ConfigError
from voicestack.engines.spoken.languages import language_of
from voicestack.engines.spoken.lexicon import EMPTY, Lexicon, read_lexicon
from voicestack.engines.spoken.text import spans_of

WORDS = """
[all]
"Nginx" = "engine x"
"gif" = "[[dʒˈɪf]]"
"New York" = "big apple"
[en]
"Polish" = "poh lish"
"route" = "root"
[en-GB]
"route" = "roote"
"""


@pytest.fixture
def lexicon(tmp_path: Path) -> Lexicon:
    path = tmp_path / "words.toml"
    path.write_text(WORDS, "utf-8")
    return read_lexicon(path)


def said(text: str, lexicon: Lexicon, tag: str = "en-us") -> str:
    return " ".join(span.said for span in spans_of(text, language_of(tag), lexicon.rules(tag)) if span.said)


def test_words_are_said_as_it_has_them(lexicon: Lexicon) -> None:
    assert said("Nginx, or Nginx's GIF.", lexicon) == "engine x, or engine x's [[dʒˈɪf]]."
    assert said("nginx gifs", lexicon) == "nginx gifs"
    assert said("polish the Polish", lexicon) == "polish the poh lish"
    assert said("in New York", lexicon) == "in big apple"


def test_the_most_special_table_wins(lexicon: Lexicon) -> None:
    assert said("this Route", lexicon, "en-us") == "this root"
    assert said("this Route", lexicon, "en_GB") == "this roote"
    assert said("route Nginx", lexicon, "de") == "route engine x"
    assert said("Nginx", EMPTY) == "Nginx"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("a = ", "words.toml"),
        ('word = "said"', "'word' stands outside"),
        ("[en]\nword = 5", "'word' should be said"),
        ('[en]\nword = ""', "'word' should be said"),
        ('[en]\nword = "[[a"', "phonemes stand in"),
        ('[en]\n" " = "a"', "should be said"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, words: str, complaint: str) -> None:
    path = tmp_path / "words.toml"
    path.write_text(words)
    with pytest.raises(ConfigError, match=complaint) as caught:
        read_lexicon(path)
    assert "piper.lexicon" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        read_lexicon(tmp_path / "nowhere.toml")
