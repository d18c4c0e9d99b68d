"""Where the time of each turn went. The only writer of latency marks."""

from voicestack.aio.clock import Clock
from voicestack.core.commands import MarkHeard
from voicestack.core.ids import TurnId
from voicestack.core.marks import Mark, TurnMarks
from voicestack.ports import Observer
from voicestack.session.ears import SpeechEvent
from voicestack.turn.events import SpeechEnded, SpeechPaused, WordsHeard

CLOSED = 16
"""Turns that are over and may still be said to have been heard: of a short answer the word comes late."""

MAX_ERROR_NS = 500_000_000
"""A peer that knows our clock no better than this measures nothing: half a round trip of a second."""

USER_MARKS = (Mark.SPEECH_END, Mark.ENDPOINT, Mark.ASR_FINAL)


class Ledger:
    """The marks of one session's turns.

    The user's marks are written before it is known which reply will answer them; `commit` gives them to it.

    Args:
        clock: To know what is in the future.
        observer: Is told what the peer says of when it heard a reply.
    """

    def __init__(self, clock: Clock, observer: Observer) -> None:
        self._clock, self._observer = clock, observer
        self._user: dict[Mark, int] = {}
        self._replies: dict[TurnId, dict[Mark, int]] = {}
        self._drafted: set[TurnId] = set()
        self._closed: dict[TurnId, dict[Mark, int]] = {}

    def hear(self, mark: Mark, at_ns: int) -> None:
        """Write one of the user's marks; a later one replaces an earlier one (the user went on)."""
        assert mark in USER_MARKS
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

    def begin(self, turn: TurnId, *, draft: bool) -> None:
        """A reply begins."""
        self._replies[turn] = {}
        if draft:
            self._drafted.add(turn)

    def commit(self, turn: TurnId) -> None:
        """The reply answers what was heard up to now."""
        self._replies[turn].update(self._user)
        self._user.clear()

    def stamp(self, turn: TurnId, mark: Mark, at_ns: int) -> None:
        """Write one of a reply's marks, the first time that it happens. Late stamps change nothing."""
        if turn in self._replies:
            self._replies[turn].setdefault(mark, at_ns)

    def acknowledge(self, heard: MarkHeard) -> None:
        """The peer says when a reply was heard first; it may be over by now. Told to the observer.

        Not believed: before it was sent, in the future, on a clock that is hardly known, a second time.
        """
        at = self._replies.get(heard.turn) or self._closed.get(heard.turn) or {}
        sent_ns = at.get(Mark.FIRST_SENT)
        if (
            sent_ns is None
            or Mark.FIRST_HEARD in at
            or heard.error_ns > MAX_ERROR_NS
            or not sent_ns - heard.error_ns <= heard.at_ns <= self._clock.now_ns() + heard.error_ns
        ):
            self._observer.heard_disbelieved()
            return
        at[Mark.FIRST_HEARD] = heard.at_ns
        self._observer.answer_heard(TurnMarks(dict(at)))

    def discard(self, turn: TurnId) -> None:
        """A draft came to nothing."""
        self._replies.pop(turn, None)
        self._drafted.discard(turn)

    def close(self, turn: TurnId, at_ns: int, *, interrupted: bool) -> TurnMarks:
        """The reply is silent: hand out its marks and forget it."""
        at = self._replies.pop(turn, {})
        if Mark.FIRST_SENT in at:
            at[Mark.FLUSHED] = at_ns
        self._closed[turn] = dict(at)
        if len(self._closed) > CLOSED:
            del self._closed[next(iter(self._closed))]
        drafted = turn in self._drafted
        self._drafted.discard(turn)
        return TurnMarks(at, drafted=drafted, interrupted=interrupted)
