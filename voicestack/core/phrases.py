"""Where may a text that is still being written be cut, so that it can be spoken piece by piece?

A reply is heard when its first phrase is spoken, so the first phrase is short; the others are long enough
for a voice to sound natural. Text is decided upon character by character: however it is cut into deltas, the
phrases are the same.
"""

# ruff: noqa: RUF001 (the punctuation of other scripts is the subject)

import re
from enum import Enum

ABBREVIATIONS = frozenset(
    re.findall(
        r"\S+",
        "mr mrs ms mx dr prof st sr jr vs etc approx dept est fig inc ltd co corp gen col lt sgt capt rev "
        "hon mt ave blvd rd jan feb mar apr jun jul aug sep sept oct nov dec ph.d vol ch pp ed cf al",
    )
)
"""What keeps its full stop inside a sentence, without the stop. A sentence that ends in one goes on to the
next boundary, which does less harm than a stop after "Dr."."""

LEANING = frozenset(
    re.findall(
        r"\S+",
        "a an the of to in on at for from with by and or but nor is are was be as than that this my your our "
        "their his her its i we you he she they it not",
    )
)
"""Words that belong to the next one: a phrase that is cut for its length does not end in them."""

_MAX_LEANING = 2
_MAX_TOKEN_CHARS = 200
"""Longer than any address that a person would say; beyond it text without white space is cut anywhere."""

_FULL_WIDTH_STOPS = frozenset("。！？")
_FULL_WIDTH_BREAKS = frozenset("。！？，、；：")
_EAGER_STOPS = frozenset("!?")
_EAGER_BREAKS = frozenset("!?,;")
_PLAIN_WORD = re.compile(r"[\"'“‘(*_]*[^\W\d_]+(?:['’-][^\W\d_]+)*")
_WRAPPING = re.compile(r"^[\"'“‘«(\[*_`]+|(?:[^\w.!?,;:…–—-]|_)+$")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_DASHES = frozenset(["-", "--", "---", "–", "—"])


class _Break(Enum):
    NONE = 0
    CLAUSE = 1
    SENTENCE = 2


class Phrases:
    """Cuts one reply into phrases.

    A phrase keeps the white space that joins it to the one before, as one space, so that the phrases joined
    are the text with its white space normalised. Each has at least one letter or digit. What comes after
    the last phrase and has neither (an emoji, say) is left out.

    Numbers, times, addresses, abbreviations and ellipses stay whole: apart from the first phrase's eager
    cut, which follows a plain word, cuts are made at white space only.

    Args:
        first_clause_words: Words from which the first phrase ends at a clause boundary (`, ; : -`, dashes,
            an ellipsis). A sentence end or a new line ends it in any case.
        first_words: Words after which the first phrase ends anywhere.
        clause_words: Words from which later phrases end at a clause boundary.
        max_words: Words after which later phrases end anywhere.
    """

    def __init__(
        self, *, first_clause_words: int = 2, first_words: int = 7, clause_words: int = 5, max_words: int = 20
    ) -> None:
        self._clause_words = first_clause_words
        self._max_words = first_words
        self._later = (clause_words, max_words)
        self._first = True
        self._text = ""
        self._token_starts: list[int] = []
        self._in_token = False
        self._space = False
        self._n_words = 0

    def hurry(self, first_words: int) -> None:
        """Let the first phrase end after so many words, if it has not ended yet."""
        if self._first:
            self._max_words = first_words

    def push(self, delta: str) -> list[str]:
        """Take more text and return the phrases that are complete, oldest first."""
        out: list[str] = []
        for char in delta:
            end = self._take_space(char) if char.isspace() else self._take(char)
            if end:
                out.append(self._cut(end))
        return out

    def end(self) -> list[str]:
        """The text is complete: return what is left, a list of one phrase or none."""
        self._first = False
        rest, self._text = self._text, ""
        return [rest] if _has_sound(rest) else []

    def _take_space(self, char: str) -> int:
        """Returns where to cut the text, 0 for nowhere."""
        end = 0
        if self._in_token:
            self._in_token = False
            end = self._after_token()
        self._space = bool(self._text) or not self._first
        if char == "\n" and self._n_words:
            return len(self._text)
        return end

    def _take(self, char: str) -> int:
        if not self._in_token:
            self._in_token = True
            if self._space:
                self._text += " "
            self._space = False
            self._token_starts.append(len(self._text))
        word = self._token()
        self._text += char
        if char in _FULL_WIDTH_BREAKS:
            ends = (self._first or char in _FULL_WIDTH_STOPS) and _has_sound(self._text)
        elif self._first and char in _EAGER_BREAKS:
            n_needed = 1 if char in _EAGER_STOPS else self._clause_words
            ends = self._n_words + 1 >= n_needed and _PLAIN_WORD.fullmatch(word) is not None
        else:
            ends = len(word) >= _MAX_TOKEN_CHARS and _has_sound(word)
        self._in_token = not ends
        return len(self._text) if ends else 0

    def _after_token(self) -> int:
        """A token is complete; returns where that ends the phrase, 0 if it does not."""
        token = self._token()
        kind = _break_after(token, leads=self._n_words == 0)
        self._n_words += _has_sound(token)
        if self._n_words and kind is _Break.SENTENCE:
            return len(self._text)
        if self._n_words >= self._clause_words and kind is _Break.CLAUSE:
            return len(self._text)
        return self._length_cut() if self._n_words >= self._max_words else 0

    def _length_cut(self) -> int:
        """Before up to two words that lean on the next one, if the phrase has others."""
        end = len(self._text)
        for start in self._token_starts[-1 : -1 - _MAX_LEANING : -1]:
            leans = self._text[start:end].strip().lower() in LEANING
            if not leans or not _has_sound(self._text[:start]):
                break
            end = start
        return len(self._text[:end].rstrip(" "))

    def _cut(self, end: int) -> str:
        phrase, self._text = self._text[:end], self._text[end:]
        self._token_starts = [start - end for start in self._token_starts if start >= end]
        self._n_words = len(self._token_starts)
        self._first = False
        self._clause_words, self._max_words = self._later
        return phrase

    def _token(self) -> str:
        return self._text[self._token_starts[-1] :] if self._token_starts else ""


