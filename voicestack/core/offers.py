"""Under which names is the LLM offered the tools of servers, beside the peer's own functions?"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from voicestack.core.served import ServedTool, ToolSource
from voicestack.core.tools import NO_TOOLS, Tool, Toolbox, ToolChoice

NAME_CHARS = 64
"""Longest name of a function in the OpenAI API, and so in the servers that follow it."""
_ODD = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Served:
    """A tool and who serves it."""

    source: ToolSource
    tool: ServedTool


@dataclass(frozen=True, slots=True)
class Offer:
    """What the LLM is offered.

    Attributes:
        toolbox: All tools in one row, the peer's functions first.
        served: By the name in `toolbox`, those that servers have.
    """

    toolbox: Toolbox = NO_TOOLS
    served: Mapping[str, Served] = field(default_factory=dict)


def offer_of(toolbox: Toolbox, listed: Mapping[ToolSource, Sequence[ServedTool]]) -> Offer:
    """The tools of this toolbox whose servers have been listed.

    A function of the peer's keeps its name. A served tool has its own name too, unless somebody else has it
    or it is not a function's name: then it is `label__name`, numbered if even that is taken.
    """
    if not toolbox.servers:
        return Offer(toolbox)
    found = [
        Served(source, tool)
        for source in toolbox.servers
        for tool in listed.get(source, ())
        if source.allowed.has(tool)
    ]
    served = _named(found, {tool.name for tool in toolbox.tools})
    choice, wanted = toolbox.choice, tuple(served)
    tools = toolbox.tools
    if choice.server is not None:
        tools = ()
        wanted = tuple(name for name, one in served.items() if _is_chosen(one, choice))
        choice = ToolChoice("required" if wanted else "auto")
    offered = (
        Tool(name, served[name].tool.description, served[name].tool.parameters)
        for name in wanted  # in the order of the servers, and there in the order of their lists
    )
    whole = replace(toolbox, tools=(*tools, *offered), choice=choice, servers=())
    return Offer(whole, {name: served[name] for name in wanted})


def _is_chosen(one: Served, choice: ToolChoice) -> bool:
    return one.source.label == choice.server and choice.name in (None, one.tool.name)


def _named(found: Sequence[Served], taken: set[str]) -> dict[str, Served]:
    counts = Counter(one.tool.name for one in found)
    served: dict[str, Served] = {}
    for one in found:
        name = one.tool.name
        if counts[name] > 1 or name in taken or _ODD.search(name) or len(name) > NAME_CHARS:
            name = _ODD.sub("_", f"{one.source.label}__{name}")[:NAME_CHARS]
        unique, n_same = name, 1
        while unique in taken or unique in served:
            n_same += 1
            unique = f"{name[: NAME_CHARS - 4]}_{n_same}"
        served[unique] = one
    return served
