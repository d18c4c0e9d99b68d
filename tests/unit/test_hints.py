"""What do the words of a client become as hints, and which languages may it name?"""

import pytest
from faster_whisper.tokenizer import _LANGUAGE_CODES  # type: ignore[import-untyped]

from voicestack.config.derived import languages_of, settings_of
from voicestack.config.load import load
from voicestack.config.whisper import LANGUAGES
from voicestack.core.hints import NO_HINTS, PROMPT_CHARS, Hints, hints_of


@pytest.mark.parametrize(
    ("said", "hints"),
    [
        ((None, None), NO_HINTS),
        (("", "  ", ["", " "]), NO_HINTS),
        (("de", None), Hints("de")),
        (("pt_BR", " Tudo bem? "), Hints("pt", "Tudo bem?")),
        (("EN-gb", "Hello, Ada.", ["Ada", " Nginx "]), Hints("en", "Ada, Nginx. Hello, Ada.")),
        ((None, None, ["Ada"]), Hints("", "Ada.")),
    ],
)
def test_a_tag_is_a_language_and_keywords_come_before_the_prompt(said: tuple[str], hints: Hints) -> None:
    assert hints_of(*said) == hints  # type: ignore[call-arg]  # a row has two or three


def test_of_a_long_prompt_the_end_counts() -> None:
    prompt = hints_of(None, "x" * 5_000_000 + " the end").prompt
    assert (len(prompt), prompt[-8:]) == (PROMPT_CHARS, " the end")


def test_no_hint_shows_what_was_written() -> None:
    assert "secret" not in repr(hints_of("en", "secret"))


def test_the_languages_are_those_of_faster_whisper() -> None:
    assert sorted(LANGUAGES) == sorted(_LANGUAGE_CODES)


@pytest.mark.parametrize(
    ("sets", "known", "refused_of"),
    [
        (("asr.engine=whisper", "whisper.model=small"), LANGUAGES, LANGUAGES),
        (("asr.engine=whisper", "whisper.model=/models/base.en"), ("en",), ("en",)),
        (("asr.engine=pocketsphinx",), ("en",), ()),
        (("asr.engine=scripted",), (), ()),
    ],
)
def test_only_whisper_makes_a_session_refuse_a_language(
    sets: tuple[str, ...], known: tuple[str, ...], refused_of: tuple[str, ...]
) -> None:
    config = load("scripted", env={}, sets=sets).config
    assert languages_of(config) == known
    assert settings_of(config).languages == refused_of
