"""Replicas that are scripted engines, on virtual time."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from voicestack.aio.clock import Clock, LoopClock
from voicestack.core.errors import Stage
from voicestack.core.rungs import Rung
from voicestack.core.turn_record import Use
from voicestack.fleet.breaker import BreakerPolicy
from voicestack.fleet.choose import ChoosePolicy
from voicestack.fleet.figures import Pace
from voicestack.fleet.member import About, Member
from voicestack.fleet.roster import Roster

E = TypeVar("E")


@dataclass
class Log:
    """Satisfies `ports.Trail` by keeping everything."""

    uses: list[Use] = field(default_factory=list)
    rungs: list[tuple[Rung, str]] = field(default_factory=list)
    n_wasted: int = 0

    def used(self, use: Use) -> None:
        self.uses.append(use)

    def took(self, rung: Rung, reason: str, forecast_ms: float | None = None) -> None:
        self.rungs.append((rung, reason))

    def wasted(self, n_tokens: int) -> None:
        self.n_wasted += n_tokens

    @property
    def told(self) -> list[tuple[str, float | None, bool]]:
        """Who was asked, how long the first result took, and whether it was used."""
        return [(use.replica, use.first_ms, use.won) for use in self.uses]


def member(
    name: str,
    engine: object,
    *,
    region: str = "here",
    stage: Stage = "llm",
    cap: int | None = None,
    rtt_ms: float = 0.0,
    open_ms: float = 2_000,
    clock: Clock | None = None,
    speculates: bool = False,
) -> Member[Any]:
    """A replica; one named `local` is the one beside the server."""
    about = About(name, region, stage, "local" if name == "local" else "openai", cap or 8, cap, rtt_ms)
    about = replace(about, speculates=speculates)
    policy = BreakerPolicy(open_ms=open_ms)
    return Member(engine, about, clock or LoopClock(), policy, Pace(first_ms=100, busy_ms=500))


def roster(
    members: Sequence[Member[E]], policy: ChoosePolicy | None = None, *, clock: Clock | None = None
) -> Roster[E]:
    """They, where the first one is drawn unless something speaks for another."""
    policy = policy or ChoosePolicy(region="here")
    return Roster(members, clock=clock or LoopClock(), policy=policy, draw=lambda: 0.0)
