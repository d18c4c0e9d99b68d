"""How is vLLM doing? Its `/metrics`, read once a second, as a few figures.

Counters count from the start of the process, so a ratio is of its whole life.
"""

import asyncio
import logging
from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

log = logging.getLogger(__name__)

POLL_S = 1.0
READ_LIMIT_S = 2.0
RATE_TOKENS = 512
"""So many tokens of prompts make a measurement of how fast they are computed."""

SUMS = {
    "running": "vllm:num_requests_running",
    "waiting": "vllm:num_requests_waiting",
    "preemptions": "vllm:num_preemptions_total",
    "prompt_tokens": "vllm:prompt_tokens_total",
    "answer_tokens": "vllm:generation_tokens_total",
    "prefill_s": "vllm:request_prefill_time_seconds_sum",
    "prefix_queried_tokens": "vllm:prefix_cache_queries_total",
    "prefix_hit_tokens": "vllm:prefix_cache_hits_total",
    "drafts": "vllm:spec_decode_num_drafts_total",
    "drafted_tokens": "vllm:spec_decode_num_draft_tokens_total",
    "accepted_tokens": "vllm:spec_decode_num_accepted_tokens_total",
    "refused": "vllm:admission_rejections_total",
}
"""Our figures, and the samples whose sum they are (over engines, adapters and reasons)."""
MOST = {"kv_use_ratio": "vllm:kv_cache_usage_perc"}
"""The same, but the largest."""


def parsed(text: str) -> dict[str, float]:
    """The figures in what `/metrics` says; those that it does not say are absent.

    Besides those of `SUMS` and `MOST`: `prefix_hit_ratio`; `accept_ratio` of drafted tokens; `accepted_mean`,
    the tokens of one step (1 without a hit), as vLLM's documentation defines the mean acceptance length.
    """
    samples: dict[str, list[float]] = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("vllm:"):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append(sample.value)
    figures = {ours: sum(samples[theirs]) for ours, theirs in SUMS.items() if theirs in samples}
    figures |= {ours: max(samples[theirs]) for ours, theirs in MOST.items() if theirs in samples}
    if queried := figures.get("prefix_queried_tokens"):
        figures["prefix_hit_ratio"] = figures.get("prefix_hit_tokens", 0.0) / queried
    if drafted := figures.get("drafted_tokens"):
        figures["accept_ratio"] = figures.get("accepted_tokens", 0.0) / drafted
    if drafts := figures.get("drafts"):
        figures["accepted_mean"] = 1.0 + figures.get("accepted_tokens", 0.0) / drafts
    return figures


def prefill_rate(before: Mapping[str, float], after: Mapping[str, float]) -> float | None:
    """Tokens of prompts a second between two readings, cached ones included; None for too few to tell."""
    tokens = after.get("prompt_tokens", 0.0) - before.get("prompt_tokens", 0.0)
    spent_s = after.get("prefill_s", 0.0) - before.get("prefill_s", 0.0)
    return tokens / spent_s if tokens >= RATE_TOKENS and spent_s > 0 else None


class VllmMetrics:
    """Reads the figures of one server, again and again.

    Args:
        url: See `sse.ChatClient`; with or without the path of the API.
        api_key: Bearer token.

    Attributes:
        prefill_tokens_per_s: The fastest that prompts were computed; 0 while nobody knows.
        n_restarts: Always 0: there is no process here.
        is_ready: Always true: nothing waits for figures.
    """

    n_restarts = 0
    is_ready = True

    def __init__(self, url: str, *, api_key: str | None = None) -> None:
        socket = url.removeprefix("unix:") if url.startswith("unix:") else None
        base = "http://localhost" if socket else url.rstrip("/").removesuffix("/v1")
        self._client = httpx.AsyncClient(
            base_url=base,
            timeout=READ_LIMIT_S,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            transport=httpx.AsyncHTTPTransport(uds=socket, verify=base.startswith("https:")),
        )
        self._figures: dict[str, float] = {}
        self._mark: dict[str, float] = {}
        self.prefill_tokens_per_s = 0

    def figures(self) -> dict[str, float]:
        """What was read last; empty while the server does not answer."""
        return dict(self._figures)

    async def read(self) -> dict[str, float]:
        """Read now. What cannot be read is empty."""
        try:
            answer = await self._client.get("/metrics")
            self._take(parsed(answer.text) if answer.is_success else {})
        except (httpx.HTTPError, ValueError) as error:
            log.debug("no figures of the language model: %s", error)
            self._take({})
        return self.figures()

    def _take(self, figures: dict[str, float]) -> None:
        if not self._mark or figures.get("prompt_tokens", 0.0) < self._mark.get("prompt_tokens", 0.0):
            self._mark = figures  # the first reading of a process
        elif (rate := prefill_rate(self._mark, figures)) is not None:
            self.prefill_tokens_per_s = max(self.prefill_tokens_per_s, round(rate))
            self._mark = figures
        if self.prefill_tokens_per_s:
            figures = figures | {"prefill_tokens_per_s": float(self.prefill_tokens_per_s)}
        self._figures = figures

    async def run(self) -> None:
        """Keep reading until cancelled."""
        try:
            while True:
                await self.read()
                await asyncio.sleep(POLL_S)
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()
