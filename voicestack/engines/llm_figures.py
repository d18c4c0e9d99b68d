"""What do replies of a language model take, and which of them met it cold? Counted request by request, here.

Measured in our own process, from the call of `reply` on: what the server measures leaves out the way to it
and the wait for it.
"""

from collections import Counter, deque
from collections.abc import Callable
from statistics import median
from types import TracebackType

from voicestack.aio.clock import Clock
from voicestack.core.answers import Cold, LlmAnswer
from voicestack.core.errors import StageError
from voicestack.core.ids import is_own
from voicestack.core.notes import Usage
from voicestack.core.phrases import Phrases
from voicestack.ports import LlmDelta, LlmRequest

KEPT = 200
"""First tokens that make up the median: some minutes of a busy server."""
ENOUGH = 20
"""With fewer of them no reply is called slow."""
SLOW_FACTOR = 2.0
"""A first token that takes longer than so many medians was cold: what operators count as a cold start."""
PROMPT_NS = 2_000_000
"""A reader that asks for the next delta within 2 ms has kept up: the gap is the server's."""
FIRST_WORDS = 4
"""As in `session/reply.py`: what is spoken first."""


def cold_cause(
    *, is_first: bool, is_warm: bool, is_alone: bool, first_token_ms: float | None, p50_ms: float | None
) -> Cold:
    """Whether a reply met a cold server, and why. Pure; see `core.answers.Cold`.

    Args:
        is_first: It is the first since the process began or was woken.
        is_warm: The server was warm when it was asked for.
        is_alone: Nothing else was being answered then, so that it waited for nobody.
        first_token_ms: None when none came.
        p50_ms: Median of the warm ones before it; None when there are too few.
    """
    if is_first:
        return "first"
    if not is_warm:
        return "not_warm"
    if (
        is_alone
        and first_token_ms is not None
        and p50_ms is not None
        and first_token_ms > SLOW_FACTOR * p50_ms
    ):
        return "slow"
    return ""


def outcome_of(error: BaseException | None) -> str:
    """See `LlmAnswer.outcome`. What is no error of a stage is the reader's going away."""
    if error is None:
        return "answered"
    return error.code if isinstance(error, StageError) else "aborted"


class LlmFigures:
    """Accumulates, and tells who listens of every reply that ends. For one event loop.

    Args:
        clock: For all durations.

    Attributes:
        on_answer: Called with every reply of a user that is over.
        on_begin: Called when a reply or a prime begins.
        is_warm: False while the server is known not to be (a heartbeat over budget).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: Counter[str] = Counter(
            dict.fromkeys(("replies", "cold", "aborts", "primes_done", "primes_stopped", "primes_failed"), 0)
        )
        self._first_ms: deque[float] = deque(maxlen=KEPT)
        self._is_first = True
        self._quiet_since_ns: int | None = None
        self.n_running = 0
        self.is_warm = True
        self.on_answer: list[Callable[[LlmAnswer], None]] = []
        self.on_begin: list[Callable[[], None]] = []

    def reply(self, request: LlmRequest, *, is_up: bool) -> "Watch":
        """Watch one reply. `is_up`: the server could be used when it was asked for."""
        is_alone = self.n_running == 0
        return Watch(self, self._clock, request, is_warm=is_up and self.is_warm, is_alone=is_alone)

    def prime(self, request: LlmRequest) -> "Priming":
        """Watch one prime."""
        return Priming(self, is_own=is_own(request.session))

    def started(self) -> None:
        """The process behind it is a new one, or was woken: the next reply is the first."""
        self._is_first = True

    @property
    def p50_ms(self) -> float | None:
        """Median time to the first token of the last warm replies; None while there are too few."""
        return median(self._first_ms) if len(self._first_ms) >= ENOUGH else None

    @property
    def quiet_since_ns(self) -> int | None:
        """When the last request ended; None while one is under way, or before there was one."""
        return None if self.n_running else self._quiet_since_ns

    def figures(self) -> dict[str, float]:
        """See `ports.Measured`."""
        n = self._counts["replies"]
        read: dict[str, float] = {f"{name}_total": count for name, count in self._counts.items()}
        read |= {"running_requests": self.n_running, "cold_ratio": self._counts["cold"] / n if n else 0.0}
        return read | {"first_token_p50_ms": median(self._first_ms)} if self._first_ms else read

    def count(self, name: str) -> None:
        """Something else happened; exported as `name_total`."""
        self._counts[name] += 1

    def begin(self, *, is_own: bool) -> None:
        """A request goes out. Our own are nobody's work."""
        self.n_running += 1
        if not is_own:
            for callback in self.on_begin:
                callback()

    def end(self) -> None:
        """It is over."""
        self.n_running -= 1
        self._quiet_since_ns = self._clock.now_ns()

    def judge(self, watch: "Watch", outcome: str) -> None:
        """A reply is over: count it, unless it was our own."""
        cold = cold_cause(
            is_first=self._is_first,
            is_warm=watch.is_warm,
            is_alone=watch.is_alone,
            first_token_ms=watch.first_token_ms,
            p50_ms=self.p50_ms,
        )
        if watch.first_token_ms is not None:
            self._is_first = False
        if watch.is_own:
            return
        if watch.first_token_ms is not None and cold in ("", "slow"):
            self._first_ms.append(watch.first_token_ms)  # the slow ones, too: else a slower server stays slow
        self._counts["replies"] += 1
        self._counts["cold"] += cold != ""
        self._counts["aborts"] += outcome == "aborted"
        for callback in self.on_answer:
            callback(watch.answer(outcome, cold))


