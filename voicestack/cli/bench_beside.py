"""`voicestack bench beside`: how much longer does a caller wait while others use the stages over HTTP?

One caller asks in blocks, in every second of which programs transcribe files and have texts spoken as fast as
they are served. The blocks alternate within one run and begin with the same kind as often as with the other
(off, on, on, off, ...), so that a machine that is busy otherwise disturbs both kinds alike.
"""

import argparse
import asyncio
import io
import os
import wave
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
from rich.console import Console

from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_speech import Line, add_speech_argument, read_folder
from voicestack.cli.bench_stats import summarise
from voicestack.cli.bench_v2v import Outcome, Plan, measure
from voicestack.cli.dialing import KEY_VARIABLE, add_server_arguments, dial_of, realtime_url
from voicestack.cli.speaker import CALL_RATE_HZ

SUMMARY = "what requests to /v1/audio/* do to a live call"
_TEXT = "The quick brown fox jumps over the lazy dog."
_REFUSED_PAUSE_S = 0.2
_FILE_LINES = 3
"""Recordings that make up one file that is transcribed: some 5 s."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    add_server_arguments(parser)
    parser.add_argument("--blocks", type=int, default=8, help="blocks of turns (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=4, help="turns in each (default: %(default)s)")
    parser.add_argument("--transcribers", type=int, default=2, help="programs (default: %(default)s)")
    parser.add_argument("--speakers", type=int, default=2, help="programs (default: %(default)s)")
    parser.add_argument("--silence-ms", type=int, default=200, help="ends a turn (default: %(default)s)")
    add_speech_argument(parser, "recordings and index")


@dataclass(slots=True)
class Load:
    """What the programs got done while the caller spoke."""

    n_transcribed: int = 0
    n_spoken: int = 0
    n_refused: int = 0
    n_failed: int = 0


@dataclass(slots=True)
class Found:
    """What was seen, without (False) and with (True) other programs."""

    outcomes: dict[bool, Outcome] = field(default_factory=lambda: {False: Outcome(), True: Outcome()})
    load: Load = field(default_factory=Load)


def is_loaded(block: int) -> bool:
    """Whether there are other programs in this block: off, on, on, off, off, on, on, ..."""
    return block % 4 in (1, 2)


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Measure. Returns the exit code and the figures.

    Raises:
        NoServer: there is no server to measure.
        BadWav: a recording cannot be used.
    """
    console = Console()
    seen = asyncio.run(_measure(args, read_folder(args.speech)))
    found: dict[str, Any] = {"load": asdict(seen.load)}
    for loaded, name in ((False, "alone"), (True, "beside")):
        turns = seen.outcomes[loaded].turns
        waits = [turn.wait_ms for turn in turns if turn.wait_ms is not None]
        n_missing = sum(turn.missing for turn in turns)
        summary = found[name] = summarise(waits, n_censored=n_missing)
        if summary is not None:
            console.print(
                f"{name:>7}: n {summary.n}, p50 {summary.p50:.0f} ms, p95 {summary.p95:.0f} ms, "
                f"missing {n_missing}, early {sum(turn.early for turn in turns)}",
                highlight=False,
            )
    console.print(
        "meanwhile {n_transcribed} files transcribed, {n_spoken} texts spoken, {n_refused} refused, "
        "{n_failed} failed".format(**found["load"])
    )
    return int(found["alone"] is None or found["beside"] is None), found


async def _measure(args: argparse.Namespace, lines: list[Line]) -> Found:
    found, clock = Found(), SystemClock()
    file = _wav(lines[:_FILE_LINES])
    key = os.environ.get(KEY_VARIABLE) or "none"
    async with httpx.AsyncClient(
        base_url=_http_url(args.url),
        headers={"Authorization": f"Bearer {key}"},
        verify=not args.insecure,
        trust_env=False,
        timeout=60,
    ) as http:
        for block in range(args.blocks):
            loaded = is_loaded(block)
            plan = Plan(args.url, n_turns=args.turns, silence_ms=args.silence_ms, seed=1 + block // 2)
            async with Scope() as scope:
                if loaded:
                    for n in range(args.transcribers):
                        scope.start(_transcribe(http, file, found.load), name=f"transcriber {n}")
                    for n in range(args.speakers):
                        scope.start(_speak(http, found.load), name=f"speaker {n}")
                await measure(plan, lines, clock, outcome=found.outcomes[loaded], dial=dial_of(args))
    return found


async def _transcribe(http: httpx.AsyncClient, file: bytes, load: Load) -> None:
    while True:
        form = {"file": ("speech.wav", file, "audio/wav")}
        load.n_transcribed += await _asked(http, load, "transcriptions", data={"model": "asr"}, files=form)


async def _speak(http: httpx.AsyncClient, load: Load) -> None:
    while True:
        body = {"model": "tts", "voice": "default", "input": _TEXT, "response_format": "wav"}
        load.n_spoken += await _asked(http, load, "speech", json=body)


async def _asked(http: httpx.AsyncClient, load: Load, what: str, **request: Any) -> bool:
    try:
        answer = await http.post(f"/v1/audio/{what}", **request)
    except httpx.TransportError:
        load.n_failed += 1
        await asyncio.sleep(_REFUSED_PAUSE_S)
        return False
    if answer.is_success:
        return True
    if answer.status_code in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS):
        load.n_refused += 1
    else:
        load.n_failed += 1
    await asyncio.sleep(_REFUSED_PAUSE_S)
    return False


def _wav(lines: list[Line]) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(CALL_RATE_HZ)
        for line in lines:
            file.writeframes(line.pcm.tobytes())
    return out.getvalue()


def _http_url(url: str) -> str:
    parts = urlsplit(realtime_url(url))
    return urlunsplit(({"ws": "http", "wss": "https"}[parts.scheme], parts.netloc, "", "", ""))
