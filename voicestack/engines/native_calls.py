"""How does a model that learned to call functions do it over the chat completions API?

With vLLM (0.8.3 and newer; for `auto` it needs `--enable-auto-tool-choice --tool-call-parser ...`),
llama-server with `--jinja`, and hosted APIs. For `required` vLLM and llama.cpp decode the arguments by their
schema; for `auto` not every server does, so arguments are checked at the end. llama.cpp ignores functions
without a word when the model's chat template does not know them. One named function is asked for
as the only one offered, with `required`: llama.cpp takes no names, and all take this. How a stream ends says
nothing: a named call ends with `stop` in some servers.
"""

import secrets
from dataclasses import dataclass
from typing import Any

from voicestack.core.history import Message
from voicestack.core.tools import CallDelta, Tool
from voicestack.engines.chat_body import WIRE_ROLES, LlmSettings, Plan, answer_tokens, call_tokens, content_of
from voicestack.engines.tool_calls import ToolCallInvalid, check_arguments, tool_named
from voicestack.ports import LlmDelta, LlmRequest


def native_plan(request: LlmRequest, settings: LlmSettings) -> Plan:
    """The conversation with its calls and their results, and what may be called."""
    messages = [_message(m) for m in request.messages]
    choice = request.toolbox.choice
    # With `none` they are offered all the same: the prompt keeps its beginning, and the KV cache its worth.
    offered = request.toolbox.usable() if choice.name else request.toolbox.tools
    if not offered:
        return Plan(messages)
    fields = {
        "tools": [_tool(tool) for tool in offered],
        "tool_choice": choice.mode,
        "max_tokens": call_tokens(request, settings),
        # The text that begins a call has line feeds in many models: stops are applied here instead.
        "stop": None,
    }
    reader = NativeReader(
        offered,
        stop=settings.stop,
        max_pieces=answer_tokens(request, settings),
        must_call=choice.mode == "required",
    )
    return Plan(messages, reader, fields)


@dataclass(slots=True)
class _Call:
    """A call on its way. `held` is its newest piece, which waits for another or for the end."""

    index: int
    call_id: str = ""
    name: str = ""
    passed: str = ""
    held: str = ""

    def take(self) -> LlmDelta:
        """The held piece, to be passed on."""
        delta = LlmDelta(call=CallDelta(self.index, self.call_id, self.name, self.held))
        self.passed += self.held
        self.held = ""
        return delta


class NativeReader:
    """Satisfies `chat_body.Reader`.

    A call is told from the moment at which its function and its id are known. Its newest piece is held
    back, so that a call that comes in one piece is checked before anybody hears of it.

    Args:
        tools: What may be called.
        stop: Texts at which what is spoken ends. A call may still follow.
        max_pieces: Of spoken text, which is a token each.
        must_call: Whether an answer without a call is an error.
    """

    is_full = False

    def __init__(
        self, tools: tuple[Tool, ...], *, stop: tuple[str, ...], max_pieces: int, must_call: bool = False
    ) -> None:
        self._tools = tools
        self._stop = stop
        self._n_left = max_pieces
        self._n_spoken = 0
        self._must_call = must_call
        self._stopped = False
        self._calls: list[_Call] = []
        self._places: dict[int, _Call] = {}
        self.truncated = False

    def push(self, delta: dict[str, Any]) -> list[LlmDelta]:
        """See `Reader`."""
        out = self._text(delta.get("content") or "")
        for piece in delta.get("tool_calls") or ():
            out += self._piece(piece)
        return out

    def end(self, *, truncated: bool) -> list[LlmDelta]:
        """See `Reader`. A call that was cut off is passed on as far as it came."""
        out = []
        if self._must_call and not self._calls and not truncated:
            message = "no call came although one is required: does the model's chat template know functions?"
            raise ToolCallInvalid(f"{message} If not, set llm.tools to prompted (llama.cpp)", stage="llm")
        for call in self._calls:
            tool = tool_named(call.name, self._tools)
            call.call_id = call.call_id or _new_id()
            if not truncated:
                call.held = call.held or ("" if call.passed else "{}")
                check_arguments(tool, call.passed + call.held)
        for call in self._calls:
            if call.held:
                out.append(call.take())
        return out

    def _text(self, text: str) -> list[LlmDelta]:
        if self._stopped or not text:
            return []
        for stop in self._stop:
            before, found, _ = text.partition(stop)
            if found:
                # What comes before any word is how the model begins, not where it ends.
                self._stopped = bool(before.strip()) or self._n_spoken > 0
                text = before
        if not text:
            return []
        if self._n_left == 0:
            self._stopped = self.truncated = True
            return []
        self._n_left -= 1
        self._n_spoken += bool(text.strip())
        return [LlmDelta(text)]

    def _piece(self, piece: dict[str, Any]) -> list[LlmDelta]:
        function = piece.get("function") or {}
        call = self._call(piece.get("index") or 0, piece.get("id") or "", function.get("name") or "")
        arguments = function.get("arguments") or ""
        out = []
        if arguments and call.held and call.name and call.call_id:
            tool_named(call.name, self._tools)
            out.append(call.take())
        call.held += arguments
        return out

    def _call(self, place: int, call_id: str, name: str) -> _Call:
        """The call that a piece belongs to. Some servers give every call the place 0 and tell them by id."""
        call = self._places.get(place)
        if call is None or (call_id and call.call_id and call_id != call.call_id):
            call = _Call(len(self._calls))
            self._calls.append(call)
            self._places[place] = call
        call.call_id = call.call_id or call_id
        call.name = call.name or name
        return call


def _message(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": WIRE_ROLES[message.role], "content": content_of(message)}
    if message.calls:
        wire["content"] = message.text or None
        wire["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in message.calls
        ]
    if message.role == "tool":
        wire["tool_call_id"] = message.call_id
    return wire


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _new_id() -> str:
    return f"call_{secrets.token_hex(8)}"
