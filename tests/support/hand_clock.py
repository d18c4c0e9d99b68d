"""A clock that is moved by hand, for what only asks for the time."""

from collections.abc import Callable

from voicestack.aio.clock import Timer


class HandClock:
    """Satisfies `voicestack.aio.clock.Clock`, but for timers."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns

    def call_at(self, at_ns: int, callback: Callable[[], None]) -> Timer:
        raise AssertionError("nothing here sets a timer")

    def advance_s(self, s: float) -> None:
        self.ns += round(s * 1e9)
