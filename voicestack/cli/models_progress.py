"""How far is a pull? Bars on a terminal, a line per file elsewhere."""

import sys
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class Bars:
    """Shows pieces of work, one after the other, on stderr. See `models_fetch.Reports`."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr)
        self._is_live = self._console.is_terminal
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        self._progress = Progress(
            *columns,
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._is_live,
        )
        self._task: TaskID | None = None
        self._title = ""

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """A line above the bars."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def begin(self, title: str, size_bytes: int | None, done_bytes: int) -> None:
        """See `Reports`."""
        self._title = title
        self._task = self._progress.add_task(escape(title), total=size_bytes, completed=done_bytes)

    def advance(self, n_bytes: int) -> None:
        """See `Reports`."""
        if self._task is not None:
            self._progress.advance(self._task, n_bytes)

    def end(self) -> None:
        """See `Reports`."""
        if self._task is not None and self._title.startswith("checking "):
            self._progress.remove_task(self._task)  # of no interest any more
        elif not self._is_live:
            self.say(f"{self._title}: done")
        self._task = None
