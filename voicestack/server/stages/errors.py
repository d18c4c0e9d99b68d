"""How is an error told over HTTP? As OpenAI's API tells it, with a status that stock clients act upon.

The one table from the error tree to statuses. Clients repeat a request after 503 and other 5xx by
themselves, after as long as `Retry-After` says.
"""

from typing import NamedTuple

from voicestack.core.errors import (
    Overloaded,
    PeerProtocolError,
    StageError,
    StageRejected,
    StageTimeout,
    StageUnavailable,
    VoiceStackError,
)
from voicestack.realtime.codes import error_fields
from voicestack.server.stages.wire import ErrorAnswer, ErrorFields

RETRY_AFTER_S = 1
"""A worker process that died is back within it."""


class _Row(NamedTuple):
    error: type[VoiceStackError]
    status: int
    retry_after_s: int | None


_TABLE = (
    _Row(PeerProtocolError, 400, None),
    _Row(Overloaded, 503, RETRY_AFTER_S),
    _Row(StageTimeout, 504, RETRY_AFTER_S),
    _Row(StageUnavailable, 503, RETRY_AFTER_S),
    _Row(StageRejected, 502, None),
    _Row(StageError, 502, None),
    _Row(VoiceStackError, 500, None),
)
"""From the special to the general: the first row whose class fits counts."""

_STATUS_OF_CODE = {
    "model_not_found": 404,
    "request_timeout": 408,
    "file_too_large": 413,
    "audio_too_long": 413,
    "unsupported_media_type": 415,
}
"""What the peer did wrong is 400, with these exceptions."""

STATUSES = tuple(sorted({row.status for row in _TABLE} | set(_STATUS_OF_CODE.values())))
"""Every status with which an error can be told."""


class Told(NamedTuple):
    """An error, ready to be sent."""

    status: int
    retry_after_s: int | None
    answer: ErrorAnswer


def told(error: VoiceStackError) -> Told:
    """The status, the value of `Retry-After` if there is one, and the body."""
    row = next(row for row in _TABLE if isinstance(error, row.error))
    status, retry_after_s = row.status, row.retry_after_s
    if isinstance(error, PeerProtocolError):
        status = _STATUS_OF_CODE.get(error.wire_code, status)
    if isinstance(error, Overloaded):
        retry_after_s = max(1, -(-error.retry_after_ms // 1000))
    return Told(status, retry_after_s, ErrorAnswer(error=ErrorFields.model_validate(error_fields(error))))
