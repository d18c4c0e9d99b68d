"""Items, responses and errors. A key that may be missing is `NotRequired`; null stands where it is named."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from voicestack.realtime.wire.sessions import AudioFormat, Modality

ItemStatus = Literal["in_progress", "completed", "incomplete"]


class InputText(TypedDict):
    """Typed words."""

    type: Literal["input_text"]
    text: str


class InputAudio(TypedDict):
    """Speech. `transcript` is null while the words are not known, or not to be shown.

    `audio`, base64 in the session's input format, comes with a retrieved item, if the server keeps any.
    """

    type: Literal["input_audio"]
    transcript: str | None
    audio: NotRequired[str]


class InputImage(TypedDict):
    """A picture that the user shows. What is in it is not sent back."""

    type: Literal["input_image"]
    detail: Literal["auto", "low", "high"]


class OutputText(TypedDict):
    """Written words of the agent's."""

    type: Literal["output_text"]
    text: str


class OutputAudio(TypedDict):
    """Spoken words of the agent's, as far as they were heard.

    `audio`, base64 in the session's output format, as `transcript`, if the server keeps any: retrieved only.
    """

    type: Literal["output_audio"]
    transcript: str
    audio: NotRequired[str]


class Message(TypedDict):
    """Something that was said."""

    id: str
    object: Literal["realtime.item"]
    type: Literal["message"]
    status: ItemStatus
    role: Literal["system", "user", "assistant"]
    content: list[InputText | InputAudio | InputImage | OutputText | OutputAudio]


class FunctionCall(TypedDict):
    """A call. `arguments` is the text of a JSON object."""

    id: str
    object: Literal["realtime.item"]
    type: Literal["function_call"]
    status: ItemStatus
    name: str
    call_id: str
    arguments: str


class FunctionCallOutput(TypedDict):
    """What a call came to."""

    id: str
    object: Literal["realtime.item"]
    type: Literal["function_call_output"]
    status: ItemStatus
    call_id: str
    output: str


class ListedTool(TypedDict):
    """A tool as its server describes it. `input_schema` is a JSON Schema."""

    name: str
    description: str
    input_schema: Any
    annotations: NotRequired[Any]


class McpListTools(TypedDict):
    """The tools of a server. None while it is asked, and when it did not answer."""

    id: str
    type: Literal["mcp_list_tools"]
    server_label: str
    tools: list[ListedTool]


class ToolExecutionError(TypedDict):
    """The tool failed, or the client refused the call."""

    type: Literal["tool_execution_error"]
    message: str


class CodedError(TypedDict):
    """The server refused the call (JSON-RPC's code), or could not be talked to (HTTP's)."""

    type: Literal["protocol_error", "http_error"]
    message: str
    code: int


class McpCall(TypedDict):
    """A call of a served tool. It has an output or an error when it is over."""

    id: str
    type: Literal["mcp_call"]
    server_label: str
    name: str
    arguments: str
    approval_request_id: str | None
    output: str | None
    error: ToolExecutionError | CodedError | None


class McpApprovalRequest(TypedDict):
    """May this call be made? Answered with an `mcp_approval_response` item."""

    id: str
    type: Literal["mcp_approval_request"]
    server_label: str
    name: str
    arguments: str


class McpApprovalResponse(TypedDict):
    """The client's answer to an `mcp_approval_request`."""

    id: str
    type: Literal["mcp_approval_response"]
    approval_request_id: str
    approve: bool
    reason: NotRequired[str]


Item = (
    Message
    | FunctionCall
    | FunctionCallOutput
    | McpListTools
    | McpCall
    | McpApprovalRequest
    | McpApprovalResponse
)


class AudioPart(TypedDict):
    """The content part of a spoken message, as its own events show it."""

    type: Literal["audio"]
    transcript: str


class TextPart(TypedDict):
    """The content part of a written message, as its own events show it."""

    type: Literal["text"]
    text: str


class BriefError(TypedDict):
    """An error inside another object."""

    type: str
    code: str
    message: str


class StatusDetails(TypedDict):
    """Why a response did not come to its own end."""

    type: Literal["cancelled", "incomplete", "failed"]
    reason: NotRequired[Literal["turn_detected", "client_cancelled", "max_output_tokens"]]
    error: NotRequired[BriefError]


class CachedTokens(TypedDict):
    """By kind."""

    text_tokens: int
    audio_tokens: int
    image_tokens: int


class InputTokens(TypedDict):
    """By kind."""

    text_tokens: int
    audio_tokens: int
    image_tokens: int
    cached_tokens: int
    cached_tokens_details: CachedTokens


class OutputTokens(TypedDict):
    """By kind; audio is one token for every 50 ms."""

    text_tokens: int
    audio_tokens: int


class Usage(TypedDict):
    """What a response cost."""

    total_tokens: int
    input_tokens: int
    output_tokens: int
    input_token_details: InputTokens
    output_token_details: OutputTokens


class ResponseOutput(TypedDict):
    """How it is spoken."""

    format: AudioFormat
    voice: str


class ResponseAudio(TypedDict):
    """How it is spoken."""

    output: ResponseOutput


class Response(TypedDict):
    """A reply. `conversation_id` is null for one beside the conversation, `usage` until it is done."""

    object: Literal["realtime.response"]
    id: str
    status: Literal["in_progress", "completed", "cancelled", "incomplete", "failed"]
    status_details: StatusDetails | None
    output: list[Item]
    conversation_id: str | None
    output_modalities: list[Modality]
    max_output_tokens: int | Literal["inf"]
    audio: ResponseAudio
    metadata: dict[str, str] | None
    usage: Usage | None


class Duration(TypedDict):
    """Audio that was transcribed."""

    type: Literal["duration"]
    seconds: float


class Error(TypedDict):
    """What went wrong. `event_id` is the client's name for the event that it is about."""

    type: str
    code: str | None
    message: str
    param: str | None
    event_id: str | None


class RateLimit(TypedDict):
    """How much is left."""

    name: Literal["requests", "tokens"]
    limit: int
    remaining: int
    reset_seconds: float
