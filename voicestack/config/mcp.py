"""What can be configured of MCP: the servers of tools that sessions may call."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from voicestack.config.kinds import STRICT
from voicestack.core.served import is_place


def check_place(place: str) -> str:
    """Let only places through that can be compared with an address."""
    if not is_place(place):
        raise PydanticCustomError("place", "should be [http://][*.]host[:port], without a path")
    return place


Places = Annotated[tuple[Annotated[str, AfterValidator(check_place)], ...], Field(strict=False)]
"""See `core.served.may_reach`."""


class McpSection(BaseModel):
    """Which servers of tools a peer may have called from here, and what they may cost."""

    model_config = STRICT

    allowed_hosts: Places = ()
    """`host`, `host:port`, `*.host` (below it), reached by https; `http://host:port` for one without. None by
    default: whoever connects could otherwise make this machine call any address that it can reach."""
    connect_ms: int = Field(default=5_000, ge=1, le=600_000)
    """Longest wait until a server is connected, and again until it has listed its tools."""
    call_ms: int = Field(default=20_000, ge=1, le=600_000)
    """Longest wait for the outcome of a call: longer than any caller listens to silence."""
    max_tools: int = Field(default=64, ge=1, le=10_000)
    """Tools of one server; each is part of every prompt."""
    max_output_chars: int = Field(default=8_192, ge=256, le=1_048_576)
    """Of an output longer than this the rest is left out: about 2000 tokens, a whole default context."""
    continue_replies: bool = False
    """Answer by itself when the calls of a reply that nobody asked for are over. Realtime clients ask for the
    answer (`response.create`), and would hear two; a peer that cannot ask needs this."""
