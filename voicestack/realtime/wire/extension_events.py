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


class TurnMeasured(TypedDict):
    """Where the time of a turn went.

    `response_ms` is until the answer left, `heard_after_ms` until it was heard, by the client's word: null
    where it has not said so in time.
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
