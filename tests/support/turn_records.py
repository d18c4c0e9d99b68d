"""Records of turns, made up for tests."""

from collections.abc import Sequence

from voicestack.core.marks import Mark, TurnMarks
from voicestack.core.rungs import Rung, Taken
from voicestack.core.turn_record import Origin, Outcome, TurnRecord, Use

ZERO_NS = 5_000_000_000_000
"""SPEECH_END on the monotonic clock."""
UNIX_MS = 1_700_000_000_000


def a_record(
    *,
    response_ms: float | None = 530.0,
    filler_ms: float | None = None,
    outcome: Outcome = "answered",
    warm: bool | None = True,
    rungs: Sequence[Rung] = (),
    without: Sequence[Mark] = (),
    began_unix_ms: int = UNIX_MS,
    origin: Origin | None = None,
    **rest: object,
) -> TurnRecord:
    """A turn with a draft: endpoint after 500 ms, the words 2 ms later, most of the work hidden.

    Args:
        response_ms: To the first sample of the answer; None for no answer.
        filler_ms: To the first sample of a filler.
        outcome: How it ended.
        warm: Whether the replicas were; None for none asked.
        rungs: Taken 400 ms after SPEECH_END.
        without: Marks that are missing.
        began_unix_ms: When.
        origin: Where.
        rest: Other fields.
    """
    at_ms = {
        Mark.SPEECH_END: 0.0,
        Mark.ENDPOINT: 500.0,
        Mark.ASR_FINAL: 502.0,
        Mark.LLM_SENT: 150.0,
        **({Mark.FILLER_SENT: filler_ms} if filler_ms is not None else {}),
        **(
            {
                Mark.LLM_FIRST_TOKEN: 290.0,
                Mark.TTS_FIRST_AUDIO: max(380.0, response_ms - 30),
                Mark.FIRST_SENT: response_ms,
                Mark.FLUSHED: response_ms + 2_000,
            }
            if response_ms is not None
            else {}
        ),
    }
    at_ns = {mark: ZERO_NS + round(ms * 1e6) for mark, ms in at_ms.items() if mark not in without}
    uses = () if warm is None else tuple(_uses(warm))
    fields: dict[str, object] = {
        "id": "sess_1.2",
        "session": "sess_1",
        "turn": 2,
        "origin": origin or Origin(profile="embedded", release="1.2.3"),
        "began_unix_ms": began_unix_ms,
        "budget_ms": 800.0,
        "marks": TurnMarks(at_ns, drafted=True, interrupted=outcome == "interrupted"),
        "outcome": outcome,
        "taken": tuple(Taken(rung, "forecast", ZERO_NS + 400_000_000, 400.0, 350.0) for rung in rungs),
        "uses": uses,
        "n_drafts": 2,
        "drafted_tokens": 30,
        "wasted_tokens": 10,
        "read_tokens": 120,
        "written_tokens": 20,
    }
    return TurnRecord(**(fields | rest))  # type: ignore[arg-type]


def _uses(warm: bool) -> list[Use]:
    return [
        Use("asr", "asr-0", "local", first_ms=2.0),
        Use("llm", "llm-0", "local", warm=warm, first_ms=140.0),
        Use("llm", "llm-1", "eu-west", warm=True, first_ms=None, won=False),
        Use("tts", "tts-0", "local", first_ms=60.0),
    ]
