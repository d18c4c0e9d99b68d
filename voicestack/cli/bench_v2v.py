"""How long does a caller wait for an answer, on the waveform, and how fast does the agent yield?

Every caller holds one conversation over one connection with its microphone always on. A turn is timed from
the last audible sample of the recording, at the instant at which it is spoken, to the first audible sample of
the agent, at the instant at which a client without extra buffer plays it. Callers arrive open loop; the turns
of one conversation follow each other, as they do between people.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_speech import Line
from voicestack.cli.bench_stats import WordErrors, poisson_starts_s, word_errors
from voicestack.cli.client import Caller, call, session_update, wait_for_answer
from voicestack.cli.conversation import Reply
from voicestack.cli.dialing import Link, NoServer, Refused, dial
from voicestack.cli.speaker import CALL_RATE_HZ
from voicestack.cli.waveform import last_audible

Dial = Callable[[str], Awaitable[Link]]

_PER_MS = CALL_RATE_HZ // 1000
_LEAD_IN_MS = 500
_THINK_MS = (400.0, 1200.0)
"""Pause between an answer and the next question, uniform. Long enough for the turn's ledger to arrive."""
_INTERRUPT_AFTER_MS = (300.0, 900.0)
"""How far into the answer an interruption begins, uniform."""
_ANSWER_LIMIT_MS = 60_000
_IGNORED_MS = 1000
"""An agent that speaks on for longer than this did not end by chance: it ignored the interruption."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        url: The server.
        n_turns: Questions in all, dealt out to the callers in turn.
        n_callers: Conversations.
        n_interruptions: Interrupted answers in all, after the questions.
        silence_ms: `silence_duration_ms` of the session.
        rate_per_s: Arrivals of callers, Poisson.
        timeout_ms: An answer that is not heard by then is missing.
        seed: Of everything that is random.
        max_output_tokens: Longest answer, None for the server's.
    """

    url: str
    n_turns: int = 50
    n_callers: int = 1
    n_interruptions: int = 0
    silence_ms: int = 200
    rate_per_s: float = 1.0
    timeout_ms: int = 5000
    seed: int = 1
    max_output_tokens: int | None = None


@dataclass(slots=True)
class Turn:
    """One question.

    `wait_ms` is None when the answer is early or missing; `late_ms` is the wait for one that came too late.
    `harness_late_ms` is how late the bench itself was at worst until the answer began. `refused` means that
    it was never asked, because the server had no room for the call; it counts as missing, too. `asked_ns` is
    when the question was over.
    """

    caller: int
    file: str
    words: str | None
    heard: str = ""
    answer: str = ""
    wait_ms: float | None = None
    early: bool = False
    late_ms: float | None = None
    n_utterances: int = 0
    gap_ms: float = 0.0
    harness_late_ms: float = 0.0
    refused: bool = False
    asked_ns: int = 0
    ledgers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def missing(self) -> bool:
        """Whether no answer was heard in time."""
        return self.wait_ms is None and not self.early

    @property
    def errors(self) -> WordErrors:
        """What was heard against what was said."""
        return WordErrors() if self.words is None else word_errors(self.words, self.heard)


@dataclass(slots=True)
class Interruption:
    """One interrupted answer. `stop_ms` is None when there was nothing to interrupt; `why` says so."""

    caller: int
    stop_ms: float | None = None
    cut: bool = False
    why: str = ""


@dataclass(slots=True)
class Outcome:
    """Everything a run saw. `late_ms` is the harness's own lateness, one figure per frame sent.

    `on_turn` is told each turn when it is over.
    """

    on_turn: Callable[[Turn], None] = lambda _turn: None
    turns: list[Turn] = field(default_factory=list)
    interruptions: list[Interruption] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    connect_ms: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    server_errors: list[str] = field(default_factory=list)

    def add(self, turn: Turn) -> None:
        """Keep a turn."""
        self.turns.append(turn)
        self.on_turn(turn)


