"""Is this question the same as that one, and may the same be answered? Pure.

Exact, and on the safe side: upper and lower case and the recogniser's punctuation do not matter, every word
does. Questions that depend on anything said before are never the same.
"""

# ruff: noqa: RUF001 (both apostrophes are the subject)

import re
import unicodedata
from dataclasses import dataclass, field

from voicestack.core.phrases import Phrases, speakable
from voicestack.ports import LlmRequest

_TOKEN = re.compile(r"[+-]?\d+(?:[.,:/]\d+)*%?|[^\W\d_]+(?:['’-][^\W\d_]+)*|[^\w\s.,;:!?\"“”„«»()…¿¡'’_-]")
"""A number with its sign, a word, or a sign that means something ("+", "€"). Punctuation is left out."""
_NEGATIONS = frozenset(
    re.findall(
        r"\S+",
        "no not never none nothing nobody neither nor cannot without kein keine nicht nie nichts non ne pas "
        "jamais nunca nada sin",
    )
)
SAME_WORDS_RATIO = 0.6
"""Two answers that share so many of their words say the same, if their numbers and negations agree. Ours: the
answers of one model to one question share nearly all of them, or hardly any."""
FIRST_WORDS = 4
"""As in `session/reply.py`: how the beginning of an answer is cut."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question that depends on nothing said before.

    Attributes:
        words: It, normalised.
        scope: Whose: answers do not leave it.
        instructions: Under which instructions it is asked.
        model: Of which model.
        tools: What the model is offered, as text.
    """

    words: str = field(repr=False)
    scope: str
    instructions: tuple[str, ...] = field(repr=False)
    model: str
    tools: str = field(repr=False)

    @property
    def has_number(self) -> bool:
        """Whether it is about a day, a price, an order: about one person, or about now."""
        return any(map(str.isdigit, self.words))


def question_of(request: LlmRequest) -> Question | None:
    """What is asked, if nothing was said before it: no second turn, no call, no picture, no begun answer."""
    said = [message for message in request.messages if message.role != "system"]
    if len(said) != 1 or said[0].role != "user" or said[0].images or request.begun:
        return None
    words = normalised(said[0].text)
    if not words or request.toolbox.choice.mode == "required":
        return None
    instructions = tuple(message.text for message in request.messages if message.role == "system")
    tools = repr(request.toolbox) if request.toolbox.usable() else ""
    return Question(words, request.scope or request.session, instructions, request.model, tools)


def normalised(text: str) -> str:
    """The words and numbers of a text, as they are compared.

    >>> normalised("What are your opening hours?") == normalised("what are your opening hours")
    True
    >>> normalised("I don't want 3.5") == normalised("I do want 35")
    False
    """
    plain = unicodedata.normalize("NFKC", text).replace("’", "'").casefold()
    return " ".join(_TOKEN.findall(plain))


def agree(one: str, other: str) -> bool:
    """Whether two answers to one question say the same, as far as words tell."""
    here, there = normalised(one).split(), normalised(other).split()
    if _numbers(here) != _numbers(there) or _n_negations(here) != _n_negations(there):
        return False
    shared, either = set(here) & set(there), set(here) | set(there)
    return len(shared) >= SAME_WORDS_RATIO * len(either)


def phrases_of(answer: str) -> list[str]:
    """An answer in the pieces in which a voice says it."""
    phrases = Phrases(first_words=FIRST_WORDS)
    cut = [*phrases.push(answer), *phrases.end()]
    return [said for said in (speakable(phrase).strip() for phrase in cut) if said]


def _numbers(words: list[str]) -> list[str]:
    return sorted(word for word in words if any(map(str.isdigit, word)))


def _n_negations(words: list[str]) -> int:
    return sum(word in _NEGATIONS or word.endswith("n't") for word in words)
