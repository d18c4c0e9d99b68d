"""What can happen to a conversation, in the past tense.

Every instant is monotonic nanoseconds. Events are plain values so that a call can be recorded as a list of
them and decided again later (`turn/replay.py`).
"""

from dataclasses import dataclass
from typing import Literal

from voicestack.core.ids import TurnId, UtteranceId


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The user began an utterance."""

    at_ns: int
    utterance: UtteranceId


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """A soft end: the user has been silent for a moment and may or may not go on.

    `speech_end_ns` is the arrival of the frame with the last sample of speech.
    """

    at_ns: int
    utterance: UtteranceId
    speech_end_ns: int


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """The user went on after a soft end; it is still the same utterance."""

    at_ns: int
    utterance: UtteranceId


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The utterance is over: by silence, by the client's commit, or because audio stopped coming."""

    at_ns: int
    utterance: UtteranceId
    speech_end_ns: int


@dataclass(frozen=True, slots=True)
class WordsSettled:
    """The words up to a soft end, good enough to begin a draft on."""

    at_ns: int
    utterance: UtteranceId
    text: str


@dataclass(frozen=True, slots=True)
class WordsHeard:
    """The final words of an utterance. Empty when it held none, or when recognition failed: then `lost`."""

    at_ns: int
    utterance: UtteranceId
    text: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class ReplyRequested:
    """The client asked for a reply by itself (`response.create`)."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class ReplyCancelled:
    """The client no longer wants the live reply (`response.cancel`)."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class ReplyAudible:
    """The first sample of the reply left for the peer."""

    at_ns: int
    turn: TurnId


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """The reply was said to its end."""

    at_ns: int
    turn: TurnId


@dataclass(frozen=True, slots=True)
class ReplyFailed:
    """A stage failed inside the reply."""

    at_ns: int
    turn: TurnId
    retryable: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """The instant asked for by `State.wake_at_ns` is here. An early one changes nothing."""

    at_ns: int


Event = (
    SpeechStarted
    | SpeechPaused
    | SpeechResumed
    | SpeechEnded
    | WordsSettled
    | WordsHeard
    | ReplyRequested
    | ReplyCancelled
    | ReplyAudible
    | ReplyEnded
    | ReplyFailed
    | Tick
)

StopReason = Literal["turn_detected", "client_cancelled", "discarded"]
