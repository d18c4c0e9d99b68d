"""Tools that servers have: where they are, which of them may be used, and what calls of them come to.

The servers speak MCP, the Model Context Protocol.
"""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class ServedTool:
    """A tool as its server describes it.

    Attributes:
        name: Its name at the server.
        description: For the LLM.
        parameters: JSON Schema of the arguments.
        annotations: What else the server says of it, as JSON; None when that is nothing.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, Any] | None = None

    @property
    def is_read_only(self) -> bool:
        """Whether the server says that it changes nothing. A tool changes things until it says otherwise."""
        return self.annotations is not None and self.annotations.get("readOnlyHint") is True


@dataclass(frozen=True, slots=True)
class ToolFilter:
    """Some of a server's tools. None leaves a question open; a tool has to fit in all that is asked."""

    names: frozenset[str] | None = None
    read_only: bool | None = None

    def has(self, tool: ServedTool) -> bool:
        """Whether the tool is one of them."""
        named = self.names is None or tool.name in self.names
        return named and self.read_only in (None, tool.is_read_only)


EVERY_TOOL = ToolFilter()


@dataclass(frozen=True, slots=True)
class Approval:
    """Which calls the peer must approve: all but those of the tools in `never` that are not in `always`."""

    always: ToolFilter | None = None
    never: ToolFilter | None = None

    def is_needed(self, tool: ServedTool) -> bool:
        """Whether a call of this tool waits for the peer."""
        if self.never is None or not self.never.has(tool):
            return True
        return self.always is not None and self.always.has(tool)


@dataclass(frozen=True, slots=True)
class ToolSource:
    """A server of tools, as the peer wants it to be used.

    Attributes:
        label: The peer's name for it, once per toolbox.
        url: Where it is.
        headers: Sent with every request: keys, so never shown.
        allowed: The tools that the LLM may see.
        approval: The calls that the peer must approve.
    """

    label: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    allowed: ToolFilter = EVERY_TOOL
    approval: Approval = Approval()

    @property
    def place(self) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        """What makes it the same server: with these equal its tools need not be listed again."""
        return self.label, self.url, self.headers


@dataclass(frozen=True, slots=True)
class ToolFailure:
    """Why a call has no output.

    Attributes:
        kind: The tool failed; the server did not do as MCP says; or it could not be talked to.
        message: For the LLM and the peer; holds no address.
        code: JSON-RPC's or HTTP's, for the kinds that have one.
    """

    kind: Literal["tool_execution_error", "protocol_error", "http_error"]
    message: str
    code: int = 0


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What a call came to: an output, or a failure."""

    output: str = ""
    failure: ToolFailure | None = None

    @property
    def told(self) -> str:
        """What the LLM is told. A failure is worth knowing too."""
        return self.output if self.failure is None else f"Error: {self.failure.message}"


@dataclass(frozen=True, slots=True)
class RemoteCall:
    """The part of a call that only calls of served tools have.

    Attributes:
        label: The server.
        name: The tool's name there. The LLM may know it by another one.
        approval_id: The request that the peer was sent, if it had to approve.
        outcome: What it came to, once that is known.
    """

    label: str
    name: str
    approval_id: str | None = None
    outcome: ToolOutcome | None = None


_ADDRESS = re.compile(r"(https?)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(?:[/?][!-\[\]-~]*)?")
"""Strict on purpose: no user, no backslash, nothing that two readers of addresses could take differently."""
_PLACE = re.compile(r"(?:(https?)://)?(\*\.)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/?")
_PORTS = {"http": 80, "https": 443}


def is_address(url: str) -> bool:
    """Whether this is an absolute http(s) address without user, password or fragment."""
    return _ADDRESS.fullmatch(url) is not None and "#" not in url


def is_place(place: str) -> bool:
    """Whether this can be an entry of `may_reach`'s list."""
    return _PLACE.fullmatch(place) is not None


def may_reach(url: str, places: Sequence[str]) -> bool:
    """Whether the address is in one of the places: `[scheme://][*.]host[:port]`.

    Without a scheme a place is reached by https, without a port by the scheme's own. `*.host` is every host
    below that one, and not itself.
    """
    match = _ADDRESS.fullmatch(url)
    if match is None:
        return False
    scheme, host, port = match.groups()
    reached = (scheme, int(port or _PORTS[scheme]))
    host = host.lower().removesuffix(".")
    for place in places:
        found = _PLACE.fullmatch(place)
        if found is None:
            continue
        wanted_scheme, below, wanted_host, wanted_port = found.groups()
        wanted_scheme = wanted_scheme or "https"
        if reached != (wanted_scheme, int(wanted_port or _PORTS[wanted_scheme])):
            continue
        wanted_host = wanted_host.lower().removesuffix(".")
        if host.endswith(f".{wanted_host}") if below else host == wanted_host:
            return True
    return False


class ToolServer(Protocol):
    """A server of tools, connected. Calls may be made at the same time, and from any task."""

    async def tools(self) -> tuple[ServedTool, ...]:
        """All of its tools.

        Raises:
            StageError: it did not say, or has too many.
        """

    async def call(self, name: str, arguments: str) -> ToolOutcome:
        """Call a tool; what it, or the server, finds wrong with that is an outcome too.

        Args:
            name: As the server calls it.
            arguments: The text of a JSON object. Empty for none.

        Raises:
            StageError: there was no answer. Whether the tool has done something is not known.
        """

    def changes(self) -> AsyncGenerator[None, None]:
        """Yield whenever the server says that its tools have changed. Ends when it will not say so any more.

        Raises:
            StageError: the connection is lost.
        """


class ToolServers(Protocol):
    """Reaches servers of tools."""

    def connect(self, source: ToolSource) -> AbstractAsyncContextManager[ToolServer]:
        """The server, for one session; leaving the block hangs up.

        Raises:
            StageError: on entering: it cannot be reached, refuses, or may not be reached.
        """
