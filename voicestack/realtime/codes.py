"""How is an error told on the wire?

The one table from the error tree to the Realtime API's error objects. What the peer did wrong is told as it
is; what went wrong on this side is told by a stable code and a fixed sentence, so that no address, key or
stack trace of the inside can get out.
"""

from typing import NamedTuple

from voicestack.core.errors import (
    Overloaded,
    PeerProtocolError,
    RateLimited,
    StageError,
    StageRejected,
    StageTimeout,
    StageUnavailable,
    VoiceStackError,
)
from voicestack.realtime.checks import JsonObject


class _Row(NamedTuple):
    error: type[VoiceStackError]
    type: str
    message: str  # of an error on this side; {stage} is the engine's kind


_TABLE = (
    _Row(RateLimited, "rate_limit_error", ""),
    _Row(PeerProtocolError, "invalid_request_error", ""),
    _Row(Overloaded, "server_error", "The server is at its limit. Please try again later."),
    _Row(StageTimeout, "server_error", "The {stage} engine did not answer in time."),
    _Row(StageUnavailable, "server_error", "The {stage} engine is not available at the moment."),
    _Row(StageRejected, "server_error", "The {stage} engine refused the request."),
    _Row(StageError, "server_error", "The {stage} engine failed."),
    _Row(VoiceStackError, "server_error", "The server had an error while processing your request."),
)
"""From the special to the general: the first row whose class fits counts."""


def error_fields(error: VoiceStackError) -> JsonObject:
    """The error as `{type, code, message, param}`; `param` is None unless one field is to blame."""
    row = next(row for row in _TABLE if isinstance(error, row.error))
    if isinstance(error, PeerProtocolError):
        return {"type": row.type, "code": error.wire_code, "message": str(error), "param": error.param}
    stage = error.stage if isinstance(error, StageError) else ""
    return {"type": row.type, "code": error.code, "message": row.message.format(stage=stage), "param": None}


def brief_error_fields(error: VoiceStackError) -> JsonObject:
    """The error as it appears inside another object: `{type, code, message}`, never null."""
    fields = error_fields(error)
    return {name: fields[name] for name in ("type", "code", "message")}
