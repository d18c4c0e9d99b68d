"""What can the dashboard ask? For the OpenAPI document."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from voicestack.server.dashboard.shapes import (
    Capacity,
    Comparison,
    Facets,
    Heat,
    LiveSessions,
    Me,
    Overview,
    Replicas,
    TurnPage,
)
from voicestack.server.dashboard.turn_shapes import Shape, TurnRow

_TIMES = {
    "from": "Turns that began then or later: Unix time in milliseconds. Default: an hour before `to`.",
    "to": "Turns that began before. Default: now.",
}
_WORDS = {
    "tenant": "Only an operator sees others' turns.",
    "route": "The way in: `websocket`, `webrtc`.",
    "region": "Of the server that held the conversation.",
    "profile": "Of its configuration.",
    "release": "Of its software.",
    "verdict": "met, declared, missed or unmeasured.",
    "outcome": "answered, interrupted, refused, failed or silent.",
    "rung": "One that was taken.",
    "stage": "The one to blame: the longest on the critical path.",
    "replica": "One that was asked.",
    "cold": "0 warm turns only, 1 cold ones only.",
}
FILTERS = {**_TIMES, **_WORDS}
_SIDES = {
    f"{side}_{name}": f"{about} Of side {side}."
    for side in "ab"
    for name, about in (*_TIMES.items(), ("release", "Instead of `release`."))
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One question.

    Attributes:
        name: For generated clients.
        summary: One line.
        answers: The shapes of the answer, or of the data of its events.
        query: Descriptions of query parameters.
        errors: Further statuses.
    """

    name: str
    summary: str
    answers: tuple[type[Shape], ...]
    query: Mapping[str, str] = field(default_factory=lambda: FILTERS)
    errors: tuple[int, ...] = (400,)


_NO_QUERY: Mapping[str, str] = {}

QUESTIONS = {
    "/dashboard/api/me": Asked("dashboardMe", "Who asks, and what there is to see", (Me,), _NO_QUERY, ()),
    "/dashboard/api/facets": Asked(
        "dashboardFacets", "The words that there are to filter by", (Facets,), _NO_QUERY, ()
    ),
    "/dashboard/api/overview": Asked(
        "dashboardOverview", "How the turns of a period stand against their budget", (Overview,)
    ),
    "/dashboard/api/turns": Asked(
        "dashboardTurns",
        "Turns, the newest first",
        (TurnPage,),
        {**FILTERS, "limit": "Turns at once, 1 to 500.", "before": "The `next` of the page before."},
    ),
    "/dashboard/api/turns/{id}": Asked("dashboardTurn", "One turn", (TurnRow,), _NO_QUERY, (404, 503)),
    "/dashboard/api/turns/{id}/recording": Asked(
        "dashboardRecording", "What the turn machine decided in its call", (), _NO_QUERY, (404, 503)
    ),
    "/dashboard/api/heat": Asked("dashboardHeat", "How many turns took how long, over time", (Heat,)),
    "/dashboard/api/replicas": Asked(
        "dashboardReplicas", "How each replica is; for operators", (Replicas,), _NO_QUERY, ()
    ),
    "/dashboard/api/capacity": Asked(
        "dashboardCapacity", "What the server can take; for operators", (Capacity,), _NO_QUERY, ()
    ),
    "/dashboard/api/compare": Asked(
        "dashboardCompare", "Is side b quicker than side a?", (Comparison,), {**_WORDS, **_SIDES}
    ),
    "/dashboard/api/live": Asked(
        "dashboardLive",
        "What happens, as events: `turn`, `live` and, for operators, `capacity` and `replicas`",
        (TurnRow, LiveSessions, Capacity, Replicas),
        {name: _WORDS[name] for name in ("tenant", "route", "region")},
        (400, 503),
    ),
}
LIVE = "/dashboard/api/live"
RECORDING = "/dashboard/api/turns/{id}/recording"
"""The two whose answers are no JSON."""
