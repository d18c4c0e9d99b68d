"""What does a chat completion mean to our language model, and its answer to a client?"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from voicestack.core.errors import PeerProtocolError
from voicestack.core.history import Message, Role
from voicestack.core.notes import Usage
from voicestack.core.tools import NO_TOOLS, CallDelta, Tool, Toolbox, ToolCall, ToolChoice
from voicestack.ports import LlmDelta
from voicestack.server.stages.chat_wire import (
    CallFunction,
    CallPiece,
    ChatAnswerMessage,
    ChatCall,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChatDelta,
    ChatMessage,
    ChatUsage,
    ChatWish,
    ChunkChoice,
    Finish,
    NamedTool,
)

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "agent"}


def messages_of(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """The conversation. Raises PeerProtocolError: it shows something that is no text."""
    return tuple(_message(n, message) for n, message in enumerate(messages))


def toolbox_of(wish: ChatWish) -> Toolbox:
    """What may be called. Raises PeerProtocolError: a function is named that is not there."""
    if not wish.tools:
        return NO_TOOLS
    offered = [one.function for one in wish.tools]
    tools = tuple(Tool(one.name, one.description, one.parameters) for one in offered)
    if not isinstance(wish.tool_choice, NamedTool):
        return Toolbox(tools, ToolChoice(wish.tool_choice or "auto"))
    name = wish.tool_choice.function.name
    if name not in {tool.name for tool in tools}:
        message = f"'tool_choice': there is no function '{name[:64]}' among the tools."
        raise PeerProtocolError(message, code="invalid_value", param="tool_choice")
    return Toolbox(tools, ToolChoice("required", name))


def _message(n: int, message: ChatMessage) -> Message:
    text = _text(n, message)
    if message.role == "tool":
        return Message("tool", text, call_id=message.tool_call_id or "")
    made = message.tool_calls or ()
    calls = tuple(ToolCall(call.id, call.function.name, call.function.arguments) for call in made)
    return Message(_ROLES[message.role], text, calls)


def _text(n: int, message: ChatMessage) -> str:
    content = message.content
    if content is None or isinstance(content, str):
        return content or ""
    if any(part.type != "text" for part in content):
        at = f"messages.{n}.content"
        raise PeerProtocolError(f"'{at}': only text is taken.", code="unsupported_value", param=at)
    return "".join(part.text for part in content)


def _usage(usage: Usage) -> ChatUsage:
    return ChatUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        prompt_tokens_details={"cached_tokens": usage.cached_tokens},
    )


@dataclass(slots=True)
class Whole:
    """An answer, put together."""

    text: str = ""
    calls: dict[int, CallDelta] = field(default_factory=dict)
    truncated: bool = False
    usage: Usage = field(default_factory=Usage)

    def push(self, delta: LlmDelta) -> None:
        """Take the next piece."""
        self.text += delta.text
        self.truncated |= delta.truncated
        self.usage = delta.usage or self.usage
        if (piece := delta.call) is not None:
            before = self.calls.get(piece.index)
            arguments = (before.arguments if before else "") + piece.arguments
            self.calls[piece.index] = CallDelta(piece.index, piece.call_id, piece.name, arguments)

    @property
    def finish(self) -> Finish:
        """Why it ended."""
        if self.calls:
            return "tool_calls"
        return "length" if self.truncated else "stop"

    def answer(self, name: str, model: str, created: int) -> ChatCompletion:
        """All of it."""
        calls = tuple(
            ChatCall(id=call.call_id, function=CallFunction(name=call.name, arguments=call.arguments))
            for call in self.calls.values()
        )
        message = ChatAnswerMessage(content=self.text, tool_calls=calls or None)
        choice = ChatChoice(message=message, finish_reason=self.finish)
        return ChatCompletion(
            id=name, created=created, model=model, choices=(choice,), usage=_usage(self.usage)
        )


class Chunks:
    """An answer as events.

    Args:
        name: Of the answer.
        model: Who answers.
        created: Unix time, seconds.
    """

    def __init__(self, name: str, model: str, created: int) -> None:
        self._name, self._model, self._created = name, model, created
        self._whole = Whole()
        self._has_begun = False

    def push(self, delta: LlmDelta) -> list[ChatChunk]:
        """The events for the next piece; none for one that says only how it ended."""
        call = None if delta.call is None else self._piece(delta.call)
        self._whole.push(delta)
        if not delta.text and call is None:
            return []
        role, self._has_begun = (None if self._has_begun else "assistant"), True
        said = ChatDelta.model_validate(
            {"role": role, "content": delta.text or None, "tool_calls": None if call is None else (call,)}
        )
        return [self._chunk((ChunkChoice(delta=said),))]

    def end(self, *, with_usage: bool) -> list[ChatChunk]:
        """The last events."""
        last = self._chunk((ChunkChoice(delta=ChatDelta(), finish_reason=self._whole.finish),))
        return [last, *([self._chunk((), _usage(self._whole.usage))] if with_usage else [])]

    def _piece(self, call: CallDelta) -> CallPiece:
        if call.index in self._whole.calls:
            return CallPiece(index=call.index, function={"arguments": call.arguments})
        function = {"name": call.name, "arguments": call.arguments}
        return CallPiece(index=call.index, id=call.call_id, type="function", function=function)

    def _chunk(self, choices: tuple[ChunkChoice, ...], usage: ChatUsage | None = None) -> ChatChunk:
        return ChatChunk(
            id=self._name, created=self._created, model=self._model, choices=choices, usage=usage
        )
