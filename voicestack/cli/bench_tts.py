"""`voicestack bench tts`: how soon does the voice speak, and how much faster than it is heard?

The engine of the configuration is run in this process, without a server. Phrases are made of words drawn by
lot, so that none comes twice but those that are to: these show what the memory for phrases is worth.
"""

import argparse
import asyncio
import os
import random
import re
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from voicestack.aio.clock import Clock, SystemClock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_stats import summarise
from voicestack.config.load import load
from voicestack.config.schema import Config
from voicestack.core.errors import StageError
from voicestack.ports import SpeechRequest, Tts
from voicestack.server.assembly_tts import tts_of
from voicestack.server.supervised import Supervised

SUMMARY = "time to the first audible sample, and speed, of the configured voice"
LOUD = 184
"""-45 dBFS: what comes before is silence."""
START_S = 120.0
"""Longest wait for the engine: large voices on slow disks."""
FIRST_WORDS, SENTENCE_WORDS = 4, 15
_WORDS = re.findall(
    r"\S+",
    "river morning garden window paper silver answer music winter letter island market summer bridge "
    "kitchen doctor forest corner engine flower travel number button camera dinner orange planet signal",
)
_REPEATED = "Of course I can"
_STORY = "Once upon a time there was a small town by the sea and nobody in it knew its real name."


@dataclass(frozen=True, slots=True)
class Said:
    """One phrase: milliseconds until its first audible sample and until its end, and its length."""

    first_ms: float
    whole_ms: float
    audio_ms: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument("--config", metavar="PROFILE|FILE", help="a profile or a TOML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set one key")
    parser.add_argument(
        "--turns", type=int, default=20, metavar="N", help="phrases of each kind (default: %(default)s)"
    )
    parser.add_argument(
        "--busy",
        type=int,
        default=0,
        metavar="N",
        help="beside N sessions that speak without end (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (default: %(default)s)")


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Measure. Returns the exit code and the figures.

    Raises:
        ConfigError: the configuration cannot be used.
        StageError: the engine failed.
    """
    config = load(args.config, env=os.environ, sets=args.set).config
    kinds = asyncio.run(_measure(config, args, SystemClock()))
    found: dict[str, Any] = {"engine": config.tts.engine, "n_busy": args.busy, "kinds": {}}
    console = Console()
    table = Table(title=_title(config, args.busy), title_justify="left", box=None, pad_edge=False)
    for name in ("ms", "n", "p50", "p95", "max", "whole", "audio", "speed"):
        table.add_column(name, justify="left" if name == "ms" else "right", no_wrap=True)
    for name, phrases in kinds.items():
        first, whole = summarise(one.first_ms for one in phrases), summarise(one.whole_ms for one in phrases)
        assert first is not None
        assert whole is not None
        audio_ms = sum(one.audio_ms for one in phrases)
        work_ms = sum(one.whole_ms for one in phrases)
        found["kinds"][name] = {"first_ms": first, "whole_ms": whole, "rtf": work_ms / audio_ms}
        found["kinds"][name]["phrases"] = [asdict(one) for one in phrases]
        figures = (f"{value:.1f}" for value in (first.p50, first.p95, first.max, whole.p50))
        length = f"{audio_ms / len(phrases):.0f}"
        table.add_row(name, str(first.n), *figures, length, f"{audio_ms / work_ms:.1f}")
    console.print(table)
    return 0, found


def _title(config: Config, n_busy: int) -> str:
    voice = config.piper.voice if config.tts.engine == "piper" else config.tts.voice
    beside = f", beside {n_busy} busy sessions" if n_busy else ""
    return (
        f"{config.tts.engine}, {voice.rpartition('/')[2]}{beside}: milliseconds until its first audible "
        "sample, until the whole phrase is made (p50), of sound; and seconds of sound a second"
    )


async def _measure(config: Config, args: argparse.Namespace, clock: Clock) -> dict[str, list[Said]]:
    tts, supervised = tts_of(config, clock)
    rng = random.Random(args.seed)
    kinds: dict[str, Callable[[], str]] = {
        f"first clause, {FIRST_WORDS} words": lambda: _phrase(rng, FIRST_WORDS),
        f"sentence, {SENTENCE_WORDS} words": lambda: f"{_phrase(rng, SENTENCE_WORDS)}.",
        f"{len(_REPEATED.split())} words, said before": lambda: _REPEATED,
    }
    async with Scope() as scope:
        for part in supervised:
            scope.start(part.run(), name=part.name)
        await _up(supervised)
        await _say(tts, _REPEATED, clock)
        for n in range(args.busy):
            scope.start(_speak_on(tts), name=f"busy-{n}")
        found: dict[str, list[Said]] = {name: [] for name in kinds}
        for _ in range(args.turns):
            for name, text in kinds.items():
                found[name].append(await _say(tts, text(), clock))
    return found


async def _up(supervised: Sequence[Supervised]) -> None:
    """Wait until the engine's processes can be used."""
    async with asyncio.timeout(START_S):
        while not all(part.is_ready for part in supervised):  # noqa: ASYNC110 (processes say so when they are asked)
            await asyncio.sleep(0.05)


async def _say(tts: Tts, text: str, clock: Clock) -> Said:
    began_ns = clock.now_ns()
    first_ns, n_samples = None, 0
    async with aclosing(tts.speak(SpeechRequest(text))) as frames:
        async for frame in frames:
            loud = np.flatnonzero(np.abs(frame.pcm.astype(np.int32)) >= LOUD)
            if first_ns is None and len(loud):
                first_ns = clock.now_ns() + int(loud[0]) * 1_000_000_000 // tts.rate_hz
            n_samples += len(frame.pcm)
    if first_ns is None:
        raise StageError("the voice said nothing", stage="tts")
    whole_ns = clock.now_ns() - began_ns
    return Said((first_ns - began_ns) / 1e6, whole_ns / 1e6, n_samples * 1000 / tts.rate_hz)


async def _speak_on(tts: Tts) -> None:
    """A session with much to say: always a phrase that follows another."""
    while True:
        async with aclosing(tts.speak(SpeechRequest(_STORY, follows=True))) as frames:
            async for _ in frames:
                await asyncio.sleep(0)


def _phrase(rng: random.Random, n_words: int) -> str:
    return " ".join(rng.choices(_WORDS, k=n_words)).capitalize()
