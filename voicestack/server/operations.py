"""What does every HTTP route do? The registry behind the OpenAPI document; what is missing fails a test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, WithJsonSchema

from voicestack.core.marks import Span
from voicestack.server.dashboard.questions import LIVE, QUESTIONS, RECORDING, Asked
from voicestack.server.site import TYPES
from voicestack.server.stages.chat_wire import ChatChunk, ChatCompletion, ChatWish
from voicestack.server.stages.errors import STATUSES
from voicestack.server.stages.wire import (
    AudioDelta,
    AudioDone,
    ErrorAnswer,
    Model,
    ModelList,
    SpeechWish,
    TextDelta,
    TextDone,
    Transcription,
    TranscriptionWish,
    VerboseTranscription,
)

JSON, HTML, TEXT, EVENTS = "application/json", "text/html", "text/plain", "text/event-stream"
BYTES: Mapping[str, Any] = {"type": "string", "contentMediaType": "application/octet-stream"}
PLAIN: Mapping[str, Any] = {"type": "string"}

Schema = type[BaseModel] | Mapping[str, Any]
"""A model, or JSON Schema as it is."""


class ReadyAnswer(BaseModel):
    """Whether the server is warm. The rest, how its last synthetic turn went, is for the operator."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    ready: bool
    reason: str | None = None
    """Why it is not."""
    profile: str | None = None
    sessions: int | None = None
    """Conversations in progress."""
    synthetic_turn_ms: float | None = None
    """From the last sample of the question to the first of the answer."""
    spans: tuple[Span, ...] = ()
    """Where that time went."""


class TranscriptionForm(TranscriptionWish):
    """A sound to be written down."""

    file: Annotated[bytes, WithJsonSchema({**BYTES})]
    """WAV, and with PyAV also MP3, Ogg, FLAC, WebM, MP4 and others. The container is found by its content."""


class ClientSecretWish(BaseModel):
    """A key for a browser, which lives for minutes."""

    expires_after: dict[str, Any] | None = None
    session: dict[str, Any] | None = None


class ClientSecret(BaseModel):
    """The key."""

    value: str
    expires_at: int
    session: dict[str, Any]


class IceServer(BaseModel):
    """As in `iceServers` of a browser's RTCPeerConnection."""

    urls: list[str]
    username: str | None = None
    credential: str | None = None


class IceServerList(BaseModel):
    """What a browser needs to find its way to the server, and how long the logins count."""

    ice_servers: list[IceServer]
    ttl_s: int


class CallForm(BaseModel):
    """An offer, with the session that it is for."""

    sdp: str
    session: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One way in which a route answers.

    Attributes:
        about: For people.
        content: Schemas by media type.
        headers: Descriptions by name.
    """

    about: str
    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method of one route does.

    Attributes:
        name: For generated clients.
        summary: One line.
        answers: By status.
        about: More than one line.
        request: Schemas of the body by media type; empty for none.
        query: Descriptions of query parameters by name.
        errors: Further statuses with which it answers an ErrorAnswer.
    """

    name: str
    summary: str
    answers: Mapping[int, Answer]
    about: str = ""
    request: Mapping[str, Schema] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[int] = ()


RETRY = {"Retry-After": "Seconds after which to try again."}

_IN_TIME = (
    "The header `x-voicestack-limit-ms` says how long the answer is waited for; one that cannot begin by "
    "then is refused, or dropped, with 504 and `deadline_exceeded`."
)
_STAGE_ERRORS = tuple(status for status in STATUSES if status != 404)

_SPEECH = dict.fromkeys((f"audio/{kind}" for kind in ("mpeg", "ogg", "aac", "flac", "wav", "pcm")), BYTES)
_SUBTITLES = dict.fromkeys((TEXT, "application/x-subrip", "text/vtt"), PLAIN)

