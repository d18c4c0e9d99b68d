"""What was done for a turn, kept for a test to look at."""

from dataclasses import dataclass, field

from voicestack.core.rungs import Rung
from voicestack.core.turn_record import Use


@dataclass
class Trail:
    """Satisfies `ports.Trail`."""

    uses: list[Use] = field(default_factory=list)
    taken: list[Rung] = field(default_factory=list)
    n_wasted: int = 0

    def used(self, use: Use) -> None:
        self.uses.append(use)

    def took(self, rung: Rung, reason: str, forecast_ms: float | None = None) -> None:
        self.taken.append(rung)

    def wasted(self, n_tokens: int) -> None:
        self.n_wasted += n_tokens
