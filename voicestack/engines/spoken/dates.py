"""How are dates and times of day said?"""

import re
from collections.abc import Callable
from functools import lru_cache

from babel import Locale

from voicestack.engines.spoken.languages import BRITISH, Language
from voicestack.engines.spoken.numbers import cardinal, ordinal, year
from voicestack.engines.spoken.rules import Rule

_DATIVE = re.compile(r"\b(?:am|vom|zum|dem|den|ab|bis|seit|beim)\s+$", re.IGNORECASE)
_ARTICLE = re.compile(r"\b(?:der|die|das)\s+$", re.IGNORECASE)


@lru_cache
def months(locale: str) -> tuple[str, ...]:
    """The names of the twelve months, as they stand in a date (CLDR)."""
    names = Locale.parse(locale).months["format"]["wide"]
    return tuple(names[n] for n in range(1, 13))


@lru_cache
def month_numbers(locale: str) -> dict[str, int]:
    """1..12 by name and abbreviation, in lower case, without full stops."""
    found: dict[str, int] = {}
    for width in ("wide", "abbreviated"):
        for n, name in Locale.parse(locale).months["format"][width].items():
            found[name.lower().rstrip(".")] = int(n)
    if locale.startswith("en"):
        found["sept"] = 9
    return found


def date(day: int, month: int, year_: int | None, language: Language, before: str = "") -> str | None:
    """A date in words; None where there is no such day.

    Args:
        day: 1..31.
        month: 1..12.
        year_: None for none.
        language: Whose words.
        before: The text before the date, which decides upon endings.
    """
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return None
    name = months(language.locale)[month - 1]
    past = "" if year_ is None else year(year_, language)
    match language.code:
        case "en" if language.month_first:
            return f"{name} {ordinal(day, language)}{past and ', ' + past}"
        case "en":
            return f"the {ordinal(day, language)} of {name}{past and ', ' + past}"
        case "de":
            return f"{ordinal(day, language)}{_german_ending(before)} {name}{past and ' ' + past}"
        case "fr":
            first = ordinal(1, language) if day == 1 else cardinal(day, language)
            return f"{first} {name}{past and ' ' + past}"
        case _:
            return f"{cardinal(day, language)} de {name}{past and ' de ' + past}"


def clock(hours: int, minutes: int, language: Language, half: str = "") -> str | None:
    """A time of day in words; None where there is no such time.

    Args:
        hours: 0..24.
        minutes: 0..59.
        language: Whose words.
        half: "am" or "pm"; empty for none.
    """
    if not (0 <= hours <= 24 and 0 <= minutes <= 59):
        return None
    hour, minute = cardinal(hours, language), cardinal(minutes, language)
    match language.code:
        case "en":
            tail = {"a": " eigh M", "p": " P M"}.get(half[:1].lower(), "")
            if minutes == 0:
                return hour + (tail or (" o'clock" if 1 <= hours <= 12 else " hundred hours"))
            return f"{hour} {'oh ' if minutes < 10 else ''}{minute}{tail}"
        case "de":
            hour = "ein" if hours == 1 else hour
            return f"{hour} Uhr" + (f" {minute}" if minutes else "")
        case "fr":
            hour = "une heure" if hours == 1 else f"{_feminine(hour)} heure{'s' if hours > 1 else ''}"
            return hour + (f" {_feminine(minute)}" if minutes else "")
        case _:
            hour = re.sub(r"uno$", "una", hour)
            return f"{hour} y {minute}" if minutes else f"{hour} en punto"


