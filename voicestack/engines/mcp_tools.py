"""Which tools does an MCP server have, and what do calls of them come to? With the official `mcp` package.

Streamable HTTP, and the older transport with two endpoints (SSE) for servers that know no other, or whose
address ends in `/sse`.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx2
import orjson
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError
from mcp_types import (
    CONNECTION_CLOSED,
    CallToolResult,
    EmbeddedResource,
    Implementation,
    ResourceLink,
    TextContent,
    ToolListChangedNotification,
)
from mcp_types import Tool as McpTool

from voicestack import __version__
from voicestack.core.errors import StageError, StageRejected, StageTimeout, StageUnavailable
from voicestack.core.served import ServedTool, ToolFailure, ToolOutcome, ToolSource, may_reach
from voicestack.engines.mcp_http import BoundedTransport

STAGE: Final = "mcp"
MAX_PAGES = 20
"""Of one list of tools: a server that never ends its list has a fault."""
MAX_MESSAGE_CHARS = 500
"""Of what a server says about a failure."""
TERMINATED = "Session terminated"
"""How the `mcp` package says that the server has forgotten the session (HTTP 404)."""
FAULTS = (httpx2.HTTPError, httpx2.StreamError, OSError, ValueError, RuntimeError, anyio.ClosedResourceError)
"""What the package raises beside `MCPError` when a server is gone or does not do as MCP says."""
LEFT_OUT = " ... (the rest was left out)"


@dataclass(frozen=True, slots=True)
class McpLimits:
    """What a server may cost. The meaning and the values are those of the configuration's section `mcp`."""

    connect_ms: int = 5_000
    call_ms: int = 20_000
    max_tools: int = 64
    max_output_chars: int = 8_192


class McpServers:
    """Satisfies `ports.ToolServers`.

    Args:
        places: Where servers may be (see `may_reach`); checked here too, whoever asks.
        limits: See there.
    """

    def __init__(self, places: Sequence[str], limits: McpLimits | None = None) -> None:
        self._places = tuple(places)
        self._limits = limits or McpLimits()
        # Building one takes 0.1 s, in which every call would stand still: once, at the start.
        self._tls = httpx2.create_ssl_context()

    def connect(self, source: ToolSource) -> AbstractAsyncContextManager["McpServer"]:
        """See `ports.ToolServers`.

        Raises:
            StageTimeout: not connected within `connect_ms`.
            StageUnavailable: nobody is there.
            StageRejected: the address is not allowed, the key is not accepted, or it is no MCP server.
        """
        if not may_reach(source.url, self._places):
            raise StageRejected("the address is not in mcp.allowed_hosts", stage=STAGE)
        return _connected(source, self._tls, self._limits)


class McpServer:
    """One connection. Satisfies `ports.ToolServer`.

    Args:
        client: Connected.
        transport: Knows why the server refused.
        limits: See there.
        told: Set when an older server says, by itself, that its tools have changed.
    """

    def __init__(
        self, client: Client, transport: BoundedTransport, limits: McpLimits, told: asyncio.Event
    ) -> None:
        self._client, self._transport, self._limits, self._told = client, transport, limits, told

    async def changes(self) -> AsyncGenerator[None, None]:
        """See `ports.ToolServer`. Servers since MCP 2026-07-28 have to be asked for it, older ones do not."""
        with _failures(self._transport):
            try:
                async with self._client.listen(tools_list_changed=True) as events:
                    async for _ in events:
                        yield
            except ListenNotSupportedError:
                while await self._told.wait():
                    self._told.clear()
                    yield

    async def tools(self) -> tuple[ServedTool, ...]:
        """See `ports.ToolServer`. At most `max_tools`: half a list would be a riddle."""
        found: list[McpTool] = []
        cursor: str | None = None
        with _failures(self._transport):
            async with asyncio.timeout(self._limits.connect_ms / 1e3):
                for _ in range(MAX_PAGES):
                    page = await self._client.list_tools(cursor=cursor, cache_mode="bypass")
                    found += page.tools
                    cursor = page.next_cursor
                    if cursor is None or len(found) > self._limits.max_tools:
                        break
        if cursor is not None or len(found) > self._limits.max_tools:
            message = f"it has more than {self._limits.max_tools} tools (mcp.max_tools)"
            raise StageRejected(message, stage=STAGE)
        return tuple(_tool(one) for one in found)

    async def call(self, name: str, arguments: str) -> ToolOutcome:
        """See `ports.ToolServer`."""
        try:
            given = orjson.loads(arguments or "{}")
        except orjson.JSONDecodeError:
            given = None
        if not isinstance(given, dict):
            message = "The arguments are not a JSON object."
            return ToolOutcome(failure=ToolFailure("tool_execution_error", message))
        self._transport.refusal = None
        with _failures(self._transport):
            try:
                async with asyncio.timeout(self._limits.call_ms / 1e3):
                    result = await self._client.call_tool(name, given)
            except MCPError as error:
                if self._transport.refusal is not None or _is_gone(error):
                    raise
                message = error.message[:MAX_MESSAGE_CHARS]
                return ToolOutcome(failure=ToolFailure("protocol_error", message, error.code))
        return self._outcome(result)

    def _outcome(self, result: CallToolResult) -> ToolOutcome:
        text = _text_of(result)
        if result.is_error:
            message = text[:MAX_MESSAGE_CHARS] or "The tool failed and did not say why."
            return ToolOutcome(failure=ToolFailure("tool_execution_error", message))
        limit = self._limits.max_output_chars
        return ToolOutcome(text if len(text) <= limit else text[: limit - len(LEFT_OUT)] + LEFT_OUT)


