"""How is the live reply kept within its budget? What the planner chooses is done here, and at the right time.

::

    begin    deadline and rung go into the request, before anything is asked of anybody; of a draft, too, it
             is asked again whether its rung will do
    watch    committed: from now on the clock decides
      look     plan again -> an order, a filler, a refusal; then one timer for the next look
    stop     the first sample of the answer is there, or the reply is over
"""

import math
from dataclasses import replace
from typing import Protocol

from voicestack.aio.clock import Clock
from voicestack.aio.orders import Orders, Promise
from voicestack.core.budget import Budget
from voicestack.core.deadline import Deadline
from voicestack.core.ids import TurnId
from voicestack.core.marks import Mark
from voicestack.core.rungs import Forecast, Rung
from voicestack.core.watching import Trail
from voicestack.ports import Forecaster, LlmRequest
from voicestack.session.alarm import Alarm
from voicestack.session.mouth import LiveReply
from voicestack.session.reply import FIRST_WORDS
from voicestack.session.tuning import SAY_MS
from voicestack.turn.plan import Choice, filler_due_in_ms, look_again_in_ms, plan

SHORT_WORDS = 2
"""The first phrase after so many words when time is short: the fewest that sound like a phrase."""

RETRY_MS = 30.0
"""A sentence that is not there yet is asked for again after so long: a frame and a half."""

FILLER_EVERY_MS = 3_500.0
"""Between the beginnings of two fillers: people ask "hello?" after some three seconds of silence."""

_STAGES = {
    Mark.CLAUSE_READY: ("clause", Mark.LLM_FIRST_TOKEN),
    Mark.TTS_FIRST_AUDIO: ("tts", Mark.CLAUSE_READY),
}
"""What is told to the forecaster, and since when it counts. Of first tokens the fleet tells, by replica."""


class Paced(Protocol):
    """Whoever does what the clock demands of a reply."""

    def on_late(self, live: LiveReply, reason: str) -> bool:
        """Nothing has been heard for too long: fill the silence. Returns whether that could be done."""
        ...

    def on_given_up(self, live: LiveReply) -> None:
        """Nobody wants the answer any more: say so."""
        ...


