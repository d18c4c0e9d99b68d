"""How are amounts said: of money, of physical units, of percent?"""

import re
from functools import lru_cache

from babel import Locale
from babel.numbers import get_currency_name
from babel.units import format_unit

from voicestack.engines.spoken.languages import Language
from voicestack.engines.spoken.numbers import counted, is_one, number
from voicestack.engines.spoken.rules import Rule

_SYMBOLS = {"$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "₩": "KRW", "₽": "RUB"}
_SYMBOLS |= {"₺": "TRY", "₪": "ILS", "CA$": "CAD", "A$": "AUD", "R$": "BRL", "zł": "PLN", "kr": "SEK"}
_CODES = re.findall(
    r"\S+",
    "USD EUR GBP JPY CHF CAD AUD NZD CNY INR SEK NOK DKK PLN CZK HUF BRL MXN ARS CLP ZAR KRW TRY ILS",
)
_NAMES = {"euro": "EUR", "euros": "EUR", "Euro": "EUR", "dollar": "USD", "dollars": "USD", "Dollar": "USD"}
_NAMES |= {"dólar": "USD", "dólares": "USD", "pounds": "GBP", "libras": "GBP", "livres": "GBP"}
"""Written out; they matter where cents do: "1.500,50 Euro"."""
_PLAIN = {
    "en": {"USD": ("dollar", "dollars"), "GBP": ("pound", "pounds"), "JPY": ("yen", "yen")},
    "de": {"USD": ("Dollar", "Dollar"), "GBP": ("Pfund", "Pfund"), "JPY": ("Yen", "Yen")},
    "es": {"USD": ("dólar", "dólares"), "GBP": ("libra", "libras"), "JPY": ("yen", "yenes")},
    "fr": {"USD": ("dollar", "dollars"), "GBP": ("livre", "livres"), "JPY": ("yen", "yens")},
}
"""What people call them; CLDR has "US dollars", which nobody says of a price."""
_CENTS = {
    "en": {"USD": ("cent", "cents"), "EUR": ("cent", "cents"), "GBP": ("penny", "pence")},
    "de": {"USD": ("Cent", "Cent"), "EUR": ("Cent", "Cent"), "GBP": ("Pence", "Pence")},
    "es": {"USD": ("centavo", "centavos"), "EUR": ("céntimo", "céntimos"), "GBP": ("penique", "peniques")},
    "fr": {"USD": ("cent", "cents"), "EUR": ("centime", "centimes"), "GBP": ("penny", "pence")},
}
_SCALES = {
    "en": {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion"},
    "de": {"mio": "Millionen", "mrd": "Milliarden"},
    "es": {"mm": "millones", "m": "millones"},
    "fr": {"m": "millions", "md": "milliards"},
}
_SCALE_WORDS = {
    "en": ["thousand", "million", "billion", "trillion"],
    "de": ["Tausend", "Million", "Millionen", "Milliarde", "Milliarden", "Billionen"],
    "es": ["mil", "millón", "millones", "billones"],
    "fr": ["mille", "million", "millions", "milliard", "milliards"],
}
_OF = {"es": "de ", "fr": "de "}
"""Between a million and what there are a million of."""

UNITS = {
    "km/h": "speed-kilometer-per-hour",
    "kmh": "speed-kilometer-per-hour",
    "mph": "speed-mile-per-hour",
    "m/s": "speed-meter-per-second",
    "km²": "area-square-kilometer",
    "m²": "area-square-meter",
    "m2": "area-square-meter",
    "m³": "volume-cubic-meter",
    "km": "length-kilometer",
    "cm": "length-centimeter",
    "mm": "length-millimeter",
    "m": "length-meter",
    "mi": "length-mile",
    "ft": "length-foot",
    "yd": "length-yard",
    "kg": "mass-kilogram",
    "mg": "mass-milligram",
    "g": "mass-gram",
    "t": "mass-metric-ton",
    "lb": "mass-pound",
    "lbs": "mass-pound",
    "oz": "mass-ounce",
    "ml": "volume-milliliter",
    "mL": "volume-milliliter",
    "cl": "volume-centiliter",
    "l": "volume-liter",
    "L": "volume-liter",
    "°C": "temperature-celsius",
    "°F": "temperature-fahrenheit",
    "°": "angle-degree",
    "kWh": "energy-kilowatt-hour",
    "kcal": "energy-kilocalorie",
    "kW": "power-kilowatt",
    "MW": "power-megawatt",
    "W": "power-watt",
    "V": "electric-volt",
    "A": "electric-ampere",
    "GHz": "frequency-gigahertz",
    "MHz": "frequency-megahertz",
    "kHz": "frequency-kilohertz",
    "Hz": "frequency-hertz",
    "TB": "digital-terabyte",
    "GB": "digital-gigabyte",
    "MB": "digital-megabyte",
    "kB": "digital-kilobyte",
    "KB": "digital-kilobyte",
    "ms": "duration-millisecond",
    "min": "duration-minute",
    "s": "duration-second",
    "h": "duration-hour",
    "%": "concentr-percent",
    "‰": "concentr-permille",
}
"""CLDR's name of a unit by its symbol. "in" is left out: it is a word."""


_FRENCH_UNITS = {
    "To": "digital-terabyte",
    "Go": "digital-gigabyte",
    "Mo": "digital-megabyte",
    "Ko": "digital-kilobyte",
    "ko": "digital-kilobyte",
}


@lru_cache(maxsize=512)
def unit_name(unit: str, locale: str, *, one: bool) -> str:
    """What the unit is called after a number."""
    words = format_unit(1 if one else 5, unit, length="long", locale=Locale.parse(locale))
    return re.sub(r"[\d\s]+", " ", words).strip().replace("-hours", " hours")


@lru_cache(maxsize=512)
def currency_name(code: str, language_code: str, locale: str, *, one: bool) -> str:
    """What the currency is called after a number."""
    plain = _PLAIN.get(language_code, {}).get(code)
    return plain[not one] if plain else get_currency_name(code, 1 if one else 5, Locale.parse(locale))


def money(amount: str, code: str, scale: str, language: Language) -> str:
    """An amount of money: "five dollars and twenty cents", "three million euros"."""
    sign = f"{language.word('minus')} " if amount[:1] in ("-", "\N{MINUS SIGN}") else ""
    amount = amount.lstrip("-\N{MINUS SIGN}")
    name = currency_name(code, language.code, language.locale, one=is_one(amount, language) and not scale)
    if scale:
        big = _SCALES.get(language.code, {}).get(scale.lower().rstrip("."), scale)
        between = "" if big in ("mil", "mille") else _OF.get(language.code, "")
        if between and name[:1] in "aeiouéAEIOU" and language.code == "fr":
            between = "d'"
        return f"{sign}{number(amount, language)} {big} {between}{name}"
    whole, _, cents = amount.partition(language.decimal)
    small = _CENTS.get(language.code, {}).get(code)
    if len(cents) != 2 or small is None:
        return sign + counted(amount, name, language)
    name = currency_name(code, language.code, language.locale, one=whole == "1")
    said = [] if whole == "0" and cents != "00" else [counted(whole, name, language)]
    if cents != "00":
        said.append(counted(str(int(cents)), small[cents != "01"], language))
    return sign + f" {language.word('and')} ".join(said)


def rules(language: Language) -> list[Rule]:
    """Rules for amounts, the longer ones first: of money, then (the last two) of other units."""

    def priced(found: re.Match[str]) -> str | None:
        groups = found.groupdict()
        mark = groups["mark"]
        code = _SYMBOLS.get(mark) or _NAMES.get(mark, mark)
        return money((groups["minus"] or "") + groups["amount"], code, groups["scale"] or "", language)

    def measured(found: re.Match[str]) -> str:
        amount = found["amount"]
        unit = known[found["unit"]]
        name = unit_name(unit, language.locale, one=is_one(amount.lstrip("-\N{MINUS SIGN}"), language))
        return counted(amount, name, language)

    def from_to(found: re.Match[str]) -> str:
        unit = known[found["unit"]]
        name = unit_name(unit, language.locale, one=False)
        first = number(found["first"], language)
        return f"{first} {language.word('to')} {counted(found['amount'], name, language)}"

    def priced_range(found: re.Match[str]) -> str:
        first = number(found["first"], language)
        code = _SYMBOLS.get(found["mark"], found["mark"])
        return f"{first} {language.word('to')} {money(found['amount'], code, found['scale'] or '', language)}"

    known = UNITS | (_FRENCH_UNITS if language.code == "fr" else {})
    short = _SCALES.get(language.code, {})
    scales = [*_SCALE_WORDS.get(language.code, []), *short]
    scale_words = "|".join(sorted(map(re.escape, scales), key=len, reverse=True))
    scale = rf"(?:\s?(?P<scale>(?i:{scale_words}))\b\.?)?" if scales else "(?P<scale>)"
    marks = "|".join(sorted(map(re.escape, [*_SYMBOLS, *_CODES]), key=len, reverse=True))
    units = "|".join(sorted(map(re.escape, known), key=len, reverse=True))
    amount = rf"(?P<amount>{language.number})"
    with_cents = rf"(?P<amount>[\d{re.escape(language.groups)}]*\d{re.escape(language.decimal)}\d\d)"
    before, minus = r"(?<![\w.,])", "(?P<minus>[-\N{MINUS SIGN}])?"
    signed = rf"(?<![\w.,])(?P<amount>[-\N{{MINUS SIGN}}]?{language.number})"
    unit = rf"\s?(?P<unit>{units})(?![\w/²³])"
    dash = r"\s?[-\N{EN DASH}]\s?"
    ranged = rf"(?P<mark>{marks})\s?(?P<first>{language.number}){dash}(?:{marks})?{amount}(?!\d){scale}"
    return [
        (re.compile(before + ranged), priced_range),
        (re.compile(rf"{before}{minus}(?P<mark>{marks})\s?{amount}(?!\d){scale}"), priced),
        (re.compile(rf"{before}{minus}{amount}{scale}\s?(?P<mark>{marks})(?!\w)"), priced),
        (re.compile(rf"{before}{minus}{with_cents}\s(?P<scale>)(?P<mark>{'|'.join(_NAMES)})\b"), priced),
        (re.compile(rf"{before}(?P<first>{language.number}){dash}{amount}{unit}"), from_to),
        (re.compile(signed + unit), measured),
    ]
