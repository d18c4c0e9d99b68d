"""All that is known of one turn when it is over: the row of the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from voicestack.core.marks import Mark, Span, TurnMarks
from voicestack.core.rungs import Taken

Outcome = Literal["answered", "interrupted", "refused", "failed", "silent"]
"""`interrupted` by the user while, or before, it was heard; `refused` the agent said that it cannot answer;
`failed` an apology took the place of its rest; `silent` nothing was to be said (a call of a tool, a text)."""

Verdict = Literal["met", "declared", "missed", "unmeasured"]
"""`met` the answer was in time. `declared` it was not, and a rung that says so was taken in time (a filler,
a refusal). `missed` neither. `unmeasured` the turn began without speech, or the user spoke on before."""

CUT_OFF_MS = 1_000
"""A user who speaks again within so much of the answer's first sample had not finished. LiveKit's and
Full-Duplex-Bench's windows for a turn that was taken too early are between 0.5 and 2 s."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a turn belongs.

    Attributes:
        tenant: Whose it is.
        route: The way in: `websocket`, `webrtc`, later `sip` and the like.
        profile: Name of the configuration's profile.
        region: Of the server that holds the conversation.
        release: Of the software.
    """

    tenant: str = "default"
    route: str = "websocket"
    profile: str = "custom"
    region: str = "local"
    release: str = ""


@dataclass(frozen=True, slots=True)
class Use:
    """A stage that was asked for something in a turn.

    Attributes:
        stage: `asr`, `llm` or `tts`.
        replica: Who was asked.
        region: Where that is.
        warm: Whether it had been warm.
        first_ms: From the request to the first result; None if none came.
        won: Whether its result was used.
    """

    stage: str
    replica: str
    region: str
    warm: bool = True
    first_ms: float | None = None
    won: bool = True


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One turn.

    Attributes:
        id: Unique among all servers: the session's name and the turn's number.
        session: The conversation.
        turn: Its number in it.
        origin: Where it belongs.
        began_unix_ms: When the user had finished (SPEECH_END), or the reply was asked for: Unix time.
        budget_ms: What the turn was allowed to take.
        marks: Its instants.
        outcome: How it ended.
        taken: The rungs that were taken, in order.
        uses: The stages that were asked, in order.
        n_drafts: Drafts begun for it, the one that was right too.
        drafted_tokens: What they had written.
        wasted_tokens: What of that nobody used, and what losing replicas wrote.
        read_tokens: Prompt.
        written_tokens: Answer.
        failure: Stable code of what broke it; empty for nothing.
        blame: The stage that is to blame, see `blame_of`; empty where the stages' shares are not known.
        user_text: What the user said; empty unless transcripts are kept.
        agent_text: What was heard of the answer; likewise.
    """

    id: str
    session: str
    turn: int
    origin: Origin
    began_unix_ms: int
    budget_ms: float
    marks: TurnMarks
    outcome: Outcome
    taken: tuple[Taken, ...] = ()
    uses: tuple[Use, ...] = ()
    n_drafts: int = 0
    drafted_tokens: int = 0
    wasted_tokens: int = 0
    read_tokens: int = 0
    written_tokens: int = 0
    failure: str = ""
    blame: str = ""
    user_text: str = field(default="", repr=False)
    agent_text: str = field(default="", repr=False)

    @property
    def verdict(self) -> Verdict:
        """Whether the budget was kept."""
        response_ms = self.marks.response_ms
        is_whole = self.outcome not in ("refused", "failed")
        if is_whole and response_ms is not None and response_ms <= self.budget_ms:
            return "met"
        silence_ms = self.silence_ms
        if silence_ms is None:  # a turn that came to nothing, or one in which nothing was to be said
            is_mute = Mark.SPEECH_END in self.marks.at_ns and not is_whole
            return "missed" if is_mute else "unmeasured"
        says_so = any(not taken.rung.is_answer for taken in self.taken)
        return "declared" if says_so and silence_ms <= DEAD_AIR_MS else "missed"

    @property
    def silence_ms(self) -> float | None:
        """How long nothing at all was heard: to the first sample, of a filler too."""
        filled = self.marks.between_ms(Mark.SPEECH_END, Mark.FILLER_SENT)
        answered = self.marks.response_ms
        return min((ms for ms in (filled, answered) if ms is not None), default=None)

    @property
    def was_cut_off(self) -> bool:
        """Whether the user seems not to have finished when the agent began."""
        if not self.marks.interrupted:
            return False
        heard_ms = self.marks.between_ms(Mark.FIRST_SENT, Mark.FLUSHED)
        return heard_ms is None or heard_ms < CUT_OFF_MS

    @property
    def was_cold(self) -> bool:
        """Whether a replica that was not warm took part."""
        return any(not use.warm for use in self.uses if use.won)

    @property
    def blamed(self) -> str:
        """The stage to look at when the budget was missed."""
        return self.blame or blame_of(self.marks.spans(), {})


DEAD_AIR_MS = 1_500
"""Nobody waits longer than this without hearing something. The design's line of failure."""


def exposed_ms(span: Span) -> float:
    """The part of a stage that the user waited for."""
    return span.duration_ms - span.hidden_ms


def blame_of(spans: Sequence[Span], shares_ms: Mapping[str, float]) -> str:
    """The stage whose part of the critical path is longest beyond its share of the budget; empty for none.

    Not simply the longest: to notice the end of a turn takes half a second in every turn, as it should.
    """
    if not spans:
        return ""
    return max(spans, key=lambda span: exposed_ms(span) - shares_ms.get(span.stage, 0.0)).stage
