"""What does a caller hear while a stage fails? One conversation per cell, its turns timed on the waveform."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from voicestack.aio.clock import Clock
from voicestack.cli.bench_speech import Line
from voicestack.cli.client import Caller, call, session_update, wait_for_answer
from voicestack.cli.dialing import NoServer
from voicestack.cli.fault_cells import Cell
from voicestack.cli.fault_proxy import HEALTHY, FaultProxy
from voicestack.cli.speaker import CALL_RATE_HZ
from voicestack.core.turn_record import DEAD_AIR_MS

_PER_MS = CALL_RATE_HZ // 1000
_LEAD_IN_MS = 400
_THINK_MS = (400.0, 900.0)
"""Pause before the next question, uniform."""
_LEDGER_MS = 700
"""The turn's ledger comes when the answer is over; what has been cancelled is over at once."""

Ledger = Mapping[str, Any]
Result = Literal["answered", "declared", "missed"]


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """How a cell is measured.

    Attributes:
        url: The server under test.
        n_turns: Questions while the stage fails. One more is asked when all is well again.
        n_before: Questions before the fault.
        seed: Of the order of the recordings; every cell has the same.
        timeout_ms: A turn is over when nothing was said for so long, from the end of the question.
        silence_ms: `silence_duration_ms` of the session.
        max_output_tokens: Longest answer.
    """

    url: str
    n_turns: int = 3
    seed: int = 1
    timeout_ms: int = 8_000
    silence_ms: int = 500
    max_output_tokens: int = 24
    n_before: int = 1

    def at(self, url: str) -> "FaultPlan":
        """The same, of that server."""
        return replace(self, url=url)


@dataclass(slots=True)
class FaultTurn:
    """One question, and what came of it.

    Attributes:
        phase: `before` the fault, while it `lasts`, `after` it.
        file: The recording.
        heard_ms: From the last audible sample of the user to the first of the agent, whatever it said; None
            for nothing before the turn was given up.
        early: The agent spoke before the user had finished.
        gap_ms: Silence in the middle of what was said, because it had run dry.
        said: The agent's words.
        ledgers: The server's own account: one, unless the question was taken for several.
        errors: What the server complained about to the client.
        harness_late_ms: How late the bench itself was at worst.
    """

    phase: Literal["before", "lasts", "after"]
    file: str
    heard_ms: float | None = None
    early: bool = False
    gap_ms: float = 0.0
    said: str = ""
    ledgers: list[Ledger] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    harness_late_ms: float = 0.0

    @property
    def rungs(self) -> list[str]:
        """Those that were taken, in order."""
        return [str(taken["rung"]) for ledger in self.ledgers for taken in ledger.get("rungs", ())]

    @property
    def is_answered(self) -> bool:
        """Whether an answer was heard. An apology, a filler and a refusal are none."""
        return self.answer_ms is not None

    @property
    def is_declared(self) -> bool:
        """Whether the ledger says that something took the place of the answer, for a while or for good."""
        return any(rung in ("filler", "refusal") for rung in self.rungs)

    @property
    def result(self) -> Result:
        """What became of it."""
        return "answered" if self.is_answered else "declared" if self.is_declared else "missed"

    @property
    def is_dead_air(self) -> bool:
        """Whether nothing at all was heard for too long."""
        return not self.early and (self.heard_ms is None or self.heard_ms > DEAD_AIR_MS)

    @property
    def answer_ms(self) -> float | None:
        """Until the answer was heard; None if there was none.

        Both voices are the agent's, so the waveform cannot tell a filler from an answer: where the ledger has
        a filler, its distance from the answer's first sample is added to what the waveform says.
        """
        if self.heard_ms is None or self.early:
            return None
        for ledger in self.ledgers:
            marks: Mapping[str, float] = ledger.get("marks_ms", {})
            sent_ms = marks.get("first_sent")
            if ledger.get("outcome") in ("answered", "interrupted") and sent_ms is not None:
                return self.heard_ms + max(0.0, sent_ms - marks.get("filler_sent", sent_ms))
        return None

    @property
    def budget_ms(self) -> float | None:
        """What the server allowed it."""
        return next((ledger.get("budget_ms") for ledger in self.ledgers), None)


