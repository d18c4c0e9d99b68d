"""What are the words of an utterance to a recogniser that only knows whole sounds? Its newest answer.

Nothing is known of where its words are, so that a new answer replaces all of the last one. Only in a long
utterance, and where the user fell silent, what was understood stays, and the sound before is not sent again.
"""

from collections.abc import Sequence

from voicestack.core.heard import HeardWord, sentence
from voicestack.engines.agreement import CONTEXT_CHARS


class WholeAnswers:
    """In the place of `agreement.Agreement`. Answers are "words" of any length; their times mean nothing.

    Attributes:
        start_s: Where the next window begins, in seconds from the beginning of the utterance.
    """

    def __init__(self) -> None:
        self.start_s = 0.0
        self._kept: tuple[HeardWord, ...] = ()
        self._newest: tuple[HeardWord, ...] = ()

    @property
    def words(self) -> tuple[HeardWord, ...]:
        """All answers that count, in order."""
        return self._kept + self._newest

    @property
    def sure(self) -> str:
        """What was understood of the sound before `start_s`."""
        return sentence(self._kept)

    @property
    def context(self) -> str:
        """The end of that, as far as it is worth telling."""
        return self.sure[-CONTEXT_CHARS:]

    def hear(self, words: Sequence[HeardWord], end_s: float) -> None:
        """Take the answer to the window that ends there."""
        self._newest = tuple(words)

    def move_up(self, end_s: float, window_s: float) -> None:
        """Keep the answer, if the window that ends there is longer than `window_s`."""
        if end_s - self.start_s > window_s:
            self.tear(end_s)

    def tear(self, end_s: float) -> None:
        """Keep the answer in any case."""
        self._kept, self._newest, self.start_s = self.words, (), end_s
