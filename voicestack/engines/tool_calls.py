"""Is a call of the LLM's one that the peer can be given?"""

import json
from collections.abc import Iterable
from typing import Any

import jsonschema

from voicestack.core.errors import StageError
from voicestack.core.tools import Tool

MAX_MESSAGE_CHARS = 200


class ToolCallInvalid(StageError):
    """The LLM called a function that there is not, or with arguments that its schema forbids.

    Another try may come out better. Whoever has seen a part of the call must be told that it is void.
    """

    code = "tool_call_invalid"


def tool_named(name: str, tools: Iterable[Tool]) -> Tool:
    """The function of that name. Raises ToolCallInvalid when there is none."""
    for tool in tools:
        if tool.name == name:
            return tool
    raise ToolCallInvalid(f"the LLM called {name[:60]!r}, which was not offered", stage="llm")


def check_arguments(tool: Tool, arguments: str) -> None:
    """Raise ToolCallInvalid unless this is the text of an object that the function's schema allows.

    A schema that is no schema itself allows every object: the peer wrote it, and it decides.
    """
    try:
        found: Any = json.loads(arguments)
    except ValueError as error:
        message = f"the arguments of {tool.name} are not JSON: {error}"
        raise ToolCallInvalid(message, stage="llm") from None
    if not isinstance(found, dict):
        raise ToolCallInvalid(f"the arguments of {tool.name} are not a JSON object", stage="llm")
    try:
        jsonschema.validate(found, tool.parameters or {})
    except jsonschema.ValidationError as error:
        # Not the value itself: what people say does not belong into a log.
        message = f"the arguments of {tool.name} break its schema: {error.validator} at {error.json_path}"
        raise ToolCallInvalid(message[:MAX_MESSAGE_CHARS], stage="llm") from None
    except jsonschema.SchemaError:
        return
