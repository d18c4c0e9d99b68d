"""What is wrong with the database? Stable codes for the log, and whether trying again helps."""

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)

DISK_FULL = "ledger_disk_full"
UNAVAILABLE = "ledger_unavailable"
REFUSED = "ledger_record_refused"
FAILED = "ledger_failed"

_FULL_SQLITE = "database or disk is full"
_FULL_POSTGRES = "53100"
"""SQLSTATE disk_full (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""


FAULTS = (SQLAlchemyError, OSError, ValueError, TypeError, OverflowError)
"""What can be wrong: with the database, its driver, or what it is given (sqlite3 passes the last three)."""


def code_of(error: Exception) -> str:
    """Which of the codes above fits."""
    if isinstance(error, DataError | IntegrityError | ValueError | TypeError | OverflowError):
        return REFUSED
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        return REFUSED  # a value of it cannot be written
    if isinstance(error, DBAPIError):
        if _FULL_SQLITE in str(error.orig) or getattr(error.orig, "sqlstate", None) == _FULL_POSTGRES:
            return DISK_FULL
        if isinstance(error, OperationalError | InterfaceError):
            return UNAVAILABLE
    return FAILED


def first_line(error: Exception) -> str:
    """What the database says, without the statement and its values: they may hold what somebody said."""
    said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    return (said.strip().splitlines() or [type(error).__name__])[0][:200]