def rules(language: Language) -> list[Rule]:
    """Rules for dates and times, the longer ones first."""
    is_large = language.code in ("en", "de")  # "may" and "march" are no months
    known = [name.title() if is_large else name for name in month_numbers(language.locale)]
    month = rf"(?P<name>{'|'.join(sorted(map(re.escape, known), key=len, reverse=True))})\b\.?"
    day, year_ = r"(?P<day>\d{1,2})", r"(?P<year>[12]\d{3})"
    of = {"es": r"\s+de\s+", "en": r"\s+(?:of\s+)?"}.get(language.code, r"\s+")
    then = {"es": r"\s+del?\s+", "en": r",?\s+"}.get(language.code, r"\s+")
    mark = {"de": r"\.", "fr": r"(?:er)?", "en": r"(?:st|nd|rd|th)?"}.get(language.code, r"\.?º?")

    def named(found: re.Match[str]) -> str | None:
        n = month_numbers(language.locale)[found["name"].lower().rstrip(".")]
        past = found["year"]
        before = found.string[: found.start()]
        said = date(int(found["day"]), n, int(past) if past else None, language, before)
        if language.code != "en" or found["name"] == found[0][: len(found["name"])]:
            return said
        british = date(int(found["day"]), n, int(past) if past else None, BRITISH)
        return british.removeprefix("the ") if british and before.lower().endswith("the ") else british

    def iso(found: re.Match[str]) -> str | None:
        before = found.string[: found.start()]
        return date(int(found["day"]), int(found["month"]), int(found["year"]), language, before)

    def numeric(found: re.Match[str]) -> str | None:
        first, second = int(found[1]), int(found[2])
        day_, month_ = (second, first) if language.month_first and first <= 12 else (first, second)
        past = int(found[3]) if len(found[3]) == 4 else 2000 + int(found[3])
        return date(day_, month_, past, language, found.string[: found.start()])

    def month_alone(found: re.Match[str]) -> str:
        return months(language.locale)[month_numbers(language.locale)[found["name"].lower()] - 1]

    def without_year(found: re.Match[str]) -> str | None:
        return date(int(found[1]), int(found[2]), None, language, found.string[: found.start()])

    dates: list[tuple[str, Callable[[re.Match[str]], str | None]]] = [
        (rf"(?<![\w.,/]){day}{mark}{of}{month}(?:{then}{year_}(?!\d))?", named),
        (r"(?<![\w.,/-])(?P<year>[12]\d{3})[-/](?P<month>\d\d?)[-/](?P<day>\d\d?)(?![\w/-])", iso),
        (r"(?<![\w.,/-])(\d{1,2})[./-](\d{1,2})[./-](\d{4})(?![\w/-])", numeric),
    ]
    if language.code == "de":
        dates.append((r"(?<![\w.,/])(\d{1,2})\.(\d{1,2})\.(?!\d)", without_year))
    if language.code == "en":
        dates.append((rf"\b{month}\s+{day}(?:st|nd|rd|th)?\b(?!:)(?:,?\s+{year_}\b)?", named))
    dates.append((rf"\b{month}(?=\s+(?:de\s+)?[12]\d{{3}}\b)", month_alone))
    flags = 0 if is_large else re.IGNORECASE
    patterns: list[Rule] = [(re.compile(pattern, flags), said) for pattern, said in dates]
    return [*patterns, *_times(language)]


def _german_ending(before: str) -> str:
    """Of an ordinal: "am fünften", "der fünfte", "fünfter"."""
    if _DATIVE.search(before):
        return "n"
    return "" if _ARTICLE.search(before) else "r"


def _feminine(number: str) -> str:
    return number + "e" if number == "un" or number.endswith(" un") else number


def _times(language: Language) -> list[Rule]:
    def said(found: re.Match[str]) -> str | None:
        groups = found.groupdict()
        return clock(int(groups["hour"]), int(groups.get("minute") or 0), language, groups.get("half") or "")

    def to(found: re.Match[str]) -> str:
        return f" {language.word('to')} "

    hour, minute = r"(?<![\w:.,/])(?P<hour>\d{1,2})", r"(?P<minute>[0-5]\d)(?![\d:])"
    half = r"(?P<half>[ap]\.?\s?m\b\.?)"
    tails = {
        "en": [rf"{hour}[:.]{minute}\s*{half}", rf"{hour}\s*{half}", rf"{hour}:{minute}"],
        "de": [rf"{hour}[:.]{minute}\s*Uhr\b", rf"{hour}\s*Uhr\b", rf"{hour}:{minute}"],
        "fr": [rf"{hour}\s?h\s?{minute}", rf"{hour}\s?h\b", rf"{hour}:{minute}"],
    }
    patterns = tails.get(language.code, [rf"{hour}:{minute}(?:\s*h\b)?"])

    def with_seconds(found: re.Match[str]) -> str:
        return " ".join(cardinal(int(part), language) for part in found[0].split(":"))

    seconds = re.compile(r"(?<![\w:.,/])\d{1,2}:[0-5]\d:[0-5]\d(?![\d:])")
    ratio = re.compile(r"(?<=\d):(?=\d)")
    at_time = r"(?=\d{1,2}(?:[:.h][0-5]\d|\s?[ap]\.?m\b|\s?Uhr|\s?h\b|[:.][0-5]\d\s?Uhr))"
    dash = re.compile(rf"(?<=[\dm.])\s?[-\N{{EN DASH}}]\s?{at_time}", re.IGNORECASE)
    times: list[Rule] = [(re.compile(pattern, re.IGNORECASE), said) for pattern in patterns]
    return [(dash, to), *times, (seconds, with_seconds), (ratio, to)]
