"""What did one reply of a language model take? The figures of a request, without a word of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from voicestack.core.notes import Usage

Cold = Literal["", "first", "not_warm", "slow"]
"""Why a reply of the language model counts as cold. Empty: it was warm.

`first`: the first one after the process began, or was woken from sleep. `not_warm`: when it was asked for the
process was down, or its last heartbeat had been over budget. `slow`: nothing else was being answered, and yet
its first token took over twice the median of the warm ones before it.
"""


@dataclass(frozen=True, slots=True)
class LlmAnswer:
    """What one request for a reply took, as seen from this process.

    Attributes:
        outcome: `answered`; `aborted` by us, in mid-answer or before; else the code of the error.
        is_draft: Whether it was asked for as a draft.
        cold: See `Cold`.
        first_token_ms: From the request to the first text or call, waiting included; None: there was none.
        first_clause_ms: Likewise to what can be spoken first: a short phrase of a few words.
        gaps_ms: Between one delta and the next, where the reader kept up.
        usage: What it cost, where the server said so.
        n_deltas: Pieces of text and of calls that came.
    """

    outcome: str
    is_draft: bool
    cold: Cold
    first_token_ms: float | None
    first_clause_ms: float | None
    gaps_ms: Sequence[float]
    usage: Usage | None
    n_deltas: int
