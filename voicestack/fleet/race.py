"""How does a reply get its first token? Replicas are asked, one after the other or two at a time."""

import asyncio
from collections import Counter
from collections.abc import Set

from voicestack.aio.clock import Clock
from voicestack.aio.orders import Orders
from voicestack.aio.scope import Scope
from voicestack.core.errors import StageError, StageOverloaded, StageRejected
from voicestack.core.ids import is_own
from voicestack.core.rungs import Rung
from voicestack.fleet.choose import Wish
from voicestack.fleet.hedges import HedgeAllowance
from voicestack.fleet.lane import Lane
from voicestack.fleet.roster import Importance, Pick, Roster
from voicestack.fleet.wording import importance_of, inner, moved_reason
from voicestack.ports import Llm, LlmRequest

MAX_TRIES = 2
"""A replica that fails is asked once more when nobody else is left: a turn without an answer costs more."""


class Race:
    """The way of one reply to its first token. Orders that come later are obeyed by nobody.

    Args:
        roster: Who may be asked.
        request: The reply.
        hedges: Whether a second one may be asked.
        hedging: The wish for that one, as configured.
        clock: Tells what is left of the budget.
        scope: Where the asking runs.
        may_shed: Whether another region is asked first because it is sooner.
    """

    def __init__(
        self,
        roster: Roster[Llm],
        request: LlmRequest,
        hedges: HedgeAllowance,
        hedging: Wish,
        *,
        clock: Clock,
        scope: Scope,
        may_shed: bool,
    ) -> None:
        self._roster, self._request, self._hedges, self._hedging = roster, request, hedges, hedging
        self._clock, self._scope, self._may_shed = clock, scope, may_shed
        self._news = asyncio.Event()
        self._lanes: list[Lane] = []
        self._failed: Counter[str] = Counter()
        self._left: set[str] = set()
        self._error: StageError | None = None
        self._importance = importance_of(request)

    async def won(self) -> Lane:
        """The lane whose answer counts.

        Raises:
            StageError: nobody answers.
        """
        self._start(*await self._first())
        if self._request.rung is Rung.HEDGE:
            self._hedge()
        if self._request.orders is not None:
            self._scope.start(self._obey(self._request.orders), name="llm-orders")
        while (lane := self._settled()) is None:
            await self._news.wait()
            self._news.clear()
        for other in self._lanes:
            if other is not lane:
                self._lose(other)
        self._roster.counts["hedges_won"] += lane.is_hedge
        return lane

    def abandon(self) -> None:
        """Nobody wants any answer any more."""
        for lane in self._lanes:
            lane.abandon()

    async def _first(self) -> tuple[Pick[Llm], Rung]:
        """Whom to ask first, and as what. Reports it when that is not where the session belongs."""
        request, roster = self._request, self._roster
        home, deadline = roster.home(request.session), request.deadline
        remaining_ms = None if deadline is None else deadline.remaining_ms(self._clock.now_ns())
        wish = Wish(home, self._not_for_us(), remaining_ms)
        pick = await roster.picked(wish, self._importance, deadline, may_shed=self._may_shed)
        if request.rung is Rung.SPECULATION and pick.member.about.speculates:
            plain = self._elsewhere(pick.member.name, roster.speculating())
            return (plain or pick), Rung.FULL
        if request.rung is Rung.SHED:
            moved = roster.pick(
                Wish(pick.member.name, wish.without, remaining_ms, elsewhere=True, only_good=True),
                self._importance,
            )
            return (moved or pick), (Rung.SHED if moved else Rung.FULL)
        reason = moved_reason(roster, home, pick)
        if reason:
            self._took(reason, pick.choice.forecast_ms)
        return pick, (Rung.SHED if reason else Rung.FULL)

    def _not_for_us(self) -> set[str]:
        """What warms this server up is for the replica beside it."""
        local = self._roster.local
        if not is_own(self._request.session) or local is None:
            return set()
        return set(self._roster.members) - {local.name}

    def _start(self, pick: Pick[Llm], rung: Rung) -> None:
        lane = Lane(pick, inner(self._request, rung), self._news.set)
        lane.start(self._scope)
        self._lanes.append(lane)

    def _settled(self) -> Lane | None:
        """The lane that has its first token. Those that failed are replaced.

        Raises:
            StageError: there is nobody left to ask, or nothing to be gained by it.
        """
        for lane in self._lanes:
            if lane.first is not None:
                return lane
        for lane in [lane for lane in self._lanes if lane.error is not None]:
            self._lanes.remove(lane)
            self._failed[lane.name] += MAX_TRIES if isinstance(lane.error, StageRejected) else 1
            self._error = self._error or lane.error
            if not self._lanes:
                assert lane.error is not None
                self._again(lane.error)
        return None

    def _again(self, error: StageError) -> None:
        """Ask another one. Nothing of an answer has been passed on yet."""
        assert self._error is not None
        if not (error.retryable or isinstance(error, StageRejected)):
            raise error
        pick = self._another()
        if pick is None:
            raise self._error
        self._roster.counts["retries"] += 1
        self._took("overloaded" if isinstance(error, StageOverloaded) else "failed", pick.choice.forecast_ms)
        self._start(pick, Rung.SHED)

    def _another(self) -> Pick[Llm] | None:
        """One that has not been asked; else one that was left, or that failed only once: it may be back."""
        roster, asked = self._roster, set(self._failed)
        spent = {name for name, n_tries in self._failed.items() if n_tries >= MAX_TRIES}
        rounds = [asked | self._left, asked, spent if len(roster.members) > 1 else asked]
        for without in rounds:
            pick = roster.pick(Wish(without=without | self._not_for_us()), self._importance)
            if pick is not None:
                self._left.discard(pick.member.name)
                return pick
        return None

    async def _obey(self, orders: Orders) -> None:
        while True:
            rung = await orders.next()
            if rung is Rung.HEDGE:
                self._hedge()
            elif rung is Rung.SHED:
                self._shed()
            elif rung is Rung.SPECULATION and any(lane.pick.member.about.speculates for lane in self._lanes):
                self._shed(self._roster.speculating())

    def _hedge(self) -> None:
        """Ask a second one as well, if one is good for it and it has not been done too often."""
        if len(self._lanes) != 1 or self._lanes[0].first is not None:
            return
        wish = self._hedging
        without = {*self._failed, self._lanes[0].name} | self._not_for_us()
        pick = self._roster.pick(
            Wish("", without, only_good=True, only_near=wish.only_near, most_ratio=wish.most_ratio),
            Importance.HEDGE,
        )
        if pick is None or not self._hedges.take():
            self._roster.counts["hedges_denied"] += 1
            return
        self._roster.counts["hedges"] += 1
        self._start(pick, Rung.HEDGE)

    def _elsewhere(self, home: str, but: Set[str] = frozenset()) -> Pick[Llm] | None:
        """Another one that is good for it, and none of those."""
        without = (
            {*self._failed} | self._left | {lane.name for lane in self._lanes} | self._not_for_us() | but
        )
        wish = Wish(home, without, elsewhere=True, only_good=True, only_near=bool(but))
        return self._roster.pick(wish, self._importance)

    def _shed(self, but: Set[str] = frozenset()) -> None:
        """Another one answers in the place of those that are asked, if there is one that is good for it."""
        if any(lane.first is not None for lane in self._lanes):
            return
        asked = {lane.name for lane in self._lanes}
        pick = self._elsewhere(self._lanes[0].name if self._lanes else "", but)
        if pick is None:
            self._roster.counts["sheds_denied"] += 1
            return
        self._roster.counts["sheds"] += 1
        self._left |= asked
        for lane in self._lanes:
            self._lose(lane)
        self._lanes.clear()
        self._start(pick, Rung.SHED)

    def _lose(self, lane: Lane) -> None:
        n_tokens = lane.lose(self._scope)
        self._roster.counts["wasted_tokens"] += n_tokens
        if n_tokens and self._request.trail is not None:
            self._request.trail.wasted(n_tokens)

    def _took(self, reason: str, forecast_ms: float) -> None:
        self._roster.counts["sheds"] += 1
        if self._request.trail is not None:
            self._request.trail.took(Rung.SHED, reason, forecast_ms)
