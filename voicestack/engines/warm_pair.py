"""Two servers, of which one answers and the other sleeps: what happens when one dies?

The one that sleeps has given up its memory on the GPU but not its process, its kernels and its graphs, so
that it can take over in about a second (vLLM's sleep mode, level 1: weights in RAM, KV dropped). The decision
is `decide`, a pure function; `WarmPair` carries it out.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Protocol

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.core.errors import StageError, StageUnavailable
from voicestack.engines.child import Child

log = logging.getLogger(__name__)

SLEEP_LIMIT_S = 60.0
"""Falling asleep copies the weights to RAM: 8 GB take 1-3 s, 140 GB on a busy machine a minute."""
WAKE_LIMIT_S = 20.0
"""A wake takes 0.3-6 s (vLLM's figures for 0.6B to over 100B); one that takes longer hangs."""


class Phase(Enum):
    """What one of the two is doing."""

    DOWN = "down"  # dead, or starting
    SERVING = "serving"
    FALLING = "falling"  # on its way to sleep
    ASLEEP = "asleep"
    WAKING = "waking"


class Happened(Enum):
    """What became of one of them."""

    UP = "up"  # started, and awake
    DIED = "died"
    SLEPT = "slept"
    WOKE = "woke"  # and has been primed
    FAILED = "failed"  # to sleep or to wake


class Order(Enum):
    """What is to be done with one of them."""

    SERVE = "serve"  # requests go there from now on
    SLEEP = "sleep"
    WAKE = "wake"  # and prime
    KILL = "kill"  # it is started again


@dataclass(frozen=True, slots=True)
class Pair:
    """How the two are."""

    phases: tuple[Phase, Phase] = (Phase.DOWN, Phase.DOWN)

    @property
    def serving(self) -> int | None:
        """Which one answers, None if neither does."""
        return self.phases.index(Phase.SERVING) if Phase.SERVING in self.phases else None

    def having(self, which: int, phase: Phase) -> "Pair":
        """With one of them in another phase."""
        first, second = self.phases
        return replace(self, phases=(phase, second) if which == 0 else (first, phase))


Orders = tuple[tuple[Order, int], ...]


def decide(pair: Pair, happened: Happened, which: int) -> tuple[Pair, Orders]:
    """What follows when something has happened to one of the two. Pure.

    Any event may come in any phase; what no longer matters changes nothing.
    There is at most one that serves, and it is not put to sleep. When it dies the other is woken, or, on its
    way to sleep, woken as soon as it is there. Whoever comes up while another serves goes to sleep.
    """
    other = 1 - which
    was, beside = pair.phases[which], pair.phases[other]
    match happened:
        case Happened.DIED:
            after = pair.having(which, Phase.DOWN)
            if was in (Phase.SERVING, Phase.WAKING) and beside is Phase.ASLEEP:
                return after.having(other, Phase.WAKING), ((Order.WAKE, other),)
            return after, ()
        case Happened.UP:
            if beside in (Phase.SERVING, Phase.WAKING):
                return pair.having(which, Phase.FALLING), ((Order.SLEEP, which),)
            return pair.having(which, Phase.SERVING), ((Order.SERVE, which),)
        case Happened.SLEPT if was is Phase.FALLING:
            if beside in (Phase.SERVING, Phase.WAKING):
                return pair.having(which, Phase.ASLEEP), ()
            return pair.having(which, Phase.WAKING), ((Order.WAKE, which),)
        case Happened.WOKE if was is Phase.WAKING:
            if beside is Phase.SERVING:
                return pair.having(which, Phase.FALLING), ((Order.SLEEP, which),)
            return pair.having(which, Phase.SERVING), ((Order.SERVE, which),)
        case Happened.FAILED if was in (Phase.FALLING, Phase.WAKING):
            return pair, ((Order.KILL, which),)  # its death is the next event
    return pair, ()


class Sleeper(Protocol):
    """One of the two servers: a process that can be put to sleep."""

    @property
    def child(self) -> Child:
        """The process."""
        ...

    @property
    def socket(self) -> Path:
        """Where it listens."""
        ...

    async def run(self) -> None:
        """Keep it running until cancelled."""
        ...

    async def sleep(self) -> None:
        """Give the memory back. Raises StageError."""
        ...

    async def wake(self) -> None:
        """Take it again, and compute a token, so that no user pays for it. Raises StageError."""
        ...


class WarmPair:
    """Satisfies `openai_llm.Backing`; the URL that requests go to stays the same whoever serves.

    That URL is a link to the socket of the one that serves, replaced in one step: a connection that is made
    goes to one of them, and those that are open stay where they are.

    Args:
        sleepers: The two. Both need room on the GPU while the second one starts.
        link: Where the link is, in a directory that is made for it.
        clock: Measures takeovers.
        name: For logs and errors.
    """

    def __init__(
        self, sleepers: tuple[Sleeper, Sleeper], link: Path, *, clock: Clock, name: str = "vllm"
    ) -> None:
        self.name, self.url = name, f"unix:{link}"
        self.pair = Pair()
        self._sleepers, self._link, self._clock = sleepers, link, clock
        self._settled = asyncio.Event()
        self._scope: Scope | None = None
        self._on_exit: list[Callable[[str], None]] = []
        self._lives = [0, 0]
        self._lost_ns: int | None = None
        self._n_takeovers = 0
        self._wake_ms: float | None = None
        self._takeover_ms: float | None = None
        for which, sleeper in enumerate(sleepers):
            sleeper.child.on_ready(partial(self._feed, Happened.UP, which))
            sleeper.child.on_exit(partial(self._died, which))

    @property
    def is_ready(self) -> bool:
        """Whether one of them serves."""
        return self.pair.serving is not None

    @property
    def n_restarts(self) -> int:
        """How often what serves was replaced. A spare that starts again is not counted."""
        return self._n_takeovers

    def on_exit(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the reason whenever the one that served is gone."""
        self._on_exit.append(callback)

    def phases_s(self) -> dict[str, float]:
        """What the phases of the last start of the one that serves took, in seconds."""
        return self._sleepers[self.pair.serving or 0].child.phases_s()

    def figures(self) -> dict[str, float]:
        """See `ports.Measured`."""
        read: dict[str, float] = {
            "takeovers_total": self._n_takeovers,
            "pair_restarts_total": sum(sleeper.child.n_restarts for sleeper in self._sleepers),
            "spares_asleep": self.pair.phases.count(Phase.ASLEEP),
        }
        if self._wake_ms is not None:
            read["wake_last_ms"] = self._wake_ms
        return read if self._takeover_ms is None else read | {"takeover_last_ms": self._takeover_ms}

    async def ready(self, within_ns: int) -> object:
        """Wait until one of them serves.

        Raises:
            StageUnavailable: none does within `within_ns`.
        """
        if not self.is_ready:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_ns / 1e9):
                    await self._settled.wait()
        if not self.is_ready:
            first, second = (phase.value for phase in self.pair.phases)
            raise StageUnavailable(f"of {self.name} one is {first} and one {second}", stage="llm")
        return None

    async def run(self) -> None:
        """Keep both running until cancelled. The second one starts when the first one serves."""
        self._link.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            async with Scope() as scope:
                self._scope = scope
                try:
                    for sleeper in self._sleepers:
                        scope.start(sleeper.run(), name=sleeper.child.name)
                        await self._settled.wait()
                    await asyncio.Event().wait()
                finally:
                    self._scope = None  # they are about to be stopped: that is no reason to wake anybody
        finally:
            self._link.unlink(missing_ok=True)
            with suppress(OSError):  # it is not ours alone
                self._link.parent.rmdir()

    def _died(self, which: int, reason: str) -> None:
        self._lives[which] += 1
        was_serving = self.pair.serving == which
        if was_serving:
            self._lost_ns = self._clock.now_ns()
            self._settled.clear()
        self._feed(Happened.DIED, which)
        if was_serving:
            for callback in self._on_exit:
                callback(reason)

    def _feed(self, happened: Happened, which: int) -> None:
        """Decide and act, with no await in between."""
        self.pair, orders = decide(self.pair, happened, which)
        if self._scope is None:
            return  # it is being stopped
        for order, whom in orders:
            match order:
                case Order.SERVE:
                    self._serve(whom)
                case Order.SLEEP:
                    self._start(whom, self._sleepers[whom].sleep, Happened.SLEPT)
                case Order.WAKE:
                    self._start(whom, self._sleepers[whom].wake, Happened.WOKE)
                case Order.KILL:
                    self._sleepers[whom].child.kill()

    def _start(self, which: int, do: Callable[[], Awaitable[None]], done: Happened) -> None:
        assert self._scope is not None
        self._scope.start(self._carry_out(which, do, done), name=f"{self.name}-{done.value}-{which}")

    async def _carry_out(self, which: int, do: Callable[[], Awaitable[None]], done: Happened) -> None:
        """Wake one or put it to sleep, and say what came of it; nobody wants to know if it has died since."""
        life, began_ns = self._lives[which], self._clock.now_ns()
        limit_s = WAKE_LIMIT_S if done is Happened.WOKE else SLEEP_LIMIT_S
        try:
            async with asyncio.timeout(limit_s):
                await do()
        except (StageError, TimeoutError) as error:
            if self._lives[which] == life:
                log.error("%s could not do it: %s", self._sleepers[which].child.name, error or "it hangs")
                self._feed(Happened.FAILED, which)
            return
        if self._lives[which] == life:
            took_ms = (self._clock.now_ns() - began_ns) / 1e6
            self._wake_ms = took_ms if done is Happened.WOKE else self._wake_ms
            log.info("%s %s after %.0f ms", self._sleepers[which].child.name, done.value, took_ms)
            self._feed(done, which)

    def _serve(self, which: int) -> None:
        """Requests go to this one from now on."""
        beside = self._link.with_suffix(".new")
        beside.unlink(missing_ok=True)
        beside.symlink_to(self._sleepers[which].socket)
        beside.replace(self._link)
        if self._lost_ns is not None:
            self._takeover_ms = (self._clock.now_ns() - self._lost_ns) / 1e6
            self._lost_ns = None
            self._n_takeovers += 1
        self._settled.set()
