"""What has been measured so far? On disk after every step, so that who is stopped has lost only the last."""

import os
from pathlib import Path
from typing import Any

import orjson

from voicestack.aio.clock import Clock


class Record:
    """The figures of one run.

    Args:
        path: The file; it always holds a complete JSON document.
        clock: Tells how much of the time is left.
        budget_s: How long the run may take.
        head: What stands in the document before all figures.

    Attributes:
        found: Everything so far.
    """

    def __init__(self, path: Path, *, clock: Clock, budget_s: float, head: dict[str, Any]) -> None:
        self.path = path
        self.found: dict[str, Any] = {**head, "finished": False, "not_run": {}, "failures": {}}
        self._clock = clock
        self._start_ns = clock.now_ns()
        self._budget_s = budget_s
        self.save()

    @property
    def elapsed_s(self) -> float:
        """Since the run began."""
        return (self._clock.now_ns() - self._start_ns) / 1e9

    @property
    def left_s(self) -> float:
        """Until it must have ended."""
        return self._budget_s - self.elapsed_s

    def add(self, section: str, entry: dict[str, Any]) -> None:
        """Another entry of a section."""
        self.found.setdefault(section, []).append(entry)
        self.save()

    def not_run(self, what: str, why: str) -> None:
        """This was not measured, and the reason is no fault of what would have been."""
        self.found["not_run"][what] = why
        self.save()

    def failed(self, what: str, why: str, tail: list[str] | None = None) -> None:
        """This was tried and did not work; `tail` is what the program said last."""
        self.found["failures"][what] = {"why": why, "tail": tail or []}
        self.save()

    def has_time_for(self, what: str, needed_s: float) -> bool:
        """Whether it can be finished in time; if not, that is noted."""
        if self.left_s >= needed_s:
            return True
        self.not_run(what, f"{max(0.0, self.left_s):.0f} s were left of {self._budget_s:.0f}")
        return False

    def finish(self) -> None:
        """All that was wanted is there, or noted as missing."""
        self.found["finished"] = True
        self.found["took_s"] = round(self.elapsed_s, 1)
        self.save()

    def save(self) -> None:
        """Write the file anew and put it in the place of the old one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(self.path.name + ".new")
        new.write_bytes(orjson.dumps(self.found, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
        os.replace(new, self.path)
