"""How are bare numbers, acronyms, abbreviations and signs said?"""

import re
from collections.abc import Callable

from voicestack.engines.spoken.languages import GERMAN, Language
from voicestack.engines.spoken.numbers import cardinal, counted, digits, number, ordinal, spelled, year
from voicestack.engines.spoken.rules import Rule

SAID_AS_WORDS = frozenset(
    re.findall(
        r"\S+",
        "NASA NATO UNESCO UNICEF OPEC AIDS SARS COVID LASER RADAR SCUBA RAM ROM PIN SIM GIF JPEG WIFI "
        "ASAP FAQ NASDAQ CAPTCHA SWAT OSHA FIFA UEFA ASCII BIOS JSON YAML TOML SCRUM ZIP DAX TÜV BAFÖG "
        "RENFE ONU OTAN OVNI SIDA SMIC INSEE OK",
    )
)
"""Acronyms of few letters that are words by now."""
_IN_YEAR = {
    "en": r"in|since|from|of|by|until|till|year|before|after|around|during|to|and|between|early|late|circa",
    "de": r"in|seit|von|bis|jahr|vor|nach|um|ab|im|und|zwischen|jahre",
    "es": r"en|desde|de|hasta|año|antes|después",
    "fr": r"en|depuis|de|jusqu'en|année|avant|après",
}
_FRACTIONS = {
    "en": {"1/2": "one half", "1/3": "one third", "2/3": "two thirds", "1/4": "one quarter"}
    | {"3/4": "three quarters", "½": "one half", "¼": "one quarter", "¾": "three quarters"},
    "de": {"1/2": "ein halb", "1/3": "ein Drittel", "2/3": "zwei Drittel", "1/4": "ein Viertel"}
    | {"3/4": "drei Viertel", "½": "ein halb", "¼": "ein Viertel", "¾": "drei Viertel"},
    "es": {"1/2": "un medio", "1/3": "un tercio", "2/3": "dos tercios", "1/4": "un cuarto"}
    | {"3/4": "tres cuartos", "½": "un medio", "¼": "un cuarto", "¾": "tres cuartos"},
    "fr": {"1/2": "un demi", "1/3": "un tiers", "2/3": "deux tiers", "1/4": "un quart"}
    | {"3/4": "trois quarts", "½": "un demi", "¼": "un quart", "¾": "trois quarts"},
}
_CODE = {
    "en": r"code|pin|passcode|account|order|ticket|reference|tracking|zip|id|extension|number|phone",
    "de": r"code|pin|nummer|nr\.|konto|bestellung|postleitzahl|plz|id|telefon|tel\.",
    "es": r"código|pin|número|núm\.|pedido|cuenta|id|teléfono|tel\.",
    "fr": r"code|pin|numéro|n°|commande|compte|id|téléphone|tél\.",
}
"""What is followed by digits that are read one by one, if there are four or more of them."""
_POWERS = {
    "en": {"²": " squared", "³": " cubed"},
    "de": {"²": " hoch zwei", "³": " hoch drei"},
    "es": {"²": " al cuadrado", "³": " al cubo"},
    "fr": {"²": " au carré", "³": " au cube"},
}
_ROMAN = dict(
    zip(
        re.findall(r"\S+", "II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI XVII XVIII XIX XX XXI"),
        range(2, 22),
        strict=True,
    )
)
_SIGNS = {
    "&": "and",
    "+": "plus",
    "=": "equals",
    "\N{MULTIPLICATION SIGN}": "times",
    "\N{DIVISION SIGN}": "divided",
    "\N{ALMOST EQUAL TO}": "about",
    "\N{MINUS SIGN}": "minus",
    "<": "less",
    ">": "more",
    "%": "percent",
    "‰": "per_mille",
    "@": "at",
    "#": "hash",
    "§": "paragraph",
    "°": "degrees",
    "~": "about",
}
_WITHOUT_SLASH = frozenset(["24/7", "50/50", "9/11", "20/20"])


