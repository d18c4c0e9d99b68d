"""How much of what the recogniser guesses may the peer be told already?

Transcription deltas can only be appended to: the protocol has no way to take a word back. So a word is told
when two successive guesses agree on it and on everything before it (the "local agreement" rule of streaming
recognition), and nothing more is told when a later guess contradicts what was told.
"""


class Hearing:
    """One utterance while it is being recognised."""

    def __init__(self) -> None:
        self._last: list[str] = []
        self._told = ""

    def guess(self, text: str) -> str:
        """Take the newest guess at the whole utterance. Returns what can be told now, mostly nothing."""
        words = text.split()
        n_agreed = 0
        for before, now in zip(self._last, words, strict=False):
            if before != now:
                break
            n_agreed += 1
        self._last = words
        return self._tell(" ".join(words[:n_agreed]))

    def end(self, text: str) -> str:
        """Take the final words. Returns the rest to tell, so that all that was told is `text`.

        When `text` contradicts what was told the rest is empty, and the two differ for good.
        """
        return self._tell(text)

    def _tell(self, text: str) -> str:
        if not text.startswith(self._told):
            return ""
        rest = text[len(self._told) :]
        self._told = text
        return rest
