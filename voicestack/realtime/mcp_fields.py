"""What may a client say of a server of tools (an `mcp` tool), and what does that come to?"""

import re
from collections.abc import Sequence
from typing import Any

from voicestack.core.errors import PeerProtocolError
from voicestack.core.served import (
    EVERY_TOOL,
    Approval,
    ToolFilter,
    ToolSource,
    is_address,
    may_reach,
)
from voicestack.realtime.checks import (
    Check,
    JsonObject,
    choice,
    either,
    flag,
    listing,
    missing,
    record,
    refuse,
    shown,
    text,
)

NAME_CHARS = 512
URL_CHARS = 2048
SECRET_CHARS = 8192
MAX_NAMES = 1000
MAX_HEADERS = 32
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OWN_HEADERS = {
    *("accept", "accept-encoding", "connection", "content-length", "content-type", "host", "keep-alive"),
    *("te", "trailer", "transfer-encoding", "upgrade", "last-event-id"),
}
"""Headers that make the request what it is."""
SECRETS = ("authorization", "headers")
"""Never shown again, not even to the client that said them: others may read the session object."""


def _label(value: Any, path: str) -> str:
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        refuse(path, "a letter and then up to 63 letters, digits, '-' and '_'", value)
    return value


def _url(value: Any, path: str) -> str:
    url = str(text(at_least=1, at_most=URL_CHARS)(value, path))
    if not is_address(url):
        refuse(path, "an http(s) address without user, password or fragment", url)
    return url


def _headers(value: Any, path: str) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MAX_HEADERS:
        refuse(path, f"an object with at most {MAX_HEADERS} entries", value)
    for name, entry in value.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OWN_HEADERS:
            refuse(path, "names of headers that are not this server's own", name)
        if not isinstance(entry, str) or len(entry) > SECRET_CHARS or not _HEADER_VALUE.fullmatch(entry):
            raise PeerProtocolError(  # without the value: it may be a key
                f"Invalid value for '{path}.{name}': expected printable ASCII of at most {SECRET_CHARS} "
                "characters.",
                code="invalid_value",
                param=path,
            )
    return value


def _token(value: Any, path: str) -> str:
    if not isinstance(value, str) or len(value) > SECRET_CHARS or not _HEADER_VALUE.fullmatch(value):
        raise PeerProtocolError(
            f"Invalid value for '{path}': expected printable ASCII of at most {SECRET_CHARS} characters.",
            code="invalid_value",
            param=path,
        )
    return value


_names = listing(text(at_least=1, at_most=NAME_CHARS), at_most=MAX_NAMES)
_filter = record({"tool_names": _names, "read_only": flag})
_mcp = record(
    {
        "server_label": _label,
        "server_url": _url,
        "server_description": text(),
        "authorization": _token,
        "headers": _headers,
        "allowed_tools": either(_names, _filter, when=list),
        "require_approval": either(
            choice("always", "never"), record({"always": _filter, "never": _filter}), when=str
        ),
        "defer_loading": flag,
        "allowed_callers": listing(choice("direct", "programmatic"), at_most=2),
    },
    required=("server_label",),
)


def mcp_tool(value: Any, path: str) -> JsonObject:
    """A `Check`: a server of tools. Its `server_url` may be missing still."""
    for name in ("connector_id", "tunnel_id"):
        if value.get(name) is not None:
            raise PeerProtocolError(
                f"'{name}' names something of OpenAI's that this server does not have; give a 'server_url'.",
                code="invalid_value",
                param=f"{path}.{name}",
            )
    tool: JsonObject = _mcp(value, path)
    names = {name.lower() for name in tool.get("headers", ())}
    if "authorization" in tool and "authorization" in names:
        refuse(f"{path}.authorization", "either this or a header of that name", "both")
    return {"type": "mcp", **tool}


mcp_choice: Check = record(
    {"type": choice("mcp"), "server_label": _label, "name": text(at_least=1, at_most=NAME_CHARS)},
    required=("type", "server_label"),
)


def unique_labels(tools: list[JsonObject], path: str) -> list[JsonObject]:
    """The tools. Raises PeerProtocolError when two servers have the same label."""
    seen: set[str] = set()
    for at, tool in enumerate(tools):
        label = tool.get("server_label")
        if label in seen:
            refuse(f"{path}[{at}].server_label", "a label that no other server has", label)
        if label is not None:
            seen.add(label)
    return tools


def with_addresses(
    tools: list[JsonObject], known: list[JsonObject], places: Sequence[str], path: str
) -> list[JsonObject]:
    """The tools, each server with an address that may be called.

    Args:
        tools: Checked.
        known: The session's: what only names its label is the one that has that label here.
        places: See `may_reach`.
        path: Of `tools`.

    Raises:
        PeerProtocolError: there is no address, or it is not in one of the places.
    """
    by_label = {tool["server_label"]: tool for tool in known if tool["type"] == "mcp"}
    whole = []
    for at, tool in enumerate(tools):
        if tool["type"] == "mcp":
            if "server_url" not in tool and tool["server_label"] in by_label:
                tool = {**by_label[tool["server_label"]], **tool}  # noqa: PLW2901 (the same, completed)
            _check_address(tool, places, f"{path}[{at}].server_url")
        whole.append(tool)
    return whole


def _check_address(tool: JsonObject, places: Sequence[str], path: str) -> None:
    if "server_url" not in tool:
        missing(path)
    if not may_reach(tool["server_url"], places):
        raise PeerProtocolError(
            f"Invalid value for '{path}': this server may not call {shown(tool['server_url'])}. Whoever runs "
            "it can allow the host in its setting 'mcp.allowed_hosts'.",
            code="invalid_value",
            param=path,
        )


def refuse_keys(tools: list[JsonObject], path: str) -> None:
    """Raise PeerProtocolError if a server among the checked tools comes with keys."""
    for at, tool in enumerate(tools):
        for name in SECRETS:
            if name in tool:
                raise PeerProtocolError(
                    "An ephemeral secret can be read by whoever gets it, and so could the keys in it. Leave "
                    "them out, and give them in a session.update from a server of yours.",
                    code="invalid_value",
                    param=f"{path}[{at}].{name}",
                )


def shown_tools(tools: list[JsonObject]) -> list[JsonObject]:
    """The tools as clients see them: without keys."""
    return [{name: value for name, value in tool.items() if name not in SECRETS} for tool in tools]


def source_of(tool: JsonObject) -> ToolSource:
    """The value of a checked server with an address."""
    headers = [(name, value) for name, value in tool.get("headers", {}).items()]
    if "authorization" in tool:
        headers.append(("Authorization", f"Bearer {tool['authorization']}"))
    return ToolSource(
        label=tool["server_label"],
        url=tool["server_url"],
        headers=tuple(headers),
        allowed=_filter_of(tool.get("allowed_tools")) or EVERY_TOOL,
        approval=_approval_of(tool.get("require_approval", "always")),
    )


def _filter_of(value: list[str] | JsonObject | None) -> ToolFilter | None:
    if value is None:
        return None
    if isinstance(value, list):
        return ToolFilter(frozenset(value))
    names = value.get("tool_names")
    return ToolFilter(None if names is None else frozenset(names), value.get("read_only"))


def _approval_of(value: str | JsonObject) -> Approval:
    if isinstance(value, str):
        return Approval() if value == "always" else Approval(never=EVERY_TOOL)
    return Approval(_filter_of(value.get("always")), _filter_of(value.get("never")))
