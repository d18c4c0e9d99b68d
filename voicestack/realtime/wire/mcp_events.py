"""What the server says of servers of tools, and of the calls that it makes."""

from typing import Literal

from typing_extensions import TypedDict


class McpListToolsInProgress(TypedDict):
    """A server is asked for its tools."""

    type: Literal["mcp_list_tools.in_progress"]
    event_id: str
    item_id: str


class McpListToolsCompleted(TypedDict):
    """The item has the server's tools."""

    type: Literal["mcp_list_tools.completed"]
    event_id: str
    item_id: str


class McpListToolsFailed(TypedDict):
    """The server did not say which tools it has; an `error` event says why."""

    type: Literal["mcp_list_tools.failed"]
    event_id: str
    item_id: str


class McpArgumentsDelta(TypedDict):
    """More of a call's arguments. `obfuscation` is empty."""

    type: Literal["response.mcp_call_arguments.delta"]
    event_id: str
    response_id: str
    item_id: str
    output_index: int
    delta: str
    obfuscation: str


class McpArgumentsDone(TypedDict):
    """A call's arguments, whole."""

    type: Literal["response.mcp_call_arguments.done"]
    event_id: str
    response_id: str
    item_id: str
    output_index: int
    arguments: str


class McpCallInProgress(TypedDict):
    """The server is being called. Its response may be done by then."""

    type: Literal["response.mcp_call.in_progress"]
    event_id: str
    output_index: int
    item_id: str


class McpCallCompleted(TypedDict):
    """The server has answered; `conversation.item.done` shows the output."""

    type: Literal["response.mcp_call.completed"]
    event_id: str
    output_index: int
    item_id: str


class McpCallFailed(TypedDict):
    """The call has failed, as `conversation.item.done` shows; without that, it was never made."""

    type: Literal["response.mcp_call.failed"]
    event_id: str
    output_index: int
    item_id: str
