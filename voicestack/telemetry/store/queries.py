"""Which rows? Every question to the tables is built here, and none without somebody who asks."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Delete, Select, delete, false, func, or_, select, true, update
from sqlalchemy.sql.dml import Update

from voicestack.telemetry.store.tables import TURNS
from voicestack.telemetry.turn_filter import Reader, TurnFilter

_SAME = ("tenant", "route", "profile", "region", "release", "verdict", "outcome")


def visible(reader: Reader) -> ColumnElement[bool]:
    """What the reader may see. The one gate in SQLite; in PostgreSQL the second."""
    return true() if reader.is_operator else TURNS.c.tenant == reader.tenant


def wanted_of(reader: Reader, wanted: TurnFilter) -> ColumnElement[bool]:
    """What the reader may see, and wants to."""
    columns = TURNS.c
    found = (
        visible(reader) & (columns.began_unix_ms >= wanted.from_ms) & (columns.began_unix_ms < wanted.to_ms)
    )
    for name in _SAME:
        word = getattr(wanted, name)
        if word is not None:
            found &= columns[name] == word
    if wanted.stage is not None:
        found &= columns.blamed == wanted.stage
    if wanted.is_cold is not None:
        found &= columns.cold == wanted.is_cold
    for column, word in ((columns.rungs, wanted.rung), (columns.replicas, wanted.replica)):
        if word is not None:
            found &= column.contains(f",{word},", autoescape=True) if "," not in word else false()
    return found


def newest(
    reader: Reader, wanted: TurnFilter, limit: int, after: tuple[int, str] | None = None
) -> Select[Any]:
    """So many turns, the newest first, after the one that began then and has that name."""
    columns = TURNS.c
    found = wanted_of(reader, wanted)
    if after is not None:
        began_ms, turn_id = after
        found &= or_(
            columns.began_unix_ms < began_ms, (columns.began_unix_ms == began_ms) & (columns.id < turn_id)
        )
    order = (columns.began_unix_ms.desc(), columns.id.desc())
    return select(TURNS).where(found).order_by(*order).limit(limit)


def one(reader: Reader, turn_id: str) -> Select[Any]:
    """The turn of that name."""
    return select(TURNS).where(visible(reader) & (TURNS.c.id == turn_id))


def verdicts(reader: Reader, wanted: TurnFilter) -> Select[tuple[str, int]]:
    """How many turns have each verdict."""
    return (
        select(TURNS.c.verdict, func.count().label("n"))
        .where(wanted_of(reader, wanted))
        .group_by(TURNS.c.verdict)
    )


def oldest(reader: Reader) -> Select[Any, Any]:
    """When the first turn began, and how many there are."""
    return select(func.min(TURNS.c.began_unix_ms), func.count()).where(visible(reader))


def written(insert: Any) -> Any:
    """Write turns, the rows of `codec.row_of`; one that is there already is replaced.

    Args:
        insert: The dialect's.
    """
    statement = insert(TURNS)
    changed = {column.name: statement.excluded[column.name] for column in TURNS.c if column.name != "id"}
    return statement.on_conflict_do_update(index_elements=[TURNS.c.id], set_=changed)


def replaced_body(reader: Reader, turn_id: str, body: Mapping[str, Any]) -> Update:
    """Give a turn another body."""
    return update(TURNS).where(visible(reader) & (TURNS.c.id == turn_id)).values(body=body)


def too_old(reader: Reader, before_ms: int, limit: int) -> Delete:
    """Delete so many of the turns that began before."""
    some = select(TURNS.c.id).where(visible(reader) & (TURNS.c.began_unix_ms < before_ms)).limit(limit)
    return delete(TURNS).where(TURNS.c.id.in_(some))