@dataclass(slots=True)
class CellRun:
    """One cell, measured. `failure` says why its conversation ended, if it did."""

    cell: Cell
    turns: list[FaultTurn] = field(default_factory=list)
    failure: str = ""

    def during(self) -> list[FaultTurn]:
        """The turns in which the stage failed; all of them where nothing does."""
        return [turn for turn in self.turns if turn.phase == "lasts" or self.cell.kind == "none"]

    @property
    def is_recovered(self) -> bool:
        """Whether the first question afterwards was answered."""
        return any(turn.phase == "after" and turn.is_answered for turn in self.turns)


async def run_cell(
    cell: Cell, proxies: Mapping[str, FaultProxy], plan: FaultPlan, lines: Sequence[Line], clock: Clock
) -> CellRun:
    """Hold one conversation: a question, the fault, questions while it lasts, its end, a question.

    The proxy is healthy again when this returns. A server that hangs up is a result, not an error.
    """
    run, proxy = CellRun(cell), proxies[cell.stage]
    rng = random.Random(plan.seed)
    questions = [rng.choice(lines) for _ in range(plan.n_before + plan.n_turns + 1)]
    update = session_update(silence_ms=plan.silence_ms, max_output_tokens=plan.max_output_tokens)
    try:
        async with call(plan.url, clock, update=update) as caller:
            await _pause(caller, _LEAD_IN_MS)
            for n, line in enumerate(questions):
                n_failed = n - plan.n_before
                lasts = 0 <= n_failed < plan.n_turns
                await proxy.become(cell.fault(n_failed) if lasts else HEALTHY)
                turn = FaultTurn("lasts" if lasts else "before" if n_failed < 0 else "after", line.file)
                run.turns.append(turn)
                await _ask(caller, line, turn, plan.timeout_ms)
                await _pause(caller, rng.uniform(*_THINK_MS))
    except NoServer as gone:
        run.failure = str(gone)
    finally:
        await proxy.become(HEALTHY)
    return run


async def _ask(caller: Caller, line: Line, turn: FaultTurn, timeout_ms: int) -> None:
    """Say one line, wait until the agent has done what it will do about it, and write that down."""
    seen = caller.conversation
    n_replies, n_ledgers, n_errors = len(seen.replies), len(seen.measured), len(seen.errors)
    n_gaps, n_sent = caller.speaker.gap_samples, len(caller.late_ms)
    said = caller.say(line.pcm)
    speech_end = said.start_sample + line.last_speech
    await caller.until(lambda: caller.now_sample() >= said.end_sample)

    def is_over() -> bool:
        told = seen.measured[n_ledgers:]
        return bool(told) and caller.is_settled() and not is_promise(told[-1].ledger)

    by = speech_end + timeout_ms * _PER_MS
    while not await caller.until(is_over, by_sample=by):
        heard_to = caller.speaker.end_sample
        if heard_to + timeout_ms * _PER_MS <= by or heard_to <= speech_end:
            # Nothing has been said for so long: give up, as a caller would. Perhaps nothing is meant to be.
            await caller.send({"type": "response.cancel"})
            await caller.until(is_over, by_sample=caller.now_sample() + _LEDGER_MS * _PER_MS)
            break
        by = heard_to + timeout_ms * _PER_MS
    wait = wait_for_answer(caller.speaker, said, line.last_speech)
    turn.heard_ms, turn.early = wait.ms, wait.early
    turn.harness_late_ms = max(caller.late_ms[n_sent:], default=0.0)
    turn.gap_ms = (caller.speaker.gap_samples - n_gaps) / _PER_MS
    turn.said = " ".join(reply.text.strip() for reply in seen.replies[n_replies:])
    turn.ledgers = [dict(measured.ledger) for measured in seen.measured[n_ledgers:]]
    turn.errors = [str(error.get("code")) for error in seen.errors[n_errors:]]


def is_promise(ledger: Ledger) -> bool:
    """Whether something was said only to fill a silence, so that more must follow."""
    rungs = [taken["rung"] for taken in ledger.get("rungs", ())]
    return rungs[-1:] == ["filler"] and ledger.get("outcome") in ("refused", "silent")


async def _pause(caller: Caller, ms: float) -> None:
    await caller.until(lambda: False, by_sample=caller.now_sample() + ms * _PER_MS)


def turns_of(runs: Iterable[CellRun]) -> list[FaultTurn]:
    """The turns that count, of all these cells."""
    return [turn for run in runs for turn in run.during()]