def rules(language: Language) -> list[Rule]:
    """Rules for what no other rule knows, the more special ones first."""
    return [*_mixed(language), *_parts(language), *_numbers(language), *_letters(language), *_signs(language)]


def abbreviations(language: Language) -> list[Rule]:
    """Rules for abbreviations, which come before everything else."""
    known = language.abbreviations
    if not known:
        return []
    pattern = "|".join(sorted(map(re.escape, known), key=len, reverse=True))
    return [(re.compile(rf"(?<![\w.])(?:{pattern})(?!\w)"), lambda found: known[found[0]])]


def ordinals(language: Language) -> list[Rule]:
    """Rules for "21st", "3ª", "the 1980s": before units, because "1980s" are no seconds."""

    def nth(found: re.Match[str]) -> str | None:
        said = ordinal(int(found[1]), language)
        is_feminine = found[0].endswith(("ª", "re", "a")) and language.code in ("es", "fr")
        if is_feminine and language.code == "es":
            return re.sub(r"o\b", "a", said)
        return said.replace("premier", "première") if is_feminine else said

    pattern = {
        "en": r"(\d{1,4})(?:st|nd|rd|th)",
        "es": r"(\d{1,3})\.?[ºª]",
        "fr": r"(\d{1,4})(?:er|re|ère|e|ème)",
    }.get(language.code)
    found: list[Rule] = [(re.compile(rf"(?<![\w.,]){pattern}(?!\w)"), nth)] if pattern else []
    if language.code == "en":
        found += [
            (re.compile(r"(?<![\w.,])([12]\d\d0)'?s\b"), lambda at: _plural(year(int(at[1]), language))),
            (re.compile(r"(?<!\w)['\u2019](\d0)s\b"), lambda at: _plural(cardinal(int(at[1]), language))),
            (re.compile(r"(?<=[a-z] )St\.(?!\s+[A-Z])"), lambda at: "Street"),
            (re.compile(r"\bSt\.(?=\s+[A-Z])"), lambda at: "Saint"),
            (re.compile(r"(?<![\w.,])(\d+(?:\.\d+)?)k(?!\w)"), _thousands(language)),
            (re.compile(r"(?<![\w.,])(\d+(?:\.\d+)?)x(?!\w)"), lambda at: f"{number(at[1], language)} times"),
            (re.compile(r"\b[Nn]o\.\s?(?=\d)"), lambda match: f"{language.word('number')} "),
            (re.compile(r"(?:(?<=[Cc]all )|(?<=[Dd]ial ))\d{3,6}(?![\d.,-]*\d)"), _one_by_one(language)),
        ]
    if language.code == "de":
        found += [
            (re.compile(r"(?<![\w.,])(\d0)er\b"), lambda at: f"{cardinal(int(at[1]), language)}er"),
            (re.compile(r"(?<=\w)str\.(?!\w)"), lambda match: "straße"),
            (re.compile(rf"\b({_GERMAN_ARTICLES})\s+(\d{{1,3}})\.(?=\s+\w)", re.IGNORECASE), _german_nth),
        ]
    return found


_GERMAN_ARTICLES = "der|die|das|am|im|dem|den|vom|zum|beim|zur"


def _german_nth(found: re.Match[str]) -> str:
    said = ordinal(int(found[2]), GERMAN)
    return f"{found[1]} {said}{'' if found[1].lower() in ('der', 'die', 'das') else 'n'}"


def _plural(said: str) -> str:
    return re.sub(r"y$", "ie", said) + "s"


def _thousands(language: Language) -> Callable[[re.Match[str]], str]:
    return lambda found: f"{number(found[1], language)} thousand"


def _one_by_one(language: Language) -> Callable[[re.Match[str]], str]:
    return lambda found: digits(found[0], language)


