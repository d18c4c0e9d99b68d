"""`voicestack bench wer`: how well does the server understand?

Each recording is streamed in real time with turn taking switched off and committed as one utterance, so that
the figure is about recognition alone.
"""

import argparse
import asyncio
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from voicestack.aio.clock import Clock, SystemClock
from voicestack.cli.bench_speech import Line, add_speech_argument, read_files, read_folder
from voicestack.cli.bench_stats import WordErrors, summarise, word_errors
from voicestack.cli.client import Caller, call, session_update
from voicestack.cli.dialing import add_server_arguments, dial_of
from voicestack.cli.speaker import CALL_RATE_HZ, FRAME_SAMPLES

SUMMARY = "word errors on recordings"
_TAIL_MS = 100
"""Silence after the recording, before the commit: the last word must not be cut."""
_TIMEOUT_MS = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE.wav",
        help="more recordings; the words of x.wav are in x.txt",
    )
    add_server_arguments(parser)
    add_speech_argument(parser)
    parser.add_argument("--only-files", action="store_true", help="leave --speech out")


@dataclass(frozen=True, slots=True)
class Hearing:
    """What was understood of one recording. `final_ms` runs from the commit to the final words."""

    file: str
    words: str | None
    heard: str
    n_errors: int
    n_words: int
    final_ms: float | None
    error: str | None = None


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Transcribe everything. Returns the exit code and the figures.

    Raises:
        NoServer: there is no server to measure.
        BadWav: a recording cannot be used.
    """
    lines = [] if args.only_files else read_folder(args.speech)
    if args.files or args.only_files:
        lines += read_files(args.files, missing="--only-files without files: nothing to transcribe")
    console = Console()
    hearings = asyncio.run(_transcribe(args, lines, SystemClock(), console))
    errors = sum((WordErrors(one.n_errors, one.n_words) for one in hearings), start=WordErrors())
    finals = [one.final_ms for one in hearings if one.final_ms is not None]
    n_missing = len(hearings) - len(finals)
    found = {
        "word_error_rate": errors.rate,
        "n_word_errors": errors.n_errors,
        "n_words": errors.n_words,
        "final_ms": summarise(finals, n_censored=n_missing),
        "n_missing": n_missing,
        "recordings": [asdict(one) for one in hearings],
    }
    _show(console, found)
    return int(n_missing == len(hearings)), found


async def _transcribe(
    args: argparse.Namespace, lines: list[Line], clock: Clock, console: Console
) -> list[Hearing]:
    hearings = []
    update = session_update(turns=False)
    async with call(args.url, clock, update=update, dial=dial_of(args)) as caller:
        for line in lines:
            hearings.append(await _hear(caller, line, clock))
            console.print(f"[dim]{line.file}[/]  ", end="", highlight=False)
            console.print(hearings[-1].heard, markup=False, highlight=False, soft_wrap=True)
    return hearings


async def _hear(caller: Caller, line: Line, clock: Clock) -> Hearing:
    """Speak one recording, commit it, and wait for the words."""
    seen = caller.conversation
    n_before = len(seen.utterances)
    await caller.send({"type": "input_audio_buffer.clear"})
    said = caller.say(line.pcm)
    end = said.end_sample + _TAIL_MS * CALL_RATE_HZ // 1000
    await caller.until(lambda: caller.mouth.next_sample >= end)
    committed_ns = clock.now_ns()
    await caller.send({"type": "input_audio_buffer.commit"})

    def is_known() -> bool:
        new = seen.utterances[n_before:]
        return bool(new) and (new[-1].text is not None or new[-1].error is not None)

    limit = caller.now_sample() + _TIMEOUT_MS * CALL_RATE_HZ // 1000
    await caller.until(is_known, by_sample=limit + FRAME_SAMPLES)
    last = seen.utterances[-1] if is_known() else None
    heard = (last.text or "") if last else ""
    errors = word_errors(line.words or "", heard) if line.words is not None else WordErrors()
    final_ms = None
    if last is not None and last.known_ns is not None and last.error is None:
        final_ms = (last.known_ns - committed_ns) / 1e6
    failure = last.error if last else "no transcript came"
    return Hearing(line.file, line.words, heard, errors.n_errors, errors.n_words, final_ms, failure)


def _show(console: Console, found: dict[str, Any]) -> None:
    table = Table(title="Not word for word", title_justify="left", box=None, pad_edge=False)
    for name in ("recording", "said", "heard", "errors"):
        table.add_column(name, justify="right" if name == "errors" else "left")
    for one in found["recordings"]:
        if one["n_errors"] or one["error"]:
            table.add_row(one["file"], one["words"], one["heard"] or one["error"], str(one["n_errors"]))
    if table.row_count:
        console.print(table)
    rate, final = found["word_error_rate"], found["final_ms"]
    if rate is not None:
        console.print(f"word error rate [bold]{rate:.1%}[/] ({found['n_word_errors']} of {found['n_words']})")
    if final is not None:
        console.print(f"final words after the commit: p50 {final.p50:.0f} ms, p95 {final.p95:.0f} ms")
