"""What is said beyond the Realtime API, to and by clients that connect with `?voicestack_events=1`."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict


class ClockPing(TypedDict):
    """What time is it there? Answered at once. `client_ms` comes back as it is."""

    type: Literal["voicestack.clock.ping"]
    event_id: NotRequired[str]
    client_ms: float


class AudioHeard(TypedDict):
    """When the first sample of that response could be heard at the client.

    `heard_ms` is on the clock of `voicestack.clock.pong`: the client has added the offset of the ping with
    the shortest round trip, of which `error_ms` is half.
    """

    type: Literal["voicestack.audio.heard"]
    event_id: NotRequired[str]
    response_id: str
    heard_ms: float
    error_ms: float


class ClockPong(TypedDict):
    """The answer to a ping; `server_ms` are milliseconds since the session began, monotonic."""

    type: Literal["voicestack.clock.pong"]
    event_id: str
    client_ms: float
    server_ms: float


class Span(TypedDict):
    """One stage of a turn, ms after the end of speech; `hidden_ms` of it cost the user nothing."""

    stage: str
    start_ms: float
    end_ms: float
    hidden_ms: float


class RungTaken(TypedDict):
    """What was done about a budget that would have been missed; `at_ms` after the end of speech.

    `forecast_ms` is what the rung promised then, null where nobody had asked.
    """

    rung: str
    reason: str
    at_ms: float
    remaining_ms: float
    forecast_ms: float | None


class StageUsed(TypedDict):
    """Who was asked; `first_ms` is until the first result, null where none came."""

    stage: str
    replica: str
    region: str
    warm: bool
    first_ms: float | None
    won: bool


class TurnMeasured(TypedDict):
    """Where the time of a turn went, and what was done about it.

    `response_ms` is until the answer left, `heard_after_ms` until it was heard, by the client's word: null
    where it has not said so in time. `silence_ms` is until anything was heard, an answer or not; `failure` is
    the code of what broke the turn, empty for nothing.
    """

    type: Literal["voicestack.turn.measured"]
    event_id: str
    turn: int
    marks_ms: dict[str, float]
    spans: list[Span]
    response_ms: float | None
    heard_after_ms: float | None
    drafted: bool
    interrupted: bool
    outcome: NotRequired[Literal["answered", "interrupted", "refused", "failed", "silent"]]
    verdict: NotRequired[Literal["met", "declared", "missed", "unmeasured"]]
    budget_ms: NotRequired[float]
    silence_ms: NotRequired[float | None]
    failure: NotRequired[str]
    rungs: NotRequired[list[RungTaken]]
    uses: NotRequired[list[StageUsed]]


class UserHearing(TypedDict):
    """What the utterance sounds like so far. May still change."""

    type: Literal["voicestack.user.hearing"]
    event_id: str
    item_id: str
    text: str


class SaidEarlier(TypedDict):
    """A message of the conversation, as it was heard."""

    id: str
    role: Literal["system", "user", "assistant"]
    text: str


class ConversationResumed(TypedDict):
    """A call goes on over a new connection: what was said in it, oldest first. Follows `session.created`."""

    type: Literal["voicestack.conversation.resumed"]
    event_id: str
    items: list[SaidEarlier]
