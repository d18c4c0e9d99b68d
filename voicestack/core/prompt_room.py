"""How much of a conversation fits into the LLM's context, and what is left out if not all of it does?"""

from collections.abc import Sequence

import orjson

from voicestack.core.history import Message
from voicestack.core.images import IMAGE_TOKENS
from voicestack.core.tools import Tool

CHARS_PER_TOKEN = 3
"""Fewer than any tokeniser needs for English (GPT-2's and SmolLM2's: about 4.2), so the estimate is safe."""

TOKENS_PER_MESSAGE = 8
"""What a chat template adds to each message (ChatML: 5, and a safety margin)."""

KEEP_SHARE = 0.6
"""How full the context is after the oldest part was dropped. Dropping in large steps keeps the prompt's
beginning, and with it the KV cache, the same for many turns."""


def fit_context(messages: tuple[Message, ...], max_tokens: int) -> tuple[Message, ...]:
    """Drop the oldest messages, but no system message, so that the rest fits into `max_tokens`.

    The newest message is kept whatever its length. For a growing conversation the same messages are dropped
    every time, until the next step is due.
    """
    system = tuple(m for m in messages if m.role == "system")
    spoken = [m for m in messages if m.role != "system"]
    room = max_tokens - context_tokens_of(system)
    first = total = 0
    for n, message in enumerate(spoken):
        total += _tokens(message)
        if total > room:
            while first < n and (total > room * KEEP_SHARE or spoken[first].role != "user"):
                total -= _tokens(spoken[first])
                first += 1
    return (*system, *spoken[first:])


def tool_tokens_of(tools: Sequence[Tool]) -> int:
    """About how many tokens the LLM reads to know of these tools, which it is given as JSON."""
    texts = (f"{tool.name}{tool.description}{orjson.dumps(dict(tool.parameters)).decode()}" for tool in tools)
    return sum(len(text) // CHARS_PER_TOKEN + TOKENS_PER_MESSAGE for text in texts)


def context_tokens_of(messages: tuple[Message, ...]) -> int:
    """About how many tokens the LLM reads for them."""
    return sum(map(_tokens, messages))


def _tokens(message: Message) -> int:
    n_chars = len(message.text) + sum(len(call.name) + len(call.arguments) for call in message.calls)
    n_tokens = n_chars // CHARS_PER_TOKEN + TOKENS_PER_MESSAGE * (1 + len(message.calls))
    return n_tokens + IMAGE_TOKENS * len(message.images)
