"""The session object, and what it is made of. A key that may be missing is `NotRequired`."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

Modality = Literal["audio", "text"]


class PcmFormat(TypedDict):
    """Signed 16-bit little-endian mono."""

    type: Literal["audio/pcm"]
    rate: Literal[24000]


class G711Format(TypedDict):
    """G.711 mono at 8 kHz, mu-law or A-law."""

    type: Literal["audio/pcmu", "audio/pcma"]


AudioFormat = PcmFormat | G711Format


class Transcription(TypedDict):
    """Tell the client what was understood.

    `language` (ISO 639-1 or BCP 47), `prompt` and `keywords` are hints for a recogniser that can use them
    (Whisper), from the next utterance on; others ignore them. `languages` and `delay` are only remembered.
    """

    model: str
    language: NotRequired[str]
    prompt: NotRequired[str]
    languages: NotRequired[list[str]]
    keywords: NotRequired[list[str]]
    delay: NotRequired[Literal["minimal", "low", "medium", "high", "xhigh"]]


class NoiseReduction(TypedDict):
    """Accepted and shown; this server does not reduce noise."""

    type: Literal["near_field", "far_field"]
    strength: NotRequired[float]


class ServerVad(TypedDict):
    """A turn ends after so much silence."""

    type: Literal["server_vad"]
    threshold: float
    prefix_padding_ms: int
    silence_duration_ms: int
    idle_timeout_ms: int | None
    create_response: bool
    interrupt_response: bool


class SemanticVad(TypedDict):
    """A turn ends sooner or later, by how patient the agent is meant to be."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"]
    create_response: bool
    interrupt_response: bool


class AudioInput(TypedDict):
    """What the client sends, and how it is heard. Turn detection null: the client commits by itself."""

    format: AudioFormat
    transcription: Transcription | None
    noise_reduction: NoiseReduction | None
    turn_detection: ServerVad | SemanticVad | None


class NamedVoice(TypedDict):
    """A voice as an object."""

    id: str


class AudioOutput(TypedDict):
    """What the client hears. `speed` 0.25..1.5."""

    format: AudioFormat
    voice: str | NamedVoice
    speed: float


class Audio(TypedDict):
    """Both directions."""

    input: AudioInput
    output: AudioOutput


class InputOnly(TypedDict):
    """A session that only listens."""

    input: AudioInput


class FunctionTool(TypedDict):
    """A function of the client's. `parameters` is a JSON Schema."""

    type: Literal["function"]
    name: str
    description: NotRequired[str]
    parameters: NotRequired[Any]


class FunctionChoice(TypedDict):
    """Call this one."""

    type: Literal["function"]
    name: str


class ToolFilter(TypedDict):
    """Some of a server's tools: with these names, or that do or do not only read."""

    tool_names: NotRequired[list[str]]
    read_only: NotRequired[bool]


class ApprovalFilter(TypedDict):
    """Calls of tools in `never`, and not in `always`, need no approval; all others do."""

    always: NotRequired[ToolFilter]
    never: NotRequired[ToolFilter]


class McpTool(TypedDict):
    """A server of tools, called from here. Keys are not shown; `require_approval` is `always` by default."""

    type: Literal["mcp"]
    server_label: str
    server_url: str
    server_description: NotRequired[str]
    allowed_tools: NotRequired[list[str] | ToolFilter]
    require_approval: NotRequired[Literal["always", "never"] | ApprovalFilter]
    defer_loading: NotRequired[bool]
    allowed_callers: NotRequired[list[Literal["direct", "programmatic"]]]


class McpChoice(TypedDict):
    """Call this tool of the server, or any of them."""

    type: Literal["mcp"]
    server_label: str
    name: NotRequired[str]


class TokenLimits(TypedDict):
    """How many tokens may follow the instructions."""

    post_instructions: NotRequired[int]


class RetentionRatio(TypedDict):
    """Accepted and shown; this server drops the oldest turns by its own rule."""

    type: Literal["retention_ratio"]
    retention_ratio: float
    token_limits: NotRequired[TokenLimits]


class Tracing(TypedDict):
    """Accepted and shown."""

    workflow_name: NotRequired[str]
    group_id: NotRequired[str]
    metadata: NotRequired[Any]


class Reasoning(TypedDict):
    """Accepted and shown."""

    effort: NotRequired[Literal["minimal", "low", "medium", "high", "xhigh"]]


class Session(TypedDict):
    """A conversation, with every default filled. `expires_at` is Unix time in seconds."""

    type: Literal["realtime"]
    object: Literal["realtime.session"]
    id: str
    model: str
    expires_at: int
    output_modalities: list[Modality]
    instructions: str
    tools: list[FunctionTool | McpTool]
    tool_choice: Literal["auto", "none", "required"] | FunctionChoice | McpChoice
    parallel_tool_calls: NotRequired[bool]
    reasoning: NotRequired[Reasoning]
    max_output_tokens: int | Literal["inf"]
    truncation: Literal["auto", "disabled"] | RetentionRatio
    tracing: Literal["auto"] | Tracing | None
    prompt: None
    include: list[str] | None
    audio: Audio


class TranscriptionSession(TypedDict):
    """A session that only listens."""

    type: Literal["transcription"]
    object: Literal["realtime.transcription_session"]
    id: str
    expires_at: int
    include: list[str] | None
    audio: InputOnly
