"""What does vLLM understand that the API does not have? A request of ours, in its own words.

Priorities (with `--scheduling-policy priority` the lowest number is served first), grammars, arguments that
are decoded by their schema, a bias on words.
"""

from collections.abc import Mapping
from typing import Any

from voicestack.core.deadline import TARGET_HEADER
from voicestack.core.errors import StageRejected
from voicestack.engines.precedence import Rank
from voicestack.engines.sse import ChatClient

REFUSABLE = ("priority", "logit_bias")
"""A server without `--scheduling-policy priority` refuses any priority but 0; one with speculative decoding
refuses biases (0.32)."""


SLO_HEADER = "x-llm-d-slo-ttft-ms"
"""What llm-d's router takes as the longest time to the first token, where it stands before vLLM
(llm-d.ai, "Predicted Latency-Based Routing"). vLLM itself does not look at it."""


class VllmDialect:
    """Translates requests for one server.

    Args:
        client: Asked for the numbers of tokens.
    """

    def __init__(self, client: ChatClient) -> None:
        self._client = client
        self._tokens: dict[str, list[int]] = {}
        self._has = dict.fromkeys(REFUSABLE, True)

    async def translated(self, body: dict[str, Any], rank: Rank) -> dict[str, Any]:
        """The body of a request, as vLLM takes it.

        Raises:
            StageUnavailable: the server is gone.
        """
        if not self._has["logit_bias"]:
            body = {name: value for name, value in body.items() if name != "logit_bias"}
        tokens = {word: await self._tokens_of(word) for word, _ in body.get("logit_bias") or ()}
        return in_vllm_words(body, rank if self._has["priority"] else Rank.COMMITTED, tokens)

    def learns_from(self, error: StageRejected) -> bool:
        """Whether the same request may now be sent again, without what the server refuses."""
        for name in REFUSABLE:
            if self._has[name] and name in str(error).lower():
                self._has[name] = False
                return True
        return False

    async def _tokens_of(self, word: str) -> list[int]:
        if word not in self._tokens:
            self._tokens[word] = await self._client.tokens_of(word)
        return self._tokens[word]


def slo_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """What llm-d is told, from the headers of a deadline; nothing once the target is missed."""
    left_ms = int(headers.get(TARGET_HEADER, "0"))
    return {SLO_HEADER: str(left_ms)} if left_ms > 0 else {}


def in_vllm_words(body: dict[str, Any], rank: Rank, tokens: dict[str, list[int]]) -> dict[str, Any]:
    """The body of a request, as vLLM takes it. Pure.

    Args:
        body: As for llama-server: `grammar` in GBNF, `logit_bias` as pairs of a word and a bias.
        rank: Sent as `priority`; 0 is not sent, it is what everybody has.
        tokens: What each word of the bias consists of.
    """
    said = dict(body)
    if rank:
        said["priority"] = int(rank)
    if grammar := said.pop("grammar", None):
        said["structured_outputs"] = {"grammar": grammar}
    if bias := said.pop("logit_bias", None):
        said["logit_bias"] = {str(token): by for word, by in bias for token in tokens[word]}
    if offered := said.get("tools"):
        # Arguments are then decoded by their schema (vLLM 0.31 and newer; older ones ignore it).
        said["tools"] = [tool | {"function": tool["function"] | {"strict": True}} for tool in offered]
    return said
