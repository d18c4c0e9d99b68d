"""How is a turn written as a row, and read again?

Instants are kept in nanoseconds after the end of speech: the monotonic clock of a process that has ended
means nothing. A row that a later version wrote can be read: rungs and marks that are not known are left out.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from voicestack.core.marks import Mark, TurnMarks
from voicestack.core.rungs import Rung, Taken
from voicestack.core.turn_record import Origin, TurnRecord, Use
from voicestack.telemetry.turn_rows import zero_ns

MARKS = {mark.value: mark for mark in Mark}
RUNGS = {rung.value: rung for rung in Rung}

_PLAIN = (
    *("session", "turn", "budget_ms", "n_drafts", "drafted_tokens", "wasted_tokens", "read_tokens"),
    *("written_tokens", "failure"),
)
"""What is kept as it is."""


def row_of(record: TurnRecord, *, with_words: bool) -> dict[str, Any]:
    """The values of the columns of `tables.TURNS`."""
    origin = record.origin
    return {
        "id": record.id,
        "tenant": origin.tenant,
        "began_unix_ms": record.began_unix_ms,
        "route": origin.route,
        "profile": origin.profile,
        "region": origin.region,
        "release": origin.release,
        "verdict": record.verdict,
        "outcome": record.outcome,
        "blamed": record.blamed,
        "cold": record.was_cold,
        "rungs": listed(taken.rung.value for taken in record.taken),
        "replicas": listed(use.replica for use in record.uses),
        "body": body_of(record, with_words=with_words),
    }


def body_of(record: TurnRecord, *, with_words: bool) -> dict[str, Any]:
    """The rest of it."""
    zero, marks = zero_ns(record), record.marks
    body = {
        **{name: getattr(record, name) for name in _PLAIN},
        "marks_ns": {mark.value: at_ns - zero for mark, at_ns in marks.at_ns.items()},
        "drafted": marks.drafted,
        "interrupted": marks.interrupted,
        "taken": [
            [one.rung.value, one.reason, one.at_ns - zero, one.remaining_ms, one.forecast_ms]
            for one in record.taken
        ],
        "uses": [
            [use.stage, use.replica, use.region, use.warm, use.first_ms, use.won] for use in record.uses
        ],
    }
    if with_words:
        body |= {"user_text": storable(record.user_text), "agent_text": storable(record.agent_text)}
    return body


def record_of(row: Mapping[Any, Any]) -> TurnRecord:
    """The turn of a row."""
    body = row["body"]
    at_ns = {MARKS[name]: ns for name, ns in body["marks_ns"].items() if name in MARKS}
    return TurnRecord(
        id=row["id"],
        origin=Origin(row["tenant"], row["route"], row["profile"], row["region"], row["release"]),
        began_unix_ms=row["began_unix_ms"],
        outcome=row["outcome"],
        blame=row["blamed"],
        marks=TurnMarks(at_ns, body["drafted"], body["interrupted"]),
        taken=tuple(Taken(RUNGS[one[0]], *one[1:]) for one in body["taken"] if one[0] in RUNGS),
        uses=tuple(Use(*one) for one in body["uses"]),
        user_text=body.get("user_text", ""),
        agent_text=body.get("agent_text", ""),
        **{name: body[name] for name in _PLAIN},
    )


def listed(words: Iterable[str]) -> str:
    """Words in a column, each between two commas, so that one can be looked for."""
    found = ",".join(dict.fromkeys(words))
    return f",{found}," if found else ""


def storable(text: str) -> str:
    """What a user said, without what no database takes: NUL, and halves of characters."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
