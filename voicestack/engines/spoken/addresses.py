"""How are e-mail addresses, web addresses, telephone numbers and the like said?"""

import re

from voicestack.engines.spoken.languages import Language
from voicestack.engines.spoken.numbers import cardinal, digits, number, spelled
from voicestack.engines.spoken.rules import Rule

ENDINGS = frozenset(
    re.findall(
        r"\S+",
        "com org net edu gov mil int info biz app dev ai io co me tv eu uk us ca au nz ie in de at ch li "
        "fr be lu nl es pt it pl cz se no dk fi mx ar br cl pe jp cn kr ru ua tr za online shop store "
        "site cloud tech blog news page wiki",
    )
)
"""Top-level domains that make a word with a full stop in it an address. Others need a scheme or "www"."""
_SAID_AS_WORDS = frozenset(
    re.findall(
        r"\S+",
        "com org net edu gov info biz app dev online shop store site cloud tech blog",
    )
)
_MARKS = {".": "dot", "@": "at", "/": "slash", "-": "dash", "_": "underscore", ":": "colon", "#": "hash"}
_MARKS |= {"+": "plus", "=": "equals", "&": "and", "%": "percent", "?": "question"}
_WORD = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_VOWELS = frozenset("aeiouyäöüáéíóúàèìòùâêîôû")


def address(written: str, language: Language) -> str:
    """An address in words: every mark is named, what cannot be pronounced is spelled."""
    said = []
    for part in re.findall(r"[^\W\d_]+|\d+|[^\w\s]|_", written):
        if part.isdecimal():
            said.append(number(part, language) if len(part) < 3 else digits(part, language))
        elif part.isalpha():
            said.append(_label(part, language))
        elif part in _MARKS:
            said.append(language.word(_MARKS[part]))
    return " ".join(said)


def _label(part: str, language: Language) -> str:
    """A word of an address: "www", "io" and "xkcd" are spelled, "example" is not."""
    lower = part.lower()
    if lower in _SAID_AS_WORDS:
        return lower
    is_sayable = len(part) > 2 and any(char in _VOWELS for char in lower)
    return lower if is_sayable else spelled(part, language)


def telephone(written: str, language: Language) -> str:
    """Digit by digit, with a pause between the groups."""
    groups = [digits(group, language) for group in re.findall(r"\d+", written)]
    plus = f"{language.word('plus')} " if written.lstrip("( ").startswith("+") else ""
    return plus + ", ".join(groups)


def rules(language: Language) -> list[Rule]:
    """Rules for addresses, the longer ones first."""

    def said(found: re.Match[str]) -> str:
        return address(re.sub(r"^https?://", "", found[0]), language)

    def of_known_ending(found: re.Match[str]) -> str | None:
        host = re.split(r"[/:?#]", found[0])[0]
        ending = host.rpartition(".")[2].lower()
        return said(found) if ending in ENDINGS else None

    def dotted(found: re.Match[str]) -> str:
        dot = f" {language.word('dot' if found[0].count('.') == 3 else 'point')} "
        if language.code == "de":
            dot = f" {language.word('dot')} "
        return dot.join(cardinal(int(part), language) for part in found[0].lstrip("vV").split("."))

    path = r"(?::\d+)?(?:[/?#][^\s<>\"']*[\w/])?"
    any_case = re.IGNORECASE
    return [
        (re.compile(rf"[\w.+-]*\w@(?:{_WORD}\.)+[a-z]{{2,}}", any_case), said),
        (re.compile(rf"(?:https?://|\bwww\.)(?:{_WORD}\.)*{_WORD}{path}", any_case), said),
        (re.compile(rf"(?<![\w@.])(?:{_WORD}\.)+[a-z]{{2,}}(?![\w@]){path}", any_case), of_known_ending),
        (re.compile(r"(?<![\w.,])[vV]?\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\d)"), dotted),
        (re.compile(r"(?<![\w.,])(?:[vV]\d+(?:\.\d+)+|\d{1,2}\.\d{1,2}\.\d{1,2})(?![\w.]*\d)"), dotted),
        *_telephones(language),
    ]


def _telephones(language: Language) -> list[Rule]:
    def said(found: re.Match[str]) -> str | None:
        n_digits = sum(map(str.isdecimal, found[0]))
        return telephone(found[0], language) if 7 <= n_digits <= 15 else None

    not_before, not_after = r"(?<![\w.,+-])", r"(?![\w-]|[.,]\d)"
    patterns = [
        r"\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d+(?:[ ./-]\d+)*",
        r"\(\d{2,5}\)[ .-]?\d+(?:[ .-]\d+)*",
        r"\d{3}[-.]\d{3}[-.]\d{4}",
        r"\d{3}-\d{4}",
        r"0\d{1,5}(?:[ /.-]\d{2,8})+",
        r"0\d{8,12}",
        r"1?-?8\d\d-\d{3}-\d{4}",
    ]
    return [(re.compile(not_before + pattern + not_after), said) for pattern in patterns]