def _has_sound(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _break_after(token: str, *, leads: bool) -> _Break:
    """What kind of boundary the end of `token` is; `leads` when no word came before it."""
    if token in _DASHES:
        return _Break.CLAUSE
    core = _WRAPPING.sub("", token)
    if core.endswith(("...", "…")):
        return _Break.CLAUSE
    if core.endswith(("!", "?")):
        return _Break.SENTENCE
    if core.endswith((",", ";", ":", "–", "—", "--")):
        return _Break.CLAUSE
    if not core.endswith(".") or not _has_sound(core):
        return _Break.NONE
    bare = core[:-1].lower()
    if bare in ABBREVIATIONS or _INITIALS.fullmatch(bare) or (leads and bare.isdigit()):
        return _Break.NONE
    return _Break.SENTENCE


_NOT_SPOKEN: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"```\w*"), " "),  # code fences
    (re.compile(r"</?[A-Za-z][^<>]*>"), " "),  # tags
    (re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)"), r"\1"),  # links and images
    (re.compile(r"\bhttps?://(?:www\.)?"), ""),
    (
        re.compile(  # emoji, and what joins and colours them
            "[\U0001f000-\U0001faff\u2300-\u23ff\u25a0-\u27bf\u2b00-\u2bff\u200d\u20e3\ufe0e\ufe0f"
            "\U000e0020-\U000e007f]"
        ),
        " ",
    ),
    (re.compile(r"`+|~~+"), ""),
    (re.compile(r"(?<![\d\s])\*+(?!\d)|(?<!\d)\*+(?![\d\s])|\*{2,}"), ""),
    (re.compile(r"(?<![^\W_])_+|_+(?![^\W_])"), ""),  # emphasis; snake_case stays
    (re.compile(r"\|"), " "),  # table cells
    (
        re.compile(r"^\s*(?:(?:#{1,6}|[-*+•–—>]|-{2,}|={2,}|\[[ xX]\])\s+)+"),
        "",
    ),  # headings, list items, quotes
    (re.compile(r"\s-{2,}(?=\s|$)|\s#+\s*$"), " "),
    (re.compile(r"^\s*[!?,;:.)\]}\"'”’»]+(?=\s)"), ""),  # what an eager cut left behind
    (re.compile(r"\s+(?=[,.!?;:](?:\s|$))"), ""),
    (re.compile(r"\s+"), " "),
)


def speakable(phrase: str) -> str:
    """What of a phrase a voice should say: no Markdown, tags, emoji or address schemes.

    One leading space stays, because it joins the phrase to the one before. The result is empty when nothing
    with a letter or digit is left (a code fence, say); such a phrase is not to be spoken.
    """
    text = phrase
    for pattern, instead in _NOT_SPOKEN:
        text = pattern.sub(instead, text)
    if not _has_sound(text):
        return ""
    return (" " if phrase[:1].isspace() else "") + text.strip()
