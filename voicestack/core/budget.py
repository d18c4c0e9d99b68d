"""What may a turn take, and what may be done so that it takes no longer?"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from voicestack.core.deadline import Deadline
from voicestack.core.rungs import Rung
from voicestack.core.turn_record import DEAD_AIR_MS


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of every turn of a session.

    Attributes:
        turn_ms: From the user's last sample of speech to the answer's first.
        say_by_ms: By then something true is said, an answer or not.
        give_up_ms: From then on nobody wants the answer: it is not begun any more.
        shares_ms: What each stage may add on the critical path, by its name in `core.marks.STAGES`.
        rungs: What may be done to keep it. FULL always may.
        enforced: Whether anything is done at all. Otherwise turns are only measured.
        hysteresis_ratio: So much of the budget must be left over before a better rung is taken again.
    """

    turn_ms: float = 800
    say_by_ms: float = DEAD_AIR_MS
    give_up_ms: float = 10_000
    shares_ms: Mapping[str, float] = field(default_factory=dict)
    rungs: frozenset[Rung] = frozenset(Rung)
    enforced: bool = True
    hysteresis_ratio: float = 0.1

    def allows(self, rung: Rung) -> bool:
        """Whether the rung may be taken."""
        return rung is Rung.FULL or (self.enforced and rung in self.rungs)

    def deadline(self, speech_end_ns: int) -> Deadline:
        """That of a turn whose user fell silent then."""
        return Deadline(
            speech_end_ns + round(self.turn_ms * 1e6), speech_end_ns + round(self.give_up_ms * 1e6)
        )
