"""What the server says of its replies."""

from typing import Literal

from typing_extensions import TypedDict

from voicestack.realtime.wire.replies import AudioPart, Item, RateLimit, Response, TextPart


class ResponseCreated(TypedDict):
    """A reply begins."""

    type: Literal["response.created"]
    event_id: str
    response: Response


class ResponseDone(TypedDict):
    """A reply is over, however it ended."""

    type: Literal["response.done"]
    event_id: str
    response: Response


class OutputItemAdded(TypedDict):
    """A reply puts out something more."""

    type: Literal["response.output_item.added"]
    event_id: str
    response_id: str
    output_index: int
    item: Item


class OutputItemDone(TypedDict):
    """That is complete, or broken off."""

    type: Literal["response.output_item.done"]
    event_id: str
    response_id: str
    output_index: int
    item: Item


class ContentPartAdded(TypedDict):
    """The words of a message begin."""

    type: Literal["response.content_part.added"]
    event_id: str
    response_id: str
    item_id: str
    output_index: int
    content_index: int
    part: AudioPart | TextPart


class ContentPartDone(TypedDict):
    """The words of a message have ended."""

    type: Literal["response.content_part.done"]
    event_id: str
    response_id: str
    item_id: str
    output_index: int
    content_index: int
    part: AudioPart | TextPart


class TextDelta(TypedDict):
    """More written words."""

    type: Literal["response.output_text.delta"]
    event_id: str
    response_id: str
    item_id: str
    output_index: int
    content_index: int
    delta: str


class TextDone(TypedDict):
    """All written words."""

    type: Literal["response.output_text.done"]
    event_id: str
    response_id: str
    item_id: str
    output_index: int
    content_index: int
    text: str


class TranscriptDelta(TypedDict):
    """The words that end in the audio just sent."""

    type: Literal["response.output_audio_transcript.delta"]
    event_id: str
    response_id: str
    item_id: str
    output_index: int
    content_index: int
    delta: str


class TranscriptDone(TypedDict):
    """All spoken words."""

    type: Literal["response.output_audio_transcript.done"]
    event_id: str
    response_id: str
    item_id: str
    output_index: int
    content_index: int
    transcript: str


class AudioDelta(TypedDict):
    """Audio to be played next, base64."""

    type: Literal["response.output_audio.delta"]
    event_id: str
    response_id: str
    item_id: str
    output_index: int
    content_index: int
    delta: str


class AudioDone(TypedDict):
    """No more audio comes."""

    type: Literal["response.output_audio.done"]
    event_id: str
    response_id: str
    item_id: str
    output_index: int
    content_index: int


class ArgumentsDelta(TypedDict):
    """More of a call's arguments."""

    type: Literal["response.function_call_arguments.delta"]
    event_id: str
    response_id: str
    item_id: str
    output_index: int
    call_id: str
    delta: str


class ArgumentsDone(TypedDict):
    """A call's arguments, whole."""

    type: Literal["response.function_call_arguments.done"]
    event_id: str
    response_id: str
    item_id: str
    output_index: int
    call_id: str
    name: str
    arguments: str


class RateLimitsUpdated(TypedDict):
    """What is left of the client's limits."""

    type: Literal["rate_limits.updated"]
    event_id: str
    rate_limits: list[RateLimit]
