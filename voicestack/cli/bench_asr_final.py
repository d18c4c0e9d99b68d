"""`voicestack bench asr-final`: how long after the end of speech are the final words known?

The recogniser of a configuration alone, without a server: recordings are spoken to it in real time, with the
silence after them that ends a turn. Once it is told of the pause at the soft end, as a session does, and may
find the final words during the silence; and once it is not.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from rich.console import Console
from rich.table import Table

from voicestack.aio.clock import Clock, SystemClock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_speech import Line, add_speech_argument, read_folder
from voicestack.cli.bench_stats import Summary, WordErrors, summarise, word_errors
from voicestack.cli.speaker import CALL_RATE_HZ
from voicestack.config.load import load
from voicestack.config.schema import Config
from voicestack.core.audio import EAR_RATE_HZ, AudioFrame, ms_to_samples
from voicestack.core.errors import StageError
from voicestack.core.resample import resample
from voicestack.ports import PAUSE, Asr, Certainty, Pause
from voicestack.server.assembly_asr import asr_of
from voicestack.server.supervised import Supervised

SUMMARY = "time from the end of speech to the final words, with and without a settled guess"
FRAME_SAMPLES = EAR_RATE_HZ // 50
READY_POLL_S, READY_S = 0.05, 120


@runtime_checkable
class Counted(Protocol):
    """A recogniser with figures of its own."""

    def figures(self) -> Mapping[str, float]:
        """Names and values."""
        ...


@dataclass(frozen=True, slots=True)
class Heard:
    """One recording. Times run from the end of the silence, when a session needs the words."""

    file: str
    with_pause: bool
    final_ms: float | None
    settled_ms: float | None  # from the pause
    n_errors: int
    n_words: int
    error: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument("--config", default=None, metavar="PROFILE|FILE", help="whose recogniser (embedded)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set one key")
    add_speech_argument(parser)
    parser.add_argument("--recordings", type=int, default=12, help="how many (default: %(default)s)")
    parser.add_argument("--speakers", type=int, default=1, help="at the same time (default: %(default)s)")


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Speak everything twice. Returns the exit code and the figures.

    Raises:
        BadWav: a recording cannot be used.
        ConfigError: the recogniser cannot be had.
    """
    config = load(args.config, env=os.environ, sets=args.set).config
    lines = read_folder(args.speech)[: max(1, args.recordings)]
    heard, figures = asyncio.run(_measure(config, lines, max(1, args.speakers), SystemClock()))
    found = {
        "engine": config.asr.engine,
        "n_speakers": args.speakers,
        "soft_end_ms": config.turn.soft_end_ms,
        "silence_ms": config.turn.silence_duration_ms,
        "with_settled": figures_of([one for one in heard if one.with_pause]),
        "without": figures_of([one for one in heard if not one.with_pause]),
        "recogniser": figures,
        "recordings": [asdict(one) for one in heard],
    }
    show(Console(), found)
    return int(all(one.final_ms is None for one in heard)), found


def figures_of(heard: list[Heard]) -> dict[str, Any]:
    """Percentiles and words of one way of listening."""
    finals = [one.final_ms for one in heard if one.final_ms is not None]
    errors = sum((WordErrors(one.n_errors, one.n_words) for one in heard), start=WordErrors())
    return {
        "final_ms": summarise(finals, n_censored=len(heard) - len(finals)),
        "settled_ms": summarise([one.settled_ms for one in heard if one.settled_ms is not None]),
        "word_error_rate": errors.rate,
        "n_missing": len(heard) - len(finals),
    }


async def _measure(
    config: Config, lines: list[Line], n_speakers: int, clock: Clock
) -> tuple[list[Heard], dict[str, float]]:
    asr, supervised = asr_of(config, clock)
    heard: list[Heard] = []
    async with Scope() as scope:
        for one in supervised:
            scope.start(one.run(), name=one.name)
        await _until_ready(supervised)
        for with_pause in (True, False):
            async with asyncio.TaskGroup() as group:
                for n in range(n_speakers):
                    speaker = Speaker(asr, config, clock, with_pause)
                    mine = lines[n::n_speakers]
                    # They do not all begin at once, and so they do not all end at once.
                    group.create_task(speaker.speak(mine, heard, late_s=n / n_speakers))
    return heard, dict(asr.figures()) if isinstance(asr, Counted) else {}


