"""Are the greedy answers of two configurations the same, and if not, where do they part?

Speculative decoding must not change what a model says: with greedy sampling every accepted token is the one
that the model would have written. Batching may still change it (sums in another order), so requests are made
one at a time.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

_TOKEN = re.compile(r"\s*\w+|\s*[^\w\s]|\s+$")
"""A word or a sign, with the white space before it. The model's own tokens do not come over the wire: one
piece of a stream may hold several."""
_BEFORE_TOKENS, _AFTER_TOKENS = 6, 6


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two answers part.

    Attributes:
        key: Of the question.
        at_token: Index of the first word or sign that differs.
        before: The last words that are the same.
        here: How it goes on with the first configuration; empty when it ends.
        there: With the second one.
    """

    key: str
    at_token: int
    before: str
    here: str
    there: str


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> list[Difference]:
    """All answers that are not the same; one that is missing on a side is empty there."""
    found = [first_difference(key, here.get(key, ""), there.get(key, "")) for key in {**here, **there}]
    return [one for one in found if one is not None]


def first_difference(key: str, here: str, there: str) -> Difference | None:
    """Where two answers part, None if they do not."""
    if here == there:
        return None
    ours, theirs = _TOKEN.findall(here), _TOKEN.findall(there)
    n_same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs, strict=False))))
    return Difference(
        key,
        n_same,
        "".join(ours[max(0, n_same - _BEFORE_TOKENS) : n_same]),
        "".join(ours[n_same : n_same + _AFTER_TOKENS]),
        "".join(theirs[n_same : n_same + _AFTER_TOKENS]),
    )
