"""What do requests to write an answer, and the answers, look like? As OpenAI's chat completions have them.

One definition, for the parser and for the OpenAPI document. Unknown fields are ignored, see `wire`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_WIRE = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)
Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


class TextPart(BaseModel):
    """A part of a message."""

    model_config = _WIRE

    type: str
    """Only `text`; others are refused."""
    text: str = ""


class CallFunction(BaseModel):
    """What is called."""

    model_config = _WIRE

    name: str
    arguments: str = ""
    """The text of a JSON object."""


class ChatCall(BaseModel):
    """A call that the assistant made."""

    model_config = _WIRE

    id: str
    type: Literal["function"] = "function"
    function: CallFunction


class ChatMessage(BaseModel):
    """One message of the conversation."""

    model_config = _WIRE

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | tuple[TextPart, ...] | None = None
    tool_calls: tuple[ChatCall, ...] | None = None
    tool_call_id: str | None = None


class FunctionWish(BaseModel):
    """A function that may be called."""

    model_config = _WIRE

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    """JSON Schema of the arguments."""


class ToolWish(BaseModel):
    """A tool that may be used."""

    model_config = _WIRE

    type: Literal["function"] = "function"
    function: FunctionWish


class NamedFunction(BaseModel):
    """Its name."""

    model_config = _WIRE

    name: str


class NamedTool(BaseModel):
    """The one function that is to be called."""

    model_config = _WIRE

    type: Literal["function"] = "function"
    function: NamedFunction


class StreamOptions(BaseModel):
    """How the answer streams."""

    model_config = _WIRE

    include_usage: bool = False
    """A last event without choices says what it cost."""


class ChatWish(BaseModel):
    """A conversation that is to be gone on with.

    What is not named here is ignored: the server's own settings for sampling and stops hold.
    """

    model_config = _WIRE

    messages: tuple[ChatMessage, ...] = Field(min_length=1, max_length=10_000)
    model: str = ""
    """Any name: the server has one language model, and its adapters by their names."""
    stream: bool = False
    """Server-sent events, one per token, and `[DONE]`."""
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    """Longest answer; the server's own limit holds as well."""
    max_completion_tokens: Tokens | None = None
    """The newer name of `max_tokens`."""
    n: Literal[1] | None = None
    """There is one answer."""
    tools: tuple[ToolWish, ...] | None = Field(default=None, max_length=128)
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    prompt_cache_key: str | None = Field(default=None, max_length=200)
    """The name of the conversation: requests with the same one find its prompt computed already."""


class ChatUsage(BaseModel):
    """What an answer cost."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    """`cached_tokens`: what had been computed before."""


class CallPiece(BaseModel):
    """A piece of a call; the first one of each says what is called."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: dict[str, str]


class ChatDelta(BaseModel):
    """What comes next of an answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: tuple[CallPiece, ...] | None = None


Finish = Literal["stop", "length", "tool_calls"]


class ChunkChoice(BaseModel):
    """The one answer."""

    index: int = 0
    delta: ChatDelta
    finish_reason: Finish | None = None


class ChatChunk(BaseModel):
    """An event of an answer."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    usage: ChatUsage | None = None


class ChatAnswerMessage(BaseModel):
    """What the assistant says, and what it calls."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    tool_calls: tuple[ChatCall, ...] | None = None


class ChatChoice(BaseModel):
    """The one answer."""

    index: int = 0
    message: ChatAnswerMessage
    finish_reason: Finish


class ChatCompletion(BaseModel):
    """An answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[ChatChoice, ...]
    usage: ChatUsage
