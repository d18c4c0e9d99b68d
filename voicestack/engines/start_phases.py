"""Where did the time go until a server could be used? Read off its log, and off our own clock.

The log says when a phase began (the line that tells of it) and how long another took (in words). Both are
kept in one order, and whatever no line speaks of belongs to the phase before it: the phases add up to the
whole. Lines are those of vLLM 0.26 to 0.33 and of llama-server; an unknown line is no harm.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

PHASES = ("import", "configure", "engine", "weights", "compile", "graphs", "memory", "listen")
"""In order. What they are:

- import: from spawning the process to its first word (the interpreter, its imports).
- configure: until it begins to make the engine (for vLLM: the model's configuration, a second process).
- engine: until it begins to load the model.
- weights: until they are loaded.
- compile: what torch.compile took, or loading what it left in its cache.
- graphs: what capturing CUDA graphs took.
- memory: the rest until the engine is there: profiling, the KV cache, a warm-up run.
- listen: until it can be used.
"""

MARKS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("engine", re.compile(r"Initializing a V1 LLM engine|llama_server: initializing")),
    ("weights", re.compile(r"Starting to load model|load_model: loading model|Loading model from")),
    ("memory", re.compile(r"Loading weights took|Model loading took|load_model: initializing, n_slots")),
    ("listen", re.compile(r"init engine \(|llama_server: model loaded")),
)
"""The phase that begins when a line like this comes, for the last time if it comes again: "Model loading
took" follows "Loading weights took" by the time that processing the weights takes."""

DURATIONS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("compile", re.compile(r"torch\.compile (?:took|takes) ([\d.]+) s in total")),
    ("compile", re.compile(r"\(compilation: ([\d.]+) s")),
    ("graphs", re.compile(r"^(?!.*Encoder).*Graph capturing finished in ([\d.]+) secs")),
)
"""Parts of the phase `memory` that the log tells in seconds. vLLM gives graphs as whole seconds."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log, and when it came: seconds since the process was spawned."""

    at_s: float
    text: str


def begins(text: str) -> str | None:
    """The phase that begins with this line of the log, None if none does."""
    return next((phase for phase, pattern in MARKS if pattern.search(text)), None)


def took(text: str) -> tuple[str, float] | None:
    """The phase that took so many seconds, as this line tells, None if it does not."""
    for phase, pattern in DURATIONS:
        if found := pattern.search(text):
            return phase, float(found[1])
    return None


def tells(text: str) -> bool:
    """Whether the line says something of a phase."""
    return begins(text) is not None or took(text) is not None


def phases_s(lines: Sequence[Line], ready_s: float | None) -> dict[str, float]:
    """What each phase took, in seconds, and the `total`; those that have not been reached are left out. Pure.

    Args:
        lines: What the process wrote until it was ready, oldest first; the first one, and those that `tells`
            lets through, are enough. A process that writes nothing has only a total.
        ready_s: When it could be used; None if it cannot yet.
    """
    if not lines:
        return {} if ready_s is None else {"total": ready_s}
    starts = {"import": 0.0}
    told: dict[str, float] = {}
    reached = 0
    for line in lines:
        phase = "configure" if "configure" not in starts else begins(line.text)
        if phase == "configure" and (at_once := begins(line.text)):
            starts["configure"], phase = line.at_s, at_once
        if phase is not None and PHASES.index(phase) >= reached:
            reached = PHASES.index(phase)
            starts[phase] = line.at_s
        if duration := took(line.text):
            told[duration[0]] = max(told.get(duration[0], 0.0), duration[1])
    ends = sorted(starts.values())[1:] + ([ready_s] if ready_s is not None else [])
    measured = {
        phase: end - start
        for (phase, start), end in zip(sorted(starts.items(), key=_order), ends, strict=False)
    }
    if "memory" in measured:
        for phase, value_s in told.items():
            part_s = min(value_s, measured["memory"])
            measured[phase] = part_s
            measured["memory"] -= part_s
    in_order = {phase: measured[phase] for phase in PHASES if phase in measured}
    return in_order | {"total": ready_s} if ready_s is not None else in_order


def _order(start: tuple[str, float]) -> tuple[float, int]:
    return start[1], PHASES.index(start[0])
