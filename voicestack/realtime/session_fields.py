"""Which values may a client put into a session object, and into a response's options?

Every field of the Realtime API's session is listed once, with what it may hold. The beta API's flat names are
moved to their GA place first, where the client has not used the GA name too.
"""

from typing import Any, Literal

from voicestack.core.errors import PeerProtocolError
from voicestack.core.tools import Tool, Toolbox, ToolChoice
from voicestack.realtime.checks import (
    Check,
    JsonObject,
    Nullable,
    anything,
    choice,
    either,
    flag,
    listing,
    number,
    record,
    refuse,
    text,
    whole,
)
from voicestack.realtime.formats import audio_format
from voicestack.realtime.mcp_fields import mcp_choice, mcp_tool, source_of, unique_labels

LONGEST_VAD_MS = 60_000
"""The API gives no upper bound for VAD times. A minute of padding or silence is more than any dialogue needs
and keeps what a peer can make the server hold small."""
NAME_CHARS = 512
MAX_TOOLS = 128

_SERVER_VAD = record(
    {
        "threshold": number(0, 1),
        "prefix_padding_ms": whole(0, LONGEST_VAD_MS),
        "silence_duration_ms": whole(0, LONGEST_VAD_MS),
        "idle_timeout_ms": Nullable(whole(5_000, 30_000)),
        "create_response": flag,
        "interrupt_response": flag,
    }
)
_SEMANTIC_VAD = record(
    {
        "eagerness": choice("low", "medium", "high", "auto"),
        "create_response": flag,
        "interrupt_response": flag,
    }
)
_vad_kind = record({"type": choice("server_vad", "semantic_vad")})


def _turn_detection(value: Any, path: str) -> JsonObject | None:
    if value is False:  # how one client says null
        return None
    kind = _vad_kind(value, path).get("type", "server_vad")
    rest: JsonObject = (_SERVER_VAD if kind == "server_vad" else _SEMANTIC_VAD)(value, path)
    return {"type": kind, **rest}


def modalities(value: Any, path: str) -> list[str]:
    """A `Check`: exactly one of text and audio."""
    if value not in (["audio"], ["text"]):
        raise PeerProtocolError(
            "Invalid modalities. Supported combinations are: ['text'] and ['audio'].",
            code="invalid_value",
            param=path,
        )
    return list(value)


def _tool(value: Any, path: str) -> JsonObject:
    kind = _tool_kind(value, path)["type"]
    if kind == "mcp":
        return mcp_tool(value, path)
    return {"type": kind, **_function(value, path)}


def tools(value: Any, path: str) -> list[JsonObject]:
    """A `Check`: functions of the client's, and servers of tools."""
    return unique_labels(_tools(value, path), path)


def _named_choice(value: Any, path: str) -> JsonObject:
    kind = _tool_kind(value, path)["type"]
    chosen: JsonObject = (mcp_choice if kind == "mcp" else _function_choice)(value, path)
    return chosen


def toolbox_of(wire_tools: list[JsonObject], wire_choice: str | JsonObject) -> Toolbox:
    """The value of checked `tools`, each server with an address, and a checked `tool_choice`."""
    offered = tuple(
        Tool(tool["name"], tool.get("description", ""), tool.get("parameters") or {})
        for tool in wire_tools
        if tool["type"] == "function"
    )
    servers = tuple(source_of(tool) for tool in wire_tools if tool["type"] == "mcp")
    if isinstance(wire_choice, str):
        mode: Literal["auto", "none", "required"] = wire_choice  # type: ignore[assignment]  # it is checked
        return Toolbox(offered, ToolChoice(mode), servers)
    chosen = ToolChoice("required", wire_choice.get("name"), wire_choice.get("server_label"))
    return Toolbox(offered, chosen, servers)


def _no_prompt(value: Any, path: str) -> None:
    refuse(path, "null, as this server stores no prompt templates", value)


