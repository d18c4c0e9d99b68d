"""`voicestack bench priming`: how much of a prompt's prefill is over when the user stops speaking?

It starts the configured language model (or asks the one that `llm.url` names) and has it answer in rounds of
all kinds, so that a machine that is busy otherwise disturbs them alike:

- `cold`: a conversation that the server has never seen; the whole prompt is asked at once.
- `primed`: another one; its prompt is primed as in a session, while the user speaks.
- `floor`: the same prompt once more, all of it in the KV cache: what is left without any prefill.
- `beside`: the same again, asked while the server primes a new conversation of somebody else: what priming
  costs those whose turn it is.

Hidden is the part of the way from `cold` to `floor` that `primed` has come. With `--warm-history` the
conversation is in the cache before the user speaks, as in a usual turn, and only his words are at stake.
"""

import argparse
import asyncio
import os
import random
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from voicestack.aio.clock import Clock, SystemClock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_report import format_ms
from voicestack.cli.bench_stats import Summary, summarise
from voicestack.cli.own_engines import own_llm
from voicestack.config.load import load
from voicestack.config.schema import Config
from voicestack.core.answers import LlmAnswer
from voicestack.core.errors import ConfigError, StageError
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId, UtteranceId
from voicestack.core.prompt_room import context_tokens_of
from voicestack.engines.openai_llm import OpenAiLlm
from voicestack.ports import LlmRequest
from voicestack.session.primer import Primer

