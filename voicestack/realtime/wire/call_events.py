"""What is said of the sound itself where the server plays it: over WebRTC, not over WebSocket."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict


class OutputAudioClear(TypedDict):
    """Be silent at once. Of what is being said only the heard part stays. A WebSocket's client is refused."""

    type: Literal["output_audio_buffer.clear"]
    event_id: NotRequired[str]


class OutputAudioStarted(TypedDict):
    """The reply begins to be played. Not over WebSocket."""

    type: Literal["output_audio_buffer.started"]
    event_id: str
    response_id: str


class OutputAudioStopped(TypedDict):
    """The reply has been played to its end. Not over WebSocket."""

    type: Literal["output_audio_buffer.stopped"]
    event_id: str
    response_id: str


class OutputAudioCleared(TypedDict):
    """The reply is not played any further. Not over WebSocket."""

    type: Literal["output_audio_buffer.cleared"]
    event_id: str
    response_id: str