async def _until_ready(supervised: tuple[Supervised, ...]) -> None:
    async with asyncio.timeout(READY_S):
        while not all(one.is_ready for one in supervised):  # noqa: ASYNC110 (nobody is told)
            await asyncio.sleep(READY_POLL_S)


class Speaker:
    """Somebody who says one recording after the other."""

    def __init__(self, asr: Asr, config: Config, clock: Clock, with_pause: bool) -> None:
        self._asr, self._clock, self._with_pause = asr, clock, with_pause
        self._soft_ms, self._silence_ms = config.turn.soft_end_ms, config.turn.silence_duration_ms
        self._paused_ns = self._ended_ns = 0

    async def speak(self, lines: list[Line], heard: list[Heard], late_s: float) -> None:
        """Say them all, and add what was heard."""
        await asyncio.sleep(late_s)
        for line in lines:
            heard.append(await self._say(line))

    async def _say(self, line: Line) -> Heard:
        self._paused_ns = self._ended_ns = 0
        final_ms, settled_ms, text = None, None, ""
        try:
            async with aclosing(self._asr.transcribe(self._sounds(line))) as transcripts:
                async for transcript in transcripts:
                    now_ns, text = self._clock.now_ns(), transcript.text
                    if transcript.certainty is Certainty.SETTLED and self._paused_ns:
                        settled_ms = (now_ns - self._paused_ns) / 1e6
                    elif transcript.certainty is Certainty.FINAL:
                        final_ms = (now_ns - self._ended_ns) / 1e6
        except StageError as error:
            return Heard(line.file, self._with_pause, None, None, 0, 0, f"{error.code}: {error}")
        errors = word_errors(line.words, text) if line.words is not None else WordErrors()
        return Heard(line.file, self._with_pause, final_ms, settled_ms, errors.n_errors, errors.n_words)

    async def _sounds(self, line: Line) -> AsyncIterator[AudioFrame | Pause]:
        """The recording in real time, and the silence that ends the turn."""
        pcm = resample(line.pcm, CALL_RATE_HZ, EAR_RATE_HZ)
        last = line.last_speech * EAR_RATE_HZ // CALL_RATE_HZ
        pause, end = (last + ms_to_samples(ms, EAR_RATE_HZ) for ms in (self._soft_ms, self._silence_ms))
        pcm = np.concatenate([pcm[:end], np.zeros(max(0, end - len(pcm)), np.int16)])
        began_ns, told = self._clock.now_ns(), not self._with_pause
        for start in range(0, len(pcm), FRAME_SAMPLES):
            part = pcm[start : start + FRAME_SAMPLES]
            due_ns = began_ns + (start + len(part)) * 1_000_000_000 // EAR_RATE_HZ
            await asyncio.sleep(max(0, due_ns - self._clock.now_ns()) / 1e9)
            yield AudioFrame(part, start, due_ns)
            if not told and start + len(part) >= pause:
                told, self._paused_ns = True, self._clock.now_ns()
                yield PAUSE
        self._ended_ns = self._clock.now_ns()


def show(console: Console, found: dict[str, Any]) -> None:
    """The two ways beside each other."""
    table = Table(title=f"Final words of {found['engine']}", title_justify="left", box=None, pad_edge=False)
    for name in ("", "p50 ms", "p95 ms", "max ms", "missing", "word errors"):
        table.add_column(name, justify="right" if name else "left")
    named = (("with a settled guess", "with_settled"), ("without", "without"))
    for label, key in named:
        final, rate = found[key]["final_ms"], found[key]["word_error_rate"]
        errors = "-" if rate is None else f"{rate:.1%}"
        table.add_row(label, *_cells(final), str(found[key]["n_missing"]), errors)
    console.print(table)
    settled: Summary | None = found["with_settled"]["settled_ms"]
    if settled is not None:
        console.print(f"settled words after the pause: p50 {settled.p50:.0f} ms, p95 {settled.p95:.0f} ms")
    silence_ms, soft_end_ms = found["silence_ms"], found["soft_end_ms"]
    console.print(f"[dim]after {silence_ms} ms of silence; the pause is told after {soft_end_ms} ms[/]")


def _cells(summary: Summary | None) -> tuple[str, str, str]:
    if summary is None:
        return "-", "-", "-"
    return f"{summary.p50:.1f}", f"{summary.p95:.1f}", f"{summary.max:.1f}"
