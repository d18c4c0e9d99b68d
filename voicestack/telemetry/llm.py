"""How fast does the language model answer, warm and cold apart? Figures for Prometheus."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

from voicestack.core.answers import LlmAnswer
from voicestack.telemetry.buckets import Buckets

FIRST_EDGES_S = (
    *(0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3),
    *(0.4, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0),
)
"""5 ms steps where a GPU answers (25 ms is the aim, 80 ms its 99th percentile), then up to a cold prompt."""

GAP_EDGES_S = (
    *(0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05),
    *(0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0),
)
"""An 8B model on a GPU writes a token in 2-8 ms, a small one on two cores in 6-30; speech needs 200."""

WARMTHS = ("warm", "cold")
CAUSES = ("first", "not_warm", "slow")
OUTCOMES = (
    *("answered", "aborted"),
    *("stage_timeout", "stage_unavailable", "stage_rejected", "prompt_too_long", "tool_call_invalid"),
)
"""Exported from the start as 0; the code of any other error is added when it comes."""
KINDS = ("committed", "draft")


class LlmReadings:
    """What requests for replies took. Filled from the event loop's thread, one call a reply."""

    def __init__(self) -> None:
        self._first = {warmth: Buckets(FIRST_EDGES_S) for warmth in WARMTHS}
        self._clause = {warmth: Buckets(FIRST_EDGES_S) for warmth in WARMTHS}
        self._gaps = {warmth: Buckets(GAP_EDGES_S) for warmth in WARMTHS}
        self._outcomes = Counter({(outcome, kind): 0 for outcome in OUTCOMES for kind in KINDS})
        self._cold = Counter(dict.fromkeys(CAUSES, 0))
        self._tokens = Counter({"read": 0, "cached": 0, "written": 0})

    def answered(self, answer: LlmAnswer) -> None:
        """A request for a reply is over, one way or another."""
        warmth = "cold" if answer.cold else "warm"
        self._outcomes[answer.outcome, "draft" if answer.is_draft else "committed"] += 1
        if answer.cold:
            self._cold[answer.cold] += 1
        if answer.first_token_ms is not None:
            self._first[warmth].add(answer.first_token_ms / 1e3)
        if answer.first_clause_ms is not None:
            self._clause[warmth].add(answer.first_clause_ms / 1e3)
        for gap_ms in answer.gaps_ms:
            self._gaps[warmth].add(gap_ms / 1e3)
        if answer.usage is not None:
            self._tokens["read"] += answer.usage.input_tokens
            self._tokens["cached"] += answer.usage.cached_tokens
        written = answer.usage.output_tokens if answer.usage is not None else 0
        self._tokens["written"] += written or answer.n_deltas

    def export(self) -> Iterator[Metric]:
        """What is exported of them."""
        for name, about, histograms in (
            (
                "first_token",
                "From the request to the language model's first text, waiting included",
                self._first,
            ),
            ("first_clause", "From the request to the first phrase that can be spoken", self._clause),
            (
                "token_gap",
                "Between two pieces of the language model's text, where the reader kept up",
                self._gaps,
            ),
        ):
            family = HistogramMetricFamily(f"voicestack_llm_{name}_seconds", about, labels=["warmth"])
            for warmth, buckets in histograms.items():
                buckets.export(family, warmth)
            yield family
        replies = CounterMetricFamily(
            "voicestack_llm_replies",
            "Requests to the language model for a reply, by how they ended and what they were asked for as",
            labels=["outcome", "kind"],
        )
        for labels, n in self._outcomes.items():
            replies.add_metric(labels, n)
        yield replies
        cold = CounterMetricFamily(
            "voicestack_llm_cold_replies",
            "Replies that met a cold language model: the first after a start or wake, one while it was not "
            "warm, or one whose first token took twice the median though nothing else was asked",
            labels=["cause"],
        )
        for cause, n in self._cold.items():
            cold.add_metric([cause], n)
        yield cold
        tokens = CounterMetricFamily(
            "voicestack_llm_tokens",
            "Tokens of replies: read, those of them that were in the KV cache, and written",
            labels=["kind"],
        )
        for kind, n in self._tokens.items():
            tokens.add_metric([kind], n)
        yield tokens
