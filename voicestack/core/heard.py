"""What a recogniser says of one word: how it is written, where it lies, and how far it can be trusted."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeardWord:
    """One word with its punctuation.

    Attributes:
        text: As it is written, with the white space before it where the language has any.
        start_s: Where it begins, in seconds from the beginning of the utterance.
        end_s: Where it ends.
        p_right: The recogniser's own confidence, 0..1.
    """

    text: str
    start_s: float
    end_s: float
    p_right: float


def sentence(words: Iterable[HeardWord]) -> str:
    """The words as one text.

    >>> sentence([HeardWord(" Good", 0, 1, 1.0), HeardWord(" night.", 1, 2, 1.0)])
    'Good night.'
    """
    return "".join(word.text for word in words).strip()
