"""How does a model that never learned to call functions do it all the same?

It is shown a few exchanges in which every answer begins with an action in brackets, `[answer] ...` or
`[get_weather] {"city": "Paris"}`, and a grammar lets it write nothing else. The choice between answering and
calling is then one token. One request, one call at most.

The figures: SmolLM2-135M-Instruct, the development set of `voicestack bench tools`. Of the ways tried, this
one tells requests from chat best (area under the ROC curve 0.997): asking yes or no 0.35-0.39, naming the
function or "none" after a few examples 0.90-0.96, an answer without a name in front 0.97. The names and
brackets cost three tokens before the first word.
"""

import json
import math
import secrets
from collections.abc import Mapping
from typing import Any

from voicestack.core.history import Message
from voicestack.core.tools import CallDelta, Tool
from voicestack.engines.chat_body import WIRE_ROLES, LlmSettings, Plan, answer_tokens, call_tokens, last_said
from voicestack.engines.json_grammar import Grammar, quoted
from voicestack.engines.tool_calls import check_arguments, tool_named
from voicestack.ports import LlmDelta, LlmRequest

N_SHOWN = 8
"""Functions of which an example is shown. About 30 tokens each."""
N_SAID = 3
"""The user's last messages, in which the arguments are looked for."""
MARK_TOKENS = 6
"""What `[answer] ` takes beside the answer itself (4), and a reserve."""

TALK_BIAS = -1.0
"""Added to the log-odds of talking (nats). The examples end with talk, which makes the model shy: on the
development set 19 of 20 requests lie above -0.6 and all of the chat below -1.3."""

NAMES = ("answer", "reply", "speak")
"""What talking is called; the first that is not a function's name."""
TOY = Tool("book_flight", "Book a flight.", {"properties": {"city": {}, "day": {}}})
"""Shows that there are several functions. It cannot be called: the grammar does not know it."""
TOY_RESULT = "status: booked, price: 90 euros"
TOY_ANSWER = "It is booked, and the price is 90 euros."
TOY_ARGUMENTS = '{"city": "Rome", "day": "Monday"}'


def prompted_plan(request: LlmRequest, settings: LlmSettings) -> Plan:
    """The conversation in brackets, and the grammar of what may be said next.

    After the result of a call the answer is spoken, unless a call is required: a small model would call
    the same function for ever.
    """
    toolbox = request.toolbox
    talk = next((name for name in NAMES if all(tool.name != name for tool in toolbox.tools)), NAMES[-1])
    answered = bool(request.messages) and request.messages[-1].role == "tool"
    usable = () if answered and toolbox.choice.mode == "auto" else toolbox.usable()
    may_talk = toolbox.choice.mode != "required" or not usable
    fields: dict[str, Any] = {
        "logit_bias": [[talk, talk_bias(len(usable))]] if may_talk and usable else None,
        "grammar": _grammar(talk if may_talk else None, usable, last_said(request.messages, N_SAID)),
        "max_tokens": MARK_TOKENS + call_tokens(request, settings),
        # A call is a decision, not a matter of taste.
        "temperature": 0.0,
    }
    return Plan(
        _messages(request.messages, toolbox.tools, talk),
        PromptedReader(usable, talk, max_pieces=answer_tokens(request, settings)),
        fields,
    )


def talk_bias(n_tools: int) -> float:
    """What is added to the log-odds of talking. Many functions share the odds of calling: each has less."""
    return TALK_BIAS - 0.5 * math.log(n_tools)


class PromptedReader:
    """Satisfies `chat_body.Reader`.

    Args:
        tools: What may be called.
        talk: The action that is no call.
        max_pieces: Of spoken text; llama-server sends a token each.
    """

    def __init__(self, tools: tuple[Tool, ...], talk: str, *, max_pieces: int) -> None:
        self._tools = tools
        self._talk = talk
        self._n_left = max_pieces
        self._mark = ""
        self._tool: Tool | None = None
        self._call_id = f"call_{secrets.token_hex(8)}"
        self._arguments = ""
        self._is_open = True
        self.truncated = False
        self.is_full = False

    def push(self, delta: dict[str, Any]) -> list[LlmDelta]:
        """See `Reader`."""
        text = delta.get("content") or ""
        if self._is_open:
            self._mark += text
            mark, found, text = self._mark.partition("]")
            if not found:
                return []
            self._is_open = False
            if (name := mark.removeprefix("[")) != self._talk:
                self._tool = tool_named(name, self._tools)
        return self._call(text) if self._tool else self._text(text)

    def end(self, *, truncated: bool) -> list[LlmDelta]:
        """See `Reader`."""
        if self._tool and not truncated:
            check_arguments(self._tool, self._arguments)
        return []

    def _text(self, text: str) -> list[LlmDelta]:
        if not text or (text.isspace() and not self._is_talking):
            return []
        if self._n_left == 0:
            self.is_full = self.truncated = True
            return []
        self._n_left -= 1
        text = text if self._is_talking else text.lstrip()
        self._is_talking = True
        return [LlmDelta(text)]

    _is_talking = False

    def _call(self, text: str) -> list[LlmDelta]:
        text = text if self._arguments else text.lstrip()
        if not text or self._tool is None:
            return []
        self._arguments += text
        return [LlmDelta(call=CallDelta(0, self._call_id, self._tool.name, text))]


