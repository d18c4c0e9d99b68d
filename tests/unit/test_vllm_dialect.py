"""Is vLLM told in its own words what llama.cpp is told in others, and understood when it refuses?"""

import asyncio
from typing import Any

import pytest

from voicestack.core.errors import StageError, StageOverloaded, StageRejected, StageUnavailable
from voicestack.engines.precedence import Rank
from voicestack.engines.sse import ChatClient, PromptTooLong, refusal
from voicestack.engines.vllm_dialect import VllmDialect, in_vllm_words

TOOL = {"type": "function", "function": {"name": "set_timer", "parameters": {"type": "object"}}}
BUSY = (
    b'{"error":{"message":"The engine is currently busy and cannot accept new requests. Please try again"}}'
)
BACKLOG = b'{"error":{"message":"The engine has reached its prefill token backlog limit."}}'


@pytest.mark.parametrize(
    ("rank", "priority"), [(Rank.COMMITTED, None), (Rank.HEDGE, 1), (Rank.DRAFT, 2), (Rank.PRIME, 3)]
)
def test_the_more_important_has_the_lower_number(rank: Rank, priority: int | None) -> None:
    assert in_vllm_words({"model": "local"}, rank, {}).get("priority") == priority


def test_a_grammar_and_a_bias_on_words() -> None:
    body = {"grammar": 'root ::= "a"', "logit_bias": [["answer", -1.5]], "max_tokens": 5}
    said = in_vllm_words(body, Rank.COMMITTED, {"answer": [7, 9]})
    assert said == {
        "structured_outputs": {"grammar": 'root ::= "a"'},
        "logit_bias": {"7": -1.5, "9": -1.5},
        "max_tokens": 5,
    }
    assert "grammar" in body  # the caller's stays as it is


def test_arguments_are_asked_for_by_their_schema() -> None:
    body = {"tools": [TOOL]}
    (said,) = in_vllm_words(body, Rank.COMMITTED, {})["tools"]
    assert said["function"] == TOOL["function"] | {"strict": True}  # type: ignore[operator]
    assert body["tools"] == [TOOL]


def test_a_server_without_priorities_is_not_told_any_again() -> None:
    async def main() -> None:
        client = ChatClient("http://127.0.0.1:1")
        try:
            dialect = VllmDialect(client)
            body: dict[str, Any] = {"model": "local"}
            assert "priority" in await dialect.translated(body, Rank.DRAFT)
            assert not dialect.learns_from(StageRejected("HTTP 404: no such model", stage="llm"))
            refused = StageRejected("HTTP 400: Got priority 2 but Priority scheduling is not on", stage="llm")
            assert dialect.learns_from(refused)
            assert "priority" not in await dialect.translated(body, Rank.DRAFT)
            assert not dialect.learns_from(refused)  # once is enough: it would ask for ever
        finally:
            await client.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (503, BUSY, StageOverloaded),
        (503, BACKLOG, StageOverloaded),
        (429, b"rate limit", StageOverloaded),
        (503, b'{"error":{"message":"Loading model"}}', StageUnavailable),
        (500, BUSY, StageUnavailable),
        (404, b"no such model", StageRejected),
        (400, b"This model's maximum context length is 2048 tokens.", PromptTooLong),
    ],
)
def test_what_a_status_means(status: int, body: bytes, kind: type[StageError]) -> None:
    assert type(refusal(status, body)) is kind


def test_a_full_server_has_a_code_of_its_own() -> None:
    assert StageOverloaded.code == "stage_overloaded"
    assert StageOverloaded.retryable
    assert issubclass(StageOverloaded, StageUnavailable)  # who knows only that one is not wrong
