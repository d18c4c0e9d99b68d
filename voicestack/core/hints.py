"""What does whoever speaks, or sends a recording, know that a recogniser may go by?"""

from collections.abc import Sequence
from dataclasses import dataclass, field

PROMPT_CHARS = 1_000
"""No recogniser reads more than the end of a prompt (Whisper 224 tokens), and it goes with every window."""


@dataclass(frozen=True, slots=True)
class Hints:
    """Hints for one utterance. A recogniser that has no use for one ignores it.

    Attributes:
        language: The language that is spoken, as ISO 639-1; empty: whatever the recogniser is set to.
        prompt: A text like the one that is wanted: words that are likely, and how they are written. At most
            PROMPT_CHARS; empty: whatever the recogniser is set to.
    """

    language: str = ""
    prompt: str = field(default="", repr=False)


NO_HINTS = Hints()


def hints_of(language: str | None, prompt: str | None, keywords: Sequence[str] = ()) -> Hints:
    """The hints in what a client says. Of a BCP 47 tag the language counts, of a long prompt the end.

    >>> hints_of("de-AT", "Grüß Gott!", ["Topfen", "Marille"])
    Hints(language='de')
    """
    listed = ", ".join(word for keyword in keywords if (word := keyword.strip()))
    parts = (f"{listed}." if listed else "", (prompt or "").strip())
    spoken = (language or "").strip().replace("_", "-").partition("-")[0].lower()
    return Hints(spoken, " ".join(part for part in parts if part)[-PROMPT_CHARS:])
