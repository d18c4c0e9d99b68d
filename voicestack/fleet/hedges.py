"""May a second replica be asked as well? Only so often: hedges cost what everybody shares.

The Tail at Scale (Dean and Barroso, 2013) hedges what takes longer than the 95th percentile, so one request
of twenty; gRPC throttles hedges with tokens in the same way (proposal A6).
"""

from dataclasses import dataclass

BURST = 3.0
"""Hedges that may come at once after a quiet time: what is slow is slow for several users at a time."""


@dataclass(slots=True)
class HedgeAllowance:
    """A bucket that every reply fills a little and every hedge empties by one.

    Attributes:
        ratio: Hedges by replies, in the long run.
        left: Hedges that may be made now. There is one from the start.
    """

    ratio: float
    left: float = 1.0

    def reply_began(self) -> None:
        """Another reply, which earns a part of a hedge."""
        self.left = min(BURST, self.left + self.ratio)

    @property
    def has_one(self) -> bool:
        """Whether a hedge may be made now."""
        return self.ratio > 0.0 and self.left >= 1.0 - 1e-9

    def take(self) -> bool:
        """Whether a hedge may be made, which is then counted."""
        if not self.has_one:
            return False
        self.left -= 1.0
        return True
