"""Is what a server streams an event of a chat completion? Whatever it is, nobody may stumble over it."""

from typing import Any

import orjson

from voicestack.core.errors import StageUnavailable

MAX_EVENT_BYTES = 1_000_000
"""An event holds a token or a few; a call in one piece a few thousand characters."""
_COUNTS = ("prompt_tokens", "completion_tokens", "total", "cache")


def chat_event(data: bytes) -> dict[str, Any]:
    """The event of a `data:` line. What is null in it, and may be, is left out.

    Only what is read of it is looked at: `choices[].delta.{content,tool_calls}`, `finish_reason`, `usage` and
    llama-server's `prompt_progress`. Errors are passed on as they are.

    Raises:
        StageUnavailable: it is none.
    """
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        event = None
    # What the answer says is not shown: it belongs to the user.
    if not isinstance(event, dict):
        raise StageUnavailable(f"not an event: {len(data)} bytes", stage="llm")
    if not event.get("error") and not _is_readable(event):
        raise StageUnavailable(f"not an event of a chat completion: {len(data)} bytes", stage="llm")
    if event.get("choices", ()) is None:
        del event["choices"]
    return event


def _is_readable(event: dict[str, Any]) -> bool:
    choices = event.get("choices")
    if choices is not None and not (isinstance(choices, list) and all(map(_is_choice, choices))):
        return False
    return all(_is_counts(event.get(name)) for name in ("usage", "prompt_progress"))


def _is_choice(choice: Any) -> bool:
    if not isinstance(choice, dict) or not isinstance(choice.get("finish_reason"), str | None):
        return False
    delta = choice.get("delta")
    if delta is None:
        return True
    if not isinstance(delta, dict) or not isinstance(delta.get("content"), str | None):
        return False
    calls = delta.get("tool_calls")
    return calls is None or (isinstance(calls, list) and all(map(_is_call, calls)))


def _is_call(call: Any) -> bool:
    if not isinstance(call, dict):
        return False
    function = call.get("function")
    function = {} if function is None else function
    return (
        isinstance(function, dict)
        and isinstance(call.get("index"), int | None)
        and isinstance(call.get("id"), str | None)
        and all(isinstance(function.get(name), str | None) for name in ("name", "arguments"))
    )


def _is_counts(usage: Any) -> bool:
    if usage is None:
        return True
    if not isinstance(usage, dict):
        return False
    details = usage.get("prompt_tokens_details")
    if not isinstance(details, dict | None):
        return False
    counts = [usage.get(name) for name in _COUNTS] + [(details or {}).get("cached_tokens")]
    return all(isinstance(count, int | None) for count in counts)
