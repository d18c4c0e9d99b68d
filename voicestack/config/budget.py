"""What can be configured of the turn budget and of the ladder that keeps it?"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from voicestack.config.kinds import STRICT, blame
from voicestack.core.marks import STAGES

Ms = Annotated[int, Field(ge=0, le=600_000)]
RungName = Literal[
    "draft",
    "short_clause",
    "speculation",
    "hedge",
    "small_opener",
    "cached",
    "shed",
    "filler",
    "refusal",
]
ALL_RUNGS: tuple[RungName, ...] = (
    *("draft", "short_clause", "speculation", "hedge", "small_opener", "cached", "shed", "filler", "refusal"),
)


class BudgetSection(BaseModel):
    """How long the user may wait: from the last sample of speech to the first of the answer.

    A stage's share is what it may add on the critical path. Work that is hidden under the endpoint decision
    costs nothing, so the shares of asr, llm and tts are what may be left over when the decision falls.
    """

    model_config = STRICT

    turn_ms: Ms = Field(default=800, ge=1)
    """Daily's figures for people: 500 ms is typical, 800 ms feels unnatural."""
    readiness_turn_ms: Ms = Field(default=2_500, ge=1)
    """The synthetic turn that must pass before /readyz says yes; it runs with everything cold."""
    endpoint_ms: Ms = 550
    """`turn.silence_duration_ms` and one and a half windows of VAD."""
    asr_ms: Ms = 50
    dispatch_ms: Ms = 5
    llm_ms: Ms = 100
    tts_ms: Ms = 75
    send_ms: Ms = 20
    """One frame."""
    say_by_ms: Ms = Field(default=1_500, ge=1)
    """By then something true is said, an answer or not. More is dead air."""
    give_up_ms: Ms = Field(default=10_000, ge=1)
    """From then on nobody wants the answer: callers hang up. Work on it is dropped wherever it waits."""
    file: str = ""
    """Budgets by profile, tenant and route: a TOML file; empty for `budgets.toml` beside the profiles."""

    @model_validator(mode="after")
    def _adds_up(self) -> "BudgetSection":
        stages = [f"{stage}_ms" for stage in STAGES]
        stages_ms = sum(getattr(self, key) for key in stages)
        if stages_ms > self.turn_ms:
            message = f"should not be less than its stages together ({stages_ms})"
            raise blame("turn_ms", message, self.turn_ms, because=stages)
        if self.give_up_ms < max(self.turn_ms, self.say_by_ms):
            message = "should not be less than budget.turn_ms and budget.say_by_ms"
            raise blame("give_up_ms", message, self.give_up_ms, because=["turn_ms", "say_by_ms"])
        return self


class LadderSection(BaseModel):
    """What is done so that a turn stays within its budget. Each rung can be switched off."""

    model_config = STRICT

    enforce: bool = True
    """Off: turns are measured, and nothing is done."""
    rungs: Annotated[tuple[RungName, ...], Field(strict=False)] = ALL_RUNGS
    """Those that may be taken. Some need a second replica, or a small model."""
    hysteresis_ratio: float = Field(default=0.1, ge=0.0, le=1.0)
    """So much of the budget must be left over before a better rung is taken again: no flapping."""
    fillers: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = (
        "One moment, please.",
        "Let me think.",
        "I'm still working on that.",
    )
    """Said, in turn, when no answer would come in time. Must be true whatever was asked."""
    excuse: str = "Sorry, I didn't catch that. Could you say it again?"
    """Said when the recogniser has failed."""
    tool_filler: str = "I'm looking that up."
    """Said instead while a tool is at work."""
    refusal: str = "I'm sorry, I can't answer that right now. Please ask me again in a moment."
    """Said when there will be no answer."""
