"""Is what a smaller LLM wrote good enough to open an answer with, and where does the other one's text go on?

Pure. A user who hears the opener cannot unhear it: whatever is doubtful is not used.
"""

# ruff: noqa: RUF001 (both apostrophes are the subject)

import re
from collections.abc import Sequence

from voicestack.core.phrases import Phrases, speakable
from voicestack.ports import LlmRequest

MAX_WORDS = 8
"""Two to three seconds of speech: the time that the other LLM has."""
_CODE = re.compile(r"[{}\[\]<>|`=\\]|\w\(")
"""No clause that a person says has these; a call written as text does, whatever the model's way of it."""
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def may_open(request: LlmRequest) -> bool:
    """Whether an opener may come from a smaller LLM.

    Not where there are tools, or where one has answered: what is said first depends on what they come to. Not
    where an answer has begun already.
    """
    is_plain = not any(message.calls or message.role == "tool" for message in request.messages)
    return is_plain and not request.toolbox.usable() and not request.begun


class Opening:
    """The first clause of what a smaller LLM writes.

    Args:
        avoided: Beginnings that are not used: what refuses, or commits to yes or no.
    """

    def __init__(self, avoided: Sequence[str] = ()) -> None:
        self._avoided = [" ".join(_words(one)) for one in avoided if _words(one)]
        self._phrases = Phrases(first_words=MAX_WORDS)

    def push(self, text: str) -> str | None:
        """Take more of it. Returns the clause once it is complete: empty if it is not good enough."""
        cut = self._phrases.push(text)
        return self._judged(cut[0]) if cut else None

    def end(self) -> str:
        """It wrote no more than that. Returns as `push` does."""
        cut = self._phrases.end()
        return self._judged(cut[0]) if cut else ""

    def _judged(self, clause: str) -> str:
        said = speakable(clause).strip()
        words = _words(said)
        begins = f"{' '.join(words)} "
        if not words or len(said.split()) > MAX_WORDS:
            return ""
        if _CODE.search(clause) or any(map(str.isdigit, clause)):
            return ""
        return "" if any(begins.startswith(f"{one} ") for one in self._avoided) else clause.strip()


class Seam:
    """Where one text goes on from another, as it is written. What is said again is left out.

    Args:
        begun: The text before.
    """

    def __init__(self, begun: str) -> None:
        self._begun = begun.strip()
        self._held: str | None = ""  # None once the texts are joined

    def push(self, text: str) -> str:
        """Take more of the second text; returns what may be passed on."""
        if self._held is None:
            return text
        self._held += text
        held = self._held.lstrip()
        if len(held) <= len(self._begun) and self._begun.lower().startswith(held.lower()):
            return ""  # it may be about to say it again
        return self.end()

    def end(self) -> str:
        """There is no more, or no more need to wait; returns what was held back."""
        held, self._held = self._held or "", None
        rest = held.lstrip()
        if rest.lower().startswith(self._begun.lower()):
            return rest[len(self._begun) :]
        joins = held[:1].isspace() or not rest[:1].isalnum()
        return held if joins else f" {held}"


def _words(text: str) -> list[str]:
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]
