"""In which order is everything measured, and with whose engines? The effects of `voicestack gate`.

The engines run alone first, each started once, and are stopped before the next one starts: a GPU does not
hold two language models. Then a server of its own answers callers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from voicestack.aio.clock import Clock
from voicestack.cli.bench_server import free_port, http_get, own_server
from voicestack.cli.gate_equality import Difference, differences
from voicestack.cli.gate_latency import (
    Load,
    LoadPlan,
    levels_of,
    measure_capacity,
    measure_levels,
    read_totals,
)
from voicestack.cli.gate_quality import (
    Measured,
    measure_answers,
    measure_asr,
    measure_tools,
    measure_tts,
    warm_up,
)
from voicestack.cli.gate_record import Capacity
from voicestack.cli.gate_set import LabelledSet
from voicestack.cli.own_engines import own_asr, own_llm, own_tts
from voicestack.config.schema import Config
from voicestack.core.errors import ConfigError
from voicestack.core.history import Message

PARTS = ("asr", "llm", "tools", "tts", "v2v")
PLAIN_HTTP = ("tls.self_signed=false", "tls.cert_file=", "tls.key_file=", "server.host=127.0.0.1")
"""Of the gate's own server, whatever the configuration says: it is asked on this machine."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be measured.

    Attributes:
        parts: Some of `PARTS`.
        config: In force, with a greedy language model for the quality figures.
        ear: Whose recogniser hears the voice.
        labelled: The set.
        start_s: Engines may take so long to become ready.
        tell: Is told each line of progress.
        tell_more: Is told each answer.
    """

    parts: frozenset[str]
    config: Config
    ear: Config
    labelled: LabelledSet
    start_s: float
    tell: Callable[[str], None] = lambda _line: None
    tell_more: Callable[[str], None] = lambda _line: None


async def measure_quality(job: Job, clock: Clock) -> Measured:
    """Everything that needs no server.

    Raises:
        ConfigError: an engine's package or file is missing.
        StageUnavailable: an engine does not start.
    """
    found = Measured()
    labelled, tell = job.labelled, job.tell_more
    if "asr" in job.parts and labelled.recordings:
        job.tell("the speech recogniser ...")
        async with own_asr(job.config, clock, limit_s=job.start_s) as asr:
            await measure_asr(asr, clock, labelled, found, tell)
    if "tts" in job.parts and labelled.sentences:
        job.tell("the voice, as a recogniser hears it ...")
        async with (
            own_asr(job.ear, clock, limit_s=job.start_s) as ear,
            own_tts(job.config, clock, limit_s=job.start_s) as tts,
        ):
            await measure_tts(tts, ear, clock, labelled, found, tell)
    await measure_words(job, job.config, clock, found)
    return found


async def measure_words(job: Job, config: Config, clock: Clock, found: Measured) -> None:
    """What the language model of a configuration answers and calls."""
    labelled, instructions = job.labelled, Message("system", config.session.instructions)
    asks = "llm" in job.parts and bool(labelled.dialogues)
    calls = "tools" in job.parts and labelled.questions is not None
    if not asks and not calls:
        return
    job.tell("the language model ...")
    async with own_llm(config, clock, limit_s=job.start_s) as llm:
        await warm_up(llm, clock, instructions)
        if asks:
            await measure_answers(llm, clock, instructions, labelled, found, job.tell_more)
        if calls and labelled.questions is not None:
            await measure_tools(llm, clock, instructions, labelled.questions, found, job.tell_more)


async def measure_equality(job: Job, other: Config, clock: Clock, found: Measured) -> list[Difference]:
    """Ask the language model of another configuration the same. An answer that failed is not the same."""
    job.tell("the language model of --against ...")
    there = Measured()
    await measure_words(job, other, clock, there)
    failed = {key: f"[{code}]" for key, code in found.errors.items() if key in found.texts}
    failed_there = {key: f"[{code} there]" for key, code in there.errors.items() if key in there.texts}
    return differences(found.texts | failed, there.texts | failed_there)


@dataclass(frozen=True, slots=True)
class Underload:
    """What is measured under load.

    Attributes:
        options: Of `voicestack serve`.
        n_repeats, n_turns_each, n_turns_least, timeout_ms: See `LoadPlan`.
        capacity: What is known of it; None to measure it.
        n_callers_most: More are not tried then.
        levels: Numbers of callers instead of the usual; empty for these.
    """

    options: tuple[str, ...]
    n_repeats: int = 3
    n_turns_each: int = 3
    n_turns_least: int = 20
    timeout_ms: int = 5000
    capacity: Capacity | None = None
    n_callers_most: int = 64
    levels: tuple[int, ...] = field(default=())


async def measure_load(job: Job, load: Underload, clock: Clock) -> tuple[Load, Capacity | None]:
    """Start a server, find its capacity unless that is known, and measure all levels.

    Raises:
        ConfigError: the labelled set has no recordings for the callers.
        NoServer: the server does not start.
    """
    lines = [recording.line for recording in job.labelled.recordings]
    if not lines:
        raise ConfigError("the labelled set has no recordings: callers have nothing to say (--only ...)")
    port, config = free_port(), job.config
    url = f"ws://127.0.0.1:{port}"
    plan = LoadPlan(
        url,
        config.turn.silence_duration_ms,
        *(load.n_repeats, load.n_turns_each, load.n_turns_least, load.timeout_ms),
    )
    sets = [word for one in PLAIN_HTTP for word in ("--set", one)]
    job.tell("a server ...")
    async with own_server([*load.options, *sets], port=port, cpu=None, ready_s=job.start_s):
        capacity = load.capacity
        if capacity is None and not load.levels:
            job.tell(f"its capacity: all answered, p95 within {config.budget.turn_ms} ms ...")
            short = LoadPlan(plan.url, plan.silence_ms, 1, 2, 6, plan.timeout_ms)
            n_callers = await measure_capacity(
                short, config.budget.turn_ms, load.n_callers_most, lines, clock, tell=job.tell
            )
            capacity = Capacity(n_callers, "measured")
        levels: Sequence[int] = load.levels or levels_of(capacity.n_callers if capacity else 1)
        job.tell(f"voice to voice with {', '.join(str(level) for level in levels)} callers ...")
        found = await measure_levels(plan, levels, lines, clock, tell=job.tell)
        found.details["metrics"] = read_totals((await http_get(port, "/metrics"))[1])
    return found, capacity


def details_of(found: Measured, load: Load | None, against: dict[str, Any] | None) -> dict[str, Any]:
    """What a record holds besides its figures."""
    kept: dict[str, Any] = {"heard": found.heard, "errors": found.errors}
    if load is not None:
        kept["load"] = load.details
    if against is not None:
        kept["against"] = against
    return kept
