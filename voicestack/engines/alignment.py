"""Where in the phonemes of a sentence does each of its words end?

eSpeak NG gives the phonemes of a whole clause, in which words run together ("of the" is one group) and change
("the end"). Each word's phonemes alone say nearly the same, so that the two can be laid side by side.
"""

# ruff: noqa: RUF001 (phonemes are the subject)

from collections.abc import Mapping, Sequence

MARKS = frozenset(" .,;:!?'\"()[]-¡¿«»—…_^$0123456789ˈˌːˑ˞ʲ")
"""What is not compared: white space, punctuation, stress, length."""
LONG = "ː"
_BAND = 24
"""How far a word may be from where it is expected, in phonemes: more than any change at a word's border."""


def word_ends(phonemes: Sequence[str], words: Sequence[Sequence[str]]) -> list[int]:
    """The number of phonemes of the text up to the end of each word.

    Args:
        phonemes: Of the whole text, in order, with white space and punctuation.
        words: The phonemes of each word, said alone.

    Returns:
        One index into `phonemes` per word, never less than that of the word before: its last phoneme lies
        just before it. A word without sound ends with the one before.
    """
    at = [n for n, phoneme in enumerate(phonemes) if phoneme not in MARKS]
    text = [phonemes[n] for n in at]
    alone = [phoneme for word in words for phoneme in word if phoneme not in MARKS]
    matched = _matched(alone, text)
    ends, n_alone, last = [], 0, 0
    for word in words:
        n_alone += sum(phoneme not in MARKS for phoneme in word)
        n_text = matched[n_alone]
        last = max(last, _after(phonemes, at[n_text - 1]) if n_text else 0)
        ends.append(last)
    return ends


def spliced(
    phonemes: Sequence[str],
    ends: Sequence[int],
    cuts: Sequence[int],
    given: Mapping[int, Sequence[str]],
) -> tuple[list[str], list[int], list[int]]:
    """Put other phonemes in the place of words.

    Args:
        phonemes: Of a text.
        ends: Of its words, as `word_ends` found them.
        cuts: Of its sentences: how many phonemes there are up to the end of each.
        given: Phonemes by the place of the word that is said with them.

    Returns:
        The three, with what is given in its place.
    """
    said, out, cut_at = list(phonemes), list(ends), list(cuts)
    for n in sorted(given, reverse=True):
        start, end = ends[n - 1] if n else 0, ends[n]
        while start < end and said[start] in " .,;:!?":
            start += 1
        new = list(given[n]) if start < end else [" ", *given[n]]
        said[start:end] = new
        longer = len(new) - (end - start)
        out[n:] = [one + longer for one in out[n:]]
        cut_at = [one + longer if one >= end else one for one in cut_at]
    return said, out, cut_at


def _after(phonemes: Sequence[str], at: int) -> int:
    """Just after a phoneme and the marks of length and the like that belong to it."""
    at += 1
    while at < len(phonemes) and phonemes[at] in "ːˑ˞ʲ̩̯̃":
        at += 1
    return at


def _matched(alone: Sequence[str], text: Sequence[str]) -> list[int]:
    """For each number of elements of `alone`, how many of `text` they stand for.

    By the cheapest edit (Levenshtein), looked for near the diagonal only.
    """
    n, m = len(alone), len(text)
    if n == 0 or m == 0:
        return [m if n and i == n else 0 for i in range(n + 1)]
    width = _BAND + abs(n - m)
    far = n + m + 1
    rows: list[dict[int, int]] = [{j: j for j in range(min(m, width) + 1)}]
    for i in range(1, n + 1):
        middle = i * m // n
        before = rows[-1]
        row: dict[int, int] = {}
        for j in range(max(0, middle - width), min(m, middle + width) + 1):
            best = before.get(j, far) + 1
            if j:
                best = min(
                    best, before.get(j - 1, far) + (alone[i - 1] != text[j - 1]), row.get(j - 1, far) + 1
                )
            row[j] = best
        rows.append(row)
    return _path(rows, alone, text)


def _path(rows: Sequence[dict[int, int]], alone: Sequence[str], text: Sequence[str]) -> list[int]:
    """Back from the end along the cheapest way; what was inserted belongs to the element before it."""
    far = len(alone) + len(text) + 1
    matched = [0] * (len(alone) + 1)
    i, j = len(alone), len(text)
    matched[i] = j
    while i:
        here = rows[i][j]
        if j and rows[i - 1].get(j - 1, far) + (alone[i - 1] != text[j - 1]) == here:
            i, j = i - 1, j - 1
            matched[i] = j
        elif rows[i - 1].get(j, far) + 1 == here:
            i -= 1
            matched[i] = j
        else:
            j -= 1
    return matched
