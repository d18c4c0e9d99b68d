"""What is a rule? A pattern of something written, and how it is said."""

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

Rule: TypeAlias = tuple[re.Pattern[str], Callable[[re.Match[str]], str | None]]
"""What is found, and its words; None if it is not what it looks like."""


def replacements(text: str, rules: Sequence[Rule]) -> list[tuple[int, int, str]]:
    """Where something of `text` is said otherwise than it is written: start, end, words, in order.

    An earlier rule wins over a later one; nothing overlaps.
    """
    taken = bytearray(len(text))
    found = []
    for pattern, said in rules:
        for match in pattern.finditer(text):
            start, end = match.span()
            if end > start and not any(taken[start:end]) and (words := said(match)) is not None:
                taken[start:end] = b"\1" * (end - start)
                found.append((start, end, words))
    return sorted(found)
