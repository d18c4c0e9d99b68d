"""What is going on in a conversation at this instant?"""

from dataclasses import dataclass
from typing import Literal

from voicestack.core.rungs import Rung

UserState = Literal["quiet", "speaking", "paused"]
ReplyState = Literal["draft", "thinking", "audible"]


@dataclass(frozen=True, slots=True)
class Glance:
    """A look at one conversation, for whoever watches.

    Attributes:
        session: Its name.
        user: What the user is doing. `paused`: silent, and it is not certain yet that they have finished.
        reply: What the agent is doing; None for nothing.
        turn: Number of the reply that is made, or of the last one.
        since_ms: For how long things have been so.
        rung: The last rung that was taken in this turn; None for none.
    """

    session: str
    user: UserState
    reply: ReplyState | None
    turn: int
    since_ms: float
    rung: Rung | None = None