def _mixed(language: Language) -> list[Rule]:
    """Names of letters and digits, "MP3", and initials: their full stops end no sentences."""
    name = re.compile(r"(?<!\w)(?=[A-Z\d]*\d)(?=[A-Z\d]*[A-Z])[A-Z\d]{2,}(?!\w)")
    initials = re.compile(r"(?<!\w)(?:[A-Z]\.\s){2,}(?=[A-Z])")
    return [
        (name, lambda found: spelled(found[0], language)),
        (initials, lambda found: f"{spelled(found[0], language)} "),
    ]


_BEFORE, _AFTER = r"(?<![\w.,])", r"(?!\w|[.,]\d)"
"""No part of a longer number or word before it, nor behind it."""


def _parts(language: Language) -> list[Rule]:
    """Fractions, and what stands between two numbers."""
    fractions, word = _FRACTIONS[language.code], language.word
    halves = "".join(one for one in fractions if len(one) == 1)
    known = "|".join(map(re.escape, fractions))

    def mixed(found: re.Match[str]) -> str:
        return f"{number(found[1], language)} {word('and')} {fractions[found[2]]}"

    def without_slash(found: re.Match[str]) -> str | None:
        if found[0] not in _WITHOUT_SLASH:
            return None
        return " ".join(cardinal(int(part), language) for part in found[0].split("/"))

    return [
        (re.compile(rf"{_BEFORE}(\d+)\s?([{halves}])"), mixed),
        (re.compile(rf"(?<![\w/])(?:{known})(?![\w/])"), lambda found: fractions[found[0]]),
        (re.compile(rf"{_BEFORE}\d\d?/\d\d?(?![\w/])"), without_slash),
        (re.compile(r"(?<=\d)\s?[x\u00d7*]\s?(?=\d)"), lambda found: f" {word('times')} "),
        (re.compile(r"(?<=\d)\s/\s(?=\d)"), lambda found: f" {word('divided')} "),
        (re.compile(r"(?<=[\d)])/(?=\d)"), lambda found: f" {word('slash')} "),
        (re.compile(r"(?<=[\d%€$£¥])/(?=[^\W\d_]{3})"), lambda found: f" {word('per')} "),
        (re.compile(r"(?<=\d\s)[-\N{MINUS SIGN}](?=\s\d)"), lambda found: word("minus")),
    ]


def _numbers(language: Language) -> list[Rule]:
    """Numbers that stand alone, the more special ones first."""
    num = language.number

    def one(written: str) -> str:
        is_year = len(written) == 4 and "1900" <= written <= "2099"
        return year(int(written), language) if is_year else number(written, language)

    def ranged(found: re.Match[str]) -> str:
        return f"{one(found[1])} {language.word('to')} {one(found[2])}"

    def nth(found: re.Match[str]) -> str:
        return f"{language.word('number')} {number(found[1], language)}"

    def past(found: re.Match[str]) -> str | None:
        return year(int(found[0]), language) if _may_be_year(found, language) else None

    def rest(found: re.Match[str]) -> str:
        return cardinal(int(found[0]), language) if len(found[0]) < 5 else digits(found[0], language)

    verbs = r"(?:\s+(?:is|number|ist|lautet|es|est))*[\s:.]*$"
    after_code = re.compile(rf"(?:{_CODE[language.code]}){verbs}", re.IGNORECASE)

    def code(found: re.Match[str]) -> str | None:
        before = found.string[: found.start()]
        said = ", ".join(digits(one, language) for one in re.findall(r"\d+", found[0]))
        if found[0].startswith("#"):
            return f"{language.word('number')} {said}"
        return said if after_code.search(before) else None

    years = rf"(?<=\s)1[0-8]\d\d{_AFTER}|{_BEFORE}(?:19|20)\d\d{_AFTER}"
    return [
        (re.compile(rf"{_BEFORE}({num})\s?[-\N{{EN DASH}}]\s?({num}){_AFTER}(?!-)"), ranged),
        (re.compile(rf"{_BEFORE}(?:#?\d{{4,}}|\d{{3}}(?: \d{{3}})+){_AFTER}"), code),
        (re.compile(rf"(?<!\w)#(\d{{1,3}}){_AFTER}"), nth),
        (re.compile(years if language.code in ("en", "de") else r"(?!)"), past),
        *_ones(language),
        (re.compile(rf"{_BEFORE}[-\N{{MINUS SIGN}}]?{num}{_AFTER}"), lambda at: number(at[0], language)),
        # A point where a comma is usual, or the other way round.
        (re.compile(rf"{_BEFORE}\d+[.,]\d+{_AFTER}"), lambda at: _with_point(at[0], language)),
        (
            re.compile(rf"{_BEFORE}[.](\d+)(?!\w)"),
            lambda at: f"{language.word('point')} {digits(at[1], language)}",
        ),
        (re.compile(r"\d+"), rest),
    ]


