"""Where the time of each turn went. The only writer of latency marks."""

from voicestack.core.ids import TurnId
from voicestack.core.marks import Mark, TurnMarks

USER_MARKS = (Mark.SPEECH_END, Mark.ENDPOINT, Mark.ASR_FINAL)


class Ledger:
    """The marks of one session's turns.

    The user's marks are written before it is known which reply will answer them; `commit` gives them to it.
    """

    def __init__(self) -> None:
        self._user: dict[Mark, int] = {}
        self._replies: dict[TurnId, dict[Mark, int]] = {}
        self._drafted: set[TurnId] = set()

    def hear(self, mark: Mark, at_ns: int) -> None:
        """Write one of the user's marks; a later one replaces an earlier one (the user went on)."""
        assert mark in USER_MARKS
        self._user[mark] = at_ns

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

    def discard(self, turn: TurnId) -> None:
        """A draft came to nothing."""
        self._replies.pop(turn, None)
        self._drafted.discard(turn)

    def close(self, turn: TurnId, at_ns: int, *, interrupted: bool) -> TurnMarks:
        """The reply is silent: hand out its marks and forget it."""
        at = self._replies.pop(turn, {})
        if Mark.FIRST_SENT in at:
            at[Mark.FLUSHED] = at_ns
        drafted = turn in self._drafted
        self._drafted.discard(turn)
        return TurnMarks(at, drafted=drafted, interrupted=interrupted)
