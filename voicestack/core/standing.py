"""What is left of an allowance?"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one limit.

    Attributes:
        name: Of what: replies begun, or the language model's tokens.
        limit: So many a minute, and at once after a minute of none.
        remaining: So many now.
        reset_s: When it will be the whole limit again, if nothing more is used.
    """

    name: Literal["requests", "tokens"]
    limit: int
    remaining: int
    reset_s: float
