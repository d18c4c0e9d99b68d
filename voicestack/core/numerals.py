"""Which numbers does somebody say? English number words and digits, as a recogniser writes them."""

import re

_UNITS = {
    word: n
    for n, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
}
_TENS = {
    word: n
    for n, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2
    )
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_TOKEN = re.compile(r"\d+(?:[.,]\d+)?|[a-z]+")


def numbers_in(text: str) -> list[float]:
    """The numbers in the order in which they are said: "forty five" is 45, "minus two point five" is -2.5.

    A decimal comma is a point; "ten thirty" is 10 and 30.
    """
    found: list[float] = []
    tokens = _TOKEN.findall(text.lower().replace("-", " minus " if re.search(r"(^|\s)-\d", text) else " "))
    at = 0
    while at < len(tokens):
        value, n_tokens = _number_at(tokens, at)
        if n_tokens == 0:
            at += 1
            continue
        negative = at > 0 and tokens[at - 1] == "minus"
        found.append(-value if negative else value)
        at += n_tokens
    return found


def _number_at(tokens: list[str], at: int) -> tuple[float, int]:
    """The number that begins at this token, and how many tokens it takes; (0, 0) for none."""
    value, n_tokens = _whole_at(tokens, at)
    digits = []
    point = at + n_tokens
    if n_tokens and tokens[point : point + 1] == ["point"]:
        for token in tokens[point + 1 :]:
            if token not in _UNITS or _UNITS[token] > 9:
                break
            digits.append(str(_UNITS[token]))
    if digits:
        return float(f"{int(value)}.{''.join(digits)}"), n_tokens + 1 + len(digits)
    return value, n_tokens


def _whole_at(tokens: list[str], at: int) -> tuple[float, int]:
    total = group = 0.0
    last = "none"
    start = at
    if tokens[at : at + 2] in (["a", "hundred"], ["a", "thousand"], ["a", "million"]):
        group, last, at = 1.0, "unit", at + 1
    while at < len(tokens):
        token = tokens[at]
        if token[0].isdigit() and last == "none":
            group, last = float(token.replace(",", ".")), "digits"
        elif token in _TENS and last in ("none", "hundred"):
            group, last = group + 10 * _TENS[token], "tens"
        elif token in _UNITS and (last in ("none", "hundred") or (last == "tens" and 0 < _UNITS[token] < 10)):
            group, last = group + _UNITS[token], "unit"
        elif token == "hundred" and last in ("unit", "digits"):
            group, last = group * 100, "hundred"
        elif token in ("thousand", "million") and last not in ("none",):
            total, group, last = total + group * _SCALES[token], 0.0, "hundred"
        elif token == "and" and last == "hundred" and tokens[at + 1 : at + 2] and _is_small(tokens[at + 1]):
            pass
        else:
            break
        at += 1
    return (total + group, at - start) if last != "none" else (0.0, 0)


def _is_small(token: str) -> bool:
    return token in _UNITS or token in _TENS