_tool_kind = record({"type": choice("function", "mcp")}, required=("type",))
_function = record(
    {"name": text(at_least=1, at_most=NAME_CHARS), "description": text(), "parameters": anything},
    required=("name",),
)
_tools = listing(_tool, at_most=MAX_TOOLS)
_function_choice = record({"type": choice("function"), "name": text(at_least=1)}, required=("type", "name"))
tool_choice: Check = either(choice("auto", "none", "required"), _named_choice, when=str)
voice: Check = either(
    text(at_least=1, at_most=NAME_CHARS),
    record({"id": text(at_least=1, at_most=NAME_CHARS)}, required=("id",)),
    when=str,
)
max_output_tokens: Check = either(choice("inf"), whole(1, 4096), when=str)
reasoning: Check = record({"effort": choice("minimal", "low", "medium", "high", "xhigh")})
prompt = Nullable(_no_prompt)

_AUDIO_INPUT = record(
    {
        "format": audio_format,
        "transcription": Nullable(
            record(
                {
                    "model": text(at_most=NAME_CHARS),
                    "language": text(at_most=NAME_CHARS),
                    "prompt": text(),
                    "languages": listing(text(at_most=NAME_CHARS), at_most=100),
                    "keywords": listing(text(), at_most=1000),
                    "delay": choice("minimal", "low", "medium", "high", "xhigh"),
                }
            )
        ),
        "noise_reduction": Nullable(
            record(
                {"type": choice("near_field", "far_field"), "strength": number(0, float("inf"))},
                required=("type",),
            )
        ),
        "turn_detection": Nullable(_turn_detection),
    }
)
_AUDIO_OUTPUT = record({"format": audio_format, "voice": voice, "speed": number(0.25, 1.5)})

SESSION_UPDATE = record(
    {
        "type": choice("realtime", "transcription"),
        "output_modalities": modalities,
        "instructions": text(),
        "audio": record({"input": _AUDIO_INPUT, "output": _AUDIO_OUTPUT}),
        "tools": tools,
        "tool_choice": tool_choice,
        "parallel_tool_calls": flag,
        "reasoning": reasoning,
        "max_output_tokens": max_output_tokens,
        "truncation": either(
            choice("auto", "disabled"),
            record(
                {
                    "type": choice("retention_ratio"),
                    "retention_ratio": number(0, 1),
                    "token_limits": record({"post_instructions": whole(0, 1 << 31)}),
                },
                required=("type", "retention_ratio"),
            ),
            when=str,
        ),
        "tracing": Nullable(
            either(
                choice("auto"),
                record({"workflow_name": text(), "group_id": text(), "metadata": anything}),
                when=str,
            )
        ),
        "prompt": prompt,
        "include": Nullable(listing(choice("item.input_audio_transcription.logprobs"), at_most=8)),
    }
)

_BETA_PLACES = {
    "modalities": ("output_modalities",),
    "max_response_output_tokens": ("max_output_tokens",),
    "voice": ("audio", "output", "voice"),
    "speed": ("audio", "output", "speed"),
    "output_audio_format": ("audio", "output", "format"),
    "input_audio_format": ("audio", "input", "format"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "turn_detection": ("audio", "input", "turn_detection"),
}


def ga_names(fields: Any) -> Any:
    """The same fields with the beta API's names replaced. What is not an object is left for the checks."""
    if not isinstance(fields, dict) or not _BETA_PLACES.keys() & fields.keys():
        return fields
    out: JsonObject = dict(fields)
    for name, (*parents, last) in _BETA_PLACES.items():
        if name not in fields:
            continue
        place: Any = out
        for parent in parents:
            inner = place.get(parent)
            if inner is not None and not isinstance(inner, dict):
                return fields
            place[parent] = place = dict(inner or {})
        place.setdefault(last, _ga_value(name, fields[name]))
    return out


def _ga_value(name: str, value: Any) -> Any:
    both = name == "modalities" and isinstance(value, list) and "audio" in value and "text" in value
    return ["audio"] if both else value
