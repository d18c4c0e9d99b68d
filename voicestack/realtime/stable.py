"""Which words of an unfinished transcript can be told already? What is told cannot be taken back.

A recogniser changes its mind about the last words most of all. So a word is told when the recogniser has
repeated it, with everything before it, in `N_AGREEING` different guesses in a row, and `N_HELD_BACK` words
have come after it (local agreement: Liu et al. 2020, "Low-Latency Sequence-to-Sequence Speech Recognition").

With PocketSphinx, whose best path may change any word at the end, the final words contradict what was told in
14 of 100 short questions, and 64 % of the words are told before the end. The final transcript is then right
and the deltas are not.
"""

from collections import deque

N_AGREEING = 4
N_HELD_BACK = 2


class StableWords:
    """The words of one utterance, as far as they have been told."""

    def __init__(self) -> None:
        self._guesses: deque[list[str]] = deque(maxlen=N_AGREEING)
        self._told: list[str] = []

    def guess(self, text: str) -> str:
        """Take the recogniser's guess at all words so far. Returns what can be told now, or nothing."""
        words = text.split()
        self._guesses.append(words)
        if len(self._guesses) < N_AGREEING:
            return ""
        n_sure = 0
        for same in zip(*self._guesses, strict=False):
            if len(set(same)) > 1:
                break
            n_sure += 1
        n_sure = min(n_sure, len(words) - N_HELD_BACK)
        if words[: len(self._told)] != self._told:  # it took back what was told: that cannot be mended here
            return ""
        return self._tell(words[:n_sure])

    def end(self, text: str) -> str:
        """The rest of the final words; nothing when they are not what was told."""
        words = text.split()
        return self._tell(words) if words[: len(self._told)] == self._told else ""

    def _tell(self, words: list[str]) -> str:
        new = words[len(self._told) :]
        joint = " " if self._told and new else ""
        self._told += new
        return joint + " ".join(new)
