"""Where did the time of one turn go, at a glance?

One row per stage on a common axis that begins at the end of the user's speech. Work that was done before the
end of the turn was decided cost the user nothing; it is drawn light and summed up as hidden.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from voicestack.core.marks import Span, hidden_ms, work_ms

_COLOURS = {
    "endpoint": "cyan",
    "asr": "green",
    "dispatch": "yellow",
    "llm": "magenta",
    "tts": "blue",
    "send": "bright_black",
}
_MEANINGS = {
    "endpoint": "being sure that you had finished",
    "asr": "the final words",
    "dispatch": "on the way to the language model",
    "llm": "its first token",
    "tts": "the first clause, spoken",
    "send": "on the way to you",
}
_UNICODE = {"shown": "█", "hidden": "░", "empty": " "}
_ASCII = {"shown": "#", "hidden": ".", "empty": " "}
_WORTH_SAYING_MS = 1.0


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the server says about a turn. `response_ms` is None for a turn without an audible answer."""

    stages: tuple[Span, ...]
    response_ms: float | None
    drafted: bool
    interrupted: bool

    @property
    def hidden_ms(self) -> float:
        """Work that was done when the endpoint was decided, over all stages."""
        return hidden_ms(self.stages)

    @property
    def work_ms(self) -> float:
        """All work on the answer up to its first audio, hidden or not; waiting and sending are not work."""
        return work_ms(self.stages)


def read_ledger(event: Mapping[str, Any]) -> Ledger:
    """The ledger in a `voicestack.turn.measured` event. What is missing in it is zero, or None."""
    stages = tuple(
        Span(
            str(span.get("stage", "?")),
            float(span.get("start_ms") or 0.0),
            float(span.get("end_ms") or 0.0),
            float(span.get("hidden_ms") or 0.0),
        )
        for span in event.get("spans") or ()
    )
    response_ms = event.get("response_ms")
    return Ledger(
        stages,
        None if response_ms is None else float(response_ms),
        bool(event.get("drafted")),
        bool(event.get("interrupted")),
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of whole characters: `n_before` empty ones, `n_hidden` light ones, `n_shown` full ones."""

    n_before: int
    n_hidden: int
    n_shown: int


def bars(stages: Sequence[Span], n_columns: int) -> list[Bar]:
    """One bar per stage, to one scale, the latest end at the right edge, none shorter than a character."""
    last_ms = max((stage.end_ms for stage in stages), default=0.0)
    per_ms = n_columns / last_ms if last_ms > 1e-6 else 0.0  # a nanosecond: nothing is shorter
    drawn = []
    for stage in stages:
        start = min(n_columns - 1, max(0, round(stage.start_ms * per_ms)))
        end = min(n_columns, max(start + 1, round(stage.end_ms * per_ms)))
        n_hidden = min(end - start, round(stage.hidden_ms * per_ms))
        if n_hidden == 0 and 0 < stage.duration_ms <= stage.hidden_ms:
            n_hidden = end - start
        drawn.append(Bar(start, n_hidden, end - start - n_hidden))
    return drawn


class Waterfall:
    """A turn's ledger, drawn by `rich` as wide as the terminal allows.

    Args:
        ledger: What to draw.
        n_columns: Widest bar, in characters.
    """

    def __init__(self, ledger: Ledger, *, n_columns: int = 44) -> None:
        self._ledger = ledger
        self._n_columns = n_columns

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Title, one row per stage, and what the light blocks mean."""
        glyphs = _UNICODE if (options.encoding or "").lower().startswith("utf") else _ASCII
        yield self._title()
        if not self._ledger.stages:
            return
        n_columns = max(10, min(self._n_columns, options.max_width - 36))
        yield self._rows(glyphs, n_columns, spacious=options.max_width >= 100)
        if self._ledger.hidden_ms >= _WORTH_SAYING_MS:
            yield Text(
                f"  {glyphs['hidden'] * 2} done before the endpoint was decided: it cost no time", style="dim"
            )

    def _title(self) -> Text:
        ledger = self._ledger
        words = "no answer" if ledger.response_ms is None else f"answered after {ledger.response_ms:.0f} ms"
        title = Text("  server: ", style="dim").append(words, style="bold not dim")
        if ledger.hidden_ms >= _WORTH_SAYING_MS:
            title.append(f", {ledger.hidden_ms:.0f} of {ledger.work_ms:.0f} ms of work hidden")
        if ledger.drafted:
            title.append(", drafted ahead")
        if ledger.interrupted:
            title.append(", interrupted")
        return title

    def _rows(self, glyphs: Mapping[str, str], n_columns: int, *, spacious: bool) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right", min_width=10)
        table.add_column(no_wrap=True, min_width=n_columns)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True, style="dim")
        for span, bar in zip(self._ledger.stages, bars(self._ledger.stages, n_columns), strict=True):
            colour = _COLOURS.get(span.stage, "white")
            drawn = Text(glyphs["empty"] * bar.n_before)
            drawn.append(glyphs["hidden"] * bar.n_hidden, style=f"dim {colour}")
            drawn.append(glyphs["shown"] * bar.n_shown, style=colour)
            meaning = _MEANINGS.get(span.stage, "") if spacious else ""
            table.add_row(span.stage, drawn, f"{span.duration_ms:.0f} ms", meaning)
        return table