async def measure(
    plan: Plan,
    lines: list[Line],
    clock: Clock,
    *,
    outcome: Outcome,
    dial: Dial = dial,
    floor: asyncio.Lock | None = None,
) -> None:
    """Run the plan. What is seen goes into `outcome` at once, so a run that is broken off keeps its turns.

    Whoever shares `floor` takes turns: a question is asked, answered and thought about before the next one.
    """
    rng = random.Random(plan.seed)
    starts_s = poisson_starts_s(plan.n_callers, plan.rate_per_s, rng)
    deck = [line for _ in range(-(-plan.n_turns // len(lines))) for line in rng.sample(lines, len(lines))]
    zero_ns = clock.now_ns()
    async with Scope() as scope:
        tasks = [
            scope.start(
                _Conversationalist(plan, caller, clock, outcome, dial, floor).run(
                    deck[caller : plan.n_turns : plan.n_callers], zero_ns + round(start_s * 1e9), lines
                ),
                name=f"caller {caller}",
            )
            for caller, start_s in enumerate(starts_s)
        ]
        await asyncio.wait(tasks)


class _Conversationalist:
    """One caller of the bench."""

    def __init__(
        self,
        plan: Plan,
        number: int,
        clock: Clock,
        outcome: Outcome,
        dial: Dial,
        floor: asyncio.Lock | None,
    ) -> None:
        self._dial = dial
        self._floor = floor or asyncio.Lock()
        self._plan = plan
        self._number = number
        self._clock = clock
        self._outcome = outcome
        self._rng = random.Random(plan.seed * 1_000_003 + number)

    async def run(self, questions: list[Line], start_ns: int, lines: list[Line]) -> None:
        """Call at `start_ns`, ask, interrupt, hang up. A call that fails leaves its questions unanswered."""
        plan, seen = self._plan, self._outcome
        await asyncio.sleep(max(0.0, (start_ns - self._clock.now_ns()) / 1e9))
        update = session_update(silence_ms=plan.silence_ms, max_output_tokens=plan.max_output_tokens)
        left = list(questions)
        n_cuts = len(range(self._number, plan.n_interruptions, plan.n_callers))
        try:
            async with call(plan.url, self._clock, update=update, dial=self._dial) as caller:
                seen.connect_ms.append((self._clock.now_ns() - start_ns) / 1e6)
                try:
                    await self._pause(caller, _LEAD_IN_MS)
                    while left:
                        async with self._floor:
                            seen.add(await self._ask(caller, left[0]))
                            left.pop(0)
                            await self._pause(caller, self._rng.uniform(*_THINK_MS))
                    for _ in range(n_cuts):
                        async with self._floor:
                            over = self._rng.choices(lines, k=2)
                            seen.interruptions.append(await self._interrupt(caller, *over))
                            await self._pause(caller, self._rng.uniform(*_THINK_MS))
                finally:
                    seen.late_ms += caller.late_ms
                    seen.server_errors += [str(error.get("message")) for error in caller.conversation.errors]
        except NoServer as gone:
            seen.failures.append(f"caller {self._number}: {gone}")
            for line in left:
                refused, now_ns = isinstance(gone, Refused), self._clock.now_ns()
                seen.add(Turn(self._number, line.file, line.words, refused=refused, asked_ns=now_ns))

    async def _pause(self, caller: Caller, ms: float) -> None:
        await caller.until(lambda: False, by_sample=caller.now_sample() + ms * _PER_MS)

    async def _ask(self, caller: Caller, line: Line) -> Turn:
        """Say one line and hear the answer out."""
        seen, timeout = caller.conversation, self._plan.timeout_ms * _PER_MS
        n_heard, n_replies, n_ledgers = len(seen.utterances), len(seen.replies), len(seen.measured)
        n_gaps, n_sent = caller.speaker.gap_samples, len(caller.late_ms)
        said = caller.say(line.pcm)
        speech_end = said.start_sample + line.last_speech
        await caller.until(lambda: caller.now_sample() >= said.end_sample)
        answered = await caller.until(
            lambda: caller.speaker.end_sample > speech_end, by_sample=speech_end + timeout
        )
        harness_late_ms = max(caller.late_ms[n_sent:], default=0.0)
        patience = _ANSWER_LIMIT_MS * _PER_MS if answered else timeout
        await caller.until(caller.is_settled, by_sample=caller.now_sample() + patience)
        wait = wait_for_answer(caller.speaker, said, line.last_speech)
        in_time = wait.ms is not None and wait.ms <= self._plan.timeout_ms
        turn = Turn(self._number, line.file, line.words, early=wait.early)
        turn.asked_ns = caller.timeline.ns_of(speech_end)
        turn.wait_ms, turn.late_ms = (wait.ms, None) if in_time else (None, wait.ms)
        turn.harness_late_ms = harness_late_ms
        turn.gap_ms = (caller.speaker.gap_samples - n_gaps) / _PER_MS
        await caller.until(
            lambda: len(seen.measured) > n_ledgers, by_sample=caller.now_sample() + 300 * _PER_MS
        )
        turn.heard = " ".join(item.text for item in seen.utterances[n_heard:] if item.text)
        turn.n_utterances = len(seen.utterances) - n_heard
        turn.answer = " ".join(reply.text.strip() for reply in seen.replies[n_replies:])
        turn.ledgers = [dict(measured.ledger) for measured in seen.measured[n_ledgers:]]
        return turn

    async def _interrupt(self, caller: Caller, question: Line, interjection: Line) -> Interruption:
        """Ask, let the agent begin, and speak over it."""
        seen, timeout = caller.conversation, self._plan.timeout_ms * _PER_MS
        n_replies = len(seen.replies)
        said = caller.say(question.pcm)
        speech_end = said.start_sample + question.last_speech
        await caller.until(lambda: caller.now_sample() >= said.end_sample)
        if not await caller.until(
            lambda: caller.speaker.end_sample > speech_end, by_sample=speech_end + timeout
        ):
            return Interruption(self._number, why="no answer")
        await self._pause(caller, self._rng.uniform(*_INTERRUPT_AFTER_MS))
        replies = seen.replies[n_replies:]
        over = caller.say(interjection.pcm)
        await caller.until(lambda: caller.now_sample() >= over.end_sample)
        await caller.until(caller.is_settled, by_sample=caller.now_sample() + _ANSWER_LIMIT_MS * _PER_MS)
        return self._stopped(caller, replies, over.start_sample + interjection.first_speech)

    def _stopped(self, caller: Caller, replies: list[Reply], first_speech: int) -> Interruption:
        """When the answers that were being given fell silent, after the user's first sample of speech."""
        result = Interruption(self._number, cut=any(reply.cut_ms is not None for reply in replies))
        last = -1
        for reply in replies:
            heard = last_audible(caller.speaker.render(item_id=reply.item_id), CALL_RATE_HZ)
            last = max(last, -1 if heard is None else heard)
        stop_ms = (last + 1 - first_speech) / _PER_MS
        if stop_ms <= 0 or (not result.cut and stop_ms < _IGNORED_MS):
            result.why = "the answer was over"
        else:
            result.stop_ms = stop_ms
        return result