_CLIENT_SECRET = Operation(
    "createClientSecret",
    "A short-lived key for a browser",
    {200: Answer("The key", {JSON: ClientSecret})},
    request={JSON: ClientSecretWish},
    errors=(400, 413),
)
_HANG_UP = Operation(
    "hangUp",
    "End a conversation",
    {200: Answer("It has ended")},
    about="By the name of its session, or of its call.",
    errors=(404,),
)
_SDP: Mapping[str, Schema] = {"application/sdp": PLAIN}
_OPEN_CALL = Operation(
    "openCall",
    "Talk: the OpenAI Realtime API over WebRTC",
    {
        201: Answer(
            "The SDP answer, with all candidates", _SDP, {"Location": "The call; its name is the last part."}
        )
    },
    about="The client makes the data channel `oai-events`; `/asyncapi.json` describes the events on it.",
    request={**_SDP, "multipart/form-data": CallForm},
    query={
        "model": "Any name; it is repeated in the session object.",
        "resume": "The name of a call to go on with over this connection, running or just broken.",
        "voicestack_events": "1 asks for events beyond the Realtime API, and for time to come back "
        "(`webrtc.grace_ms`) when the connection breaks.",
    },
    errors=(400, 404, 408, 413, 415, 501, 503),
)
_MOVE_CALL = Operation(
    "moveCall",
    "Keep a call's connection after a change of network (ICE restart)",
    {200: Answer("The SDP answer", _SDP)},
    request={**_SDP, "multipart/form-data": CallForm},
    errors=(400, 404, 408, 409, 413, 415),
)
_ICE_SERVERS = Operation(
    "iceServers",
    "STUN and TURN servers, with a login of one's own",
    {200: Answer("They", {JSON: IceServerList})},
)


def _ringing(name: str, summary: str) -> Operation:
    return Operation(
        name,
        summary,
        {200: Answer("Done")},
        about="409 `call_not_ringing` for a call that does not wait; calls over WebRTC never do.",
        errors=(404, 409),
    )


_CALLS = {
    ("POST", "/calls"): _OPEN_CALL,
    ("PATCH", "/calls/{name}"): _MOVE_CALL,
    ("POST", "/calls/{name}/hangup"): _HANG_UP,
    ("POST", "/calls/{name}/accept"): _ringing("acceptCall", "Take a call that waits"),
    ("POST", "/calls/{name}/reject"): _ringing("rejectCall", "Refuse a call that waits"),
    ("POST", "/calls/{name}/refer"): _ringing("referCall", "Send a call on to somebody else"),
    ("GET", "/ice_servers"): _ICE_SERVERS,
    ("POST", "/client_secrets"): _CLIENT_SECRET,
}
"""Below /v1/realtime, where OpenAI has them, and below /openai/v1/realtime, where Azure has them."""

_UNCHANGED = Answer("It is the one that the browser has")


def _file(name: str, summary: str) -> Operation:
    kinds = dict.fromkeys(sorted({kind.partition(";")[0] for kind in TYPES.values()}), BYTES)
    answers = {200: Answer("The file", kinds), 304: _UNCHANGED, 404: Answer("There is none", {TEXT: PLAIN})}
    return Operation(name, summary, answers)


_DASHBOARD = Operation(
    "dashboard",
    "The page that shows where the time goes",
    {200: Answer("The page", {HTML: PLAIN}), 304: _UNCHANGED},
)


def _question(path: str, asked: Asked) -> Operation:
    """One of the dashboard's."""
    content: Mapping[str, Schema] = {JSON: asked.answers[0]} if asked.answers else {}
    if path == LIVE:
        content = {EVENTS: {"anyOf": list(asked.answers)}}
    if path == RECORDING:
        content = {"application/x-ndjson": PLAIN}
    answers = {200: Answer(asked.summary, content)}
    return Operation(asked.name, asked.summary, answers, query=asked.query, errors=asked.errors)


OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/"): Operation(
        "home", "The page to talk from", {200: Answer("The page", {HTML: PLAIN}), 304: _UNCHANGED}
    ),
    ("GET", "/demo/{path}"): _file("pageFile", "A file of that page"),
    ("GET", "/widget/{path}"): _file("widgetFile", "A file of the widget, for pages of any site"),
    ("GET", "/dashboard"): _DASHBOARD,
    ("GET", "/dashboard/"): replace(_DASHBOARD, name="dashboardSlash"),
    ("GET", "/dashboard/assets/{path}"): _file("dashboardFile", "A file of that page"),
    **{("GET", path): _question(path, asked) for path, asked in QUESTIONS.items()},
    ("GET", "/healthz"): Operation(
        "health", "Whether the process answers", {200: Answer("It does", {TEXT: PLAIN})}
    ),
    ("GET", "/readyz"): Operation(
        "readiness",
        "Whether the server is warm",
        {
            200: Answer("A synthetic turn stayed within its budget", {JSON: ReadyAnswer}),
            503: Answer("Not yet, or not any more", {JSON: ReadyAnswer}, RETRY),
        },
    ),
    ("GET", "/metrics"): Operation(
        "metrics", "Figures for Prometheus", {200: Answer("Prometheus text format", {TEXT: PLAIN})}
    ),
    ("GET", "/openapi.json"): Operation(
        "openapi", "This document", {200: Answer("OpenAPI 3.1", {JSON: {"type": "object"}})}
    ),
    ("GET", "/asyncapi.json"): Operation(
        "asyncapi",
        "The events of the Realtime API",
        {200: Answer("AsyncAPI 3", {JSON: {"type": "object"}})},
    ),
    ("GET", "/v1/models"): Operation(
        "listModels", "The models in use", {200: Answer("All of them", {JSON: ModelList})}
    ),
    ("GET", "/v1/models/{model}"): Operation(
        "retrieveModel", "One of the models in use", {200: Answer("It", {JSON: Model})}, errors=(404,)
    ),
    ("POST", "/v1/audio/transcriptions"): Operation(
        "createTranscription",
        "What is said in this file?",
        {
            200: Answer(
                "The transcript, by `response_format`; events with `stream`",
                {
                    JSON: {"anyOf": [Transcription, VerboseTranscription]},
                    EVENTS: {"anyOf": [TextDelta, TextDone, ErrorAnswer]},
                    **_SUBTITLES,
                },
            )
        },
        about="The file is cut at silences; the recogniser that also listens to calls hears the pieces. "
        f"While there are calls, requests go at the pace of `stages.beside_calls_ratio`. {_IN_TIME}",
        request={"multipart/form-data": TranscriptionForm},
        errors=_STAGE_ERRORS,
    ),
    ("POST", "/v1/chat/completions"): Operation(
        "createChatCompletion",
        "Go on with this conversation",
        {
            200: Answer(
                "The answer; events with `stream`",
                {JSON: ChatCompletion, EVENTS: {"anyOf": [ChatChunk, ErrorAnswer]}},
            )
        },
        about="By the server's own language model, after the answers in its own calls: so one server is a "
        f"replica of another. {_IN_TIME}",
        request={JSON: ChatWish},
        errors=_STAGE_ERRORS,
    ),
    ("POST", "/v1/audio/speech"): Operation(
        "createSpeech",
        "Say this text",
        {
            200: Answer(
                "The sound, streamed as it is spoken",
                {**_SPEECH, EVENTS: {"anyOf": [AudioDelta, AudioDone, ErrorAnswer]}},
            )
        },
        about=f"An answer that breaks off ends without its last chunk; events end with an error. {_IN_TIME}",
        request={JSON: SpeechWish},
        errors=_STAGE_ERRORS,
    ),
    ("GET", "/v1/realtime"): Operation(
        "connectRealtime",
        "Talk: the OpenAI Realtime API over WebSocket",
        {101: Answer("The connection is a WebSocket now; events are JSON texts")},
        about="Only as a WebSocket upgrade; `/asyncapi.json` describes the events. "
        "The subprotocol `realtime` is chosen when it is offered. When "
        "the server is full, the connection is closed with 1013.",
        query={
            "model": "Any name; it is repeated in the session object.",
            "call_id": "Join a running call as a sideband, by its session's or its call's name.",
            "voicestack_events": "1 asks for events beyond the Realtime API.",
        },
    ),
    **{(method, f"/v1/realtime{path}"): operation for (method, path), operation in _CALLS.items()},
    **{
        (method, f"/openai/v1/realtime{path}"): replace(operation, name=f"{operation.name}Azure")
        for (method, path), operation in _CALLS.items()
    },
}
"""By method and path, parameters without their converters."""

ANYWHERE = {("GET", "/v1/realtime")}
"""Not a route: the WebSocket protocol answers."""
