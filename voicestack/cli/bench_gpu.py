"""`voicestack bench gpu`: what can one GPU do for how many callers?

Runs on any CUDA host; elsewhere it says in one line why not, and its exit code is 0 (2 with `--require`).
The same program runs against vLLM on a CPU with `--device cpu`.
"""

import argparse
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import uvloop
from rich.console import Console

from voicestack.aio.clock import SystemClock, local_day, unix_s
from voicestack.cli.bench_gpu_host import Host, describe, find_gpu, vllm_version, why_not
from voicestack.cli.bench_gpu_llm import measure
from voicestack.cli.bench_gpu_plan import DTYPES, METHODS, PARTS, Job, Launch, Wish, plan_llm, room_on
from voicestack.cli.bench_gpu_record import Record
from voicestack.cli.bench_gpu_run import Amounts, Bench
from voicestack.cli.bench_gpu_shapes import SHAPES, Folders, context_tokens_of, write_folders
from voicestack.cli.bench_gpu_speech import SpeechAmounts, engines_of, measure_sessions, measure_whisper
from voicestack.cli.bench_gpu_table import markdown
from voicestack.cli.bench_gpu_whisper import WHISPERS
from voicestack.cli.bench_speech import add_speech_argument
from voicestack.core.errors import ConfigError

SUMMARY = "one GPU: first tokens, speculation, cold starts, Whisper, sessions"
BUDGET_S = 540.0
"""A machine that is lent for ten minutes must be able to hand over the figures."""
SECTIONS = tuple(section for part in PARTS.values() for section in part)
QUICK = Amounts(
    levels=(4, 1),
    speculation_levels=(1, 4),
    level_s=12.0,
    min_turns=10,
    prefix_tokens=500,
    reply_tokens=24,
    silence_s=5.0,
    at_once=1,
)
"""For a CPU, where an answer takes seconds."""
QUICK_SPEECH = SpeechAmounts(whisper="tiny", batches=(1, 4), batch_s=1.0, sessions=(1, 2), level_s=40.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all", help="each takes up to 9 minutes")
    parser.add_argument(
        "--only", type=_names(SECTIONS), metavar="A,B", help=f"sections: {', '.join(SECTIONS)}"
    )
    parser.add_argument("--device", choices=["auto", "cuda", "cpu"], default="auto")
    parser.add_argument("--require", action="store_true", help="exit code 2 where nothing can be measured")
    parser.add_argument(
        "--quick", action="store_true", help="few and short requests, no compilation on a CPU"
    )
    parser.add_argument("--shape", choices=["8b", "135m", "tiny"], default="8b", help="of the random model")
    parser.add_argument(
        "--model-folder", type=Path, metavar="DIR", help="a model with weights instead of a random one"
    )
    parser.add_argument(
        "--vllm",
        default=f"{sys.executable} -m vllm.entrypoints.openai.api_server",
        metavar="COMMAND",
        help="starts vLLM's server (default: with this Python)",
    )
    parser.add_argument("--methods", type=_names(METHODS), metavar="A,B", help=", ".join(METHODS))
    parser.add_argument("--dtypes", type=_names(DTYPES), metavar="A,B", help=", ".join(DTYPES))
    parser.add_argument(
        "--levels", type=_counts, metavar="N,N", help="concurrent turns, most important first"
    )
    parser.add_argument("--level-s", type=float, help="seconds for each loop of each level")
    parser.add_argument("--prefix-tokens", type=int, help="length of the cached system prompt")
    parser.add_argument("--reply-tokens", type=int, help="length of an answer")
    parser.add_argument("--silence-s", type=float, help="before a request of the section heartbeat")
    parser.add_argument("--sessions", type=_counts, metavar="N,N", help="callers, ascending")
    parser.add_argument("--sessions-s", type=float, help="seconds for each number of callers")
    parser.add_argument("--at-once", type=int, help="servers that start at the same time")
    parser.add_argument("--duty", type=_duty, default=0.15, help="a caller speaks so much of the time")
    parser.add_argument("--whisper", choices=[*WHISPERS], help="shape of the random Whisper")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="recogniser and voice of the section sessions; {whisper} means the random Whisper's folder",
    )
    add_speech_argument(parser, "recordings")
    parser.add_argument("--budget-s", type=float, default=BUDGET_S, help="for a part (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (default: %(default)s)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="for models and logs (default: temporary)")
    parser.add_argument(
        "--show", type=Path, metavar="FILE", help="print the tables of an earlier run instead"
    )


def _names(known: tuple[str, ...]) -> Any:
    def read(text: str) -> tuple[str, ...]:
        wanted = tuple(text.split(","))
        for name in wanted:
            if name not in known:
                raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(known)}")
        return wanted

    return read


