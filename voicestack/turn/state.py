"""Everything that the machine knows between two events."""

from dataclasses import dataclass
from enum import Enum

from voicestack.core.ids import TurnId, UtteranceId


class User(Enum):
    """What the user is doing, as far as we can hear."""

    QUIET = "quiet"
    SPEAKING = "speaking"
    PAUSED = "paused"  # silent for a moment; the utterance may go on


class Progress(Enum):
    """How far the live reply is."""

    DRAFT = "draft"  # a guess: nothing may leave
    THINKING = "thinking"  # committed, nothing audible yet
    AUDIBLE = "audible"


@dataclass(frozen=True, slots=True)
class Reply:
    """The one live reply."""

    turn: TurnId
    progress: Progress
    words: str
    retries: int = 0
    apologising: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """The state of one conversation.

    Attributes:
        user: What the user is doing.
        utterance: The newest utterance, 0 before the first.
        ended: The newest utterance that has ended, 0 before the first.
        awaited: Utterances that have ended and whose words are still to come, oldest first.
        overdue: Utterances whose words nobody waits for any more; they are welcome all the same.
        heard: What the user said since the last committed reply and nobody has answered yet.
        lost: The user said something since then that nobody understood.
        asked: The client asked for a reply that has not begun.
        reply: The live reply.
        turn: The newest turn for which a reply was begun.
        n_drafts: Drafts begun since the last committed reply.
        words_due_ns: When awaited words are waited for no longer; None while none are.
        idle_at_ns: When the user has been silent for too long; None while that does not matter.
    """

    user: User = User.QUIET
    utterance: UtteranceId = UtteranceId(0)
    ended: UtteranceId = UtteranceId(0)
    awaited: tuple[UtteranceId, ...] = ()
    overdue: tuple[UtteranceId, ...] = ()
    heard: str = ""
    lost: bool = False
    asked: bool = False
    reply: Reply | None = None
    turn: TurnId = TurnId(0)
    n_drafts: int = 0
    words_due_ns: int | None = None
    idle_at_ns: int | None = None

    @property
    def wake_at_ns(self) -> int | None:
        """When the driver must feed a `Tick`; None for never."""
        return min((at for at in (self.words_due_ns, self.idle_at_ns) if at is not None), default=None)
