"""Which words of an unfinished transcript can be told? What is told cannot be taken back.

Only what the recogniser itself will not touch again (`ports.Transcript.sure`). Guessing it from outside does
not do: with PocketSphinx, whose best path may change any word at the end, words that eight guesses in a row
agreed on, with three more after them, were contradicted by the final ones in 10 of 100 short questions and
in 15 of 20 dictations of five sentences; to keep to what was told costs up to 2 points of word error rate.
"""


def agreed(earlier: str, later: str) -> str:
    """The whole words with which both texts begin.

    What two guesses in a row agree on seldom changes (LocalAgreement-2 of Whisper-Streaming, Macháček et al.
    2023). Too often to be told, but good enough to work ahead on: a wrong word costs no more than its work.
    """
    words: list[str] = []
    for one, other in zip(earlier.split(), later.split(), strict=False):
        if one != other:
            break
        words.append(one)
    return " ".join(words)


class SureWords:
    """The words of one utterance that may be told, whatever its recogniser does."""

    def __init__(self) -> None:
        self._told = ""

    def hear(self, sure: str) -> str:
        """Take the recogniser's word for a beginning of the text. Returns the longest that it has given."""
        if _begins(sure, self._told):
            self._told = sure
        return self._told

    def end(self, text: str) -> str:
        """The final words: `text`, or, should it contradict what was sure, that and as many more words."""
        if _begins(text, self._told):
            return text
        return " ".join([self._told, *text.split()[len(self._told.split()) :]])


def _begins(text: str, beginning: str) -> bool:
    """Whether the text begins with these whole words."""
    return text == beginning or not beginning or text.startswith(beginning + " ")
