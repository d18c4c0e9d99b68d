"""How is the ledger of a turn told to a client that asked for it?"""

from voicestack.core.ids import TurnId
from voicestack.core.marks import Mark, TurnMarks
from voicestack.realtime.checks import JsonObject


def measured_fields(turn: TurnId, marks: TurnMarks) -> JsonObject:
    """The fields of `voicestack.turn.measured`.

    `marks_ms` are milliseconds after SPEECH_END, or after the first mark there is when the turn began without
    speech. `response_ms` and `heard_after_ms` are None when there is nothing to measure from or to.
    """
    zero_ns = marks.at_ns.get(Mark.SPEECH_END, min(marks.at_ns.values(), default=0))
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
