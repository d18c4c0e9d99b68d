"""Which replica writes the agent's words? One that is warm and near, another one when it fails or is late.

A reply is asked of one replica. Until its first token a second one may be asked as well (HEDGE) or instead
(SHED), by order of the planner, and a replica that fails is replaced. From the first token on the answer
belongs to whoever wrote it: two halves of two models' answers are no answer.
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId, is_own, own_session
from voicestack.core.rungs import Rung
from voicestack.fleet.choose import Wish
from voicestack.fleet.hedges import HedgeAllowance
from voicestack.fleet.race import Race
from voicestack.fleet.replica import Replica, ReplicaView
from voicestack.fleet.roster import Importance, Roster
from voicestack.fleet.ways import Way
from voicestack.fleet.wording import importance_of, inner, tell_use
from voicestack.ports import Llm, LlmDelta, LlmRequest

PROBING = own_session("fleet-probe")
_PROBE = LlmRequest(PROBING, TurnId(0), (Message("user", "Hello."),), max_tokens=1, draft=True)


@runtime_checkable
class Examined(Protocol):
    """An engine that can tell what is wrong with its set-up."""

    async def faults(self) -> list[str]:
        """A sentence for each."""
        ...


@dataclass(frozen=True, slots=True)
class Hedging:
    """When a second replica may be asked as well.

    Attributes:
        ratio: Of all replies, in the long run.
        busy_ratio: Of the second one's capacity, which is in use at most then.
        away: It may be in another region.
    """

    ratio: float = 0.05
    busy_ratio: float = 0.7
    away: bool = False


class LlmPool:
    """Satisfies `ports.Llm`, `ports.Measured` and `ways.Ways`.

    Args:
        roster: The replicas.
        clock: Tells what is left of a budget.
        hedging: See there.

    Until somebody asks for its ways, and so plans, it goes to other regions by itself when that is sooner.
    """

    def __init__(self, roster: Roster[Llm], *, clock: Clock, hedging: Hedging | None = None) -> None:
        self.roster, self._clock = roster, clock
        self._hedging = hedging or Hedging()
        self._hedges = HedgeAllowance(self._hedging.ratio)
        self._is_planned = False
        self._hedge_wish = Wish(only_near=not self._hedging.away, most_ratio=self._hedging.busy_ratio)

    def reply(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        """See `ports.Llm`.

        Raises:
            StageExpired: nobody wants it any more, and it was not begun.
            StageOverloaded: no replica has a place for it.
            StageError: no replica would answer, as the first of them said; or the answer broke off.
        """
        self._hedges.reply_began()
        return self._alone(request) if len(self.roster.members) == 1 else self._raced(request)

    async def _alone(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        """With one replica there is nothing to choose, so that it costs next to nothing."""
        pick = await self.roster.picked(Wish(), importance_of(request), request.deadline, may_shed=False)
        call, engine = pick.member.call(), pick.member.engine
        try:
            with call:
                async with aclosing(engine.reply(inner(request, Rung.FULL))) as deltas:
                    async for delta in deltas:
                        if call.first_ms is None:
                            call.first()
                            tell_use(request, pick, call, won=True)
                        yield delta
        finally:
            if call.first_ms is None:
                tell_use(request, pick, call, won=False)

    async def _raced(self, request: LlmRequest) -> AsyncGenerator[LlmDelta, None]:
        async with Scope() as scope:
            race = Race(
                self.roster,
                request,
                self._hedges,
                self._hedge_wish,
                clock=self._clock,
                scope=scope,
                may_shed=not self._is_planned,
            )
            try:
                lane = await race.won()
            except BaseException:
                race.abandon()
                raise
            if lane.pick.member.about.region == self.roster.policy.region:
                self.roster.stay(request.session, lane.name)
            async with aclosing(lane.deltas) as deltas:
                with lane:
                    assert lane.first is not None
                    yield lane.first
                    async for delta in deltas:
                        yield delta

    async def prime(self, request: LlmRequest) -> None:
        """See `ports.Llm`. It goes where the reply will go.

        Raises:
            StageOverloaded: no replica has a place for it.
            StageError: it was not done.
        """
        roster = self.roster
        wish = Wish(roster.home(request.session), self._not_for(request.session), only_near=True)
        pick = roster.pick(wish, Importance.PRIME) or await roster.picked(
            Wish(without=wish.without), Importance.PRIME, None, may_shed=False
        )
        if not pick.choice.is_away:
            roster.stay(request.session, pick.member.name)
        with pick.member.call(is_timed=False):
            await pick.member.engine.prime(request)

    def release(self, session: SessionId) -> None:
        """See `ports.Llm`."""
        self.roster.leave(session)
        for member in self.roster.members.values():
            member.engine.release(session)

    def ways(self, request: LlmRequest) -> Iterable[Way]:
        """See `ways.Ways`. A session that is at home nowhere is from now on."""
        roster, session = self.roster, request.session
        self._is_planned = True
        pick = roster.pick(Wish(roster.home(session), self._not_for(session)))
        if pick is None:
            return
        home = pick.member.name
        if not pick.choice.is_away:
            roster.stay(session, home)
        yield Way(Rung.FULL, home, self._extra_ms(pick.replica))
        without = {home, *self._not_for(session)}
        if pick.member.about.speculates:
            plain = Wish(home, without | roster.speculating(), elsewhere=True, only_good=True, only_near=True)
            if (calm := roster.pick(plain)) is not None:
                yield Way(Rung.SPECULATION, calm.member.name, self._extra_ms(calm.replica))
        second = roster.pick(
            Wish(
                without=without,
                only_good=True,
                only_near=not self._hedging.away,
                most_ratio=self._hedging.busy_ratio,
            ),
            Importance.HEDGE,
        )
        if second is not None and self._hedges.has_one:
            yield Way(Rung.HEDGE, second.member.name, self._extra_ms(second.replica))
        other = roster.pick(Wish(home, without, elsewhere=True, only_good=True))
        if other is not None:
            margin_ms = roster.policy.margin_ms if other.choice.is_away else 0.0
            yield Way(Rung.SHED, other.member.name, self._extra_ms(other.replica) + margin_ms)

    def n_in_flight(self, replica: str) -> int:
        """See `ways.Ways`."""
        members = self.roster.members
        if replica:
            return len(members[replica].calls) if replica in members else 0
        return sum(len(member.calls) for member in members.values())

    def figures(self) -> dict[str, float]:
        """See `ports.Measured`: of the pool, not of its replicas."""
        replicas = self.roster.now()
        names = ("hedges", "hedges_won", "hedges_denied", "sheds", "sheds_denied", "retries", "expired")
        read: dict[str, float] = {f"{name}_total": self.roster.counts[name] for name in names}
        return read | {
            "wasted_tokens_total": self.roster.counts["wasted_tokens"],
            "replicas": len(replicas),
            "replicas_good": sum(one.is_good for one in replicas),
            "waiting_requests": self.roster.n_waiting,
        }

    def replicas(self) -> list[ReplicaView]:
        """What operators see of each."""
        return self.roster.views()

    async def faults(self) -> list[str]:
        """What is wrong with the set-up of the replica beside this server."""
        local = self.roster.local
        engine = None if local is None else local.engine
        return await engine.faults() if isinstance(engine, Examined) else []

    def _not_for(self, session: SessionId) -> set[str]:
        local = self.roster.local
        return set(self.roster.members) - {local.name} if local and is_own(session) else set()

    def _extra_ms(self, replica: Replica) -> float:
        """What comes on top of what was measured of a replica, the way there and back among it."""
        measured_ms = self.roster.members[replica.name].figures.measured_ms(self._clock.now_ns(), 0.5)
        way_ms = replica.rtt_ms if measured_ms is None else 0.0
        return way_ms + (0.0 if replica.state == "warm" else self.roster.policy.cold_ms)


async def probe_llm(engine: Llm) -> None:
    """Ask for as little as can be asked for. Raises StageError: that failed."""
    try:
        await engine.prime(_PROBE)
    finally:
        engine.release(PROBING)
