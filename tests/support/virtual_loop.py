"""How long would this take if nothing took any time? An event loop whose clock jumps to the next timer.

Minutes of dialogue run in milliseconds and give the same instants every time, as on trio's autojump clock.
There is no I/O on this loop and there are no threads: code that wants them is tested on a real one.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

START_NS = 1_000_000_000_000
"""Time does not begin at 0, so that a test cannot mistake an instant for a duration."""

MAX_TURNS_AT_ONE_INSTANT = 100_000
"""Iterations of the loop without time passing, after which somebody is spinning."""


class VirtualTimeError(AssertionError):
    """The coroutine under test waits for ever, too long, spins, or leaves something behind."""


class _Jump(selectors.SelectSelector):
    """Is asked to wait, and moves the clock instead. Counts nanoseconds so that sums of delays are exact."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self.now_ns = START_NS
        self._end_ns = START_NS + round(timeout_s * 1e9)
        self._timeout_s = timeout_s
        self._n_turns = 0
        self.armed = False

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self.armed:
            raise RuntimeError("there is no I/O on the virtual loop; use asyncio.run for this test")
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise VirtualTimeError(f"deadlock: nothing is ready and no timer is set\n{_waiting()}")
        jump_ns = round(timeout * 1e9)
        self._n_turns = 0 if jump_ns > 0 else self._n_turns + 1
        if self._n_turns > MAX_TURNS_AT_ONE_INSTANT:
            raise VirtualTimeError(f"spinning: no time passes\n{_waiting()}")
        if self.now_ns + jump_ns > self._end_ns:
            self._end_ns = self.now_ns + jump_ns + round(self._timeout_s * 1e9)  # time to clean up
            raise VirtualTimeError(f"not done after {self._timeout_s} virtual seconds\n{_waiting()}")
        self.now_ns += max(0, jump_ns)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits."""

    def __init__(self, timeout_s: float) -> None:
        self._jump = _Jump(timeout_s)
        super().__init__(self._jump)
        self._jump.armed = True
        self._clock_resolution = 1e-9
        self.failures: list[BaseException] = []
        self.set_exception_handler(self._note_failure)

    def time(self) -> float:
        return self._jump.now_ns / 1e9

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        raise RuntimeError("there are no threads on the virtual loop; use asyncio.run for this test")

    def _note_failure(self, _loop: asyncio.AbstractEventLoop, details: dict[str, Any]) -> None:
        self.failures.append(details.get("exception") or VirtualTimeError(details["message"]))


def run_virtual(coro: Coroutine[Any, Any, T], *, timeout_s: float = 3600.0) -> T:
    """Run `coro` on virtual time and return its result.

    `LoopClock` reads the virtual time; so do `asyncio.sleep` and `asyncio.timeout`.

    Args:
        coro: What to run.
        timeout_s: Virtual seconds after which it counts as hanging.

    Raises:
        VirtualTimeError: deadlock (nothing ready, no timer), `timeout_s` passed, endless spinning, or tasks
            that are still there when `coro` has ended; names the tasks and where they wait.
        BaseException: what `coro` raises; else the first exception of a callback or of a forgotten task.
    """
    loops: list[VirtualLoop] = []

    def new_loop() -> VirtualLoop:
        loops.append(VirtualLoop(timeout_s))
        return loops[0]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        result = runner.run(_alone(coro))
    if loops[0].failures:
        raise loops[0].failures[0]
    return result


async def _alone(coro: Coroutine[Any, Any, T]) -> T:
    result = await coro
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        raise VirtualTimeError(f"left behind: {len(left)} tasks\n{_waiting()}")
    return result


def _waiting() -> str:
    """The tasks of the current loop and the line at which each waits."""
    lines = []
    for task in asyncio.all_tasks():
        if not task.done():
            frame = next(iter(task.get_stack(limit=1)), None)
            where = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "not started"
            lines.append(f"  {task.get_name()} at {where}")
    return "\n".join(sorted(lines))
