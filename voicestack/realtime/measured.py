"""How is the ledger of a turn told to a client that asked for it?"""

from voicestack.core.ids import TurnId
from voicestack.core.marks import Mark, TurnMarks
from voicestack.core.turn_record import TurnRecord
from voicestack.realtime.checks import JsonObject


def measured_fields(turn: TurnId, marks: TurnMarks) -> JsonObject:
    """The fields of `voicestack.turn.measured`.

    `marks_ms` are milliseconds after SPEECH_END, or after the first mark there is when the turn began without
    speech. `response_ms` and `heard_after_ms` are None when there is nothing to measure from or to.
    """
    zero_ns = _zero_ns(marks)
    return {
        "turn": turn,
        "marks_ms": {mark.value: (at_ns - zero_ns) / 1e6 for mark, at_ns in marks.at_ns.items()},
        "spans": [
            {
                "stage": span.stage,
                "start_ms": span.start_ms,
                "end_ms": span.end_ms,
                "hidden_ms": span.hidden_ms,
            }
            for span in marks.spans()
        ],
        "response_ms": marks.response_ms,
        "heard_after_ms": marks.heard_after_ms,
        "drafted": marks.drafted,
        "interrupted": marks.interrupted,
    }


def record_fields(record: TurnRecord) -> JsonObject:
    """What else that event says where the turn's record is kept. `at_ms` counts as `marks_ms` do."""
    zero_ns = _zero_ns(record.marks)
    return {
        "outcome": record.outcome,
        "verdict": record.verdict,
        "budget_ms": record.budget_ms,
        "silence_ms": record.silence_ms,
        "failure": record.failure,
        "rungs": [
            {
                "rung": taken.rung.value,
                "reason": taken.reason,
                "at_ms": (taken.at_ns - zero_ns) / 1e6,
                "remaining_ms": taken.remaining_ms,
                "forecast_ms": taken.forecast_ms,
            }
            for taken in record.taken
        ],
        "uses": [
            {
                "stage": use.stage,
                "replica": use.replica,
                "region": use.region,
                "warm": use.warm,
                "first_ms": use.first_ms,
                "won": use.won,
            }
            for use in record.uses
        ],
    }


def _zero_ns(marks: TurnMarks) -> int:
    return marks.at_ns.get(Mark.SPEECH_END, min(marks.at_ns.values(), default=0))
