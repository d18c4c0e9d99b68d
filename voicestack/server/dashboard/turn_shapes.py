"""What does one turn look like in the dashboard's answers? See `shapes`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

VerdictName = Literal["met", "declared", "missed", "unmeasured"]


class Shape(BaseModel):
    """A part of an answer: all of its fields are there, and no others."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class SpanRow(Shape):
    """One stage, after the end of speech."""

    stage: str
    start_ms: float
    end_ms: float
    hidden_ms: float
    """What of it passed before the turn was decided to be over."""


class RungRow(Shape):
    """A rung of the ladder that was taken."""

    rung: str
    reason: str
    at_ms: float
    remaining_ms: float
    """What was left of the budget then."""
    forecast_ms: float | None
    """The 95th percentile that it promised."""


class UseRow(Shape):
    """A replica that was asked."""

    stage: str
    replica: str
    region: str
    warm: bool
    first_ms: float | None
    won: bool
    """Its result was used."""


class TurnRow(Shape):
    """One turn."""

    id: str
    session: str
    turn: int
    tenant: str
    route: str
    profile: str
    region: str
    release: str
    began_unix_ms: int
    """When the user had finished."""
    budget_ms: float
    response_ms: float | None
    """From the user's last sample to the answer's first."""
    heard_after_ms: float | None
    """The same at the user's ear."""
    silence_ms: float | None
    """To the first sample of anything, of a filler too."""
    verdict: VerdictName
    outcome: Literal["answered", "interrupted", "refused", "failed", "silent"]
    blamed: str
    cold: bool
    cut_off: bool
    drafted: bool
    interrupted: bool
    spans: list[SpanRow]
    hidden_ms: float
    work_ms: float
    marks: dict[str, float]
    rungs: list[RungRow]
    uses: list[UseRow]
    n_drafts: int
    drafted_tokens: int
    wasted_tokens: int
    read_tokens: int
    written_tokens: int
    failure: str
    user_text: str
    agent_text: str
    recording: str | None
    """Where its recording can be had."""
