"""Are numbers, dates, addresses and the like said as people say them, and is the way back to the text kept?

The cases are in tests/data/spoken.tsv: language, what is written, what is said.
"""

from pathlib import Path

import pytest

from voicestack.engines.spoken.languages import language_of
from voicestack.engines.spoken.text import open_ended, spans_of

CASES = [
    tuple(line.split("\t")) for line in Path("tests/data/spoken.tsv").read_text("utf-8").splitlines()[1:]
]


def said(text: str, tag: str = "en") -> str:
    return " ".join(span.said for span in spans_of(text, language_of(tag)) if span.said)


def pieces(text: str, tag: str = "en") -> list[tuple[str, str]]:
    return [(text[span.start : span.end], span.said) for span in spans_of(text, language_of(tag))]


def test_there_are_cases_of_every_language() -> None:
    assert len(CASES) >= 200
    assert {language for language, _, _ in CASES} == {"en", "de", "es", "fr"}


@pytest.mark.parametrize(("language", "written", "expected"), CASES)
def test_it_is_said_so(language: str, written: str, expected: str) -> None:
    assert said(written, language) == expected


def test_regions_have_ways_of_their_own() -> None:
    assert said("on 3/5/2024", "en-us") == "on March fifth, twenty twenty-four"
    assert said("on 3/5/2024", "en_GB") == "on the third of May, twenty twenty-four"
    assert said("3,14", "es") == "tres coma uno cuatro"
    assert said("3.14", "es-419") == said("3,14", "es-419") == "tres punto uno cuatro"
    assert said("3.14", "de") == "drei Punkt eins vier"
    assert language_of("en-GB-x-rp") is language_of("en_GB")
    assert language_of("xx") is None


def test_what_is_said_in_one_piece_is_heard_in_one_piece() -> None:
    assert pieces("It costs $5 million, or 3 km — say.") == [
        ("It", "It"),
        (" costs", "costs"),
        (" $5 million,", "five million dollars,"),
        (" or", "or"),
        (" 3 km", "three kilometers,"),
        (" —", ""),
        (" say.", "say."),
    ]


def test_white_space_around_the_text_is_kept() -> None:
    assert pieces("  Hello  there \n") == [("  Hello", "Hello"), ("  there \n", "there")]
    assert pieces("   ") == [("   ", "")]
    assert pieces("") == []


def test_a_language_without_rules_loses_its_marks_only() -> None:
    text = "Ciao *bella*, costa 5 €!"
    assert " ".join(span.said for span in spans_of(text, None) if span.said) == "Ciao bella, costa 5!"
    assert [text[span.start : span.end] for span in spans_of(text, None)][-1] == " €!"


@pytest.mark.parametrize(
    ("cut", "whole"),
    [
        ("I would like to", "I would like to,"),
        ("Well,", "Well,"),
        ("It is done.", "It is done."),
        ("Really?", "Really?"),
        ("as follows: ", "as follows:"),
    ],
)
def test_a_clause_that_was_cut_off_does_not_fall(cut: str, whole: str) -> None:
    assert open_ended(cut) == whole