def _grammar(talk: str | None, tools: tuple[Tool, ...], said: list[str]) -> str:
    grammar = Grammar(said)
    ways = [quoted(f"[{talk}] ") + " [^\\x00]*"] if talk else []
    for tool in tools:
        schema = {"type": "object", **tool.parameters}
        ways.append(f"{quoted(f'[{tool.name}] ')} {grammar.value(schema, schema)}")
    return grammar.text(" | ".join(ways))


def _messages(messages: tuple[Message, ...], tools: tuple[Tool, ...], talk: str) -> list[dict[str, Any]]:
    system = "\n".join([*(m.text for m in messages if m.role == "system"), _actions(tools, talk)])
    wire = [{"role": "system", "content": system}]
    for asked, done in _examples(tools, talk):
        wire += [{"role": "user", "content": asked}, {"role": "assistant", "content": done}]
    for message in messages:
        if message.role == "system":
            continue
        texts = [message.text]
        if message.role == "agent":
            texts = [f"[{talk}] {message.text}"] if message.text else []
            texts += [f"[{call.name}] {call.arguments or '{}'}" for call in message.calls]
        elif message.role == "tool":
            texts = [f"Result: {spoken_result(message.text)}"]
        wire += [{"role": WIRE_ROLES[message.role], "content": text} for text in texts]
    return wire


def _actions(tools: tuple[Tool, ...], talk: str) -> str:
    lines = ["Actions:", f"{talk}(text): Answer the user."]
    for tool in (TOY, *tools):
        names = ", ".join(tool.parameters.get("properties", {}))
        lines.append(f"{tool.name}({names}): {_purpose(tool)}.")
    return "\n".join(lines)


def _examples(tools: tuple[Tool, ...], talk: str) -> list[tuple[str, str]]:
    """What makes the model write actions. Each function is asked for in the words of its description."""
    own = [_own_example(tool) for tool in tools[:N_SHOWN]]
    return [
        ("How tall is a giraffe?", f"[{talk}] A giraffe is about five metres tall."),
        *own,
        ("how are you", f"[{talk}] I am fine, thank you. How are you?"),
        ("who wrote hamlet", f"[{talk}] William Shakespeare wrote Hamlet."),
        ("I want to fly to Rome on Monday.", f"[{TOY.name}] {TOY_ARGUMENTS}"),
        (f"Result: {TOY_RESULT}", f"[{talk}] {TOY_ANSWER}"),
    ]


def _own_example(tool: Tool) -> tuple[str, str]:
    """A request in the words of the description, with the arguments in it, so that they can be copied."""
    arguments = sample({"type": "object", **tool.parameters})
    told = ", ".join(_plain(value) for value in arguments.values())
    request = f"Please {_lower(_purpose(tool))}{': ' if told else ''}{told}."
    return request, f"[{tool.name}] {json.dumps(arguments, ensure_ascii=False)}"


SAMPLES = ("blue horse", "Anna", "seven roses", "Oxford")
"""Texts for examples: nothing that anybody would ask for, so that nothing is copied by mistake."""


def sample(schema: Mapping[str, Any], n: int = 0) -> Any:
    """A value that looks like one of the schema's, for an example. `n` tells neighbours apart."""
    for known in ("const", "default"):
        if known in schema:
            return schema[known]
    for known in ("enum", "examples"):
        if schema.get(known):
            return schema[known][n % len(schema[known])]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if kind == "object":
        return {name: sample(one, at) for at, (name, one) in enumerate(schema.get("properties", {}).items())}
    if kind == "array":
        return [sample(schema.get("items", {}), n)]
    text = SAMPLES[n % len(SAMPLES)]
    plain = {"integer": 3 + n, "number": 3 + n, "boolean": True, "null": None}
    return plain.get(kind, text) if isinstance(kind, str) else text


def spoken_result(output: str) -> str:
    """A call's result as a small model can read it: without the brackets of JSON."""
    try:
        found = json.loads(output)
    except ValueError:
        return output
    return _plain(found)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{str(k).replace('_', ' ')}: {_plain(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _purpose(tool: Tool) -> str:
    """The first sentence of the description, else the name in words."""
    first = tool.description.strip().split("\n")[0].split(". ")[0].rstrip(". ")
    return first or tool.name.replace("_", " ").replace("-", " ")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