class Pace:
    """The clock of one session's live reply.

    Args:
        clock: The time.
        budget: What turns may take, and what may be done about it.
        forecaster: Knows how long things take now; None if nobody does.
        paced: Does it.
    """

    def __init__(self, clock: Clock, budget: Budget, forecaster: Forecaster | None, paced: Paced) -> None:
        self._clock, self._budget, self._forecaster, self._paced = clock, budget, forecaster, paced
        self._alarm = Alarm(clock, self._look)
        self._live: LiveReply | None = None  # nothing of the answer is there
        self._at: dict[Mark, int] = {}  # of the reply that was begun last
        self._turn = TurnId(0)
        self._rung = self._begun = Rung.FULL  # the turn before began with it: hysteresis is across turns
        self._is_short = False  # its first clause
        self._ordered_ns: int | None = None
        self._filled_ns: int | None = None

    @property
    def rung(self) -> Rung:
        """How the newest reply is made."""
        return self._rung

    def begin(self, live: LiveReply, trail: Trail, zero_ns: int, filled_ns: int | None = None) -> None:
        """A reply is about to be made: give it its deadline and its rung.

        Args:
            live: It.
            trail: Where it is written what was done for it.
            zero_ns: When the user fell silent, or the reply was asked for.
            filled_ns: When that silence was filled already.
        """
        self.stop()
        self._turn, self._at = live.turn, {}
        self._ordered_ns, self._filled_ns = None, filled_ns
        deadline = self._budget.deadline(zero_ns)
        live.request = replace(live.request, deadline=deadline, orders=Orders(), trail=trail)
        if live.request.draft:
            live.request = replace(live.request, promise=Promise())
            trail.took(Rung.DRAFT, "soft_end")
        if self._budget.enforced:
            now_ns = self._clock.now_ns()
            remaining_ms, offered = deadline.remaining_ms(now_ns), self._forecasts(live.request, None)
            choice = plan(remaining_ms, offered, self._budget, self._begun)
            looks_ms = look_again_in_ms(remaining_ms, offered, self._budget, choice)
            if choice.take_in_ms > 0:
                choice = Choice(self._begun, reason=choice.reason if self._begun is not Rung.FULL else "")
            self._begun = choice.rung
            self._take(live, choice)
            if live.modality == "audio":
                self._live = live
                self._alarm.set(_after(now_ns, looks_ms))

    def watch(self, live: LiveReply) -> None:
        """The reply may be heard from now on. Let it be audible, or something else, in time."""
        if live.request.promise is not None:  # a draft no more, should it have to be begun again, too
            live.request.promise.give()
            live.request = replace(live.request, draft=False)
        if self._budget.enforced and live.modality == "audio" and Mark.TTS_FIRST_AUDIO not in self._at:
            self._live = live
            self._look()

    def stamped(self, turn: TurnId, mark: Mark, at_ns: int) -> None:
        """A mark of a reply was written. From these the forecaster learns."""
        if turn != self._turn or mark in self._at:
            return
        self._at[mark] = at_ns
        stage, since = _STAGES.get(mark, ("", mark))
        if stage and since in self._at and self._forecaster is not None:
            stage = "short_clause" if stage == "clause" and self._is_short else stage
            self._forecaster.observe(stage, "", (at_ns - self._at[since]) / 1e6)
        if mark is Mark.TTS_FIRST_AUDIO:
            self._rest()

    def again(self) -> None:
        """The reply is begun once more."""
        self._unfinished()
        self._at = {}

    def stop(self) -> None:
        """The reply is over, or has reached the peer."""
        self._unfinished()
        self._at = {}
        self._rest()

    def _rest(self) -> None:
        self._live = None
        self._alarm.set(None)

    def _unfinished(self) -> None:
        """A stage that was given up has taken longer than this."""
        if self._forecaster is None or Mark.TTS_FIRST_AUDIO in self._at:
            return
        for mark, (stage, since) in _STAGES.items():
            if since in self._at and mark not in self._at:
                took_ms = (self._clock.now_ns() - self._at[since]) / 1e6
                self._forecaster.observe(stage, "", took_ms, finished=False)

    # --- the clock ------------------------------------------------------------------------------------

    def _look(self) -> None:
        live = self._live
        if live is None:
            return
        now_ns, deadline = self._clock.now_ns(), live.request.deadline
        assert deadline is not None
        remaining_ms = deadline.remaining_ms(now_ns)
        offered = self._forecasts(live.request, self._waited_ms(now_ns))
        choice = plan(remaining_ms, offered, self._budget, live.request.rung)
        is_worse = choice.rung.place > live.request.rung.place  # what was given up is not taken back
        if is_worse and choice.take_in_ms <= 0:
            self._take(live, choice)
            if choice.rung is not Rung.SHORT_CLAUSE:  # that asks nobody else
                self._ordered_ns = now_ns
            orders = live.request.orders
            assert orders is not None
            orders.give(choice.rung)
        looks_ms = look_again_in_ms(remaining_ms, offered, self._budget, choice)
        if not live.committed:
            self._alarm.set(_after(now_ns, looks_ms))
            return
        if deadline.is_expired(now_ns) and self._budget.allows(Rung.REFUSAL):
            # Not sooner, whatever is forecast: who refuses at once never learns that an outage is over.
            self._rest()
            self._paced.on_given_up(live)
            return
        self._fill(live, choice, remaining_ms)
        if self._live is live:
            self._alarm.set(self._next_ns(now_ns, deadline, choice, looks_ms))

    def _fill(self, live: LiveReply, choice: Choice, remaining_ms: float) -> None:
        now_ns = self._clock.now_ns()
        if self._budget.allows(Rung.FILLER) and self._filler_in_ms(now_ns, choice, remaining_ms) <= 0:
            reason = "late" if choice.say is not None else "silence"
            if self._paced.on_late(live, reason):
                self._filled_ns = now_ns

    def _filler_in_ms(self, now_ns: int, choice: Choice, remaining_ms: float) -> float:
        if self._filled_ns is not None:
            return FILLER_EVERY_MS - (now_ns - self._filled_ns) / 1e6
        return filler_due_in_ms(remaining_ms, self._budget, SAY_MS, choice)

    def _next_ns(self, now_ns: int, deadline: Deadline, choice: Choice, looks_ms: float) -> int | None:
        waits_ms = [looks_ms, deadline.left_ms(now_ns)]
        if self._budget.allows(Rung.FILLER):
            filler_ms = self._filler_in_ms(now_ns, choice, deadline.remaining_ms(now_ns))
            # A sentence that is not there yet is asked for again a little later.
            waits_ms.append(filler_ms if filler_ms > 0 else RETRY_MS)
        return _after(now_ns, min((ms for ms in waits_ms if ms > 0), default=math.inf))

    def _take(self, live: LiveReply, choice: Choice) -> None:
        """Make the reply as it was chosen."""
        live.request = replace(live.request, rung=choice.rung)
        self._rung = choice.rung
        late = choice.rung.place >= Rung.SHORT_CLAUSE.place
        self._is_short = late and self._budget.allows(Rung.SHORT_CLAUSE)
        live.outcome.first_words = SHORT_WORDS if self._is_short else FIRST_WORDS
        if choice.reason and live.request.trail is not None:
            forecast_ms = None if choice.forecast is None else choice.forecast.p95_ms
            live.request.trail.took(choice.rung, choice.reason, forecast_ms)

    def _forecasts(self, request: LlmRequest, waited_ms: float | None) -> tuple[Forecast, ...]:
        """What could still be done. Once the LLM writes, nobody else would be sooner."""
        if self._forecaster is None or Mark.LLM_FIRST_TOKEN in self._at:
            return ()
        return self._forecaster.forecasts(request, waited_ms)

    def _waited_ms(self, now_ns: int) -> float | None:
        since_ns = self._ordered_ns or self._at.get(Mark.LLM_SENT)
        return None if since_ns is None else (now_ns - since_ns) / 1e6


def _after(now_ns: int, ms: float) -> int | None:
    """So much later; None for never."""
    return None if ms == math.inf else now_ns + round(ms * 1e6)