def _ones(language: Language) -> list[Rule]:
    """One of something: "1 Stunde" is "eine Stunde", "21 días" is "veintiún días"."""

    def one(found: re.Match[str]) -> str:
        thing = found["thing"]
        return counted(found["amount"], thing, language).removesuffix(thing).rstrip()

    if not language.feminine:
        return []
    noun = {"de": r"[^\W\d_a-zäöüß]\w+", "fr": "|".join(language.feminine)}.get(language.code, r"[^\W\d_]\w+")
    return [(re.compile(rf"(?<![\w.,-])(?P<amount>\d*1)(?=\s+(?P<thing>{noun}))"), one)]


def _may_be_year(found: re.Match[str], language: Language) -> bool:
    if found[0][:2] in ("19", "20"):
        return True
    before = found.string[: found.start()].rstrip().lower()
    return re.search(rf"\b(?:{_IN_YEAR[language.code]})$", before) is not None


def _with_point(written: str, language: Language) -> str:
    whole, mark, decimals = re.split(r"([.,])", written)
    point = language.word("dot") if mark == "." != language.decimal else language.word("point")
    return f"{number(whole, language)} {point} {digits(decimals, language)}"


def _letters(language: Language) -> list[Rule]:
    def acronym(found: re.Match[str]) -> str | None:
        letters, plural = found[1], found[2]
        if letters in SAID_AS_WORDS or _is_shouted(found):
            return None
        if len(letters) > 3 and any(char in "AEIOUÄÖÜ" for char in letters):
            return None  # it can be pronounced; eSpeak NG decides
        return spelled(letters, language) + ("'s" if plural and language.code == "en" else plural)

    dots = re.compile(r"(?<![\w.])(?:[A-Z]\.){2,}")
    romans = "|".join(sorted(_ROMAN, key=len, reverse=True))
    return [
        (dots, lambda found: spelled(found[0], language)),
        (re.compile(rf"(?<=\w\s)(?:{romans})(?!\w)"), lambda at: cardinal(_ROMAN[at[0]], language)),
        (re.compile(r"(?<![\w])([A-ZÄÖÜ]{2,5})(s?)(?![^\W\d_])"), acronym),
    ]


def _is_shouted(found: re.Match[str]) -> bool:
    """Whether the whole text is in capitals, so that they say nothing of this word."""
    words = re.findall(r"[^\W\d_]{2,}", found.string)
    return len(words) > 1 and all(word.isupper() for word in words)


def _signs(language: Language) -> list[Rule]:
    pattern = "|".join(map(re.escape, _SIGNS))
    plus_minus = f" {language.word('plus')} {language.word('minus')} "
    powers = _POWERS[language.code]
    return [
        (re.compile(r"\s*±\s*"), lambda found: plus_minus),
        (re.compile("[²³]"), lambda found: powers[found[0]]),
        (re.compile(rf"\s*(?:{pattern})\s*"), lambda found: _sign(found, language)),
    ]


def _sign(found: re.Match[str], language: Language) -> str:
    before, after = found.string[: found.start()], found.string[found.end() :]
    if found[0].strip() == "~":
        return f" {language.word('about')} " if after[:1].isdigit() else " "
    if found[0].strip() in ("<", ">", "#") and not (before[-1:].isalnum() and after[:1].isdigit()):
        return " "
    return f" {language.word(_SIGNS[found[0].strip()])} "