@asynccontextmanager
async def _connected(source: ToolSource, tls: ssl.SSLContext, limits: McpLimits) -> AsyncIterator[McpServer]:
    transport = BoundedTransport(httpx2.AsyncHTTPTransport(verify=tls, trust_env=False))
    timeout = httpx2.Timeout(limits.connect_ms / 1e3, read=None)  # the whole is bounded, and streams idle
    options = {"headers": dict(source.headers), "timeout": timeout, "transport": transport}
    with _failures(transport):
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(limits.connect_ms / 1e3):
                told = asyncio.Event()
                client = await _client(stack, source.url, options, transport, told)
            yield McpServer(client, transport, limits, told)


async def _client(
    stack: AsyncExitStack, url: str, options: dict[str, Any], transport: BoundedTransport, told: asyncio.Event
) -> Client:
    """The client, entered into the stack. A server that refuses the one transport is asked with the other."""
    if not urlsplit(url).path.rstrip("/").endswith("/sse"):
        http = await stack.enter_async_context(httpx2.AsyncClient(**options, trust_env=False))
        try:
            return await stack.enter_async_context(_mcp(streamable_http_client(url, http_client=http), told))
        except (MCPError, BaseExceptionGroup):
            if transport.refusal not in (
                httpx2.codes.BAD_REQUEST,
                httpx2.codes.NOT_FOUND,
                httpx2.codes.METHOD_NOT_ALLOWED,
            ):
                raise

    def sse_http(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(**options, trust_env=False)  # none of these are given

    return await stack.enter_async_context(_mcp(sse_client(url, httpx_client_factory=sse_http), told))


def _mcp(transport: Any, told: asyncio.Event) -> Client:
    async def hear(message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            told.set()

    info = Implementation(name="voicestack", version=__version__)
    return Client(transport, client_info=info, cache=None, message_handler=hear)


@contextmanager
def _failures(transport: BoundedTransport) -> Iterator[None]:
    """Turn what the package raises into the errors of a stage."""
    try:
        yield
    except TimeoutError as error:
        raise StageTimeout("no answer in time", stage=STAGE) from error
    except (MCPError, *FAULTS) as error:
        raise _stage_error(error, transport.refusal) from error
    except BaseExceptionGroup as group:
        others = group.subgroup(lambda one: not isinstance(one, (MCPError, *FAULTS, BaseExceptionGroup)))
        if others is not None:
            raise
        raise _stage_error(_first(group), transport.refusal) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    one: BaseException = group
    while isinstance(one, BaseExceptionGroup):
        one = one.exceptions[0]
    return one


def _stage_error(error: BaseException, refusal: int | None) -> StageError:
    message = f"{type(error).__name__}: {str(error)[:MAX_MESSAGE_CHARS]}"
    if isinstance(error, httpx2.HTTPStatusError):
        refusal = error.response.status_code
    gone = _is_gone(error)
    if refusal is not None:
        message = f"HTTP {refusal}: {message}"
        gone = gone or refusal >= 500 or refusal in (httpx2.codes.REQUEST_TIMEOUT, 429)
    kind = StageUnavailable if gone else StageRejected
    return kind(message, stage=STAGE)


def _is_gone(error: BaseException) -> bool:
    """Whether the server, or what it knew of the session, is not there any more."""
    if isinstance(error, MCPError):
        return error.code == CONNECTION_CLOSED or error.message == TERMINATED
    return isinstance(error, httpx2.TransportError | OSError | anyio.ClosedResourceError)


def _tool(tool: McpTool) -> ServedTool:
    notes = tool.annotations
    annotations: dict[str, Any] | None = None
    if notes is not None:
        annotations = notes.model_dump(by_alias=True, exclude_none=True, mode="json")
    return ServedTool(tool.name, tool.description or "", tool.input_schema, annotations)


def _text_of(result: CallToolResult) -> str:
    """For an LLM that reads: what is not text is named."""
    parts = []
    for block in result.content:
        match block:
            case TextContent(text=text):
                parts.append(text)
            case EmbeddedResource(resource=resource):
                parts.append(getattr(resource, "text", f"[{resource.uri}]"))
            case ResourceLink(uri=uri):
                parts.append(f"[{uri}]")
            case other:
                parts.append(f"[{other.type}]")
    if not parts and result.structured_content is not None:
        return orjson.dumps(result.structured_content).decode()
    return "\n".join(parts)
