"""The replicas of one stage: who of them is asked next, and how long does one wait for a place?"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Generic, TypeVar

from voicestack.aio.clock import Clock
from voicestack.core.deadline import Deadline
from voicestack.core.errors import StageExpired, StageOverloaded, StageUnavailable
from voicestack.fleet.choose import Choice, ChoosePolicy, Wish, choose, score_ms
from voicestack.fleet.member import Member
from voicestack.fleet.replica import Replica, ReplicaView

E = TypeVar("E")

NOBODY = ""


class Importance(IntEnum):
    """Of a request, the lowest number first. Who comes first is served first when a place is free."""

    COMMITTED = 0
    HEDGE = 1
    DRAFT = 2
    PRIME = 3

    @property
    def waits(self) -> bool:
        """Whether it waits for a place; a hedge or a prime that comes late is worth nothing."""
        return self in (Importance.COMMITTED, Importance.DRAFT)

    @property
    def leaves(self) -> int:
        """Places that it leaves to more important requests."""
        return 0 if self is Importance.COMMITTED else 1


@dataclass(frozen=True, slots=True)
class Pick(Generic[E]):
    """Who is asked, and how it was when it was chosen."""

    member: Member[E]
    choice: Choice
    replica: Replica


@dataclass(slots=True)
class _Stay:
    """Where a session's KV is, and until when that is believed."""

    name: str
    until_ns: int


class Roster(Generic[E]):
    """Chooses among replicas, and remembers where sessions are. For one event loop.

    Args:
        members: The replicas, at least one, with names of their own.
        clock: For the time that a session stays.
        policy: How they are weighed.
        sticky_s: A session that was silent for longer is at home nowhere.
        draw: A random number in [0, 1).
    """

    def __init__(
        self,
        members: Sequence[Member[E]],
        *,
        clock: Clock,
        policy: ChoosePolicy,
        sticky_s: float = 60.0,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.members = {member.name: member for member in members}
        self.policy = policy
        self._stays_near = replace(policy, may_shed=False)
        self.counts: Counter[str] = Counter()
        self._clock, self._draw = clock, draw
        self._sticky_ns = round(sticky_s * 1e9)
        self._stays: dict[str, _Stay] = {}
        self._waiting: list[tuple[Importance, int, asyncio.Future[None]]] = []
        self._n_waited = 0
        for member in members:
            member.on_free.append(self._freed)

    @property
    def local(self) -> Member[E] | None:
        """The replica beside this server, if there is one."""
        return next((one for one in self.members.values() if one.about.kind == "local"), None)

    def home(self, session: str) -> str:
        """Where the session's KV is; empty for nowhere."""
        stay = self._stays.get(session)
        return stay.name if stay is not None and self._clock.now_ns() < stay.until_ns else NOBODY

    def stay(self, session: str, name: str) -> None:
        """The session has been served there: it stays for a while."""
        self._stays[session] = _Stay(name, self._clock.now_ns() + self._sticky_ns)

    def leave(self, session: str) -> None:
        """The session is over."""
        self._stays.pop(session, None)

    def now(self) -> list[Replica]:
        """How they are."""
        return [member.now() for member in self.members.values()]

    def speculating(self) -> set[str]:
        """Those that decode speculatively."""
        return {name for name, member in self.members.items() if member.about.speculates}

    def pick(
        self,
        wish: Wish,
        importance: Importance = Importance.COMMITTED,
        *,
        may_shed: bool = False,
    ) -> Pick[E] | None:
        """Who is asked; None if nobody has a place.

        Args:
            wish: See there.
            importance: Who less important is leaves a place to those that are more so.
            may_shed: Whether another region is asked because it is sooner.
        """
        policy = self.policy if may_shed else self._stays_near
        replicas = [_leaving(one, importance.leaves) for one in self.now()]
        choice = choose(replicas, wish, policy, (self._draw(), self._draw()))
        if choice is None:
            return None
        chosen = next(one for one in replicas if one.name == choice.name)
        return Pick(self.members[choice.name], choice, chosen)

    async def picked(
        self, wish: Wish, importance: Importance, deadline: Deadline | None, *, may_shed: bool
    ) -> Pick[E]:
        """The same, but wait for a place where the importance allows it.

        Raises:
            StageUnavailable: there is nobody left to ask.
            StageOverloaded: nobody has a place.
            StageExpired: nobody had one before the limit.
        """
        stage = next(iter(self.members.values())).about.stage
        while True:
            if deadline is not None and deadline.is_expired(self._clock.now_ns()):
                self.counts["expired"] += 1
                raise StageExpired("nobody wants it any more", stage=stage)
            pick = self.pick(wish, importance, may_shed=may_shed)
            if pick is not None:
                return pick
            if all(name in wish.without for name in self.members):
                raise StageUnavailable("no replica is left", stage=stage)
            if not importance.waits:
                self.counts["full"] += 1
                raise StageOverloaded("no replica has a place", stage=stage)
            await self._wait(importance, deadline)

    async def _wait(self, importance: Importance, deadline: Deadline | None) -> None:
        self._n_waited += 1
        freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (importance, self._n_waited, freed)
        self._waiting.append(entry)
        left_s = None if deadline is None else deadline.left_ms(self._clock.now_ns()) / 1e3
        try:
            async with asyncio.timeout(left_s):
                await freed
        except TimeoutError:
            return  # the caller sees that its limit has passed
        except asyncio.CancelledError:
            if freed.done() and not freed.cancelled():
                self._freed()  # the place goes to the next one
            raise
        finally:
            self._waiting.remove(entry)
        self.counts["waited"] += 1

    def _freed(self) -> None:
        """A place is free: the most important one that waits may look, the oldest of several."""
        waiting = [entry for entry in self._waiting if not entry[2].done()]
        if waiting:
            min(waiting, key=lambda entry: entry[:2])[2].set_result(None)

    @property
    def n_waiting(self) -> int:
        """Requests that wait for a place."""
        return len(self._waiting)

    def views(self) -> list[ReplicaView]:
        """What operators see of each."""
        return [member.view() for member in self.members.values()]

    def forecast_ms(self, replica: Replica) -> float:
        """When a first result of it could be here."""
        return score_ms(replica, self.policy)


def _leaving(replica: Replica, n_places: int) -> Replica:
    """The replica as somebody sees it who leaves some of its places to others; one is always there."""
    if not n_places or replica.cap is None:
        return replica
    return replace(replica, cap=max(1, replica.cap - n_places))
