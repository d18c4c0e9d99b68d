"""What the driver must do, in the imperative. Actions are carried out in order and at once."""

from dataclasses import dataclass

from voicestack.core.ids import TurnId
from voicestack.turn.events import StopReason


@dataclass(frozen=True, slots=True)
class StartReply:
    """Begin to answer.

    `words` is what the user said since the last committed reply; empty when the client asked for a reply to
    the conversation as it stands. A draft runs with the playout gate closed: nothing leaves for the peer,
    nothing enters the history and no tool is called before `CommitReply`.
    """

    turn: TurnId
    words: str
    draft: bool = False


@dataclass(frozen=True, slots=True)
class NoteSilence:
    """The user has said nothing for long enough: write that down. The `StartReply` after it answers it."""


@dataclass(frozen=True, slots=True)
class CommitReply:
    """The draft guessed right: open the gate."""

    turn: TurnId
    words: str


@dataclass(frozen=True, slots=True)
class StopReply:
    """Silence first, then clean up."""

    turn: TurnId
    reason: StopReason


@dataclass(frozen=True, slots=True)
class RetryReply:
    """The reply failed before anything was audible: begin it again, under the same name."""

    turn: TurnId


@dataclass(frozen=True, slots=True)
class Apologise:
    """The reply cannot be finished: say so in one honest short sentence, as the rest of this reply."""

    turn: TurnId


@dataclass(frozen=True, slots=True)
class Excuse:
    """Nothing is understood of what the user said, and nothing else is under way: a reply that says so."""

    turn: TurnId


Action = StartReply | NoteSilence | CommitReply | StopReply | RetryReply | Apologise | Excuse
