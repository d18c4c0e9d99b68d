"""`voicestack gate`: is this configuration as good and as quick as the one that was accepted?

Exit codes: 0 passed, 1 regressed, 2 it cannot be said (no record, an engine that does not start).
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from voicestack.aio.clock import SystemClock
from voicestack.cli.gate_equality import Difference
from voicestack.cli.gate_latency import n_disturbed
from voicestack.cli.gate_options import MEASURE, add_arguments
from voicestack.cli.gate_quality import Measured
from voicestack.cli.gate_record import (
    Capacity,
    Machine,
    Record,
    new_record,
    read_record,
    this_machine,
    values_of,
    write_record,
)
from voicestack.cli.gate_report import (
    show_advice,
    show_changed_texts,
    show_changes,
    show_differences,
    show_findings,
)
from voicestack.cli.gate_run import (
    PARTS,
    Job,
    Underload,
    details_of,
    measure_equality,
    measure_load,
    measure_quality,
)
from voicestack.cli.gate_set import LabelledSet, read_set
from voicestack.cli.gate_verdict import Finding, Run, Terms, Verdict, compare
from voicestack.config.load import Loaded, load
from voicestack.core.errors import ConfigError, VoiceStackError

__all__ = ["add_arguments", "run"]

PASSED, REGRESSED, CANNOT_SAY = 0, 1, 2
BUSY_RATIO = 0.5
"""Of its cores, before the gate begins: whatever runs then is not what is measured."""
TEXTS_SHOWN, ERRORS_SHOWN = 3, 3
IN_PIPE_COLUMNS = 160
"""A log of CI has whole names."""
GREEDY = "llm.temperature=0.0"
QUICK_TURNS_EACH, QUICK_TURNS_LEAST = 1, 10


def run(args: argparse.Namespace) -> int:
    """Measure, compare, and say what came of it. Returns the exit code.

    Raises:
        ConfigError: the configuration, the labelled set or the record cannot be used.
    """
    try:
        return _run(args)
    except ConfigError:
        raise
    except VoiceStackError as failed:
        print(f"voicestack gate: {failed} [{failed.code}]", file=sys.stderr)
        return CANNOT_SAY


def _run(args: argparse.Namespace) -> int:
    console = Console(width=None if sys.stdout.isatty() else IN_PIPE_COLUMNS)
    if args.accept not in (None, MEASURE):
        return _accept_run(args, console, read_record(Path(args.accept)))
    if args.accept and args.only:
        raise ConfigError("--accept needs every part: leave --only out")
    if args.against and not {"llm", "tools"} & set(args.only or PARTS):
        raise ConfigError("--against compares answers: --only needs llm or tools")
    loaded = load(args.config, env=os.environ, sets=args.set)
    labelled = read_set(args.labelled)
    accepted = _accepted(args)
    record, parted = asyncio.run(_measure(args, loaded, labelled, accepted, console))
    if args.out is not None:
        write_record(args.out, record)
    terms = Terms(
        labelled.limits,
        frozenset(args.only or PARTS),
        accepted is None or accepted.machine.is_like(record.machine),
        args.strict,
    )
    findings = compare(accepted.run if accepted else Run(), record.run, terms)
    console.print()
    if accepted is not None:
        show_changes(console, accepted, record)
    show_findings(console, findings)
    console.print()
    if accepted is not None:
        show_changed_texts(console, accepted, record, None if args.verbose else TEXTS_SHOWN)
    show_advice(console, findings, args.record, args.out)
    return _conclude(args, console, record, findings, parted, accepted is not None)


def _accept_run(args: argparse.Namespace, console: Console, record: Record) -> int:
    """Accept a run that was made before. Raises ConfigError when it may not be."""
    if left_out := [part for part in PARTS if part not in record.parts]:
        raise ConfigError(f"{args.accept}: {', '.join(left_out)} was left out; a record needs every part")
    findings = compare(Run(), record.run, Terms(read_set(args.labelled).limits, frozenset(PARTS)))
    too_bad = [one for one in findings if one.verdict is Verdict.TOO_BAD]
    if too_bad or record.details.get("against", {}).get("different"):
        show_findings(console, too_bad)
        return _refuse(console)
    write_record(args.record, record)
    console.print(f"[bold green]accepted[/]: {args.record} is the run of {record.day}", highlight=False)
    return PASSED


def _refuse(console: Console) -> int:
    console.print(
        "[bold red]not accepted[/]: a limit of the labelled set is broken, or greedy answers differ"
    )
    return REGRESSED


def _accepted(args: argparse.Namespace) -> Record | None:
    """What is compared with. Who accepts a new one need not have one."""
    if not args.accept:
        return read_record(args.record)
    with suppress(ConfigError):
        return read_record(args.record)
    return None


def _conclude(
    args: argparse.Namespace,
    console: Console,
    record: Record,
    findings: list[Finding],
    parted: list[Difference],
    is_compared: bool,
) -> int:
    """The last word, and the exit code."""
    if args.accept:
        if parted or any(one.verdict is Verdict.TOO_BAD for one in findings):
            return _refuse(console)
        write_record(args.record, record)
        console.print(f"[bold green]accepted[/]: {args.record}", highlight=False)
        return PASSED
    n_failing = sum(one.fails for one in findings)
    if n_failing or parted:
        what = [f"{n_failing} figures"] if n_failing else []
        what += [f"{len(parted)} greedy answers"] if parted else []
        console.print(f"[bold red]the gate fails[/]: {' and '.join(what)}", highlight=False)
        return REGRESSED
    if is_compared and not any(one.accepted is not None for one in findings):
        console.print(
            "[bold red]nothing could be compared[/]: the record is of another set, or of other parts"
        )
        return CANNOT_SAY
    console.print("[bold green]passed[/]")
    return PASSED


async def _measure(
    args: argparse.Namespace, loaded: Loaded, labelled: LabelledSet, accepted: Record | None, console: Console
) -> tuple[Record, list[Difference]]:
    """Everything that is asked for. Returns the record, and the greedy answers that differ."""
    clock, machine, busy = SystemClock(), this_machine(), os.getloadavg()[0]
    if busy > BUSY_RATIO * machine.n_cores:
        console.print(f"[yellow]this machine is busy (load average {busy:.1f}): times will say little[/]")
    job = _job(args, labelled, console)
    others = args.against or without_speculation(values_of(loaded))
    other = load(args.config, env=os.environ, sets=[*args.set, *_against(others), GREEDY]).config
    known = known_capacity(args.capacity, loaded, accepted, machine)
    found = await measure_quality(job, clock)
    parted: list[Difference] = []
    against = None
    if found.texts and others:
        parted = await measure_equality(job, other, clock, found)
        against = {"sets": others, "different": [asdict(one) for one in parted]}
        show_differences(console, parted, len(found.texts), " ".join(others))
    load_found, capacity = None, None
    if "v2v" in job.parts:
        load_found, capacity = await measure_load(job, _underload(args, known), clock)
        if n := n_disturbed(load_found.details):
            console.print(
                f"[yellow]{n} turns with late callers: this machine is too busy to say how quick it is[/]"
            )
    _warn_of_errors(console, found)
    record = new_record(
        loaded,
        machine=machine,
        labelled=labelled.name,
        quick=args.quick,
        parts=sorted(job.parts),
        capacity=capacity,
        figures=found.figures | (load_found.figures if load_found else {}),
        texts=found.texts,
        details={"load_average_before": busy, **details_of(found, load_found, against)},
    )
    return record, parted


def _job(args: argparse.Namespace, labelled: LabelledSet, console: Console) -> Job:
    greedy = load(args.config, env=os.environ, sets=[*args.set, GREEDY]).config
    ear = load(args.config, env=os.environ, sets=[*args.set, *args.ear]).config

    def tell(line: str) -> None:
        console.print(Text(line, "dim"), soft_wrap=True)

    part = labelled.quick() if args.quick else labelled
    job = Job(frozenset(args.only or PARTS), greedy, ear, part, args.start_s, tell)
    return replace(job, tell_more=tell) if args.verbose else job


def _underload(args: argparse.Namespace, known: Capacity | None) -> Underload:
    options = ["--config", args.config] if args.config else []
    options += [word for one in args.set for word in ("--set", one)]
    plan = partial(
        Underload, tuple(options), capacity=known, timeout_ms=args.timeout_ms, levels=tuple(args.levels)
    )
    if args.quick:
        return plan(
            n_repeats=args.repeats or 1, n_turns_each=QUICK_TURNS_EACH, n_turns_least=QUICK_TURNS_LEAST
        )
    return plan(n_repeats=args.repeats or 3)


def known_capacity(
    given: str | None, loaded: Loaded, accepted: Record | None, machine: Machine
) -> Capacity | None:
    """What is known of it, None when it must be measured: what is given, else what was accepted here.

    Raises:
        ConfigError: what is given is no capacity.
    """
    if given == "configured":
        return Capacity(loaded.config.server.max_sessions, "configured")
    if given == "measured":
        return None
    if given is not None:
        if not given.isdecimal() or int(given) < 1:
            raise ConfigError(f"--capacity {given}: a number, 'configured' or 'measured'")
        return Capacity(int(given), "given")
    if accepted is not None and accepted.capacity is not None and accepted.machine.is_like(machine):
        return Capacity(accepted.capacity.n_callers, "accepted")
    return None


def without_speculation(values: Mapping[str, Any]) -> list[str]:
    """What takes speculative decoding out of a configuration; nothing where there is none.

    Speculation may change how fast answers come, and never what they say: that is checked unasked.
    """
    speculates = values.get("llm.engine") == "vllm" and values.get("vllm.speculation", "off") != "off"
    return ["vllm.speculation=off"] if speculates else []


def _against(given: list[str]) -> list[str]:
    """Keys to set; an address stands for a server with the OpenAI API."""
    sets = []
    for one in given:
        words = one.removeprefix("--set").strip()
        sets += ["llm.engine=openai", f"llm.url={words}"] if "://" in words.partition("=")[0] else [words]
    return sets


def _warn_of_errors(console: Console, found: Measured) -> None:
    if found.errors:
        some = ", ".join(f"{key} [{code}]" for key, code in list(found.errors.items())[:ERRORS_SHOWN])
        line = f"{len(found.errors)} requests failed, and count as wrong: {some}"
        console.print(Text(line, "red"), soft_wrap=True)
