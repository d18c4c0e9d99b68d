"""What does the dashboard's API say of one turn?"""

from dataclasses import asdict
from typing import Any

from voicestack.core.marks import Mark, hidden_ms, work_ms
from voicestack.core.rungs import Taken
from voicestack.core.turn_record import TurnRecord


def zero_ns(record: TurnRecord) -> int:
    """The instant that the turn's times are counted from: the end of speech, else its first mark or rung."""
    at_ns = record.marks.at_ns
    if Mark.SPEECH_END in at_ns:
        return at_ns[Mark.SPEECH_END]
    return min((*at_ns.values(), *(taken.at_ns for taken in record.taken)), default=0)


def turn_row(record: TurnRecord, recording: str | None = None) -> dict[str, Any]:
    """The turn as JSON. Times are milliseconds after the end of speech.

    Args:
        record: It.
        recording: Where its recording can be had, if there is one.
    """
    marks, origin, zero = record.marks, record.origin, zero_ns(record)
    spans = marks.spans()
    return {
        "id": record.id,
        "session": record.session,
        "turn": record.turn,
        "tenant": origin.tenant,
        "route": origin.route,
        "profile": origin.profile,
        "region": origin.region,
        "release": origin.release,
        "began_unix_ms": record.began_unix_ms,
        "budget_ms": record.budget_ms,
        "response_ms": marks.response_ms,
        "heard_after_ms": marks.heard_after_ms,
        "silence_ms": record.silence_ms,
        "verdict": record.verdict,
        "outcome": record.outcome,
        "blamed": record.blamed,
        "cold": record.was_cold,
        "cut_off": record.was_cut_off,
        "drafted": marks.drafted,
        "interrupted": marks.interrupted,
        "spans": [asdict(span) for span in spans],
        "hidden_ms": hidden_ms(spans),
        "work_ms": work_ms(spans),
        "marks": {mark.value: (at_ns - zero) / 1e6 for mark, at_ns in marks.at_ns.items()},
        "rungs": [_rung_row(taken, zero) for taken in record.taken],
        "uses": [asdict(use) for use in record.uses],
        "n_drafts": record.n_drafts,
        "drafted_tokens": record.drafted_tokens,
        "wasted_tokens": record.wasted_tokens,
        "read_tokens": record.read_tokens,
        "written_tokens": record.written_tokens,
        "failure": record.failure,
        "user_text": record.user_text,
        "agent_text": record.agent_text,
        "recording": recording,
    }


def _rung_row(taken: Taken, zero: int) -> dict[str, Any]:
    return {
        "rung": taken.rung.value,
        "reason": taken.reason,
        "at_ms": (taken.at_ns - zero) / 1e6,
        "remaining_ms": taken.remaining_ms,
        "forecast_ms": taken.forecast_ms,
    }
