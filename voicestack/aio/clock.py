"""What time it is. The only file that imports a clock.

Durations and timers use monotonic nanoseconds. `time.monotonic_ns` and not the loop's own clock, because
uvloop's `loop.time()` moves in whole milliseconds and stands still within an iteration.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Timer(Protocol):
    """A callback that has been arranged."""

    def cancel(self) -> None:
        """Do not call it after all."""
        ...


class Clock(Protocol):
    """Monotonic time, and being woken by it."""

    def now_ns(self) -> int:
        """Nanoseconds since some fixed instant."""
        ...

    def call_at(self, at_ns: int, callback: Callable[[], None]) -> Timer:
        """Call `callback` from the event loop once, not before `at_ns`."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    def now_ns(self) -> int:
        """Nanoseconds of the monotonic clock."""
        return time.monotonic_ns()

    def call_at(self, at_ns: int, callback: Callable[[], None]) -> Timer:
        """See `Clock`. A timer that uvloop rounds down to an early millisecond is set again."""
        return _SystemTimer(at_ns, callback)


class _SystemTimer:
    def __init__(self, at_ns: int, callback: Callable[[], None]) -> None:
        self._at_ns = at_ns
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._handle = self._arm()

    def _arm(self) -> asyncio.TimerHandle:
        left_s = max(0, self._at_ns - time.monotonic_ns()) / 1e9
        return self._loop.call_later(left_s, self._fire)

    def _fire(self) -> None:
        if time.monotonic_ns() < self._at_ns - 500_000:
            self._handle = self._arm()
        else:
            self._callback()

    def cancel(self) -> None:
        self._handle.cancel()


class LoopClock:
    """The event loop's own time: exact on the virtual loop of the tests."""

    def now_ns(self) -> int:
        """Nanoseconds of the running loop's clock."""
        return round(asyncio.get_running_loop().time() * 1e9)

    def call_at(self, at_ns: int, callback: Callable[[], None]) -> Timer:
        """See `Clock`."""
        loop = asyncio.get_running_loop()
        return loop.call_at(at_ns / 1e9, callback)


@dataclass(frozen=True, slots=True)
class WallAnchor:
    """Which wall-clock instant a monotonic instant was; for logs and exports, never subtracted."""

    wall_ns: int
    mono_ns: int

    @classmethod
    def now(cls, clock: Clock) -> "WallAnchor":
        """Anchor the present."""
        return cls(time.time_ns(), clock.now_ns())


def local_day(at_s: int) -> str:
    """The day of a Unix time, where this machine is, for people: 2026-11-21."""
    return time.strftime("%Y-%m-%d", time.localtime(at_s))


def unix_s() -> int:
    """Whole seconds since 1970, for wire fields that want them."""
    return int(time.time())


def unix_ms() -> int:
    """Whole milliseconds since 1970: the wall-clock anchor of what people read."""
    return time.time_ns() // 1_000_000
