"""`voicestack talk`: what does the server say to a recording, or to you?"""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from voicestack.aio.clock import Clock, SystemClock
from voicestack.cli.client import Caller, Wait, call, session_update, wait_for_answer
from voicestack.cli.dialing import NoServer, add_server_arguments, dial_of
from voicestack.cli.speaker import CALL_RATE_HZ
from voicestack.cli.waterfall import Waterfall, read_ledger
from voicestack.cli.waveform import (
    BadWav,
    decode_wav,
    encode_wav,
    first_audible,
    last_audible,
    resample,
    stereo,
)
from voicestack.core.audio import Pcm

_LEAD_IN_MS = 300
"""Silence before the first word: a line is open before anyone speaks."""
_LEDGER_WAIT_MS = 500
"""How long after an answer its ledger may still come."""
_LATE_MS = 40
"""A frame sent so much later than it was spoken is worth a word: two frames."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.description = "Speak to a running server and hear what it answers."
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.wav", help="said one after the other")
    parser.add_argument("--mic", action="store_true", help="talk yourself, until Ctrl-C (use headphones)")
    add_server_arguments(parser)
    parser.add_argument("--silence-ms", type=int, help="silence that ends your turn (default: the server's)")
    parser.add_argument(
        "--timeout-ms", type=int, default=15_000, help="wait so long for an answer (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where answer.wav and call.wav go (default: here)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(args: argparse.Namespace) -> int:
    """Hold the conversation. Returns 0, 1 without a server or an answer, 2 for a file that cannot be used."""
    if bool(args.files) == args.mic:
        print("voicestack talk: give one or more WAV files, or --mic", file=sys.stderr)
        return 2
    try:
        if args.mic:
            from voicestack.cli.talk_mic import run_mic

            return run_mic(args)
        sounds = [(path, _read(path)) for path in args.files]
        return asyncio.run(_talk(args, sounds, SystemClock()))
    except BadWav as bad:
        print(f"voicestack talk: {bad}", file=sys.stderr)
        return 2
    except NoServer as gone:
        print(f"voicestack talk: {gone}", file=sys.stderr)
        return 1


def _read(path: Path) -> Pcm:
    try:
        sound = decode_wav(path.read_bytes())
    except BadWav as bad:
        raise BadWav(f"{path}: {bad}") from bad
    except OSError as bad:
        raise BadWav(f"{path}: {bad.strerror}") from bad
    return resample(sound.pcm, sound.rate_hz, CALL_RATE_HZ)


def print_line(console: Console, who: str, text: str) -> None:
    """Show one line of the dialogue."""
    colour = "green" if who == "user" else "cyan"
    console.print(f"[bold {colour}]{who:>5}[/]  ", end="")
    console.print(text, markup=False, highlight=False)


async def _talk(args: argparse.Namespace, sounds: list[tuple[Path, Pcm]], clock: Clock) -> int:
    console = Console(quiet=args.json)
    update = session_update(silence_ms=args.silence_ms)
    turns: list[dict[str, Any]] = []
    async with call(
        args.url,
        clock,
        update=update,
        on_line=lambda who, text: print_line(console, who, text),
        dial=dial_of(args),
    ) as caller:
        await _pause(caller, _LEAD_IN_MS)
        for path, pcm in sounds:
            turns.append(await _ask(caller, path, pcm, timeout_ms=args.timeout_ms))
            _show(console, turns[-1])
        files = save_call(caller, args.out)
        errors = [dict(error) for error in caller.conversation.errors]
    for error in errors:
        print(f"voicestack talk: the server reports: {error.get('message')}", file=sys.stderr)
    if args.json:
        print(orjson.dumps({"turns": turns, "errors": errors, "files": files}).decode())
    else:
        _show_lateness(console, max(caller.late_ms, default=0.0))
        console.print(
            f"[dim]wrote {files[0]} (the agent) and {files[1]} (left you, right the agent)[/]", soft_wrap=True
        )
    return 0 if all(turn["answer"] for turn in turns) else 1


async def _pause(caller: Caller, ms: int) -> None:
    await caller.until(lambda: False, by_sample=caller.now_sample() + ms * CALL_RATE_HZ // 1000)


async def _ask(caller: Caller, path: Path, pcm: Pcm, *, timeout_ms: int) -> dict[str, Any]:
    """Say one recording and hear the answer out."""
    seen = caller.conversation
    n_heard, n_replies, n_ledgers = len(seen.utterances), len(seen.replies), len(seen.measured)
    said = caller.say(pcm)
    limit = said.end_sample + timeout_ms * CALL_RATE_HZ // 1000
    await caller.until(lambda: caller.now_sample() >= said.end_sample)
    await caller.until(lambda: len(seen.replies) > n_replies, by_sample=limit)
    if len(seen.replies) > n_replies:
        await caller.until(caller.is_settled, by_sample=max(limit, caller.now_sample()) + 60 * CALL_RATE_HZ)
        wait_end = caller.now_sample() + _LEDGER_WAIT_MS * CALL_RATE_HZ // 1000
        await caller.until(lambda: len(seen.measured) > n_ledgers, by_sample=wait_end)
    last = last_audible(said.pcm, CALL_RATE_HZ)
    wait = Wait(None, early=False) if last is None else wait_for_answer(caller.speaker, said, last)
    return {
        "file": str(path),
        "heard": " ".join(item.text for item in seen.utterances[n_heard:] if item.text),
        "answer": " ".join(reply.text.strip() for reply in seen.replies[n_replies:]),
        "voice_to_voice_ms": None if wait.ms is None else round(wait.ms, 1),
        "cut_off": wait.early,
        "ledgers": [dict(measured.ledger) for measured in seen.measured[n_ledgers:]],
    }


def _show(console: Console, turn: dict[str, Any]) -> None:
    v2v_ms = turn["voice_to_voice_ms"]
    if turn["cut_off"]:
        console.print("  [bold red]the agent spoke before you had finished[/]")
    elif v2v_ms is None:
        console.print(f"  [bold red]no answer[/] to {turn['file']}", highlight=False)
    else:
        console.print(
            f"  [dim]on the waveform:[/] [bold]{v2v_ms:.0f} ms[/] from your last sound to the agent's first"
        )
    for ledger in turn["ledgers"]:
        console.print(Waterfall(read_ledger(ledger)))
    console.print()


def _show_lateness(console: Console, late_ms: float) -> None:
    if late_ms > _LATE_MS:
        console.print(
            f"[yellow]This machine is busy: your voice was sent up to {late_ms:.0f} ms late, "
            "so the times above are worse than the server's own.[/]"
        )


def save_call(caller: Caller, folder: Path) -> tuple[str, str]:
    """Write answer.wav (the agent alone, from its first sample on) and call.wav (both, one clock).

    Raises:
        BadWav: the folder cannot be written to.
    """
    user, agent = caller.mouth.render(), caller.speaker.render()
    start = first_audible(agent, CALL_RATE_HZ) or 0
    paths = folder / "answer.wav", folder / "call.wav"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths[0].write_bytes(encode_wav(agent[start:], CALL_RATE_HZ))
        paths[1].write_bytes(encode_wav(stereo(user, agent), CALL_RATE_HZ))
    except OSError as bad:
        raise BadWav(f"cannot write to {folder}: {bad.strerror}") from bad
    return str(paths[0]), str(paths[1])
