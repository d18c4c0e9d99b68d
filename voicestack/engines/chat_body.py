"""What is asked of the server, whatever the way of calling functions: settings, and one answer's plan."""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from voicestack.core.history import Message
from voicestack.ports import LlmDelta, LlmRequest

CALL_TOKENS = 256
"""Longest answer with a call, when nobody says otherwise: an answer is short because it is spoken, the
arguments of a call are not. 256 tokens are about 900 characters of JSON."""

WIRE_ROLES = {"system": "system", "user": "user", "agent": "assistant", "tool": "tool"}

ToolDialect = Literal["native", "prompted"]
ServerDialect = Literal["auto", "vllm", "llama", "plain"]


@dataclass(frozen=True, slots=True)
class LlmSettings:
    """How answers are made.

    Attributes:
        temperature: 0 is greedy.
        top_p: Nucleus sampling, 0..1.
        max_tokens: Longest answer.
        repeat_penalty: 1.0 is none. Sent as `repeat_penalty` to llama-server and as `repetition_penalty`
            to others (vLLM, SGLang, TGI know it); None where the server would refuse it (OpenAI).
        stop: Texts before which an answer ends. A line feed keeps spoken answers free of lists.
        first_token_ms: From the request to the first text, waiting for the server included.
        token_gap_ms: Between two pieces of text.
        slots: KV slots of a llama-server; None for other servers.
        dialect: Of other servers: `auto` asks the server who it is. See `vllm_dialect`.
        adapters: Names of models at the server that a request may ask for instead (LoRA adapters).
        tools: How functions are called: `native` is the API's `tools`, `prompted` a prompt and a grammar
            for models that never learned it (llama.cpp and vLLM decode by a grammar).
        tells_session: The server is told the conversation's name, as OpenAI's `prompt_cache_key`.
    """

    temperature: float = 0.7
    top_p: float = 0.9
    max_tokens: int = 80
    repeat_penalty: float | None = None
    stop: tuple[str, ...] = ()
    first_token_ms: int = 2500
    token_gap_ms: int = 2000
    slots: int | None = None
    dialect: ServerDialect = "plain"
    adapters: tuple[str, ...] = ()
    tools: ToolDialect = "native"
    tells_session: bool = False


class Reader(Protocol):
    """Turns the deltas of one answer into what `ports.Llm` yields."""

    @property
    def is_full(self) -> bool:
        """Whether nothing that still comes will be used; the stream may be closed."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether something was left out because the answer was too long."""
        ...

    def push(self, delta: dict[str, Any]) -> list[LlmDelta]:
        """Take `choices[0].delta`. Raises ToolCallInvalid."""
        ...

    def end(self, *, truncated: bool) -> list[LlmDelta]:
        """The answer is complete, or cut off when `truncated`. Raises ToolCallInvalid."""
        ...


class TextReader:
    """An answer without calls."""

    is_full = False
    truncated = False

    def push(self, delta: dict[str, Any]) -> list[LlmDelta]:
        """See `Reader`."""
        text = delta.get("content")
        return [LlmDelta(text)] if text else []

    def end(self, *, truncated: bool) -> list[LlmDelta]:
        """See `Reader`."""
        return []


@dataclass(frozen=True, slots=True)
class Plan:
    """One request to the server, and how its answer is read.

    Attributes:
        messages: As the API wants them.
        reader: Fresh for this answer.
        fields: What the body has beside or instead of the usual; None takes a field away.
    """

    messages: list[dict[str, Any]]
    reader: Reader = field(default_factory=TextReader)
    fields: dict[str, Any] = field(default_factory=dict)


def plain_plan(request: LlmRequest) -> Plan:
    """Without functions."""
    return Plan([{"role": WIRE_ROLES[m.role], "content": content_of(m)} for m in request.messages])


def content_of(message: Message) -> str | list[dict[str, Any]]:
    """The words, and with them, where there are any, the pictures."""
    if not message.images:
        return message.text
    shown = [
        {"type": "image_url", "image_url": {"url": image.data_uri, "detail": image.detail}}
        for image in message.images
    ]
    return [*([{"type": "text", "text": message.text}] if message.text else []), *shown]


def is_about_tools(request: LlmRequest) -> bool:
    """Whether there is anything that a plan without functions cannot say."""
    return bool(request.toolbox.tools) or any(m.calls or m.role == "tool" for m in request.messages)


def body_of(
    plan: Plan, request: LlmRequest, settings: LlmSettings, *, model: str, slot: int
) -> dict[str, Any]:
    """The JSON of the request. `slot` is llama-server's."""
    body: dict[str, Any] = {
        "model": request.model if request.model in settings.adapters else model,
        "messages": plan.messages,
        "max_tokens": answer_tokens(request, settings),
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if settings.stop:
        body["stop"] = list(settings.stop)
    if settings.repeat_penalty is not None:
        body["repeat_penalty" if settings.slots else "repetition_penalty"] = settings.repeat_penalty
    if settings.tells_session:
        body["prompt_cache_key"] = request.session
    if settings.slots:
        # With progress events llama-server sees between two batches of a prompt that the connection is
        # closed; without them it looks once a second.
        body |= {"id_slot": slot, "cache_prompt": True, "return_progress": True}
    return {key: value for key, value in (body | plan.fields).items() if value is not None}


def answer_tokens(request: LlmRequest, settings: LlmSettings) -> int:
    """How long the spoken answer may be."""
    return min(settings.max_tokens, request.max_tokens or settings.max_tokens)


def call_tokens(request: LlmRequest, settings: LlmSettings) -> int:
    """How long an answer with a call may be. Who asks for fewer tokens gets fewer, call or not."""
    return request.max_tokens or max(settings.max_tokens, CALL_TOKENS)


def last_said(messages: tuple[Message, ...], n_messages: int) -> list[str]:
    """The user's last messages, oldest first."""
    return [m.text for m in messages if m.role == "user"][-n_messages:]
