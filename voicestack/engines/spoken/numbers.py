"""How is a number said? By num2words (LGPL, used as a library), one language at a time."""

import re

from num2words import num2words  # type: ignore[import-untyped]

from voicestack.engines.spoken.languages import Language

MAX_DIGITS = 15
"""Longer numbers are read digit by digit: nobody can follow their names."""


def cardinal(n: int, language: Language) -> str:
    """A whole number in words, without commas: a comma would be a pause."""
    if len(str(abs(n))) > MAX_DIGITS:
        return digits(str(n), language)
    return str(num2words(n, lang=language.code)).replace(",", "")


def ordinal(n: int, language: Language) -> str:
    """Such as "twenty-first"."""
    return str(num2words(n, lang=language.code, to="ordinal")).replace(",", "")


def year(n: int, language: Language) -> str:
    """As a year is said: "nineteen eighty-four", "neunzehnhundertvierundachtzig"."""
    said = str(num2words(n, lang=language.code, to="year")).replace(",", "")
    return said.replace("oh-", "oh ") if language.code == "en" else said


def digits(written: str, language: Language) -> str:
    """Digit by digit; everything else is left out."""
    return " ".join(cardinal(int(char), language) for char in written if char.isdecimal())


def number(written: str, language: Language) -> str:
    """A number as the language writes it: sign, groups of thousands, decimals.

    Numbers that begin with a zero are codes, and are read digit by digit, as are decimals.
    """
    minus = language.word("minus") + " " if written[:1] in "-\N{MINUS SIGN}" and written else ""
    whole, mark, decimals = written.lstrip("-+\N{MINUS SIGN}").partition(language.decimal)
    whole = re.sub(r"\D", "", whole)
    if len(whole) > 1 and whole[0] == "0":
        said = digits(whole, language)
    else:
        said = cardinal(int(whole or "0"), language)
    if mark and decimals:
        said += f" {language.word('point')} {digits(decimals, language)}"
    return minus + said


def is_one(written: str, language: Language) -> bool:
    """Whether it is exactly one, which takes a thing in the singular."""
    return written in ("1", f"1{language.decimal}0")


def counted(written: str, thing: str, language: Language) -> str:
    """A number of things: "one kilometer", "eine Stunde", "veintiún euros"."""
    said = number(written, language)
    feminine = thing.startswith(language.feminine) if language.feminine else False
    whole = language.decimal not in written
    if language.code == "de" and whole and said.endswith("eins"):
        said = said.removesuffix("eins") + ("eine" if feminine else "ein")
    elif language.code == "es" and whole and said.endswith("uno"):
        said = said.removesuffix("uno") + "un"
        if feminine:
            said += "a"
        elif said.endswith("veintiun"):
            said = said.removesuffix("un") + "ún"
    elif language.code == "fr" and whole and feminine and (said == "un" or said.endswith(" un")):
        said += "e"
    return f"{said} {thing}"


def spelled(letters: str, language: Language) -> str:
    """Letter by letter; digits in between are one number."""
    said = []
    for part in re.findall(r"\d+|[^\W\d_]", letters):
        if part.isdecimal():
            said.append(number(part, language) if len(part) < 3 else digits(part, language))
        else:
            said.append(language.letters.get(part.upper(), part.upper()))
    return " ".join(said)
