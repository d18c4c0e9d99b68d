"""The one instant at which a session wants to be woken."""

from collections.abc import Callable

from voicestack.aio.clock import Clock, Timer


class Alarm:
    """Calls back at the instant that was set last.

    Args:
        clock: Knows when that is.
        ring: Is called then, once.
    """

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock, self._ring = clock, ring
        self._timer: Timer | None = None

    def set(self, at_ns: int | None) -> None:
        """Ring then, and not as set before; None for never."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if at_ns is None else self._clock.call_at(at_ns, self._ring)
