"""What can be configured of who is let in?"""

from pydantic import BaseModel, Field

from voicestack.config.kinds import STRICT, HttpUrl


class AdmissionSection(BaseModel):
    """New sessions are refused before those in progress suffer. `server.max_sessions` holds all the same."""

    model_config = STRICT

    enabled: bool = True
    """Off: everybody is let in until `server.max_sessions`."""
    target_ratio: float = Field(default=1.0, gt=0.0, le=10.0)
    """Of `budget.turn_ms`: what the predicted 95th percentile of a turn may be with another session."""
    hysteresis_ratio: float = Field(default=0.05, ge=0.0, le=1.0)
    """Of the same; once refused, it must have fallen by so much. At three times the load (see
    `tests/integration/test_admission.py`) 0 leaves nothing unused, 0.05 7 % and 0.1 20 % of the capacity."""
    window_s: float = Field(default=20.0, ge=1.0, le=3_600.0)
    """What is measured for the prediction: three or four turns of each session."""
    min_turns: int = Field(default=10, ge=1, le=10_000)
    """Fewer turns in the window predict nothing: of 10 the second slowest is the 90th percentile."""
    floor_sessions: int = Field(default=4, ge=0, le=10_000)
    """So many are never refused. With so few it is not the load that is slow."""
    start_sessions: int = Field(default=8, ge=1, le=10_000)
    """New sessions at a time, at least; otherwise as many as there are old ones. Like TCP's slow start (RFC
    5681, 3.1): the number may double in `settle_s`. 8 is what the smallest profile carries. Half of them may
    come at once; the others one by one, since those who begin together go on to speak together."""
    settle_s: float = Field(default=10.0, ge=0.0, le=600.0)
    """So long a session is new: one question, its answer and some of the next."""
    lag_max_ms: int = Field(default=50, ge=1, le=10_000)
    """Nobody is let in while the event loop is later than this, in one case of twenty: it is heard as a gap
    in what a client without a buffer plays."""
    kv_max_ratio: float = Field(default=0.9, gt=0.0, le=1.0)
    """Likewise while the language model's KV cache is fuller. vLLM preempts requests when it is full."""
    drafts_below_ratio: float = Field(default=0.6, gt=0.0, le=1.0)
    """Drafts are made while no stage is busier. With four places 24 % of all work then has to wait (Erlang's
    C), at 0.8 it is 60 %: what may come to nothing must not add to that."""
    retry_after_ms: int = Field(default=5_000, ge=100, le=600_000)
    """What who is refused is told, give or take half of it, so that they do not all come back together."""
    elsewhere_region: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9-]{0,30})?$")
    """A region that may have room: named to who is refused. Empty for none."""
    elsewhere_url: HttpUrl = ""
    """Its address, likewise."""
