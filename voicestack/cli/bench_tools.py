"""`voicestack bench tools`: does the language model call functions, the right ones, and only when asked to?

It starts the configured language model by itself and asks it without audio: a request that is understood
wrongly is the recogniser's affair (`bench wer`).
"""

import argparse
import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from voicestack.aio.clock import SystemClock
from voicestack.cli.bench_report import format_ms
from voicestack.cli.bench_stats import Summary, spoken_words, summarise
from voicestack.cli.own_engines import own_llm
from voicestack.cli.tool_requests import (
    REQUESTS,
    WAYS,
    Answer,
    Questions,
    Verdict,
    ask,
    read_questions,
    request,
)
from voicestack.config.load import load
from voicestack.config.schema import Config
from voicestack.core.history import Message
from voicestack.core.tools import Toolbox

SUMMARY = "function calls of the language model"


@dataclass(slots=True)
class Run:
    """Everything that was seen. `plain` are the chat questions without functions."""

    verdicts: dict[str, list[Verdict]] = field(default_factory=lambda: {way: [] for way in WAYS})
    plain: list[Answer] = field(default_factory=list)
    spoken_results: list[tuple[str, bool]] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument("--config", default=None, metavar="PROFILE|FILE", help="as of `serve` (embedded)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set one key, e.g. llm.tools=native"
    )
    parser.add_argument(
        "--requests",
        type=Path,
        default=REQUESTS,
        metavar="FILE",
        help="what users say, and what is right (default: %(default)s)",
    )
    parser.add_argument(
        "--part",
        choices=["development", "held_out"],
        default="development",
        help="the held-out part is for the final figure only: nothing may be tuned on it (%(default)s)",
    )
    parser.add_argument("--verbose", action="store_true", help="show every answer")


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Ask everything. Returns the exit code and the figures.

    Raises:
        ConfigError: the configuration or the requests cannot be used.
    """
    config = load(args.config, env=os.environ, sets=args.set).config
    questions = read_questions(args.requests, args.part)
    console = Console()
    found = asyncio.run(_measure(config, questions))
    if args.verbose:
        _show_answers(console, found)
    result = figures(found)
    _show(console, result)
    return 0, {"part": args.part, **result}


async def _measure(config: Config, questions: Questions) -> Run:
    clock = SystemClock()
    found = Run()
    async with own_llm(config, clock) as llm:
        instructions = Message("system", config.session.instructions)
        await ask(llm, clock, "warm", (instructions, Message("user", "hello")), Toolbox())
        for spoken in questions.spoken:
            if spoken.arguments is None:
                messages = (instructions, Message("user", spoken.text))
                found.plain.append(await ask(llm, clock, "plain", messages, Toolbox()))
            for way in WAYS if spoken.arguments is not None else WAYS[:2]:
                found.verdicts[way].append(await request(llm, clock, instructions, spoken, questions, way))
        for outcome in questions.outcomes:
            conversation = (
                instructions,
                Message("user", outcome.question),
                Message("agent", "", calls=(outcome.call,)),
                Message("tool", outcome.output, call_id=outcome.call.call_id),
            )
            toolbox = Toolbox((questions.tools[outcome.call.name],))
            said = (await ask(llm, clock, "one", conversation, toolbox)).text
            found.spoken_results.append((said, bool({*outcome.words} & {*spoken_words(said)})))
    return found


def figures(found: Run) -> dict[str, Any]:
    """The shares and times of a run. A share is (how many, of how many)."""
    first = summarise([a.first_ms for a in found.plain if a.first_ms is not None])
    ways = {way: _of_way(verdicts, first) for way, verdicts in found.verdicts.items()}
    results = [right for _, right in found.spoken_results]
    return {"plain_first_ms": first, "ways": ways, "results_spoken": (sum(results), len(results))}


def _of_way(verdicts: Sequence[Verdict], plain: Summary | None) -> dict[str, Any]:
    asked = [v for v in verdicts if v.spoken.arguments is not None]
    chat = [v for v in verdicts if v.spoken.arguments is None]
    called = [v for v in verdicts if v.called]
    chat_ms = summarise([v.answer.first_ms for v in chat if v.answer.first_ms is not None and not v.called])
    added = chat_ms and plain and {"p50": chat_ms.p50 - plain.p50, "p95": chat_ms.p95 - plain.p95}
    return {
        "right_tool": (sum(v.right_tool is True for v in asked), len(asked)),
        "right_arguments": (sum(v.right_arguments is True for v in asked), len(asked)),
        "valid": (sum(v.valid is True for v in called), len(called)),
        "false_calls": (sum(v.called for v in chat), len(chat)),
        "errors": sum(v.answer.error is not None for v in verdicts),
        "chat_first_ms": chat_ms,
        "chat_added_ms": added,
        "call_done_ms": summarise([v.answer.done_ms for v in asked if v.called]),
    }


def _show(console: Console, found: dict[str, Any]) -> None:
    titles = ("one function, auto", "all functions, auto", "one, required")
    table = Table("", *titles, box=None, pad_edge=False)
    rows = {
        "right function": "right_tool",
        "right function and arguments": "right_arguments",
        "arguments valid, of all calls": "valid",
        "called in chat (wrong)": "false_calls",
    }
    for title, key in rows.items():
        table.add_row(title, *(_share(found["ways"][way][key]) for way in WAYS))
    table.add_row("errors", *(str(found["ways"][way]["errors"]) for way in WAYS))
    table.add_row("call complete, p50 / p95 ms", *(_two(found["ways"][way]["call_done_ms"]) for way in WAYS))
    table.add_row(
        "chat: first text, p50 / p95 ms", *(_two(found["ways"][way]["chat_first_ms"]) for way in WAYS)
    )
    added = [found["ways"][way]["chat_added_ms"] for way in WAYS]
    shown = ["-" if one is None else f"{one['p50']:+.0f} / {one['p95']:+.0f}" for one in added]
    table.add_row("... more than without functions", *shown)
    console.print(table)
    console.print(f"without functions: first text after {_two(found['plain_first_ms'])} ms (p50 / p95)")
    console.print(f"results of calls used in the answer: {_share(found['results_spoken'])}")
    load = os.getloadavg()[0]
    console.print(f"load average {load:.1f} on {os.cpu_count()} cores", highlight=False)


def _share(found: tuple[int, int]) -> str:
    n, of = found
    return f"{n} of {of}" if of else "-"


def _two(found: Summary | None) -> str:
    return "-" if found is None else f"{format_ms(found.p50, 0)} / {format_ms(found.p95, 0)}"


def _show_answers(console: Console, found: Run) -> None:
    for way, verdicts in found.verdicts.items():
        for v in verdicts:
            wanted = v.spoken.tool if v.spoken.arguments is not None else "chat"
            is_right = v.right_arguments is True or (v.spoken.arguments is None and not v.called)
            said = f"{v.answer.name} {v.answer.arguments}" if v.called else v.answer.text
            line = f"{'' if is_right else 'WRONG '}{way:>8} {wanted:>20}  {v.spoken.text}  ->  {said}"
            console.print(
                line + (f" ({v.answer.error})" if v.answer.error else ""), markup=False, soft_wrap=True
            )
    for said, is_right in found.spoken_results:
        console.print(f"{'' if is_right else 'WRONG '}  result  {said}", markup=False, soft_wrap=True)
