"""A clock that stands still until it is told how much time has passed."""

from collections.abc import Callable

from voicestack.aio.clock import Timer


class HandClock:
    """Satisfies `Clock`, but for timers: whoever needs them uses the virtual loop."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000_000

    def now_ns(self) -> int:
        """The instant at which it stands."""
        return self.ns

    def call_at(self, at_ns: int, callback: Callable[[], None]) -> Timer:
        """Not here."""
        raise AssertionError("nothing here sets a timer")

    def pass_ms(self, ms: float) -> None:
        """So much time passes."""
        self.ns += round(ms * 1e6)

    def advance_s(self, s: float) -> None:
        """So much time passes."""
        self.ns += round(s * 1e9)
