"""Until when is an answer wanted? One pair of instants per turn, which travels with all work on it.

An instant means something in one process only. To another one goes what is left, in whole milliseconds, as
gRPC does it (https://grpc.io/docs/guides/deadlines), so that clocks need not agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass

TARGET_HEADER = "x-voicestack-target-ms"
"""What is left until the answer should be audible. May be negative."""
LIMIT_HEADER = "x-voicestack-limit-ms"
"""What is left until nobody wants the answer any more. Work that finds none left is not begun."""
MAX_LEFT_MS = 600_000


@dataclass(frozen=True, slots=True)
class Deadline:
    """The two instants of a turn, monotonic nanoseconds.

    Attributes:
        target_ns: The budget's end: the first sample of the answer should have left by then.
        limit_ns: From then on the answer is of no use to anybody. Not before the target.
    """

    target_ns: int
    limit_ns: int

    def remaining_ms(self, now_ns: int) -> float:
        """What is left of the budget; below 0 it was missed."""
        return (self.target_ns - now_ns) / 1e6

    def left_ms(self, now_ns: int) -> float:
        """What is left until the work may be dropped, 0 at least."""
        return max(0.0, (self.limit_ns - now_ns) / 1e6)

    def is_expired(self, now_ns: int) -> bool:
        """Whether work on the answer may be dropped."""
        return now_ns >= self.limit_ns

    def headers(self, now_ns: int) -> dict[str, str]:
        """What a request to another process carries."""
        remaining_ms = (self.target_ns - now_ns) // 1_000_000
        left_ms = max(0, (self.limit_ns - now_ns) // 1_000_000)
        return {TARGET_HEADER: str(remaining_ms), LIMIT_HEADER: str(left_ms)}


def is_expired(deadline: Deadline | None, now_ns: int) -> bool:
    """Whether work may be dropped: to be asked wherever it leaves a queue. Never without a deadline."""
    return deadline is not None and deadline.is_expired(now_ns)


def deadline_of(headers: Mapping[str, str], now_ns: int) -> Deadline | None:
    """What a request from another process carries; None if nothing that can be understood."""
    left = [_ms(headers.get(name, "")) for name in (TARGET_HEADER, LIMIT_HEADER)]
    target_ms, limit_ms = left
    if target_ms is None and limit_ms is None:
        return None
    if limit_ms is None:
        limit_ms = MAX_LEFT_MS
    target_ms = limit_ms if target_ms is None else min(target_ms, limit_ms)
    return Deadline(now_ns + target_ms * 1_000_000, now_ns + limit_ms * 1_000_000)


def _ms(text: str) -> int | None:
    digits = text.strip().removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        return None
    return max(-MAX_LEFT_MS, min(int(text.strip()), MAX_LEFT_MS))
