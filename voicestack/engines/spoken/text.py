"""What does a voice say for this text, and which written characters does each part of it stand for?

Pure: text in, spans out. A text is cut into spans of whole words; a span is what is said in one piece, such
as "5 km" (five kilometers). What was heard of a text is the spans whose sound has ended.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from voicestack.engines.spoken import addresses, dates, measures, plain
from voicestack.engines.spoken.languages import Language
from voicestack.engines.spoken.rules import Rule, replacements

_TOKEN = re.compile(r"\s*\S+\s*$|\s*\S+")
_PAUSES = re.compile(
    r"\s*(?:[\N{EM DASH}\N{EN DASH}\N{HORIZONTAL ELLIPSIS}]|\.{2,}|(?<=\s)-+(?=\s|$)|--+)\s*"
)
_NOT_SAID = re.compile(
    r"[^\w\s.,;:?!'\N{RIGHT SINGLE QUOTATION MARK}\N{COMBINING GRAVE ACCENT}-\u036f-]|_|(?<!\w)-|-(?!\w)"
)
_LAST_WORDS = re.compile(r"(?:[ap]\.?\s?m|etc|Inc|Ltd|Jr|usw|Co)\.$", re.IGNORECASE)
"""What ends sentences. Of other abbreviations a name may follow: "Dr. Smith"."""
_STOPS = ".?!"
_BREAKS = ",;:"


@dataclass(frozen=True, slots=True)
class Span:
    """Some of a text.

    Attributes:
        start: Its first written character; white space before a word belongs to the word.
        end: Just after its last; the spans of a text follow each other without gaps.
        said: The words for it, with the punctuation behind them. Empty for what is not said.
    """

    start: int
    end: int
    said: str


def spans_of(text: str, language: Language | None, lexicon: Sequence[Rule] = ()) -> list[Span]:
    """The text as it is said.

    Args:
        text: As written.
        language: Whose rules; None for a language that has none: marks are left out, no more.
        lexicon: Rules that come before all others.

    Returns:
        Spans that tile the text: joined, `text[start:end]` is the text. None only for the empty text.
    """
    found = replacements(text, [*lexicon, *(rules_of(language) if language else ())])
    spans: list[Span] = []
    for start, end in _groups(text, [(a, b) for a, b, _ in found]):
        inside = [one for one in found if start <= one[0] < end]
        said = _said(text, start, end, inside)
        if not _has_sound(said) and spans:
            pause = _pause_of(text[start:end])
            said = ""
            if pause and _has_sound(spans[-1].said) and spans[-1].said[-1] not in _STOPS + _BREAKS:
                last = spans[-1]
                spans[-1] = Span(last.start, last.end, last.said + pause)
        spans.append(Span(start, end, said if _has_sound(said) else ""))
    return spans


def open_ended(said: str) -> str:
    """What is said, with a comma where it was cut off in mid-sentence.

    Without one, a voice ends it as a sentence, with a falling tone.
    """
    said = said.rstrip()
    return said if said[-1:] in _STOPS + _BREAKS else f"{said},"


@lru_cache
def rules_of(language: Language) -> tuple[Rule, ...]:
    """All rules of a language, the first to match wins."""
    return (
        *addresses.rules(language)[:3],
        *measures.rules(language)[:-2],  # "Mio. €" before "Mio."
        *plain.abbreviations(language),
        *dates.rules(language),
        *addresses.rules(language)[3:],
        *plain.ordinals(language),
        *measures.rules(language)[-2:],
        *plain.rules(language),
    )


def _groups(text: str, joined: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Words with the white space before them; words that one rule replaces together are one group."""
    groups: list[tuple[int, int]] = []
    for token in _TOKEN.finditer(text):
        start, end = token.span()
        word_start = end - len(token[0].lstrip())
        if groups and any(a < word_start and b > word_start for a, b in joined):
            groups[-1] = (groups[-1][0], end)
        else:
            groups.append((start, end))
    if not groups and text:
        return [(0, len(text))]
    return groups


def _said(text: str, start: int, end: int, inside: Sequence[tuple[int, int, str]]) -> str:
    """One group in words."""
    said, at = "", start
    for first, last, words in inside:
        said = _joined(said, _clean(text[at:first]), glued=not said)
        said = _joined(said, words, glued=False)
        if text[last - 1] == "." and words[-1:].isalnum() and _ends_sentence(text, first, last):
            said += "."
        at = max(at, last)
    rest = _clean(text[at:end])
    return re.sub(r"\s+", " ", _joined(said, rest, glued=not said)).strip()


def _ends_sentence(text: str, first: int, last: int) -> bool:
    """Whether the full stop of something like "p.m." is that of the sentence as well."""
    after = text[last:].lstrip("\"' )\N{RIGHT DOUBLE QUOTATION MARK}\n")
    if not _has_sound(after):
        return True
    return after[:1].isupper() and _LAST_WORDS.search(text[first:last]) is not None


def _joined(before: str, after: str, *, glued: bool) -> str:
    """Put a space between two words, none before punctuation."""
    if not glued and before[-1:].isalnum() and after[:1].isalnum():
        return f"{before} {after}"
    return before + after


def _clean(written: str) -> str:
    """Without what is not said."""
    text = _PAUSES.sub(", ", written)
    text = re.sub(r"(?<=\w)[/_](?=\w)", " ", text)
    text = _NOT_SAID.sub("", text.replace("[[", "").replace("]]", ""))
    return re.sub(r"^\s*[.,;:?!]+(?=\s*\w)", "", text)


def _pause_of(written: str) -> str:
    """The mark of the pause that something without sound makes."""
    if any(mark in written for mark in "!?"):
        return "!" if "!" in written else "?"
    return "," if _PAUSES.search(f" {written.strip()} ") else ""


def _has_sound(said: str) -> bool:
    return any(map(str.isalnum, said))
