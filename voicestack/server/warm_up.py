"""What must a language model have done before the first user asks it? Prompts like theirs, streamed.

A server that has only loaded its weights still compiles kernels, captures graphs and fills caches when it
meets a prompt of a new length, a stream, or a client that goes away in mid-answer.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from voicestack.core.errors import StageError, StageRejected, StageUnavailable
from voicestack.core.history import Message
from voicestack.core.ids import TurnId, own_session
from voicestack.core.prompt_room import context_tokens_of
from voicestack.ports import Llm, LlmRequest

log = logging.getLogger(__name__)

ANSWER_TOKENS = 24
"""A sentence: enough for whatever begins to matter in mid-answer, speculation for one."""
LIMIT_S = 120.0
"""Kernels that are compiled at first use may take a minute; more is a server that hangs."""

SAID = (
    (
        "Could you tell me when the library is open this week?",
        "It opens at nine and closes at six, Monday to Friday.",
    ),
    ("And what about the weekend, is anybody there on Saturday?", "On Saturday it is open from ten to two."),
    ("How many books may I take home at the same time?", "You may borrow up to eight books for four weeks."),
    (
        "Thanks. Do I have to come in to renew them?",
        "No, you can renew them by telephone as often as you like.",
    ),
)
"""A conversation of the usual length of turns, to be repeated."""


@dataclass(frozen=True, slots=True)
class Warmth:
    """How to warm a language model, and how it is known that it stays so.

    Attributes:
        history_tokens: A conversation of each of these lengths is answered. None where nothing is compiled at
            first use.
        n_places: Places that keep the KV of a prompt, into each of which goes that of the default
            instructions; a server with one cache for all has 1.
        doubt: Why it is not warm any more, None if it is.
    """

    history_tokens: Sequence[int] = ()
    n_places: int = 1
    doubt: Callable[[], str | None] = lambda: None


NO_WARM_UP = Warmth()


async def warm_up(llm: Llm, instructions: str, warmth: Warmth) -> None:
    """Have conversations as users have them: one answer is read to its end, one is broken off.

    At last the KV of the default instructions is computed, wherever sessions will look for it. All requests
    are drafts: after a restart there are users, who come first.

    One that the model cannot answer in time, or at all, is left out with those that are longer.

    Raises:
        StageError: the language model is gone or refuses.
        TimeoutError: it took longer than LIMIT_S.
    """
    async with asyncio.timeout(LIMIT_S):
        for n, n_tokens in enumerate(warmth.history_tokens):
            opening = f"Good morning, this is call number {n}."
            try:
                await _converse(llm, f"warm-up-{n}", conversation(instructions, n_tokens, opening=opening))
            except (StageUnavailable, StageRejected):
                raise
            except StageError as error:  # longer ones will not do either; the synthetic turn decides
                log.warning(
                    "a conversation of %d tokens is too long for the language model: %s", n_tokens, error
                )
                break
        await _prime_places(llm, instructions, warmth.n_places)


async def _converse(llm: Llm, name: str, asked: tuple[Message, ...]) -> None:
    session = own_session(name)
    try:
        first = LlmRequest(session, TurnId(1), asked, max_tokens=ANSWER_TOKENS, draft=True)
        await _read(llm, first, n_deltas=None)
        again = (*asked, Message("agent", SAID[0][1]), Message("user", SAID[1][0]))
        await llm.prime(LlmRequest(session, TurnId(2), again, draft=True))
        await _read(llm, LlmRequest(session, TurnId(2), again, draft=True), n_deltas=1)
    finally:
        llm.release(session)


async def _prime_places(llm: Llm, instructions: str, n_places: int) -> None:
    """A session that is not over keeps its place, so that the next one takes another."""
    sessions = [own_session(f"place-{n}") for n in range(n_places)]
    messages = (Message("system", instructions), Message("user", "Hello."))
    try:
        for session in sessions:
            await llm.prime(LlmRequest(session, TurnId(1), messages, draft=True))
    finally:
        for session in sessions:
            llm.release(session)


async def _read(llm: Llm, request: LlmRequest, *, n_deltas: int | None) -> None:
    """Read so many deltas and break off; None: to the end."""
    n = 0
    async with aclosing(llm.reply(request)) as deltas:
        async for _ in deltas:
            n += 1
            if n == n_deltas:
                return


def conversation(instructions: str, n_tokens: int, *, opening: str) -> tuple[Message, ...]:
    """Instructions, about `n_tokens` of dialogue, and a question. Pure; `opening` makes it unlike others."""
    messages = [Message("system", instructions), Message("user", opening), Message("agent", "Good morning!")]
    n_others = context_tokens_of(tuple(messages))
    turn = 0
    while context_tokens_of(tuple(messages)) - n_others < n_tokens:
        said, answered = SAID[turn % len(SAID)]
        messages += [Message("user", said), Message("agent", answered)]
        turn += 1
    return (*messages, Message("user", SAID[turn % len(SAID)][0]))