def _duty(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share of the time")
    return value


def _counts(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(word) for word in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' are no numbers of 1 or more")
    return found


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Measure. Returns the exit code and the figures, which are also written while they come.

    Raises:
        ConfigError: the model folder, the engines of the section `sessions`, or the file to show, cannot be
            used.
        BadWav: there are no recordings for it.
    """
    if args.show is not None:
        print(_tables_of(args.show), end="")
        return 0, None
    device = "cpu" if args.device == "cpu" else "cuda"
    vllm = shlex.split(args.vllm)
    gpu = find_gpu() if device == "cuda" else None
    version = vllm_version(vllm) if gpu or device == "cpu" else None
    if (reason := why_not(device, gpu, version)) is not None:
        print(f"voicestack bench gpu: skipped: {reason}")
        return (2 if args.require else 0), {"skipped": reason}
    host = describe(gpu, version)
    if args.work is not None:
        return _run_in(args, host, device, args.work)
    with tempfile.TemporaryDirectory(prefix="voicestack-bench-gpu-") as work:
        return _run_in(args, host, device, Path(work))


def _tables_of(path: Path) -> str:
    """The tables of an earlier run.

    Raises:
        ConfigError: the file is none of ours.
    """
    try:
        return markdown(orjson.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as bad:
        raise ConfigError(f"{path}: no figures of `voicestack bench gpu` ({bad})") from bad


def _run_in(
    args: argparse.Namespace, host: Host, device: str, work: Path
) -> tuple[int, dict[str, Any] | None]:
    console, clock = Console(), SystemClock()
    work.mkdir(parents=True, exist_ok=True)
    amounts = amounts_of(args)
    path = args.json or Path(f"bench-gpu-{args.part}.json")
    head = {
        "date": local_day(unix_s()),
        "host": host,
        "run": {
            "command": shlex.join(["voicestack", *sys.argv[1:]]),
            "shape": str(args.model_folder or SHAPES[args.shape].like),
            "random_weights": args.model_folder is None,
            "device": device,
            "load_average": os.getloadavg()[0],
            "prefix_tokens": amounts.prefix_tokens,
            "reply_tokens": amounts.reply_tokens,
        },
    }
    parts = list(PARTS) if args.part == "all" else [args.part]
    record = Record(path, clock=clock, budget_s=args.budget_s * len(parts), head=head)
    console.print(f"[dim]figures so far: {path}; logs of vLLM: {work}[/]", highlight=False, soft_wrap=True)
    folders = write_folders(work / "models", SHAPES[args.shape])
    first = first_launch(args, folders, device)
    if host.gpu is not None:
        room = room_on(host.gpu.memory_bytes, 2 * SHAPES[args.shape].n_parameters, amounts.at_once)
        first, amounts = replace(first, kv_bytes=room.kv_bytes), replace(amounts, at_once=room.at_once)
    bench = Bench(amounts, tuple(shlex.split(args.vllm)), work, clock, record, console)
    with _ending_in_order():
        for part in parts:
            uvloop.run(_measure_part(args, part, bench, first, folders))
    record.finish()
    document = orjson.loads(path.read_bytes())
    console.print()
    print(markdown(document), end="")
    return int(not any(section in document for section in SECTIONS)), record.found


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Take SIGTERM, with which `timeout` ends programs, as Ctrl-C: the servers are to end as well."""
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


async def _measure_part(
    args: argparse.Namespace, part: str, bench: Bench, first: Launch, folders: Folders
) -> None:
    wanted = frozenset(PARTS[part]) & frozenset(args.only or SECTIONS)
    if part == "llm":
        if first.device == "cpu" and "sleep" in wanted:
            bench.record.not_run("sleep", "vLLM on a CPU cannot sleep")
            wanted -= {"sleep"}
        methods = args.methods or (("off", "ngram") if args.quick else METHODS)
        plan = plan_llm(Wish(wanted, methods, _dtypes(args), first), folders)
        await measure(bench, plan, methods)
        return
    speech = speech_amounts_of(args)
    engines = engines_of(bench.work, speech)
    if "whisper" in wanted:
        await measure_whisper(bench, speech, first.device)
    if "sessions" in wanted:
        dtype = _dtypes(args)[-1]
        job = Job(replace(first, name=f"sessions {dtype}", dtype=dtype), ("sessions",))
        await measure_sessions(bench, speech, job, engines)


def _dtypes(args: argparse.Namespace) -> tuple[str, ...]:
    return args.dtypes or (("bf16",) if args.quick else DTYPES)


def first_launch(args: argparse.Namespace, folders: Folders, device: str) -> Launch:
    """The server that all others are variations of."""
    folder = args.model_folder or folders.target
    return Launch(
        "first",
        folder,
        device,
        random_weights=args.model_folder is None,
        eager=args.quick and device == "cpu",
        context_tokens=context_tokens_of(folder),
    )


def amounts_of(args: argparse.Namespace) -> Amounts:
    """How much is asked: what was said on the command line, and the rest as it fits the machine."""
    start = QUICK if args.quick else Amounts()
    given = {
        "levels": args.levels,
        "level_s": args.level_s,
        "prefix_tokens": args.prefix_tokens,
        "reply_tokens": args.reply_tokens,
        "silence_s": args.silence_s,
        "at_once": args.at_once,
    }
    return replace(start, seed=args.seed, **{name: value for name, value in given.items() if value})


def speech_amounts_of(args: argparse.Namespace) -> SpeechAmounts:
    """The same for the part `speech`."""
    start = QUICK_SPEECH if args.quick else SpeechAmounts()
    given = {"sessions": args.sessions, "level_s": args.sessions_s, "whisper": args.whisper}
    return replace(
        start,
        duty=args.duty,
        speech=args.speech,
        sets=tuple(args.set),
        **{name: value for name, value in given.items() if value},
    )
