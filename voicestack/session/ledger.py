"""Where the time of each turn went, and what was done about it. The only writer of latency marks."""

from dataclasses import dataclass, field

from voicestack.aio.clock import Clock
from voicestack.core.budget import Budget
from voicestack.core.commands import MarkHeard
from voicestack.core.ids import TurnId
from voicestack.core.marks import Mark, TurnMarks
from voicestack.core.notes import Usage
from voicestack.core.rungs import Rung, Taken
from voicestack.core.turn_record import Origin, Outcome, TurnRecord, Use, blame_of
from voicestack.core.watching import Observer, Trail
from voicestack.session.ears import SpeechEvent
from voicestack.turn.events import SpeechEnded, SpeechPaused, WordsHeard

CLOSED = 16
"""Turns that are over and may still be said to have been heard: of a short answer the word comes late."""

MAX_ERROR_NS = 500_000_000
"""A peer that knows our clock no better than this measures nothing: half a round trip of a second."""

USER_MARKS = (Mark.SPEECH_END, Mark.ENDPOINT, Mark.ASR_FINAL)


@dataclass(frozen=True, slots=True)
class Whose:
    """What is the same in all records of a session.

    Attributes:
        session: Its name.
        origin: Where it belongs.
        budget: What its turns may take.
        unix_ms: Unix time at `at_ns`: the one wall-clock anchor of the session.
        at_ns: Monotonic.
    """

    session: str = ""
    origin: Origin = Origin()
    budget: Budget = Budget()
    unix_ms: int = 0
    at_ns: int = 0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a reply came to its end."""

    outcome: Outcome
    usage: Usage = Usage()
    failure: str = ""
    user_text: str = ""
    agent_text: str = ""


@dataclass(slots=True)
class _Page:
    """What is written of one reply while it is made. Satisfies `ports.Trail`."""

    clock: Clock
    whose: Whose
    began_ns: int
    drafted: bool
    at: dict[Mark, int] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    n_wasted: int = 0

    def used(self, use: Use) -> None:
        """See `ports.Trail`."""
        self.uses.append(use)

    def took(self, rung: Rung, reason: str, forecast_ms: float | None = None) -> None:
        """See `ports.Trail`."""
        now_ns = self.clock.now_ns()
        end_ns = self.at.get(Mark.SPEECH_END, self.began_ns)
        remaining_ms = self.whose.budget.deadline(end_ns).remaining_ms(now_ns)
        self.taken.append(Taken(rung, reason, now_ns, remaining_ms, forecast_ms))

    def wasted(self, n_tokens: int) -> None:
        """See `ports.Trail`."""
        self.n_wasted += n_tokens


class Ledger:
    """The turns of one session.

    The user's marks are written before it is known which reply will answer them; `commit` gives them to it.
    So are drafts that came to nothing: the next reply that is committed bears their cost.

    Args:
        clock: To know what is in the future.
        observer: Is told what the peer says of when it heard a reply.
        whose: What is the same in all records.
    """

    def __init__(self, clock: Clock, observer: Observer, whose: Whose | None = None) -> None:
        self._clock, self._observer = clock, observer
        self._whose = whose or Whose()
        self._user: dict[Mark, int] = {}
        self._pages: dict[TurnId, _Page] = {}
        self._closed: dict[TurnId, dict[Mark, int]] = {}
        self._n_drafts = self._n_wasted = 0
        self._promise: TurnId | None = None
        self._heard_from: list[Use] = []

    @property
    def speech_end_ns(self) -> int | None:
        """When the user fell silent last, if no reply answers that yet."""
        return self._user.get(Mark.SPEECH_END)

    @property
    def filled_ns(self) -> int | None:
        """When the silence since then was filled, if it was."""
        return self._user.get(Mark.FILLER_SENT)

    def hear(self, mark: Mark, at_ns: int) -> None:
        """Write one of the user's marks; a later one replaces an earlier one (the user went on)."""
        assert mark in USER_MARKS
        if mark is Mark.SPEECH_END:
            self._user.pop(Mark.FILLER_SENT, None)
        self._user[mark] = at_ns

    def note(self, event: SpeechEvent) -> None:
        """Write the user's marks that come with the event."""
        match event:
            case SpeechPaused(speech_end_ns=end_ns):
                self.hear(Mark.SPEECH_END, end_ns)
            case SpeechEnded(at_ns=now_ns, speech_end_ns=end_ns):
                self.hear(Mark.SPEECH_END, end_ns)
                self.hear(Mark.ENDPOINT, now_ns)
            case WordsHeard(at_ns=now_ns):
                self.hear(Mark.ASR_FINAL, now_ns)

    def recognised(self, use: Use) -> None:
        """Who has recognised the user's words that the next reply answers."""
        self._heard_from = [*self._heard_from[-CLOSED:], use]  # there may be no reply for a long time

    def begin(self, turn: TurnId, *, draft: bool) -> Trail:
        """A reply begins. What is done for it goes to the trail."""
        began_ns = self.speech_end_ns or self._clock.now_ns()  # the budget runs from there
        page = _Page(self._clock, self._whose, began_ns, draft)
        self._pages[turn] = page
        self._n_drafts += draft
        return page

    def commit(self, turn: TurnId, *, answers: bool = True) -> None:
        """The reply answers what was heard up to now, or only says that the answer is still to come."""
        self._pages[turn].at.update(self._user)
        self._promise = None if answers else turn
        self._pages[turn].uses[:0] = self._heard_from
        if answers:
            self._user.clear()
            self._heard_from.clear()

    def stamp(self, turn: TurnId, mark: Mark, at_ns: int) -> None:
        """Write one of a reply's marks, the first time that it happens. Late stamps change nothing."""
        if turn in self._pages:
            self._pages[turn].at.setdefault(mark, at_ns)
            if mark is Mark.FILLER_SENT and turn == self._promise:
                self._user.setdefault(mark, at_ns)  # the answer that is still to come was preceded by it

    def at(self, turn: TurnId, mark: Mark) -> int | None:
        """When it happened, if it has."""
        page = self._pages.get(turn)
        return page.at.get(mark) if page else None

    def acknowledge(self, heard: MarkHeard) -> None:
        """The peer says when a reply was heard first; it may be over by now. Told to the observer.

        Not believed: before it was sent, in the future, on a clock that is hardly known, a second time.
        """
        page = self._pages.get(heard.turn)
        at = page.at if page else self._closed.get(heard.turn, {})
        sent_ns = at.get(Mark.FIRST_SENT)
        if Mark.FILLER_SENT in at:
            return  # what was heard first was no answer
        if (
            sent_ns is None
            or Mark.FIRST_HEARD in at
            or heard.error_ns > MAX_ERROR_NS
            or not sent_ns - heard.error_ns <= heard.at_ns <= self._clock.now_ns() + heard.error_ns
        ):
            self._observer.heard_disbelieved()
            return
        at[Mark.FIRST_HEARD] = heard.at_ns
        self._observer.answer_heard(self._record_id(heard.turn), TurnMarks(dict(at)))

    def discard(self, turn: TurnId, n_tokens: int = 0) -> None:
        """A draft came to nothing, for which so many tokens had been written."""
        page = self._pages.pop(turn, None)
        self._n_wasted += n_tokens + (page.n_wasted if page else 0)

    def close(self, turn: TurnId, at_ns: int, ending: Ending) -> TurnRecord:
        """The reply is silent: hand out what is known of it, and forget it."""
        page = self._pages.pop(turn, None) or _Page(self._clock, self._whose, at_ns, False)
        if Mark.FIRST_SENT in page.at or Mark.FILLER_SENT in page.at:
            page.at[Mark.FLUSHED] = at_ns
        self._closed[turn] = dict(page.at)
        if len(self._closed) > CLOSED:
            del self._closed[next(iter(self._closed))]
        return self._record(turn, page, ending)

    def _record_id(self, turn: TurnId) -> str:
        return f"{self._whose.session}.{turn}"

    def _record(self, turn: TurnId, page: _Page, ending: Ending) -> TurnRecord:
        n_drafts, self._n_drafts = self._n_drafts, 0
        n_wasted, self._n_wasted = self._n_wasted + page.n_wasted, 0
        whose, written = self._whose, ending.usage.output_tokens
        began_ns = page.at.get(Mark.SPEECH_END, page.began_ns)
        marks = TurnMarks(page.at, drafted=page.drafted, interrupted=ending.outcome == "interrupted")
        return TurnRecord(
            id=self._record_id(turn),
            session=whose.session,
            turn=turn,
            origin=whose.origin,
            began_unix_ms=whose.unix_ms + (began_ns - whose.at_ns) // 1_000_000,
            budget_ms=whose.budget.turn_ms,
            marks=marks,
            outcome=ending.outcome,
            taken=tuple(page.taken),
            uses=tuple(page.uses),
            n_drafts=n_drafts,
            drafted_tokens=n_wasted + (written if page.drafted else 0),
            wasted_tokens=n_wasted,
            read_tokens=ending.usage.input_tokens,
            written_tokens=written,
            failure=ending.failure,
            blame=blame_of(marks.spans(), whose.budget.shares_ms),
            user_text=ending.user_text,
            agent_text=ending.agent_text,
        )
