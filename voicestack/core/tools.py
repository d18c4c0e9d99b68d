"""What may the agent do beside talking: the tools that its peer offers, and the calls that the LLM makes?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from voicestack.core.served import ToolSource


@dataclass(frozen=True, slots=True)
class Tool:
    """A function of the peer's that the LLM may call.

    Attributes:
        name: Its name, as the LLM writes it.
        description: For the LLM: what it does and when to call it.
        parameters: JSON Schema of the arguments, an object. Empty for a function without any.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the LLM calls: as it likes (`auto`), not at all, or by all means (`required`).

    `name` with `required` is the one function that is called. With `server`, the label of a toolbox's server,
    it is a tool of that server's, by its name there, or any of them.
    """

    mode: Literal["auto", "none", "required"] = "auto"
    name: str | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call. `arguments` is the text of a JSON object."""

    call_id: str
    name: str
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A piece of a call while the LLM writes it.

    Attributes:
        index: Which of the answer's calls, from 0.
        call_id: Its name, in every piece.
        name: The function, in every piece.
        arguments: What comes next of the arguments; the pieces, joined, are the text of a JSON object.
    """

    index: int
    call_id: str
    name: str
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What a reply may use.

    `servers` have tools of their own, which `core/offers.py` puts among the others: no LLM sees a server.
    """

    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = ToolChoice()
    servers: tuple[ToolSource, ...] = ()

    def usable(self) -> tuple[Tool, ...]:
        """The tools that this choice leaves: all, none, or the one that is named."""
        if self.choice.mode == "none":
            return ()
        return tuple(tool for tool in self.tools if self.choice.name in (None, tool.name))


NO_TOOLS = Toolbox()
