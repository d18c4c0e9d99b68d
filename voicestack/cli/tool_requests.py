"""Did the language model call the right function with the right arguments? The judge of `bench tools`."""

import json
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import orjson

from voicestack.aio.clock import Clock
from voicestack.cli.bench_stats import spoken_words
from voicestack.core.errors import ConfigError, StageError
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.tools import Tool, Toolbox, ToolCall, ToolChoice
from voicestack.ports import Llm, LlmRequest

WAYS = ("one", "all", "required")
"""One function offered, all of them offered, one offered with `tool_choice` required."""
REQUESTS = Path(__file__).resolve().parent / "gate_data" / "tool_requests.json"
"""Come with the package."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Something that a user says while a function is offered.

    Attributes:
        text: The words.
        tool: The function that is offered.
        arguments: For each argument the values that count as right; None when nothing is to be called.
    """

    text: str
    tool: str
    arguments: Mapping[str, tuple[Any, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A call that was answered, and words of which the agent must say one."""

    call: ToolCall
    question: str
    output: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Questions:
    """One part of the file."""

    tools: Mapping[str, Tool]
    spoken: tuple[Spoken, ...]
    outcomes: tuple[Outcome, ...]


@dataclass(slots=True)
class Answer:
    """What came of one request.

    Attributes:
        text: What was said.
        name: The function that was called.
        arguments: Of the call, as text.
        first_ms: From the request to the first text, or to the first piece of the call.
        done_ms: To the end.
        error: The code of what went wrong.
    """

    text: str = ""
    name: str | None = None
    arguments: str = ""
    first_ms: float | None = None
    done_ms: float = 0.0
    error: str | None = None


@dataclass(slots=True)
class Verdict:
    """How one request was met. The last three are None where nothing was called."""

    spoken: Spoken
    answer: Answer
    called: bool = False
    right_tool: bool | None = None
    right_arguments: bool | None = None
    valid: bool | None = None
    wrong: list[str] = field(default_factory=list)


def read_questions(path: Path, part: str) -> Questions:
    """Read one part of the file. Raises ConfigError when it cannot be used."""
    try:
        found = orjson.loads(path.read_bytes())
        tools = {one["name"]: Tool(**one) for one in found["tools"]}
        mine = found[part]
        requests = [
            Spoken(one["text"], one["tool"], {key: tuple(values) for key, values in one["arguments"].items()})
            for one in mine["requests"]
        ]
        chat = [Spoken(one["text"], one["tool"]) for one in mine["chat"]]
        outcomes = [_outcome(n, one) for n, one in enumerate(mine["results"])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} holds no requests ({type(error).__name__}: {error})") from None
    return Questions(tools, (*requests, *chat), tuple(outcomes))


def _outcome(n: int, one: Mapping[str, Any]) -> Outcome:
    call = ToolCall(f"call_{n}", one["tool"], json.dumps(one["arguments"]))
    return Outcome(call, one["text"], json.dumps(one["output"]), tuple(one["words"]))


async def ask(
    llm: Llm, clock: Clock, session: str, messages: tuple[Message, ...], toolbox: Toolbox
) -> Answer:
    """Ask as a session does: its instructions and functions are in the cache, the user's words are not."""
    system = tuple(m for m in messages if m.role == "system")
    with suppress(StageError):  # best effort; the reply tells what is wrong
        await llm.prime(LlmRequest(SessionId(session), TurnId(1), system, toolbox=toolbox))
    request = LlmRequest(SessionId(session), TurnId(1), messages, toolbox=toolbox)
    answer = Answer()
    start_ns = clock.now_ns()
    try:
        async with aclosing(llm.reply(request)) as deltas:
            async for delta in deltas:
                if answer.first_ms is None and (delta.text or delta.call):
                    answer.first_ms = (clock.now_ns() - start_ns) / 1e6
                answer.text += delta.text
                if delta.call:
                    answer.name = delta.call.name
                    answer.arguments += delta.call.arguments
    except StageError as error:
        answer.error = error.code
    answer.done_ms = (clock.now_ns() - start_ns) / 1e6
    return answer


async def request(
    llm: Llm, clock: Clock, instructions: Message, spoken: Spoken, questions: Questions, way: str
) -> Verdict:
    """Say it while functions are offered in one of `WAYS`, and judge what comes of it."""
    offered = questions.tools.values() if way == "all" else [questions.tools[spoken.tool]]
    choice = ToolChoice("required" if way == "required" else "auto")
    messages = (instructions, Message("user", spoken.text))
    answer = await ask(llm, clock, way, messages, Toolbox(tuple(offered), choice))
    return judge(spoken, answer, questions.tools)


def judge(spoken: Spoken, answer: Answer, tools: Mapping[str, Tool]) -> Verdict:
    """Compare. Strings are compared as words, without case and punctuation."""
    verdict = Verdict(spoken, answer, called=answer.name is not None)
    if answer.name is None:
        return verdict
    verdict.right_tool = answer.name == spoken.tool and spoken.arguments is not None
    try:
        arguments = json.loads(answer.arguments)
        jsonschema.validate(arguments, tools[answer.name].parameters)
        verdict.valid = True
    except (ValueError, jsonschema.ValidationError):
        verdict.valid = False
    if spoken.arguments is not None:
        arguments = arguments if verdict.valid else {}
        verdict.wrong = [
            k for k, right in spoken.arguments.items() if not _is_one_of(arguments.get(k), right)
        ]
        verdict.right_arguments = verdict.right_tool and not verdict.wrong
    return verdict


def _is_one_of(value: Any, right: tuple[Any, ...]) -> bool:
    if isinstance(value, str):
        return any(spoken_words(value) == spoken_words(str(one)) for one in right)
    return value in right and not isinstance(value, bool)
