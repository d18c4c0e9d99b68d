"""How are the entries about servers of tools written on the wire?

Clients expect `output`, `error` and `approval_request_id` of a call to be there, null where there is none.
"""

from voicestack.core.history import ApprovalItem, CallItem, ListingItem, VerdictItem
from voicestack.core.served import RemoteCall, ToolFailure
from voicestack.realtime.checks import JsonObject


def wire_listing(item: ListingItem) -> JsonObject:
    """A server's tools. The description is there even if it is empty: a client insists on it."""
    tools: list[JsonObject] = []
    for tool in item.tools:
        shown = {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
        tools.append(shown if tool.annotations is None else {**shown, "annotations": tool.annotations})
    return {"id": item.id, "type": "mcp_list_tools", "server_label": item.label, "tools": tools}


def wire_remote_call(item: CallItem, remote: RemoteCall) -> JsonObject:
    """A call of a served tool, by the tool's name at its server."""
    outcome = remote.outcome
    failure = outcome.failure if outcome is not None else None
    return {
        "id": item.id,
        "type": "mcp_call",
        "server_label": remote.label,
        "name": remote.name,
        "arguments": item.call.arguments,
        "approval_request_id": remote.approval_id,
        "output": outcome.output if outcome is not None and failure is None else None,
        "error": None if failure is None else _wire_failure(failure),
    }


def _wire_failure(failure: ToolFailure) -> JsonObject:
    fields: JsonObject = {"type": failure.kind, "message": failure.message}
    return fields if failure.kind == "tool_execution_error" else {**fields, "code": failure.code}


def wire_approval(item: ApprovalItem) -> JsonObject:
    """A question to the client."""
    return {
        "id": item.id,
        "type": "mcp_approval_request",
        "server_label": item.label,
        "name": item.name,
        "arguments": item.arguments or "{}",
    }


def wire_verdict(item: VerdictItem) -> JsonObject:
    """The client's answer."""
    fields: JsonObject = {
        "id": item.id,
        "type": "mcp_approval_response",
        "approval_request_id": item.request,
        "approve": item.approve,
    }
    return {**fields, "reason": item.reason} if item.reason else fields
