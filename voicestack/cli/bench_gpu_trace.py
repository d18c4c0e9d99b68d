"""What was seen of each request, and what do many of them come to?

Pure. Times are milliseconds from the start of the measurement, or durations. A request without an answer
counts as longer than all that had one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from voicestack.cli.bench_stats import Summary, summarise

LATE_MS = 300.0
"""A first text later than this is late: it alone spends what a whole answer may take."""
FULL = "full"
"""The code of a request that was refused because the server had too much to do (HTTP 503)."""


@dataclass(slots=True)
class Trace:
    """One request.

    Attributes:
        n: Its number in the script.
        client: `adapter` for voicestack's own, `raw` for plain httpx.
        due_ms: When it was to be sent.
        sent_ms: When it was.
        first_ms: From sending to the first text.
        clause_ms: From sending to the last character of the first phrase that can be spoken.
        done_ms: From sending to the end of the answer.
        gaps_ms: Between one piece of text and the next.
        input_tokens: Of the prompt; 0 if the server does not say.
        cached_tokens: Of these, how many it had in its cache.
        output_tokens: Of the answer.
        error: Why there is no answer, or not all of it.
        is_warm_up: Left out of all figures.
    """

    n: int
    client: str
    due_ms: float
    sent_ms: float
    first_ms: float | None = None
    clause_ms: float | None = None
    done_ms: float | None = None
    gaps_ms: list[float] = field(default_factory=list)
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    error: str | None = None
    is_warm_up: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """What requests come to; milliseconds.

    Attributes:
        n: Requests that count.
        n_missing: Of these, without any text.
        n_broken: With some text and no end.
        n_full: Refused by a full server; part of `n_missing`.
        n_late: First text after more than LATE_MS.
        errors: Code -> requests.
        ttft_ms: First text.
        clause_ms: First phrase complete.
        itl_ms: All gaps between pieces of text.
        tpot_ms: Per answer: from the first text to the end, by token after the first.
        late_sent_ms: How much later than planned they were sent: the harness's own error.
        mean_in_flight: Requests on their way, on average.
        tokens_per_s: Of all answers together.
        requests_per_s: Answered.
        cached_share: Of the prompts' tokens; None where the server does not say.
        pieces_per_token: Less than 1 when several tokens come at once, as with speculation.
    """

    n: int
    n_missing: int
    n_broken: int
    n_full: int
    n_late: int
    errors: dict[str, int]
    ttft_ms: Summary | None
    clause_ms: Summary | None
    itl_ms: Summary | None
    tpot_ms: Summary | None
    late_sent_ms: Summary | None
    mean_in_flight: float
    tokens_per_s: float
    requests_per_s: float
    cached_share: float | None
    pieces_per_token: float | None


def figures_of(traces: Iterable[Trace]) -> Figures:
    """Add up what counts."""
    counted = [trace for trace in traces if not trace.is_warm_up]
    n_missing = sum(trace.first_ms is None for trace in counted)
    answered = [trace for trace in counted if trace.error is None and trace.done_ms is not None]
    n_clauseless = sum(trace.clause_ms is None for trace in counted)
    n_input = sum(trace.input_tokens for trace in answered)
    n_output = sum(trace.output_tokens for trace in answered)
    n_pieces = sum(len(trace.gaps_ms) + 1 for trace in answered)
    span_ms = _span_ms(counted)
    return Figures(
        n=len(counted),
        n_missing=n_missing,
        n_broken=sum(t.first_ms is not None and t.error is not None for t in counted),
        n_full=sum(trace.error == FULL for trace in counted),
        n_late=sum(trace.first_ms is not None and trace.first_ms > LATE_MS for trace in counted),
        errors=dict(Counter(trace.error for trace in counted if trace.error is not None)),
        ttft_ms=summarise((t.first_ms for t in counted if t.first_ms is not None), n_censored=n_missing),
        clause_ms=summarise(
            (t.clause_ms for t in counted if t.clause_ms is not None), n_censored=n_clauseless
        ),
        itl_ms=summarise(gap for trace in counted for gap in trace.gaps_ms),
        tpot_ms=summarise(_tpot_ms(answered)),
        late_sent_ms=summarise(trace.sent_ms - trace.due_ms for trace in counted),
        mean_in_flight=sum(_life_ms(trace) for trace in counted) / span_ms if span_ms else 0.0,
        tokens_per_s=n_output / span_ms * 1e3 if span_ms else 0.0,
        requests_per_s=len(answered) / span_ms * 1e3 if span_ms else 0.0,
        cached_share=sum(t.cached_tokens for t in answered) / n_input if n_input else None,
        pieces_per_token=n_pieces / n_output if n_output else None,
    )


def _tpot_ms(answered: Sequence[Trace]) -> list[float]:
    return [
        (trace.done_ms - trace.first_ms) / (trace.output_tokens - 1)
        for trace in answered
        if trace.done_ms is not None and trace.first_ms is not None and trace.output_tokens > 1
    ]


def _life_ms(trace: Trace) -> float:
    return trace.done_ms or 0.0


def _span_ms(counted: Sequence[Trace]) -> float:
    """From the first request that counts to the end of the last."""
    if not counted:
        return 0.0
    start = min(trace.sent_ms for trace in counted)
    return max(trace.sent_ms + _life_ms(trace) for trace in counted) - start


@dataclass(frozen=True, slots=True)
class Target:
    """A figure to be reached, and whether it was."""

    what: str
    limit_ms: float
    found_ms: float | None

    @property
    def is_met(self) -> bool | None:
        """None when it was not measured."""
        return None if self.found_ms is None else self.found_ms <= self.limit_ms


def row_of(figures: Figures) -> dict[str, Any]:
    """The cells of a table: name of the column -> figure."""
    cells: dict[str, Any] = {"n": figures.n}
    for name in ("ttft_ms", "clause_ms", "itl_ms", "tpot_ms"):
        summary: Summary | None = getattr(figures, name)
        cells[name] = None if summary is None else (summary.p50, summary.p95, summary.p99)
    failed = figures.n_missing + figures.n_broken
    return cells | {
        "missing": failed,
        "full": figures.n_full,
        "late": figures.n_late,
        "in_flight": figures.mean_in_flight,
        "tokens_per_s": figures.tokens_per_s,
        "cached_share": figures.cached_share,
    }