class Watch:
    """One reply that is being read. Enter it, and say `asked` before and `got` after each delta."""

    def __init__(
        self, figures: LlmFigures, clock: Clock, request: LlmRequest, *, is_warm: bool, is_alone: bool
    ) -> None:
        self._figures, self._clock, self._is_draft = figures, clock, request.draft
        self.is_own, self.is_warm, self.is_alone = is_own(request.session), is_warm, is_alone
        self.first_token_ms: float | None = None
        self._first_clause_ms: float | None = None
        self._begun_ns = self._came_ns = self._asked_ns = 0
        self._gaps_ms: list[float] = []
        self._usage: Usage | None = None
        self._n_deltas = 0
        self._phrases: Phrases | None = Phrases(first_words=FIRST_WORDS)

    def __enter__(self) -> "Watch":
        self._begun_ns = self._clock.now_ns()
        self._figures.begin(is_own=self.is_own)
        return self

    def asked(self) -> None:
        """The reader wants the next delta."""
        self._asked_ns = self._clock.now_ns()

    def got(self, delta: LlmDelta) -> None:
        """Here it is."""
        self._usage = delta.usage or self._usage
        if not delta.text and delta.call is None:
            return
        now_ns = self._clock.now_ns()
        if self._n_deltas == 0:
            self.first_token_ms = (now_ns - self._begun_ns) / 1e6
        elif self._asked_ns - self._came_ns <= PROMPT_NS:
            self._gaps_ms.append((now_ns - self._came_ns) / 1e6)
        self._n_deltas += 1
        self._came_ns = now_ns
        if self._phrases is not None and self._phrases.push(delta.text):
            self._clause_at(now_ns)

    def answer(self, outcome: str, cold: Cold) -> LlmAnswer:
        """What is known of it."""
        return LlmAnswer(
            outcome,
            self._is_draft,
            cold,
            self.first_token_ms,
            self._first_clause_ms,
            self._gaps_ms,
            self._usage,
            self._n_deltas,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._figures.end()
        if error is None and self._phrases is not None and self._phrases.end():
            self._clause_at(self._clock.now_ns())  # shorter than a phrase
        self._figures.judge(self, outcome_of(error))

    def _clause_at(self, now_ns: int) -> None:
        self._first_clause_ms = (now_ns - self._begun_ns) / 1e6
        self._phrases = None


class Priming:
    """One prime on its way. Set `was_stopped` if it is ended because something more important came."""

    def __init__(self, figures: LlmFigures, *, is_own: bool) -> None:
        self._figures, self._is_own = figures, is_own
        self.was_stopped = False

    def __enter__(self) -> "Priming":
        self._figures.begin(is_own=self._is_own)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._figures.end()
        if self._is_own:
            return
        if isinstance(error, StageError):
            self._figures.count("primes_failed")
        else:
            stopped = self.was_stopped or error is not None
            self._figures.count("primes_stopped" if stopped else "primes_done")
