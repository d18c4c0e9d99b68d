"""How does a language model that nobody asks anything stay as fast as a busy one?

A GPU that idles clocks down, and what vLLM has not used for a while is slow to use again: its time to the
first token rises after some ten seconds of silence (vLLM issue 31602 reports it). A prompt of a few dozen
tokens every few seconds keeps it awake, keeps the KV of the default instructions from being evicted, and
says, measured, whether the server still is warm.
"""

import asyncio
import logging
from dataclasses import dataclass

from voicestack.aio.clock import Clock
from voicestack.core.errors import StageError
from voicestack.core.history import Message
from voicestack.core.ids import TurnId, own_session
from voicestack.engines.llm_figures import LlmFigures
from voicestack.ports import Llm, LlmRequest

log = logging.getLogger(__name__)

BEATING = own_session("heartbeat")
AGAIN_NS = 1_000_000_000
"""After a beat that was slow or failed the next one comes so soon: it decides whether sessions are taken."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """How often to beat, and how long a beat may take. `every_ns` is the longest silence."""

    every_ns: int
    budget_ms: float


def wait_ns(now_ns: int, quiet_since_ns: int | None, again_ns: int | None, every_ns: int) -> int:
    """How long until a beat is due; 0: now. Pure.

    Args:
        now_ns: The present.
        quiet_since_ns: When the last request ended; None while one is under way, or none has been made: a
            model that has not been warmed has nothing to keep.
        again_ns: When to look again after a beat that was not good; None after one that was.
        every_ns: The longest silence.
    """
    if quiet_since_ns is None:
        return every_ns
    due_ns = quiet_since_ns + every_ns if again_ns is None else again_ns
    return max(0, due_ns - now_ns)


class Heartbeat:
    """Primes the model when it was silent for too long. A request of a user ends a beat at once.

    Args:
        llm: Whom to ask, and
        measures: what is known of its requests; their `is_warm` is set by the last beat.
        clock: Measures.
        messages: The prompt: best one whose KV should stay, the default instructions.
        pulse: See there.

    Attributes:
        last_ms: What the last beat took that was not stopped; None before it, and after one that failed.
    """

    def __init__(
        self, llm: Llm, measures: LlmFigures, *, clock: Clock, messages: tuple[Message, ...], pulse: Pulse
    ) -> None:
        self._llm, self._measures, self._clock, self._pulse = llm, measures, clock, pulse
        self._request = LlmRequest(BEATING, TurnId(0), messages, draft=True)
        self._again_ns: int | None = None
        self._is_stopped = False
        self._is_beating = False
        self._n_beats = self._n_slow = self._n_stopped = self._n_failed = 0
        self.last_ms: float | None = None
        measures.on_begin.append(self._stop)

    def doubt(self) -> str | None:
        """Why the model is not warm; None as far as the beats tell it is."""
        if self._again_ns is None:
            return None
        if self.last_ms is None:
            return "the language model's heartbeat failed"
        return (
            f"the language model's heartbeat took {self.last_ms:.0f} ms; "
            f"the budget is {self._pulse.budget_ms:.0f} ms"
        )

    def figures(self) -> dict[str, float]:
        """See `ports.Measured`."""
        counts: dict[str, float] = {
            "heartbeats_total": self._n_beats,
            "heartbeats_slow_total": self._n_slow,
            "heartbeats_stopped_total": self._n_stopped,
            "heartbeats_failed_total": self._n_failed,
        }
        return counts if self.last_ms is None else counts | {"heartbeat_last_ms": self.last_ms}

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            measures = self._measures
            left_ns = wait_ns(
                self._clock.now_ns(), measures.quiet_since_ns, self._again_ns, self._pulse.every_ns
            )
            if left_ns:
                await asyncio.sleep(left_ns / 1e9)
            else:
                await self._beat()

    async def _beat(self) -> None:
        began_ns = self._clock.now_ns()
        self._is_beating, self._is_stopped = True, False
        error: StageError | None = None
        try:
            await self._llm.prime(self._request)
        except StageError as failure:
            error = failure
        finally:
            self._is_beating = False
            self._llm.release(BEATING)
        if self._is_stopped:
            self._n_stopped += 1
        else:
            self._note(None if error else (self._clock.now_ns() - began_ns) / 1e6)

    def _note(self, took_ms: float | None) -> None:
        """A beat is over; None: it failed."""
        was_warm = self._measures.is_warm
        is_good = took_ms is not None and took_ms <= self._pulse.budget_ms
        self.last_ms = took_ms
        self._n_beats += 1
        self._n_slow += took_ms is not None and not is_good
        self._n_failed += took_ms is None
        self._again_ns = None if is_good else self._clock.now_ns() + AGAIN_NS
        self._measures.is_warm = is_good
        if was_warm != is_good:
            log.warning("%s", self.doubt() or f"the language model's heartbeat took {took_ms:.0f} ms again")

    def _stop(self) -> None:
        """A user's request begins."""
        if self._is_beating and not self._is_stopped:
            self._is_stopped = True
            self._llm.release(BEATING)
