"""What do requests and answers look like? The one definition, for the parser and for the OpenAPI document.

The text under a field is its description there. Unknown fields are ignored, so that clients of later versions
of the API, and of servers that add fields of their own, work unmodified.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from voicestack.core.errors import PeerProtocolError

SPEECH_RATE_HZ = 24_000
"""OpenAI's `pcm` is 24 kHz, 16 bits, mono, little-endian."""

SpeechFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
TranscriptFormat = Literal["json", "text", "verbose_json", "srt", "vtt"]
Granularity = Literal["segment", "word"]

W = TypeVar("W", bound=BaseModel)

_WIRE = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)


def _voice_name(voice: Any) -> Any:
    return voice["id"] if isinstance(voice, dict) and "id" in voice else voice


class SpeechWish(BaseModel):
    """A text to be said."""

    model_config = _WIRE

    input: str = Field(min_length=1)
    """The text. The longest is the server's `stages.max_input_chars`."""
    model: str = ""
    """Any name: the server has one voice engine."""
    voice: Annotated[str, BeforeValidator(_voice_name)] = "default"
    """A voice of the engine; a name that it does not know means its default. Also `{"id": name}`."""
    response_format: SpeechFormat = "mp3"
    """`pcm` is 24 kHz s16le mono; `wav` the same with a header of unknown length. The others need PyAV."""
    speed: float = Field(default=1.0, ge=0.25, le=4.0)
    """1.0 is the voice's own rate. Engines may not reach the extremes."""
    stream_format: Literal["audio", "sse"] = "audio"
    """Either way the answer streams as it is spoken: plain bytes, or server-sent events with base64."""
    instructions: str | None = None
    """Ignored: no engine here can be told how to speak."""


class TranscriptionWish(BaseModel):
    """The fields beside `file`, of a sound to be written down."""

    model_config = _WIRE

    model: str = ""
    """Any name: the server has one recogniser."""
    language: str | None = None
    """ISO 639-1 or BCP 47. One that the recogniser does not know is refused. Without it, what the server is
    set to; Whisper can find it out."""
    prompt: str | None = None
    """A text like the one that is wanted: likely words, and how they are written. Whisper goes by the end of
    it; other recognisers ignore it."""
    response_format: TranscriptFormat = "json"
    temperature: float | None = None
    """Ignored."""
    stream: bool = False
    """Server-sent events, one delta per utterance as soon as its words are final. With `json` or `text`."""
    timestamp_granularities: tuple[Granularity, ...] = ()
    """`segment` is always there. `word` with `verbose_json`, and a recogniser that tells where single words
    are."""


class DurationUsage(BaseModel):
    """What a transcription cost."""

    type: Literal["duration"] = "duration"
    seconds: float


class Transcription(BaseModel):
    """What was said."""

    text: str
    usage: DurationUsage


class TranscriptionSegment(BaseModel):
    """One utterance, from silence to silence."""

    model_config = _WIRE

    id: int
    seek: int
    """Where it begins, in hundredths of a second."""
    start: float
    """Seconds from the beginning of the file."""
    end: float
    text: str
    tokens: tuple[int, ...] = ()
    """Empty: the recognisers here have none to show."""
    temperature: float = 0.0
    avg_logprob: float = 0.0
    """0.0: not measured."""
    compression_ratio: float
    """Length of the text by its length compressed; high means repetition."""
    p_no_speech: float = Field(serialization_alias="no_speech_prob")
    """1 less the mean of the voice activity detector's opinions."""


class TranscriptionWord(BaseModel):
    """One word, and when it was said."""

    word: str
    start: float
    """Seconds from the beginning of the file."""
    end: float


class VerboseTranscription(BaseModel):
    """What was said, and when."""

    task: Literal["transcribe"] = "transcribe"
    language: str
    """The one that was recognised, as ISO 639-1, where the recogniser says so; else what was asked for."""
    duration_s: float = Field(serialization_alias="duration")
    text: str
    segments: tuple[TranscriptionSegment, ...]
    words: tuple[TranscriptionWord, ...] | None = None
    """Only when they were asked for."""
    usage: DurationUsage


class TextDelta(BaseModel):
    """More words. They are final: the deltas joined are the whole text."""

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str


class TextDone(BaseModel):
    """The end of a streamed transcription."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: str


class AudioDelta(BaseModel):
    """More audio, base64, in the format that was asked for."""

    type: Literal["speech.audio.delta"] = "speech.audio.delta"
    audio: str


class TokenUsage(BaseModel):
    """Always zeros: the voice engines do not work on tokens."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


class AudioDone(BaseModel):
    """The end of streamed speech."""

    type: Literal["speech.audio.done"] = "speech.audio.done"
    usage: TokenUsage = TokenUsage()


class Model(BaseModel):
    """A model in use."""

    model_config = _WIRE

    id: str
    object: Literal["model"] = "model"
    created: int
    """When this server took it into use, in seconds since 1970."""
    owned_by: str
    """Who made it, where that is known; "unknown" otherwise."""
    stage: Literal["asr", "llm", "tts"]
    """What it does here. Not in OpenAI's API."""


class ModelList(BaseModel):
    """The models in use."""

    object: Literal["list"] = "list"
    data: tuple[Model, ...]


class ErrorFields(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    """The field to blame."""
    code: str | None
    """Stable, for programs."""


class ErrorAnswer(BaseModel):
    """An error as OpenAI's API has it."""

    error: ErrorFields


def wish_of(kind: type[W], fields: bytes | dict[str, Any]) -> W:
    """Read a request's fields, of JSON or of a form.

    Raises:
        PeerProtocolError: they are not as they should be (`invalid_value`, with the field to blame).
    """
    try:
        return kind.model_validate_json(fields) if isinstance(fields, bytes) else kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        param = ".".join(str(part) for part in first["loc"]) or None
        where = f"'{param}'" if param else "The body"
        code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
        raise PeerProtocolError(f"{where}: {first['msg']}.", code=code, param=param) from None
