"""How long does a smaller LLM take for an opener? So long as of late; unknown as soon as one fails."""

from collections import deque

KEPT = 32
"""The newest openers, of users and of rehearsals."""
ENOUGH = 8
"""With fewer nothing is promised."""
PROMISED_RATIO = 0.9
"""So many of them were no slower than what is promised. Ours: of 32, all but the slowest three."""


class OpenerTimes:
    """The times of one smaller LLM."""

    def __init__(self) -> None:
        self._took_ms: deque[float] = deque(maxlen=KEPT)

    def took(self, ms: float) -> None:
        """An opener took so long, from asking for it to its last word."""
        self._took_ms.append(ms)

    def failed(self) -> None:
        """None came: what was known is not true any more."""
        self._took_ms.clear()

    def expect_ms(self) -> float | None:
        """What the next one takes at most, as far as can be told; None if too little is known."""
        if len(self._took_ms) < ENOUGH:
            return None
        ranked = sorted(self._took_ms)
        return ranked[min(len(ranked) - 1, int(PROMISED_RATIO * len(ranked)))]
