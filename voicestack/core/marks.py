"""The instants of a turn that matter, and what they say about where the time went."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum


class Mark(Enum):
    """One instant of a turn, in the order in which they fall without speculation."""

    SPEECH_END = "speech_end"
    """Arrival of the frame with the last sample of speech: the VAD's decision minus its hangover."""
    ENDPOINT = "endpoint"
    """The decision that the user has finished."""
    ASR_FINAL = "asr_final"
    """The final words were there. A draft is sent to the LLM before this."""
    LLM_SENT = "llm_sent"
    LLM_FIRST_TOKEN = "llm_first_token"
    CLAUSE_READY = "clause_ready"
    """The first phrase went to the TTS."""
    TTS_FIRST_AUDIO = "tts_first_audio"
    FILLER_SENT = "filler_sent"
    """The first sample of something that fills the silence left for the peer. It is no answer."""
    FIRST_SENT = "first_sent"
    """The first sample of the answer left for the peer."""
    FIRST_HEARD = "first_heard"
    """That sample could be heard where the peer is, by the peer's word. Many peers do not say."""
    FLUSHED = "flushed"
    """Playout went silent: the reply's end, or the flush of a barge-in."""


STAGES = ("endpoint", "asr", "dispatch", "llm", "tts", "send")
"""The stages of a turn. `tts` includes the wait for the first clause."""


@dataclass(frozen=True, slots=True)
class Span:
    """One stage of one turn, in milliseconds after SPEECH_END.

    `hidden_ms` is the part of it that passed before the endpoint was decided, and so cost the user nothing.
    """

    stage: str
    start_ms: float
    end_ms: float
    hidden_ms: float

    @property
    def duration_ms(self) -> float:
        """How long it took."""
        return self.end_ms - self.start_ms


def hidden_ms(spans: Iterable[Span]) -> float:
    """Work that was already done when the endpoint was decided, over all stages."""
    return sum(span.hidden_ms for span in spans)


def work_ms(spans: Iterable[Span]) -> float:
    """All work on the answer up to its first audio, hidden or not."""
    return sum(span.duration_ms for span in spans if span.stage not in ("endpoint", "send"))


@dataclass(frozen=True, slots=True)
class TurnMarks:
    """The marks of one finished turn, monotonic nanoseconds. Some may be missing (a typed turn, say)."""

    at_ns: Mapping[Mark, int] = field(default_factory=dict)
    drafted: bool = False
    interrupted: bool = False

    def between_ms(self, start: Mark, end: Mark) -> float | None:
        """Milliseconds from one mark to another, None when either is missing."""
        if start not in self.at_ns or end not in self.at_ns:
            return None
        return (self.at_ns[end] - self.at_ns[start]) / 1e6

    @property
    def response_ms(self) -> float | None:
        """What the user waited: from the last sample of speech to the first sample of the answer."""
        return self.between_ms(Mark.SPEECH_END, Mark.FIRST_SENT)

    @property
    def heard_after_ms(self) -> float | None:
        """The same at the user's ear: to the first sample that could be heard."""
        return self.between_ms(Mark.SPEECH_END, Mark.FIRST_HEARD)

    def spans(self) -> list[Span]:
        """The stages in order, for a waterfall. Empty for a turn that began without speech.

        A draft's LLM and TTS spans lie before, or across, the endpoint. What passed before it is hidden.
        Waiting is never counted as work: `send` begins when the audio was there *and* allowed to leave.
        """
        at = self.at_ns
        zero, decided = at.get(Mark.SPEECH_END), at.get(Mark.ENDPOINT)
        if zero is None or decided is None:
            return []
        allowed = max(at.get(Mark.ASR_FINAL, decided), decided)
        audio = at.get(Mark.TTS_FIRST_AUDIO)
        bounds = (
            ("endpoint", zero, decided),
            ("asr", decided, at.get(Mark.ASR_FINAL)),
            ("dispatch", at.get(Mark.ASR_FINAL), at.get(Mark.LLM_SENT)),
            ("llm", at.get(Mark.LLM_SENT), at.get(Mark.LLM_FIRST_TOKEN)),
            ("tts", at.get(Mark.LLM_FIRST_TOKEN), audio),
            ("send", None if audio is None else max(audio, allowed), at.get(Mark.FIRST_SENT)),
        )
        out: list[Span] = []
        for stage, start, end in bounds:
            if start is None or end is None or end < start:
                continue  # not reached, or a draft was sent before the final words were there
            hidden = 0 if stage == "endpoint" else max(0, min(end, decided) - start)
            out.append(Span(stage, (start - zero) / 1e6, (end - zero) / 1e6, hidden / 1e6))
        return out

    def hidden_ms(self) -> float:
        """Work that was already done when the endpoint was decided, over all stages."""
        return hidden_ms(self.spans())

    def work_ms(self) -> float:
        """All work on the answer up to its first audio, hidden or not."""
        return work_ms(self.spans())
