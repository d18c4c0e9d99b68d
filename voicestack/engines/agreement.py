"""Which words of an utterance are certain while it is still being spoken? Those that were heard twice.

A recogniser of whole windows is asked again and again about a window that grows, and its last words change.
A word is agreed when two windows in a row have it at the same place after the words agreed before, and it
does not lie at the edge of the sound, where half a word is heard as another one. The first is
LocalAgreement-2 (Liu et al. 2020, arXiv:2005.11185, as `whisper_streaming` uses it: Machacek et al. 2023,
arXiv:2307.14743), the second the rule of AlignAtt (Papi et al. 2023, arXiv:2305.11408): the words' times
come from attention. Agreed words stay. Where they end, the window can begin anew, so that it is as long as
the recogniser can bear.
"""

from collections.abc import Sequence

from voicestack.core.heard import HeardWord, sentence

EDGE_S = 0.3
"""A word that ends later than this before the end of the sound may go on: a syllable takes 0.2 s, and
alignment is half of that off."""
TORN_S = 1.0
"""The same where a window ends in the middle of speech because it cannot be longer."""
SENTENCE_ENDS = ".?!\u3002\uff1f\uff01"
CONTEXT_CHARS = 600
"""Of the words before the window, what is worth telling the recogniser: Whisper takes 224 tokens at most,
and a token of English has four letters."""


class Agreement:
    """The words of one utterance. All times are seconds from its beginning.

    Attributes:
        start_s: Where the next window begins.
        agreed: Words that stay as they are.
        open: Words of the newest window that may still change.
    """

    def __init__(self) -> None:
        self.start_s = 0.0
        self.agreed: list[HeardWord] = []
        self.open: tuple[HeardWord, ...] = ()
        self._n_before = 0  # agreed words that lie before the window

    @property
    def words(self) -> tuple[HeardWord, ...]:
        """All words so far."""
        return (*self.agreed, *self.open)

    @property
    def sure(self) -> str:
        """What stays of the text."""
        return sentence(self.agreed)

    @property
    def context(self) -> str:
        """What was said before the window, as far as it is worth telling."""
        return sentence(self.agreed[: self._n_before])[-CONTEXT_CHARS:]

    def hear(self, words: Sequence[HeardWord], end_s: float) -> None:
        """Take what the window from `start_s` to `end_s` was understood as."""
        newest = tuple(words[n_repeated(self.agreed[self._n_before :], words) :])
        n_agreed = 0
        for before, now in zip(self.open, newest, strict=False):
            if not same(before.text, now.text) or now.end_s > end_s - EDGE_S:
                break
            n_agreed += 1
        self._agree(newest, n_agreed)

    def move_up(self, end_s: float, window_s: float) -> None:
        """Let the window begin after agreed words, at the end of a sentence if that makes it short enough.

        Does nothing while it is no longer than `window_s`, or nothing in it is agreed.
        """
        if end_s - self.start_s <= window_s or len(self.agreed) == self._n_before:
            return
        ends = [
            n
            for n, word in enumerate(self.agreed[self._n_before :], start=self._n_before + 1)
            if word.text.rstrip()[-1:] in SENTENCE_ENDS and end_s - word.end_s <= window_s
        ]
        self._begin_after(ends[-1] if ends else len(self.agreed))

    def tear(self, end_s: float) -> None:
        """The window cannot be longer and speech goes on: agree to what it was heard as, and move on."""
        n_whole = sum(word.end_s <= end_s - TORN_S for word in self.open)
        self._agree(self.open, n_whole)
        if len(self.agreed) > self._n_before:
            self._begin_after(len(self.agreed))
        else:
            # Not a word in so much sound, or one that fills it: neither can be waited for.
            self.start_s, self.open = end_s, ()

    def _agree(self, words: tuple[HeardWord, ...], n_agreed: int) -> None:
        self.agreed.extend(words[:n_agreed])
        self.open = words[n_agreed:]

    def _begin_after(self, n_words: int) -> None:
        """The window begins in the middle of the gap after so many words."""
        self._n_before = n_words
        ends_s = self.agreed[n_words - 1].end_s
        follower = next(iter((*self.agreed[n_words:], *self.open)), None)
        begins_s = ends_s if follower is None else max(ends_s, follower.start_s)
        self.start_s = max(self.start_s, (ends_s + min(begins_s, ends_s + 2 * EDGE_S)) / 2)


def same(one: str, other: str) -> bool:
    """Whether two words differ in nothing but case and punctuation.

    >>> same(" What's", " what's,"), same(" can", " can't")
    (True, False)
    """
    return _bare(one) == _bare(other)


def n_repeated(agreed: Sequence[HeardWord], words: Sequence[HeardWord]) -> int:
    """How many of `words`, from the first on, are the agreed ones once more.

    It is the beginning with the fewest words to change, add or leave out (Levenshtein); of several, the one
    that is most nearly as long: a word that is heard differently now replaces the old one, it does not
    follow.
    """
    old = [_bare(word.text) for word in agreed]
    column = list(range(len(old) + 1))  # distance of old[:n] to the first k words, for k = 0
    best, best_k = len(old), 0
    for k, word in enumerate(words, start=1):
        bare = _bare(word.text)
        corner, column[0] = column[0], k
        for n, other in enumerate(old, start=1):
            cheapest = corner if bare == other else 1 + min(corner, column[n], column[n - 1])
            corner, column[n] = column[n], cheapest
        if (column[-1], abs(k - len(old))) < (best, abs(best_k - len(old))):
            best, best_k = column[-1], k
    return best_k


def _bare(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum() or letter in "'\u2019")
