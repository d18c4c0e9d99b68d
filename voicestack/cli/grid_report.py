"""What does a grid of bad networks look like, for a person?"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from voicestack.cli.bench_report import DISTURBED_MS
from voicestack.cli.rtc_grid import BUFFER_MS

BACK_TARGET_MS = 2000.0
P95_CELL, P95_TARGET_MS = "3x20", 60.0
"""At 3 % loss and 20 ms jitter nobody may wait longer than so much more, p95."""

_HEARD = (
    *("loss %", "jitter", "p50", "p95", "held p50", "held p95", "recovered", "concealed", "word errors"),
)
_CALLER = ("loss %", "jitter", "p50", "p95", "lost", "concealed")
_WAITS = ("loss %", "jitter", "p50", "p95", "p95 rise", "n", "missing", "early", "split")
_BURST = ("burst", "ms", "usual p95", "worst", "back after", "")


def line_of_link(found: Mapping[str, Any]) -> str:
    """One network, in a line."""
    delay, held = found["user_mouth_to_ear_ms"], found["user_held_ms"]
    return (
        f"at the ear p50 {_ms(delay, 'p50')}, p95 {_ms(delay, 'p95')} ms after it was spoken, of which held "
        f"p95 {_ms(held, 'p95')}; concealed {_share(found['user_concealed_share'])}, word errors "
        f"{_share(found['word_error_rate'])}"
    )


def line_of_server(found: Mapping[str, Any]) -> str:
    """One network, in a line."""
    waits = found["voice_to_voice_ms"]
    return (
        f"voice to voice p50 {_ms(waits, 'p50')}, p95 {_ms(waits, 'p95')} ms; "
        f"{found['n_missing']} missing, {found['n_early']} early"
    )


def show_grid(console: Console, grid: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the grid as tables, and how it stands with the target."""
    if any("link" in one for one in grid.values()):
        console.print(_heard(grid))
        console.print(_caller(grid))
    if any("server" in one for one in grid.values()):
        console.print(_waits(grid))
    rise_ms = _rise(grid, P95_CELL)
    if rise_ms is not None:
        verdict = "[green]met[/]" if rise_ms <= P95_TARGET_MS else "[red]missed[/]"
        console.print(
            f"\nAt 3 % loss and 20 ms jitter p95 of voice to voice rises by [bold]{rise_ms:.0f} ms[/] "
            f"(target {P95_TARGET_MS:.0f}: {verdict})",
            highlight=False,
            soft_wrap=True,
        )
    console.print(_harness(grid), highlight=False, soft_wrap=True)
    for name, one in grid.items():
        for failure in one.get("server", {}).get("failures", ()):
            console.print(f"[red]{name}: {failure}[/]")


def _harness(grid: Mapping[str, Mapping[str, Any]]) -> str:
    """How late the callers' own frames left, in the worst network: what is shorter than that is noise."""
    every = [
        one[part]["harness_late_ms"] for one in grid.values() for part in ("link", "server") if part in one
    ]
    late = [found for found in every if found is not None]
    if not late:
        return ""
    p95_ms, p99_ms = max(one.p95 for one in late), max(one.p99 for one in late)
    line = f"\nharness: frames sent late, in the worst network: p95 {p95_ms:.1f}, p99 {p99_ms:.1f} ms"
    return f"[yellow]{line}: the machine was too busy[/]" if p95_ms > DISTURBED_MS else line


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _heard(grid: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table("The user's voice, from mouth to ear, ms", _HEARD)
    for one in grid.values():
        if (link := one.get("link")) is not None:
            delay, held = link["user_mouth_to_ear_ms"], link["user_held_ms"]
            table.add_row(
                *(f"{one['loss_percent']:g}", f"{one['jitter_ms']:g}"),
                *(_ms(delay, "p50"), _ms(delay, "p95"), _ms(held, "p50"), _ms(held, "p95")),
                *(_share(link["user_recovered_share"]), _share(link["user_concealed_share"])),
                _share(link["word_error_rate"]),
            )
    return table


def _caller(grid: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table(
        f"The agent's voice, until it arrives, ms; concealed by {BUFFER_MS:.0f} ms of buffer", _CALLER
    )
    for one in grid.values():
        if (link := one.get("link")) is not None:
            delay = link["agent_delay_ms"]
            table.add_row(
                *(f"{one['loss_percent']:g}", f"{one['jitter_ms']:g}", _ms(delay, "p50"), _ms(delay, "p95")),
                *(_share(link["agent_lost_share"]), _share(link["agent_concealed_share"])),
            )
    return table


def _waits(grid: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table("Voice to voice, scripted engines, on arrival, ms", _WAITS)
    for name, one in grid.items():
        if (server := one.get("server")) is not None:
            waits, rise_ms = server["voice_to_voice_ms"], _rise(grid, name)
            table.add_row(
                *(f"{one['loss_percent']:g}", f"{one['jitter_ms']:g}", _ms(waits, "p50"), _ms(waits, "p95")),
                *("-" if rise_ms is None else f"{rise_ms:+.0f}", "-" if waits is None else str(waits.n)),
                *(str(server["n_missing"]), str(server["n_early"]), str(server["n_split"])),
            )
    return table


def _rise(grid: Mapping[str, Mapping[str, Any]], name: str) -> float | None:
    """How much longer than on the good network p95 of voice to voice is, ms."""
    found = [grid.get(key, {}).get("server", {}).get("voice_to_voice_ms") for key in ("0x0", name)]
    if None in found:
        return None
    rise_ms: float = found[1].p95 - found[0].p95
    return rise_ms if math.isfinite(rise_ms) else None


def _ms(summary: Any, column: str) -> str:
    if summary is None:
        return "-"
    value: float = getattr(summary, column)
    if math.isinf(value):
        return "missing"
    return f"{value:.1f}" if abs(value) < 10 else f"{value:.0f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def show_bursts(console: Console, bursts: Sequence[Mapping[str, Any]]) -> None:
    """Print how long bursts last in the delay."""
    if not bursts:
        return
    table = _table("Bursts: the delay from mouth to ear, ms", _BURST)
    for one in bursts:
        back_ms = one["back_after_ms"]
        good = back_ms is not None and back_ms <= BACK_TARGET_MS
        table.add_row(
            *(one["kind"], str(one["burst_ms"]), f"{one['usual_ms']:.0f}", f"{one['worst_ms']:.0f}"),
            *("never" if back_ms is None else f"{back_ms:.0f}", "[green]ok[/]" if good else "[red]missed[/]"),
        )
    console.print(table)
