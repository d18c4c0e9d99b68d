"""Are the replicas well? Those elsewhere are asked, and one whose breaker is half-open is tried."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from voicestack.aio.scope import Scope
from voicestack.core.errors import StageError, StageTimeout
from voicestack.fleet.breaker import BreakerState
from voicestack.fleet.member import Member
from voicestack.fleet.replica import State

log = logging.getLogger(__name__)

E = TypeVar("E")

TRY_S = 0.25
"""How often breakers are looked at."""
TRY_LIMIT_S = 5.0
"""A replica that takes longer for one token is not well."""
NEWEST_RATIO = 0.3
"""Weight of the newest way there and back. The shortest of late would be too good in a jam."""
MISSES = 2
"""So many pings without an answer make a replica be down; a refused one is enough."""


@dataclass(frozen=True, slots=True)
class Ping:
    """What a replica said when it was asked how it is.

    Attributes:
        state: How it is.
        rtt_ms: How long the answer took; None if there was none.
        is_sure: It is gone, and not only late.
    """

    state: State
    rtt_ms: float | None = None
    is_sure: bool = True


@dataclass(frozen=True, slots=True)
class Kept(Generic[E]):
    """A replica, and how to find out about it.

    Attributes:
        member: It.
        probe: Asks the engine for as little as can be asked for; raises StageError.
        ping: Asks the server behind it how it is; None for the one beside this server.
        measure_s: One with a server behind it that was not asked for so long is probed; 0: never.
    """

    member: Member[E]
    probe: Callable[[E], Awaitable[None]]
    ping: Callable[[], Awaitable[Ping]] | None = None
    measure_s: float = 0.0

    async def ping_on(self, every_s: float) -> None:
        """Ask how it is until cancelled."""
        assert self.ping is not None
        n_missed = 0
        while True:
            ping = await self.ping()
            n_missed = n_missed + 1 if ping.state == "down" else 0
            if ping.state != "down" or ping.is_sure or n_missed >= MISSES:
                self._note(ping)
            await asyncio.sleep(every_s)

    async def try_on(self) -> None:
        """Try it whenever its breaker is half-open, until cancelled."""
        member = self.member
        while True:
            state = member.breaker.state(member.clock.now_ns())
            if state is BreakerState.HALF_OPEN and not member.breaker.probing:
                await self._try()
            elif state is BreakerState.CLOSED and self._is_forgotten():
                await self._try(is_timed=True)
            elif self.ping is None and member.breaker.is_out:
                member.heal()  # nobody else would try the one beside this server
            await asyncio.sleep(TRY_S)

    def _is_forgotten(self) -> bool:
        """Whether nobody has asked it for so long that it is not known any more how long it takes."""
        if not self.measure_s or self.ping is None or self.member.now().state != "warm":
            return False
        asked_ns, now_ns = self.member.asked_ns, self.member.clock.now_ns()
        return asked_ns is None or now_ns - asked_ns > self.measure_s * 1e9

    async def _try(self, *, is_timed: bool = False) -> None:
        was_well = self.member.breaker.state(self.member.clock.now_ns()) is BreakerState.CLOSED
        try:
            with self.member.call(is_timed=is_timed) as call:
                try:
                    async with asyncio.timeout(TRY_LIMIT_S):
                        await self.probe(self.member.engine)
                except TimeoutError:
                    message = f"no answer within {TRY_LIMIT_S:.0f} s"
                    raise StageTimeout(message, stage=self.member.about.stage) from None
                call.first()
        except StageError as error:
            log.info("replica %s is not well: %s", self.member.name, error)
            return
        if not was_well:
            log.info("replica %s is well again", self.member.name)

    def _note(self, ping: Ping) -> None:
        health = self.member.health
        if ping.state != health.state:
            log.info("replica %s is %s", self.member.name, ping.state)
        health.state = ping.state
        if ping.rtt_ms is not None:
            old_ms = health.rtt_ms or ping.rtt_ms
            health.rtt_ms = old_ms + NEWEST_RATIO * (ping.rtt_ms - old_ms)
        if ping.state == "warm":
            self.member.heal()


class Keeper:
    """Looks after all replicas of a server. As a `supervised.Process` it is always ready: others may fail.

    Args:
        kept: They.
        every_s: How often they are asked how they are.
    """

    is_ready = True
    n_restarts = 0

    def __init__(self, kept: Sequence[Kept[Any]], every_s: float) -> None:
        self._kept, self._every_s = kept, every_s

    async def run(self) -> None:
        """Look after them until cancelled."""
        async with Scope() as scope:
            for one in self._kept:
                if one.ping is not None:
                    scope.start(one.ping_on(self._every_s), name=f"ping-{one.member.name}")
                scope.start(one.try_on(), name=f"try-{one.member.name}")
            await asyncio.Event().wait()