SUMMARY = "how much of the prefill is hidden while the user speaks"
KINDS = ("cold", "primed", "floor", "beside")
PRIMING_S = 0.3
"""So far into the other's prime the question comes: a server that computes one prompt at a time is busy."""
FIRST_TOKEN_MS = 60_000
"""No cold prompt is cut off."""
TARGET_SHARE = 0.7
"""Of the prefill of 600 tokens of history: what the project asks of itself."""
ANSWER_TOKENS = 16
"""Enough for the first clause."""
QUESTION = "could you please tell me once more what the capital city of France is called"
SUBJECTS = (
    "library",
    "museum",
    "station",
    "garden",
    "market",
    "harbour",
    "theatre",
    "bakery",
    "school",
    "bridge",
)
THINGS = ("opens at nine", "is near the river", "was built long ago", "has a red door", "closes on Sunday")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument("--config", default=None, metavar="PROFILE|FILE", help="as of `serve` (embedded)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set one key, e.g. llm.url=..."
    )
    parser.add_argument("--trials", type=int, default=15, help="of each kind (default: %(default)s)")
    parser.add_argument(
        "--history-tokens", type=int, default=600, help="length of the conversation (default: %(default)s)"
    )
    parser.add_argument("--wpm", type=float, default=170, help="words a minute (default: %(default)s)")
    parser.add_argument(
        "--warm-history", action="store_true", help="the conversation is in the cache already"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the conversations (default: %(default)s)")


@dataclass(slots=True)
class Run:
    """Everything that was seen, by kind."""

    answers: dict[str, list[LlmAnswer]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    n_failed: int = 0


def run(args: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """Measure. Returns the exit code and the figures.

    Raises:
        ConfigError: the configuration cannot be used, or the conversation does not fit.
    """
    sets = [f"llm.first_token_ms={FIRST_TOKEN_MS}", *args.set]
    config = load(args.config, env=os.environ, sets=sets).config
    room_tokens = config.llm.context_tokens - config.llm.max_tokens - 100
    if args.history_tokens > room_tokens:
        raise ConfigError(f"--history-tokens {args.history_tokens}: llm.context_tokens leaves {room_tokens}")
    found = asyncio.run(_measure(config, args))
    result = figures(found)
    _show(Console(), result, args)
    return int(result["hidden_ratio"] is None), result


async def _measure(config: Config, args: argparse.Namespace) -> Run:
    clock, found = SystemClock(), Run()
    rng = random.Random(args.seed)
    async with own_llm(config, clock) as llm:
        if not isinstance(llm, OpenAiLlm):
            raise ConfigError("llm.engine: this bench is for servers that speak OpenAI's API")
        trial = _Trial(llm, clock, config.session.instructions, args.wpm, warm_history=args.warm_history)
        scale = await _scale(trial, rng, args.history_tokens)
        for n in range(args.trials):
            for kind in KINDS[:2] if n % 2 == 0 else KINDS[1::-1]:
                history = conversation(rng, round(args.history_tokens * scale))
                session = SessionId(f"{kind}-{n}")
                try:
                    found.answers[kind].append(await trial.ask(session, history, primed=kind == "primed"))
                    if kind == "primed":
                        found.answers["floor"].append(await trial.again(session, history))
                        other = conversation(rng, round(args.history_tokens * scale))
                        found.answers["beside"].append(await trial.beside(session, history, other))
                except StageError:
                    found.n_failed += 1
                llm.release(session)
    return found


class _Trial:
    """One question after a conversation."""

    def __init__(
        self, llm: OpenAiLlm, clock: Clock, instructions: str, wpm: float, *, warm_history: bool
    ) -> None:
        self._llm, self._clock, self._wpm, self._warm_history = llm, clock, wpm, warm_history
        self._instructions = Message("system", instructions)
        self._answers: list[LlmAnswer] = []
        llm.measures.on_answer.append(self._answers.append)

    def request(self, session: SessionId, history: tuple[Message, ...], words: str) -> LlmRequest:
        """What the session asks, with the words as far as they are known."""
        said = (Message("user", words),) if words else ()
        messages = (self._instructions, *history, *said)
        return LlmRequest(session, TurnId(1), messages, max_tokens=ANSWER_TOKENS)

    async def ask(self, session: SessionId, history: tuple[Message, ...], *, primed: bool) -> LlmAnswer:
        """Speak, with the prompt primed or not, and have it answered."""
        if self._warm_history:
            await self._llm.prime(self.request(session, history, ""))
        if not primed:
            return await self.again(session, history)
        async with Scope() as scope:
            primer = Primer(self._llm, scope)
            primer.prime(self.request(session, history, ""))
            words = QUESTION.split()
            for n in range(1, len(words) + 1):
                await asyncio.sleep(60.0 / self._wpm)
                steady = primer.steady(UtteranceId(1), " ".join(words[:n]), "")
                if steady is not None:
                    primer.prime(self.request(session, history, steady))
            primer.cancel()
            return await self.again(session, history)

    async def beside(
        self, session: SessionId, history: tuple[Message, ...], other: tuple[Message, ...]
    ) -> LlmAnswer:
        """Ask a question that is in the cache while another conversation is being primed."""
        somebody = SessionId("somebody")
        async with Scope() as scope:
            Primer(self._llm, scope).prime(self.request(somebody, other, ""))
            await asyncio.sleep(PRIMING_S)
            answer = await self.again(session, history)
        self._llm.release(somebody)
        return answer

    async def again(self, session: SessionId, history: tuple[Message, ...]) -> LlmAnswer:
        """Ask the whole question and read the answer."""
        async with aclosing(self._llm.reply(self.request(session, history, QUESTION))) as deltas:
            async for _ in deltas:
                pass
        return self._answers[-1]


async def _scale(trial: _Trial, rng: random.Random, n_tokens: int) -> float:
    """By what to multiply a number of tokens, as we guess them, so that the server counts as many."""
    session, counted = SessionId("scale"), []
    for history in ((), conversation(rng, n_tokens)):
        answer = await trial.again(session, history)
        counted.append(answer.usage.input_tokens if answer.usage is not None else 0)
    return n_tokens / (counted[1] - counted[0]) if counted[1] > counted[0] else 1.0


def conversation(rng: random.Random, n_tokens: int) -> tuple[Message, ...]:
    """About so many tokens of dialogue, unlike any other from its first word on. Pure but for `rng`."""
    messages: list[Message] = []
    while context_tokens_of(tuple(messages)) < n_tokens:
        subject, thing = rng.choice(SUBJECTS), rng.choice(THINGS)
        number = rng.randrange(1_000_000)
        messages.append(Message("user", f"Number {number} is the {subject}, what do you know about it?"))
        messages.append(Message("agent", f"The {subject} with number {number} {thing}, as far as I know."))
    return tuple(messages)


def hidden_ratio(cold_ms: float, primed_ms: float, floor_ms: float) -> float | None:
    """Which part of the prefill was over when the user stopped speaking, 0..1; None if there was none."""
    prefill_ms = cold_ms - floor_ms
    return None if prefill_ms <= 0 else min(1.0, max(0.0, (cold_ms - primed_ms) / prefill_ms))


def figures(found: Run) -> dict[str, Any]:
    """The percentiles of a run, and what was hidden at the median."""
    first = {kind: _summary([a.first_token_ms for a in answers]) for kind, answers in found.answers.items()}
    clause = {kind: _summary([a.first_clause_ms for a in answers]) for kind, answers in found.answers.items()}
    tokens = [a.usage.input_tokens for a in found.answers["primed"] if a.usage is not None]
    cached = [a.usage.cached_tokens for a in found.answers["primed"] if a.usage is not None]
    middle = [one.p50 if (one := first[kind]) is not None else None for kind in KINDS[:3]]
    hidden = None if None in middle else hidden_ratio(*middle)  # type: ignore[arg-type]
    return {
        "prompt_tokens": summarise(tokens),
        "cached_tokens_primed": summarise(cached),
        "first_token_ms": first,
        "first_clause_ms": clause,
        "hidden_ratio": hidden,
        "n_failed": found.n_failed,
    }


def _summary(values_ms: list[float | None]) -> Summary | None:
    return summarise([value for value in values_ms if value is not None])


def _show(console: Console, result: dict[str, Any], args: argparse.Namespace) -> None:
    table = Table("", "n", "first token p50 / p95 ms", "first clause p50 / p95 ms", box=None, pad_edge=False)
    for kind in KINDS:
        first, clause = result["first_token_ms"][kind], result["first_clause_ms"][kind]
        table.add_row(kind, str(first.n if first else 0), _two(first), _two(clause))
    console.print(table)
    prompt, cached = result["prompt_tokens"], result["cached_tokens_primed"]
    if prompt is not None and cached is not None:
        state = "in the cache" if args.warm_history else "new to the server"
        console.print(
            f"prompt of {prompt.p50:.0f} tokens, the conversation {state}; "
            f"primed, {cached.p50:.0f} of them were in the cache at the end of speech",
            highlight=False,
        )
    hidden = result["hidden_ratio"]
    verdict = "-" if hidden is None else f"{hidden:.0%} (target {TARGET_SHARE:.0%})"
    console.print(f"prefill hidden while the user spoke: {verdict}; failed: {result['n_failed']}")
    console.print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", highlight=False)


def _two(found: Summary | None) -> str:
    return "-" if found is None else f"{format_ms(found.p50, 0)} / {format_ms(found.p95, 0)}"
