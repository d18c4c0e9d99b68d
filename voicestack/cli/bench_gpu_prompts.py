"""What is asked of the model, so that of the prompt nothing but the given beginning is in its cache?

Pure. Behind the system prompt, which all requests share, the very first word of a request is its own.
"""

import random
from dataclasses import dataclass

from voicestack.cli.bench_gpu_tokenizer import WORDS
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.ports import LlmRequest

QUESTION_WORDS = 40
_OWN_WORDS = 4
"""These name the request: 300 words to the power of 4 are more requests than anybody sends."""


@dataclass(frozen=True, slots=True)
class Script:
    """How requests are written.

    Attributes:
        seed: Other prompts for another seed: a second run on one server finds nothing of the first.
        prefix_words: Length of the system prompt.
        reply_tokens: Longest answer.
        said_before: An answer that stands in every prompt as the agent's last one, empty for none. What a
            model copies from there is what speculation by lookup lives on.
    """

    seed: int
    prefix_words: int
    reply_tokens: int
    said_before: str = ""


def request_of(script: Script, n: int) -> LlmRequest:
    """Request number `n`: the same for the same script, and unlike every other one."""
    messages = [Message("system", prefix_of(script))]
    if script.said_before:
        messages += [Message("user", "tell me"), Message("agent", script.said_before)]
    return LlmRequest(
        SessionId(f"bench-{script.seed}-{n}"),
        TurnId(1),
        (*messages, Message("user", question_of(script, n))),
        max_tokens=script.reply_tokens,
    )


def prime_of(script: Script, n: int) -> LlmRequest:
    """What keeps a server warm, or puts the system prompt into its cache."""
    return request_of(script, -1 - n)


def prefix_of(script: Script) -> str:
    """The system prompt. It differs from seed to seed in its first word."""
    rng = random.Random(f"prefix {script.seed}")
    return " ".join(rng.choice(WORDS) for _ in range(script.prefix_words))


def question_of(script: Script, n: int) -> str:
    """The user's words of request `n`."""
    rng = random.Random(f"question {script.seed} {n}")
    own, rest = [], n & 0xFFFF_FFFF
    for _ in range(_OWN_WORDS):
        rest, digit = divmod(rest, len(WORDS))
        own.append(WORDS[digit])
    return " ".join([*own, *(rng.choice(WORDS) for _ in range(QUESTION_WORDS - _OWN_WORDS))])


def prefix_words_for(prefix_tokens: int, *, probe_words: int, probe_tokens: int, empty_tokens: int) -> int:
    """How many words make `prefix_tokens`, when a prompt of `probe_words` and one of none were counted."""
    tokens_per_word = max(1, probe_tokens - empty_tokens) / probe_words
    return max(1, round(prefix_tokens / tokens_per_word))
