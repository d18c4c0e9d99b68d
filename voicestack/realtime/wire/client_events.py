"""Every event that a client may send.

Keys that are missing keep their value. What is not listed is ignored.
"""

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from voicestack.realtime.wire.replies import OutputText
from voicestack.realtime.wire.sessions import (
    ApprovalFilter,
    AudioFormat,
    FunctionChoice,
    FunctionTool,
    McpChoice,
    Modality,
    NamedVoice,
    NoiseReduction,
    Reasoning,
    RetentionRatio,
    ToolFilter,
    Tracing,
    Transcription,
)


class ServerVadPatch(TypedDict, total=False):
    """What is missing gets the server's default."""

    type: Literal["server_vad"]
    threshold: float
    prefix_padding_ms: int
    silence_duration_ms: int
    idle_timeout_ms: int | None
    create_response: bool
    interrupt_response: bool


class SemanticVadPatch(TypedDict, total=False):
    """What is missing gets the server's default."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"]
    create_response: bool
    interrupt_response: bool


class AudioInputPatch(TypedDict, total=False):
    """Keys merge; `turn_detection` and the like are replaced as a unit."""

    format: AudioFormat
    transcription: Transcription | None
    noise_reduction: NoiseReduction | None
    turn_detection: ServerVadPatch | SemanticVadPatch | None


class AudioOutputPatch(TypedDict, total=False):
    """Keys merge. `speed` 0.25..1.5."""

    format: AudioFormat
    voice: str | NamedVoice
    speed: float


class AudioPatch(TypedDict, total=False):
    """Both directions."""

    input: AudioInputPatch
    output: AudioOutputPatch


class NewMcpTool(TypedDict):
    """A server of tools, called from here.

    `server_url` must be in one of the places that this server may call. It may be missing where the session
    has a server with that label. `authorization` is a bearer token; neither it nor `headers` are shown.
    """

    type: Literal["mcp"]
    server_label: str
    server_url: NotRequired[str]
    server_description: NotRequired[str]
    authorization: NotRequired[str]
    headers: NotRequired[dict[str, str]]
    allowed_tools: NotRequired[list[str] | ToolFilter]
    require_approval: NotRequired[Literal["always", "never"] | ApprovalFilter]
    defer_loading: NotRequired[bool]
    allowed_callers: NotRequired[list[Literal["direct", "programmatic"]]]


class SessionPatch(TypedDict, total=False):
    """What to change of the session. `max_output_tokens` 1..4096."""

    type: Literal["realtime", "transcription"]
    model: str
    output_modalities: list[Modality]
    instructions: str
    audio: AudioPatch
    tools: list[FunctionTool | NewMcpTool]
    tool_choice: Literal["auto", "none", "required"] | FunctionChoice | McpChoice
    parallel_tool_calls: bool
    reasoning: Reasoning
    max_output_tokens: int | Literal["inf"]
    truncation: Literal["auto", "disabled"] | RetentionRatio
    tracing: Literal["auto"] | Tracing | None
    prompt: None
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None


class NewText(TypedDict):
    """Typed words."""

    type: Literal["input_text"]
    text: str


class NewAudio(TypedDict):
    """Speech: base64 in the session's input format, or its words where they are known."""

    type: Literal["input_audio"]
    audio: NotRequired[str]
    transcript: NotRequired[str]


class NewImage(TypedDict):
    """A picture of the user's, where the server's language model takes them: PNG or JPEG, at most 5 MiB."""

    type: Literal["input_image"]
    image_url: str
    detail: NotRequired[Literal["auto", "low", "high"]]


class NewMessage(TypedDict):
    """Something that was said."""

    type: Literal["message"]
    id: NotRequired[str]
    role: Literal["system", "developer", "user", "assistant"]
    content: list[NewText | NewAudio | NewImage | OutputText]


class NewCall(TypedDict):
    """A call that was made earlier."""

    type: Literal["function_call"]
    id: NotRequired[str]
    call_id: NotRequired[str]
    name: str
    arguments: str


class NewOutput(TypedDict):
    """What a call came to."""

    type: Literal["function_call_output"]
    id: NotRequired[str]
    call_id: str
    output: str


class NewVerdict(TypedDict):
    """What the client says to an `mcp_approval_request`, named by its id."""

    type: Literal["mcp_approval_response"]
    id: NotRequired[str]
    approval_request_id: str
    approve: bool
    reason: NotRequired[str]


NewItem = NewMessage | NewCall | NewOutput | NewVerdict


class ItemReference(TypedDict):
    """An item of the conversation."""

    type: Literal["item_reference"]
    id: str


class WishedVoice(TypedDict, total=False):
    """How this reply is spoken; the format is the session's."""

    format: AudioFormat
    voice: str | NamedVoice


class WishedAudio(TypedDict, total=False):
    """How this reply is spoken."""

    output: WishedVoice


class ResponseWish(TypedDict, total=False):
    """What differs from the session for this reply. `conversation` none: beside the conversation."""

    conversation: Literal["auto", "none"]
    input: list[NewItem | ItemReference]
    instructions: str | None
    output_modalities: list[Modality]
    audio: WishedAudio
    tools: list[FunctionTool | NewMcpTool]
    tool_choice: Literal["auto", "none", "required"] | FunctionChoice | McpChoice
    parallel_tool_calls: bool
    reasoning: Reasoning
    max_output_tokens: int | Literal["inf"]
    metadata: dict[str, str]
    prompt: None


class SessionUpdate(TypedDict):
    """Change the session."""

    type: Literal["session.update"]
    event_id: NotRequired[str]
    session: SessionPatch


class AudioAppend(TypedDict):
    """More of the user's audio, base64, at most 15 MiB."""

    type: Literal["input_audio_buffer.append"]
    event_id: NotRequired[str]
    audio: str


class AudioCommit(TypedDict):
    """The user has finished. At least 100 ms."""

    type: Literal["input_audio_buffer.commit"]
    event_id: NotRequired[str]


class AudioClear(TypedDict):
    """Forget the audio that is not committed."""

    type: Literal["input_audio_buffer.clear"]
    event_id: NotRequired[str]


class ItemCreate(TypedDict):
    """Put an item into the conversation: at the end, first (`root`) or after another."""

    type: Literal["conversation.item.create"]
    event_id: NotRequired[str]
    previous_item_id: NotRequired[str | None]
    item: NewItem


class ItemRetrieve(TypedDict):
    """Show an item as the server knows it."""

    type: Literal["conversation.item.retrieve"]
    event_id: NotRequired[str]
    item_id: str


class ItemDelete(TypedDict):
    """Take an item out."""

    type: Literal["conversation.item.delete"]
    event_id: NotRequired[str]
    item_id: str


class ItemTruncate(TypedDict):
    """Of this message only so much was played."""

    type: Literal["conversation.item.truncate"]
    event_id: NotRequired[str]
    item_id: str
    content_index: int
    audio_end_ms: int


class ResponseCreate(TypedDict):
    """Answer now."""

    type: Literal["response.create"]
    event_id: NotRequired[str]
    response: NotRequired[ResponseWish | None]


class ResponseCancel(TypedDict):
    """Stop answering."""

    type: Literal["response.cancel"]
    event_id: NotRequired[str]
    response_id: NotRequired[str]
