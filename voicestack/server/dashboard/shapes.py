"""What do the dashboard's answers look like? For the OpenAPI document; a test holds the answers against it.

Times are milliseconds, instants Unix milliseconds, ratios 0 to 1. Null is what was not measured.
"""

from typing import Literal

from pydantic import Field

from voicestack.server.dashboard.turn_shapes import Shape, TurnRow


class Percentiles(Shape):
    """Exact: nearest rank."""

    n: int
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class Verdicts(Shape):
    """Turns by verdict."""

    met: int
    declared: int
    missed: int
    unmeasured: int


class GroupRow(Shape):
    """The turns of one tenant, say."""

    name: str
    n: int
    p50: float | None
    p95: float | None
    p99: float | None
    met_ratio: float | None


class StageRow(Shape):
    """What a stage took; `exposed` is what the user waited for."""

    stage: str
    n: int
    p50: float | None
    p95: float | None
    p99: float | None
    budget_ms: float | None
    exposed_p50: float | None
    exposed_p95: float | None
    hidden_p50: float | None
    blamed: int
    """Turns over their budget for which it is to blame."""


class WindowRow(Shape):
    """Turns of a time, and how fast they used the error budget up; 1 is as fast as allowed."""

    window_s: int
    n: int
    bad: int
    burn: float


class AlertRow(Shape):
    """A rule that calls somebody."""

    name: str
    firing: bool
    burn: float
    threshold: float


class SloRow(Shape):
    """How the objective stands."""

    name: str
    objective: float
    windows: list[WindowRow]
    budget_left_ratio: float
    alerts: list[AlertRow]


class StepRow(Shape):
    """The turns of one step of time."""

    at: int
    n: int
    p50: float | None
    p95: float | None
    p99: float | None
    met: int
    declared: int
    missed: int
    cold: int


class InterruptedStep(Shape):
    """Likewise, of interruptions."""

    at: int
    n: int
    interrupted: int
    cut_off: int


class Interruptions(Shape):
    """Who was interrupted, who had not finished, what drafts cost."""

    n_turns: int
    interrupted: int
    cut_off: int
    cut_off_ratio: float | None
    drafts: int
    drafts_won: int
    drafted_tokens: int
    wasted_tokens: int
    series: list[InterruptedStep]


class Overview(Shape):
    """How the turns of a period stand against their budget."""

    from_ms: int = Field(alias="from")
    to: int
    n_turns: int
    budget_ms: float | None
    """The median."""
    response: Percentiles
    """Of warm turns."""
    cold_response: Percentiles
    heard: Percentiles
    silence: Percentiles
    cold_ratio: float | None = Field(alias="cold_rate")
    verdicts: Verdicts
    outcomes: dict[str, int]
    rungs: dict[str, int]
    """In how many turns each rung was taken."""
    dead_air: int
    """Turns in which nothing was heard for 1.5 s, or at all."""
    hidden_ratio: float | None
    by: dict[str, list[GroupRow]]
    stages: list[StageRow]
    slo: SloRow
    series: list[StepRow]
    interruptions: Interruptions
    oldest_unix_ms: int | None
    """Turns that began before could not be had; null if there are all."""


class Me(Shape):
    """Who asks, and what there is to see."""

    tenant: str
    is_operator: bool
    region: str
    profile: str
    release: str
    keeps_transcripts: bool
    ring_turns: int
    n_turns: int
    oldest_unix_ms: int | None


class Facets(Shape):
    """The words that there are to filter by."""

    tenants: list[str]
    routes: list[str]
    regions: list[str]
    profiles: list[str]
    releases: list[str]
    replicas: list[str]
    rungs: list[str]


class TurnPage(Shape):
    """Turns, the newest first."""

    turns: list[TurnRow]
    next: str | None
    """The `before` of the next page."""
    n_total: int


class Heat(Shape):
    """How many warm turns took how long: a row per step, a column per edge, the last for what is over all."""

    at: list[int]
    edges_ms: list[float | None]
    counts: list[list[int]]
    oldest_unix_ms: int | None


class ReplicaRow(Shape):
    """How a replica is."""

    stage: str
    name: str
    region: str
    state: Literal["warm", "cold", "asleep", "down"]
    breaker: Literal["closed", "half_open", "open"] | None
    in_flight: int
    queue: float | None
    kv_used_ratio: float | None
    acceptance_ratio: float | None
    first_p50_ms: float | None
    first_p95_ms: float | None
    requests: int
    failures: int
    about: dict[str, float]
    """What it says of itself."""


class Replicas(Shape):
    """All of them."""

    replicas: list[ReplicaRow]


class QueueRow(Shape):
    """Who waits for a stage."""

    name: str
    waiting: int
    wait_ms: float | None


class Capacity(Shape):
    """What the server can take."""

    sessions: int
    max_sessions: int
    admitting: bool
    reason: str | None
    predicted_p95_ms: float | None
    budget_ms: float
    headroom_sessions: int | None
    refused: dict[str, int]
    queues: list[QueueRow]


class Summary(Shape):
    """One side of a comparison."""

    n: int
    response: Percentiles
    verdicts: Verdicts
    cold_ratio: float | None = Field(alias="cold_rate")
    cut_off_ratio: float | None
    rungs: dict[str, int]


class StagePair(Shape):
    """A stage on both sides."""

    stage: str
    a_p50: float | None
    a_p95: float | None
    b_p50: float | None
    b_p95: float | None


class Ratio(Shape):
    """Side b over side a, with the bootstrap's interval of 95 %."""

    value: float
    low: float
    high: float


class Comparison(Shape):
    """Two sets of turns."""

    a: Summary
    b: Summary
    stages: list[StagePair]
    ratio: dict[str, Ratio | None]
    verdict: Literal["better", "same", "worse", "unknown"]


class SessionRow(Shape):
    """A conversation in progress."""

    session: str
    tenant: str
    route: str
    user: Literal["quiet", "speaking", "paused"]
    reply: Literal["draft", "thinking", "audible"] | None
    turn: int
    since_ms: float
    rung: str | None


class LiveSessions(Shape):
    """The data of the event `live`."""

    at: int
    sessions: list[SessionRow]
