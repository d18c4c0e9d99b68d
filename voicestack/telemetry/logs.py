"""What is going on, for people at a terminal and for machines that collect lines?

What a user says is personal data. Nothing that anybody said, typed or heard is logged above DEBUG: words go
into a record as `extra={"words": ...}`, and are dropped here from every record that is not for debugging.
Libraries that print whole requests stay at WARNING whatever is asked for.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, TextIO

from voicestack.core.ids import SessionId

LogFormat = Literal["auto", "text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

WORDY = (
    *("aioice", "aiortc", "httpcore", "httpcore2", "httpx", "httpx2", "mcp", "uvicorn.access"),
    *("voicestack.websocket", "websockets"),
)
"""Loggers that show addresses or headers with keys in them, or what passes over a connection."""

_session: ContextVar[str | None] = ContextVar("session", default=None)
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {
    *("message", "asctime", "taskName", "session", "words"),
    "color_message",  # of uvicorn: the message again
}
_DATE = "%Y-%m-%dT%H:%M:%S"
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {9: "\t", 10: "\\n"}
_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m", "DEBUG": "\x1b[2m"}


@contextmanager
def logged_as(session: SessionId) -> Iterator[None]:
    """Everything that is logged inside, and in tasks begun inside, carries the session's name."""
    token = _session.set(session)
    try:
        yield
    finally:
        _session.reset(token)


def set_up_logs(level: LogLevel, log_format: LogFormat, stream: TextIO) -> None:
    """Send every record of the process to `stream`; what was set up before is gone.

    Args:
        level: The least that is shown.
        log_format: `auto` is text on a terminal and JSON lines elsewhere.
        stream: Usually standard error.
    """
    on_terminal = stream.isatty()
    as_text = log_format == "text" or (log_format == "auto" and on_terminal)
    output = logging.StreamHandler(stream)
    output.setFormatter(TextFormat(colours=on_terminal) if as_text else JsonFormat())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(output)
    root.setLevel(level.upper())
    for name in WORDY:
        logging.getLogger(name).setLevel(logging.WARNING)


class JsonFormat(logging.Formatter):
    """One JSON object a line: time (UTC offset included), level, logger, message, session, extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its line feed."""
        fields = {
            "time": f"{self.formatTime(record, _DATE)}.{record.msecs:03.0f}{self.formatTime(record, '%z')}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=str)


class TextFormat(logging.Formatter):
    """Time of day, level, session and message; for people."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its line feed. Control characters cannot forge another one."""
        extra = _extra(record)
        session = extra.pop("session", "")
        message = " ".join([record.getMessage(), *(f"{key}={value}" for key, value in extra.items())])
        time = f"{self.formatTime(record, '%H:%M:%S')}.{record.msecs:03.0f}"
        line = f"{time} {record.levelname:<7} {session}{' ' if session else ''}{message.translate(_ESCAPES)}"
        if self._colours and record.levelname in _COLOURS:
            line = f"{_COLOURS[record.levelname]}{line}\x1b[0m"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _extra(record: logging.LogRecord) -> dict[str, object]:
    """The session and the fields given with `extra=`, the words only in records that are for debugging."""
    fields: dict[str, object] = {}
    session = _session.get()
    if session is not None:
        fields["session"] = session
    fields.update((key, value) for key, value in vars(record).items() if key not in _OWN)
    if record.levelno <= logging.DEBUG and "words" in vars(record):
        fields["words"] = vars(record)["words"]
    return fields
